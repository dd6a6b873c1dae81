"""Which hidden units a round's training drops: public, and nobody's choice, since the beacon decides.

Srivastava et al., JMLR 2014, in the form that scales the kept units while training (``rate = 1/d``, scale ``d/(d-1)``) and leaves
inference alone.
"""

import numpy as np

from zk.hashing import expand
from zk.rule import Rule
from zk.vectors import IntArray

_WORD = 4  # bytes of the expansion for each unit: a probability of 1/5 is met to 2^-32


def dropped_units(rule: Rule, beacon: bytes, client: bytes) -> tuple[IntArray, ...]:
    """Return, for each hidden layer, which units a client drops: none at all without dropout.

    Parameters
    ----------
    rule : Rule
    beacon : bytes
        The beacon of the round.
    client : bytes
        The client's key: other clients drop other units.

    Returns
    -------
    tuple of int64 arrays of shape (rule.samples, width)
        1 where the unit is dropped: where its word of the expansion is a multiple of ``rule.dropout``. Rows are in the order of training.
    """
    if not rule.dropout:
        return ()
    found = []
    for layer, width in enumerate(rule.layers[1:-1]):
        length = _WORD * rule.samples * width
        stream = expand("lunaria/v1/dropout", beacon, client, layer.to_bytes(4, "big"), length=length)
        words = np.frombuffer(stream, dtype=">u4").reshape(rule.samples, width)
        found.append((words % rule.dropout == 0).astype(np.int64))
    return tuple(found)

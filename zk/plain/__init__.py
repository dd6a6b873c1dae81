"""A second verifier of the training proof: slow, plain, and written apart from the fast one.

It was written from ``docs/training-proof.md`` and shares with the fast verifier only what is no part of the protocol: hashing, the encoding
of scalars, the rule with its tables, the statement's data, errors, and ``py_ecc``. It has three uses: to check that the documentation is
enough to verify a proof, to check the fast verifier's verdicts, and to be read by somebody who writes a verifier in another language.

Everything is spelled out: tables over a whole cube instead of closed forms, one Python integer at a time, points added and multiplied one
by one, each group equation by itself. It is for small shapes; a proof about 784 inputs takes it very long.

Read in this order: ``algebra``, ``statement`` (what the challenges depend on), ``tensors`` (what is committed, and where it stands),
``messages``, then the relations ``lookups``, ``losses``, ``layers``, at last ``closing`` and ``verifier``.
"""

from zk.plain.verifier import verify

__all__ = ["verify"]

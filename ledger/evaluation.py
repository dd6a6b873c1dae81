"""The evaluation set: the public samples on which contributions are measured, and what a model is worth on them.

A file that server and auditors hold, named in the agreement by its SHA-256: one canonical NPY tensor (:func:`ledger.canonical.dump_vector`)
with a row for each sample, features and label on the agreed grid. ``numpy.load(file).reshape(-1, features + outputs)`` shows it.

What a model is worth is minus its quadratic loss (Brier, "Verification of forecasts expressed in terms of probability", 1950): a strictly
proper score, so that nothing but better predictions raises it, and smooth, so that single updates show. All of it is integers: products
stay below 2^53 by the agreed plan, so that float64 matrix products are exact in whatever order a machine adds; hidden values and logits
are clipped to the agreed ranges, so that every model has a worth.
"""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from ledger.agreement import Agreement
from ledger.canonical import digest, dump_vector, load_vector
from ledger.errors import FormatError, VerificationError
from zk.errors import ZkError
from zk.rule import Loss, Rule
from zk.sgd import check_features, check_labels, round_half_up, unflatten
from zk.tables import loss_table

IntVector = npt.NDArray[np.int64]
IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

MAX_SAMPLES = 16_384
MAX_BYTES = 1 << 28
_HEADER = 128
_ROWS = 4096  # at a time: bounds memory


def encode_evaluation(x: npt.NDArray[np.integer], y: npt.NDArray[np.integer]) -> bytes:
    """Return the file: features, (M, d), and labels, (M, k), both on the grid."""
    return dump_vector(np.concatenate([x.astype(np.int64), y.astype(np.int64)], axis=1).ravel())


@dataclass(frozen=True, eq=False)
class Evaluation:
    """An evaluation set that fits an agreement.

    Attributes
    ----------
    rule : Rule
    x : float64 array of shape (M, features)
        Integers, as matrix products take them.
    y : int64 array of shape (M, outputs)
    """

    rule: Rule
    x: FloatArray
    y: IntArray

    @classmethod
    def read(cls, path: Path, agreement: Agreement) -> Self:
        """Read the file that an agreement names.

        Raises
        ------
        FormatError, VerificationError
            It cannot be read, is another file, or does not fit the agreement.
        """
        try:
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise FormatError(f"cannot read the evaluation set {path}: {error.strerror}") from error
        try:
            return cls.decode(data, agreement)
        except FormatError as error:
            raise FormatError(f"{path}: {error}") from error
        except VerificationError as error:
            raise VerificationError(f"{path}: {error}") from error

    @classmethod
    def decode(cls, data: bytes, agreement: Agreement) -> Self:
        """Decode the content of the file; the errors are those of :meth:`read`."""
        if agreement.settlement is None:
            raise VerificationError("the agreement has no settlements: an evaluation set is of no use")
        if digest(data) != agreement.settlement.evaluation:
            raise VerificationError(
                f"it is not the evaluation set that the agreement names: its SHA-256 is {digest(data)}, "
                f"not {agreement.settlement.evaluation}"
            )
        rule = agreement.rule
        features, outputs = rule.layers[0], rule.layers[-1]
        rows, cut = divmod(max(0, len(data) - _HEADER) // (4 if b"<i4" in data[:_HEADER] else 8), features + outputs)
        if cut or not 2 <= rows <= MAX_SAMPLES or len(data) > MAX_BYTES:
            raise FormatError(f"an evaluation set has 2 to {MAX_SAMPLES} rows of {features} features and {outputs} outputs")
        table = load_vector(data, rows * (features + outputs), "the evaluation set").reshape(rows, features + outputs)
        x, y = table[:, :features].copy(), table[:, features:].copy()
        try:
            check_features(rule, x)
            check_labels(rule, x, y)
        except ZkError as error:
            raise FormatError(f"the evaluation set does not fit the agreement: {error}") from error
        return cls(rule, x.astype(np.float64), y)

    def utility(self, model: IntVector) -> IntVector:
        """Return what a model is worth on each sample: minus the sum of its squared errors.

        Parameters
        ----------
        model : int64 array of shape (rule.size,)
            With every weight in its range.

        Returns
        -------
        int64 array of shape (M,)
            In units of ``2^-2·output_error_bits``, for a regression of ``2^-2·logit_bits``.
        """
        weights = [W.astype(np.float64) for W in unflatten(self.rule, model)]
        parts = [self._utility(weights, self.x[i : i + _ROWS], self.y[i : i + _ROWS]) for i in range(0, len(self.x), _ROWS)]
        return np.concatenate(parts)

    def _utility(self, weights: list[FloatArray], x: FloatArray, y: IntArray) -> IntVector:
        rule, inputs = self.rule, x
        for layer, W in enumerate(weights):
            Z = inputs @ W[:-1] + W[-1] * float(1 << rule.input_bits(layer))
            A = round_half_up(Z.astype(np.int64), rule.inference_shift(layer))
            if layer < rule.depth:
                inputs = np.clip(A, 0, rule.activation_bound(layer).allowed.stop - 1).astype(np.float64)  # the range, then ReLU
        error = self._prediction(A) - y * self._one
        return -np.asarray((error * error).sum(axis=1), dtype=np.int64)

    @property
    def _one(self) -> int:
        """What the label one is, where predictions are probabilities."""
        return 1 if self.rule.loss == Loss.SQUARED else 1 << self.rule.plan.output_error_bits

    def _prediction(self, A: IntArray) -> IntArray:
        """Return probabilities, as training computes them, or the outputs of a regression."""
        rule, plan = self.rule, self.rule.plan
        allowed = rule.logit_bound.allowed
        match rule.loss:
            case Loss.SOFTMAX:
                e = self._table[np.clip(A.max(axis=1, keepdims=True) - A, allowed.start, allowed.stop - 1)]
                S = e.sum(axis=1, keepdims=True)
                return np.asarray(((e << (plan.output_error_bits + 1)) + S) // (2 * S), dtype=np.int64)
            case Loss.BINARY:
                clipped = np.clip(A, allowed.start, allowed.stop - 1)
                return self._table[clipped - allowed.start]
            case Loss.SQUARED:
                return np.clip(A, allowed.start, allowed.stop - 1)

    @property
    def _table(self) -> IntVector:
        return _table(self.rule)


@functools.lru_cache(maxsize=8)
def _table(rule: Rule) -> IntVector:
    return np.array(loss_table(rule), dtype=np.int64)

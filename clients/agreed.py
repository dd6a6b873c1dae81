"""Data on the scale and with the classes of an agreement."""

from functools import lru_cache

from clients.datasets import DataSet, load
from clients.quantise import Range, Scaling
from clients.raw import Task
from ledger.agreement import Agreement
from ledger.data_terms import DataTerms
from zk.rule import Loss

TASKS: dict[Loss, Task] = {Loss.SOFTMAX: "classification", Loss.BINARY: "binary", Loss.SQUARED: "regression"}


def load_agreed(spec: str, agreement: Agreement) -> DataSet:
    """Load a data set as an agreement wants it (:func:`clients.datasets.load`): on its scale, where it names one, or else on its own.

    Raises
    ------
    DataError
        It cannot be loaded, or a value lies beyond the agreed range, or a label is no agreed class.
    """
    plan = agreement.rule.plan
    return _load(spec, TASKS[agreement.rule.loss], plan.feature_bits, plan.logit_bits, agreement.data)


@lru_cache(maxsize=2)
def _load(spec: str, task: Task, feature_bits: int, target_bits: int, terms: DataTerms) -> DataSet:
    scaling = scaling_of(terms, feature_bits, target_bits)
    return load(spec, task=task, feature_bits=feature_bits, target_bits=target_bits, classes=terms.classes, scaling=scaling)


def scaling_of(terms: DataTerms, feature_bits: int, target_bits: int) -> Scaling | None:
    """Return the agreed ranges; None where there are none."""
    if not terms.minimum:
        return None
    target = None
    if terms.target_minimum is not None and terms.target_maximum is not None:
        target = Range((terms.target_minimum,), (terms.target_maximum,), target_bits)
    return Scaling(Range(terms.minimum, terms.maximum, feature_bits), target)


def terms_of(data: DataSet) -> dict[str, object]:
    """Return the fields of ``[data]`` that put other data on the scale of this one and give it the same classes."""
    features, target = data.scaling.features, data.scaling.target
    fields: dict[str, object] = {"minimum": list(features.low), "maximum": list(features.high)}
    if target is not None:
        fields |= {"target-minimum": target.low[0], "target-maximum": target.high[0]}
    return fields | ({"classes": list(data.classes)} if data.classes else {})

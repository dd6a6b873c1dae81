"""What is to be learned: the task that a target asks for, and the classes it has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from clients.errors import DataError
from clients.raw import Part, Raw, Task

MAX_CLASSES = 16
"""A label is one-hot in the last 16 slots of a sample's commitment row."""

Labels = npt.NDArray[np.int64]


def check(part: Part) -> None:
    """Refuse a target that is neither finite numbers nor text."""
    if part.y.dtype.kind not in "buifU":
        raise DataError(f"{part.label} holds {part.y.dtype}; give numbers, or text for classes")
    if part.y.dtype.kind == "f" and not np.isfinite(part.y).all():
        row = int(np.argmin(np.isfinite(part.y)))
        raise DataError(f"{part.place(row)} is {part.y[row]}; give every sample a target, or leave it out")


def infer(raw: Raw, classes: Sequence[str]) -> Task:
    """Return the task that a target looks like.

    Numbers with more than 16 distinct values, of a floating-point type, are a regression; two classes are binary; anything else is a
    classification.
    """
    known = classes or raw.class_names
    distinct = np.unique(raw.train.y)
    if not known and distinct.dtype.kind == "f" and len(distinct) > MAX_CLASSES:
        return "regression"
    return "binary" if len(known or distinct) == 2 else "classification"


def numbers(part: Part) -> npt.NDArray[np.float64]:
    """Return a regression target, of shape (N, 1); text is refused."""
    if part.y.dtype.kind == "U":
        raise DataError(f"{part.label} is text; a regression needs numbers: correct it, or train a classification")
    return part.y.astype(np.float64)[:, np.newaxis]


def classes_of(raw: Raw, task: Task, agreed: Sequence[str]) -> tuple[str, ...]:
    """Return the classes in the order of the outputs: the agreed ones, the source's, or those of the training part, sorted."""
    classes = tuple(agreed) or raw.class_names or tuple(map(_name, np.unique(raw.train.y)))
    if len(set(classes)) != len(classes):
        raise DataError(f"{raw.name}: the classes {', '.join(classes)} are not distinct; name each of them once")
    if len(classes) < 2:
        raise DataError(f"{raw.train.label} has only one class, {classes[0]!r}; training needs at least two")
    if len(classes) > MAX_CLASSES:
        raise DataError(
            f"{raw.train.label} has {len(classes)} classes, at most {MAX_CLASSES} can be proved; "
            "merge some, or train a regression (task regression)"
        )
    if task == "binary" and len(classes) != 2:
        raise DataError(f"{raw.train.label} has {len(classes)} classes, a binary task has 2; train a classification")
    return classes


def indices(part: Part, names: Sequence[str], classes: Sequence[str]) -> Labels:
    """Return every sample's class as its index in ``classes``, of shape (N,).

    Parameters
    ----------
    part : Part
        Its labels are text, or numbers.
    names : sequence of str
        Names of the labels 0, 1, ...; empty: the labels are their own names.
    classes : sequence of str
        What :func:`classes_of` returned.

    Raises
    ------
    DataError
        Naming the first sample whose label is none of the classes.
    """
    values, inverse = np.unique(part.y, return_inverse=True)
    position = {name: index for index, name in enumerate(classes)}
    by_label = {str(label): name for label, name in enumerate(names)} if names else {name: name for name in classes}
    lookup = np.array([position.get(by_label.get(_name(value), ""), -1) for value in values], np.int64)
    result = lookup[inverse]
    if (result < 0).any():
        row = int(np.argmax(result < 0))
        raise DataError(
            f"{part.place(row)}: unknown label {_name(part.y[row])!r}; "
            f"the classes are {', '.join(classes)}: correct it, or name all classes"
        )
    return result


def _name(value: np.generic) -> str:
    """Return a label as text; the number 1 is the same label whether a file says ``1`` or ``1.0``."""
    number = value.item()
    return str(int(number)) if isinstance(number, float) and number.is_integer() else str(number)

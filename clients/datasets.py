"""Loads a client's data and puts it on the grid that its training is proved on.

:func:`load` reads any source, checks it, splits off a test part where there is none, and scales features and targets to
integers. The result depends on the source and the arguments alone: everybody who loads the same data gets the same integers,
in the same order, and a commitment to them can be repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clients import labels, sources
from clients.errors import DataError
from clients.quantise import Grid, Range, Scaling
from clients.raw import Array, Part, Raw, Task

__all__ = ["DataSet", "Scaling", "Task", "load"]

TEST_SHARE = 0.2
SPLIT_SEED = 0


@dataclass(frozen=True, eq=False)
class DataSet:
    """A data set on the grid. The arrays are read-only.

    They are ``uint8`` (``uint16`` on a grid of more than 8 bits), so that hundreds of clients in one machine can hold them:
    **convert the rows in use to int64 before calculating**, as sums and products of ``uint8`` overflow silently.

    Attributes
    ----------
    name : str
        For people.
    source : str
        A spec that loads the same data again on this machine, from any working directory and without a search: what a simulation
        hands to its clients after it resolved ``auto`` once.
    task : "classification", "binary" or "regression"
        What the targets are.
    x_train, x_test : arrays of shape (N, d)
        Features in ``[0, 2^feature_bits)``.
    y_train, y_test : arrays of shape (N, k)
        One-hot rows, k = number of classes (classification); 0 or 1, k = 1, 1 being the second class (binary); the target in
        ``[0, 2^target_bits)``, k = 1 (regression).
    classes : tuple of str
        In the order of the outputs; empty for a regression.
    scaling : Scaling
        The ranges that were scaled onto the grid; ``scaling.target.restore(prediction)`` gives a prediction in its own unit.
    notes : tuple of str
        What a user should know, one line each.
    """

    name: str
    source: str
    task: Task
    x_train: Grid
    y_train: Grid
    x_test: Grid
    y_test: Grid
    classes: tuple[str, ...]
    scaling: Scaling
    notes: tuple[str, ...]


def load(
    spec: str,
    *,
    task: Task | None = None,
    feature_bits: int = 8,
    target_bits: int = 8,
    classes: Sequence[str] = (),
    scaling: Scaling | None = None,
) -> DataSet:
    """Load a data set.

    Parameters
    ----------
    spec : str
        One of

        - ``auto``: Fashion-MNIST where it can be had (see :mod:`clients.fashion`), else ``digits`` with a note;
        - ``fashion-mnist``: the same search, without the fallback; ``fashion-mnist:FOLDER``: from there;
        - ``digits``, ``breast-cancer``, ``diabetes``: inside scikit-learn;
        - a folder with the four ``.gz`` files of MNIST;
        - ``FILE.npz`` with ``x, y`` or ``x_train, y_train, x_test, y_test``;
        - ``FILE.csv`` or ``FILE.parquet``, whose last column is the target, or ``FILE.csv:COLUMN``;
        - ``module:function``, which returns arrays as in a ``.npz`` file.
    task : Task or None
        None: a regression for floating-point targets of more than 16 distinct values, binary for two classes, else a
        classification. Two classes with the task ``classification`` become two outputs, for a softmax.
    feature_bits, target_bits : int
        Size of the grids, 1 to 16 bits.
    classes : sequence of str
        All classes in their agreed order, for members of a federation who may not all hold samples of every class.
    scaling : Scaling or None
        The agreed ranges, which replace ``feature_bits`` and ``target_bits``; a training sample beyond them is refused, a test sample
        takes the nearer end. None: pixels as they are; anything else from the minimum to the maximum of the training part, feature by
        feature.

    Returns
    -------
    DataSet
        Where the source has no test part, a fifth of its samples (rounded down, at least one) drawn by ``numpy``'s
        ``default_rng(0)`` without regard to their class; the others stay in order.

    Raises
    ------
    DataError
        One line: what is wrong, where, and what to do.
    """
    raw = sources.read(spec)
    parts = [part for part in (raw.train, raw.test) if part is not None]
    for part in parts:
        labels.check(part)
    task = task or labels.infer(raw, classes)
    names = () if task == "regression" else labels.classes_of(raw, task, classes)
    features = [part.x for part in parts]
    targets = [_target(part, task, raw, names) for part in parts]
    notes, agreed, rows = raw.notes, scaling is not None, np.arange(len(raw.train.y))
    if raw.test is None:
        test = _test_rows(raw)
        rows = rows[~test]
        features = [features[0][~test], features[0][test]]
        targets = [targets[0][~test], targets[0][test]]
        notes += (f"{raw.name} has no test part: {np.count_nonzero(test)} of {len(test)} samples are held out as one",)
    if scaling is None:
        target_range = _target_range(raw, targets[0], target_bits) if task == "regression" else None
        scaling = Scaling(_feature_range(raw, features[0], feature_bits), target_range)
    _check_agreed(raw, scaling, task)
    if agreed:
        _check_within(raw, rows, features[0], scaling.features, "feature")
        if scaling.target is not None:
            _check_within(raw, rows, targets[0], scaling.target, "target")
    x_train, x_test = (_read_only(scaling.features.apply(x)) for x in features)
    on_grid = scaling.target.apply if scaling.target is not None else _as_bytes
    y_train, y_test = (_read_only(on_grid(y)) for y in targets)
    return DataSet(raw.name, raw.source, task, x_train, y_train, x_test, y_test, names, scaling, notes)


def _target(part: Part, task: Task, raw: Raw, classes: tuple[str, ...]) -> Array:
    """Return numbers of shape (N, 1) for a regression, otherwise 0 and 1 of shape (N, k)."""
    if task == "regression":
        return labels.numbers(part)
    index = labels.indices(part, raw.class_names, classes)
    if task == "binary":
        return index.astype(np.uint8)[:, np.newaxis]
    return np.eye(len(classes), dtype=np.uint8)[index]


def _test_rows(raw: Raw) -> npt.NDArray[np.bool_]:
    """Draw the test part: True for each sample that belongs to it."""
    rows = len(raw.train.y)
    if rows < 2:
        raise DataError(f"{raw.name}: only {rows} sample; give at least two, one is held out for testing")
    held_out = np.random.default_rng(SPLIT_SEED).permutation(rows)[: max(1, int(rows * TEST_SHARE))]
    test = np.zeros(rows, np.bool_)
    test[held_out] = True
    return test


def _feature_range(raw: Raw, x_train: Array, bits: int) -> Range:
    if raw.feature_range is None:
        return Range.of(x_train, bits)
    low, high = raw.feature_range
    return Range((low,), (high,), bits)


def _target_range(raw: Raw, y_train: Array, bits: int) -> Range:
    found = Range.of(y_train, bits)
    if found.low == found.high:
        raise DataError(f"{raw.train.label} is {found.low[0]} in every training sample; a regression needs at least two values")
    return found


def _check_agreed(raw: Raw, scaling: Scaling, task: Task) -> None:
    """Refuse a scaling that was agreed for other data."""
    features = raw.train.x.shape[1]
    if len(scaling.features.low) not in (1, features):
        raise DataError(f"{raw.name} has {features} features, the agreed scaling {len(scaling.features.low)}; use the agreed features")
    if (task == "regression") != (scaling.target is not None):
        state = "no range" if scaling.target is None else "a range"
        raise DataError(f"{raw.name} is a {task}, the agreed scaling has {state} for a target; agree on the same task")


def _check_within(raw: Raw, rows: npt.NDArray[np.int64], values: Array, agreed: Range, what: str) -> None:
    """Refuse values beyond the agreed range: clipped, a column in another unit would look like the others."""
    beyond = (values < np.asarray(agreed.low)) | (values > np.asarray(agreed.high))
    if beyond.any():
        row, column = (int(place[0]) for place in np.nonzero(beyond))
        low, high = (ends[column if len(ends) > 1 else 0] for ends in (agreed.low, agreed.high))
        where = f"row {rows[row]}" if raw.train.lines is None else f"line {raw.train.lines[rows[row]]}"
        raise DataError(
            f"{raw.name}, {where}: {what} {column + 1} is {values[row, column]}, the agreed range is {low:g} to {high:g}: "
            "give it in the agreed unit, or leave the sample out"
        )


def _as_bytes(y: Array) -> Grid:
    return y.astype(np.uint8, copy=False)


def _read_only(grid: Grid) -> Grid:
    view = grid.view()
    view.flags.writeable = False
    return view

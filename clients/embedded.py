"""The data sets inside scikit-learn: nothing to download, BSD licence."""

from __future__ import annotations

import importlib
from typing import Any

from clients.errors import DataError
from clients.raw import Part, Raw

NAMES = ("digits", "breast-cancer", "diabetes")


def read(name: str) -> Raw:
    """Read one of :data:`NAMES`.

    - ``digits``: 1,797 images of 8 × 8 pixels 0..16, 10 classes.
    - ``breast-cancer``: 569 × 30, malignant (0) or benign (1).
    - ``diabetes``: 442 × 10 in their original units, a regression.
    """
    try:
        datasets = importlib.import_module("sklearn.datasets")
    except ImportError:
        raise DataError(f"{name}: comes with scikit-learn, which is missing; install it: pip install scikit-learn") from None
    if name == "digits":
        x, y = datasets.load_digits(return_X_y=True)
        return Raw(name, name, _part(name, x, y), feature_range=(0.0, 16.0))
    if name == "breast-cancer":
        bunch = datasets.load_breast_cancer()
        return Raw(name, name, _part(name, bunch.data, bunch.target), class_names=tuple(bunch.target_names.tolist()))
    x, y = datasets.load_diabetes(return_X_y=True, scaled=False)
    return Raw(name, name, _part(name, x, y))


def _part(name: str, x: Any, y: Any) -> Part:  # noqa: ANN401 - scikit-learn has no types
    return Part(x, y, f"{name}: y")

"""What a source of data hands over, before it is checked, split and scaled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]
Task = Literal["classification", "binary", "regression"]


@dataclass(frozen=True, eq=False)
class Part:
    """Rows of one part, training or test, and how to name a place in them.

    Attributes
    ----------
    x : array of shape (N, d)
        Numbers.
    y : array of shape (N,)
        Numbers or text.
    label : str
        Where the target stands, for messages: ``"data.csv, column 'risk'"`` or ``"data.npz: y_train"``.
    lines : array of shape (N,) or None
        The line of the file in which each row ends; None for arrays, which count from 0.
    """

    x: Array
    y: Array
    label: str
    lines: npt.NDArray[np.int64] | None = None

    def place(self, row: int) -> str:
        """Name the target of ``row`` for a message."""
        return f"{self.label}[{row}]" if self.lines is None else f"{self.label}, line {self.lines[row]}"


@dataclass(frozen=True, eq=False)
class Raw:
    """A data set as its source has it.

    Attributes
    ----------
    name : str
        For people.
    source : str
        A spec that loads the same data again from anywhere on this machine, without a search.
    train : Part
        Everything, where ``test`` is None.
    test : Part or None
        The source's own test part.
    feature_range : (float, float) or None
        The known range of every feature (pixels); None: take it from the training part.
    class_names : tuple of str
        Names of the labels 0, 1, ...; empty: the labels are their own names.
    notes : tuple of str
        One line each, for people.
    """

    name: str
    source: str
    train: Part
    test: Part | None = None
    feature_range: tuple[float, float] | None = None
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

"""Data sets that are tables with named columns: ``.csv`` and ``.parquet``; one column is the target.

Every feature has to be a number. Text in a feature is refused rather than encoded by a guess that the other members of a
federation would not share; the target may be text, and is then a class.
"""

from __future__ import annotations

import csv
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from clients.errors import DataError
from clients.raw import Array, Part, Raw

LONGEST_LABEL = 100


@dataclass(frozen=True, eq=False)
class _Table:
    """Columns of equal length; ``lines`` has the line in which each row ends, if the file has lines."""

    path: Path
    header: list[str]
    columns: list[Sequence[str] | Array]
    lines: npt.NDArray[np.int64] | None

    def place(self, row: int, column: str) -> str:
        where = f"row {row}" if self.lines is None else f"line {self.lines[row]}"
        return f"{self.path}, {where}, column {column!r}"


def read_csv(path: Path, target: str | None) -> Raw:
    """Read a comma-separated UTF-8 file with a header line.

    Parameters
    ----------
    path : Path
        The file.
    target : str or None
        The target's column; None: the last one.

    Raises
    ------
    DataError
        Naming the line and the column that cannot be used.
    """
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            for row in reader:
                if row:  # a blank line is no sample
                    rows.append(row)
                    lines.append(reader.line_num)
                    if len(row) != len(rows[0]):
                        raise DataError(
                            f"{path}, line {reader.line_num}: {len(row)} values, the header has {len(rows[0])}; give every column one value"
                        )
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8 text; save it as UTF-8") from None
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}; correct the quoting") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; give the path of a readable file") from None
    if len(rows) < 2:
        raise DataError(f"{path}: has no samples; give a header line and one line per sample")
    header = [name.strip() for name in rows[0]]
    columns: list[Sequence[str] | Array] = list(zip(*rows[1:], strict=True))
    return _to_raw(_Table(path, header, columns, np.array(lines[1:], np.int64)), target)


def read_parquet(path: Path, target: str | None) -> Raw:
    """Read a Parquet file with pyarrow, if that is installed; otherwise as :func:`read_csv`. Rows count from 0."""
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise DataError(f"{path}: reading Parquet needs pyarrow; install it: pip install pyarrow") from None
    try:
        content = parquet.read_table(path)
    except (OSError, ValueError, NotImplementedError) as error:  # what pyarrow's own errors derive from
        reason = next(iter(str(error).splitlines()), "no message")
        raise DataError(f"{path}: not readable as Parquet ({reason}); write the file again") from None
    if content.num_rows == 0:
        raise DataError(f"{path}: has no samples; give one row per sample")
    table = _Table(path, list(content.column_names), [], None)
    for name, column in zip(table.header, content.columns, strict=True):
        if name.startswith("__index_level_"):
            raise DataError(f"{path}: has pandas' row index as column {name!r}; write it with to_parquet(index=False)")
        if column.null_count:
            row = column.is_null().to_pylist().index(True)
            raise DataError(f"{table.place(row, name)}: no value; fill the gap or leave the row out")
        values: Array = column.to_numpy()
        table.columns.append(values if values.dtype.kind in "buif" else [str(value) for value in values])
    return _to_raw(table, target)


def _to_raw(table: _Table, target: str | None) -> Raw:
    """Separate the target from the features."""
    path, header = table.path, table.header
    for j, name in enumerate(header):
        if not name:
            raise DataError(f"{path}: column {j + 1} has no name; name it, or remove it if it only numbers the rows")
        if _is_number(name) and not name.isdigit():
            raise DataError(f"{path}: column {j + 1} is called {name!r}, a number; put a header line with names first")
        if header.index(name) != j:
            raise DataError(f"{path}: two columns are called {name!r}; rename one")
    if len(header) < 2:
        raise DataError(f"{path}: only one column, {header[0]!r}; give features and a target, separated by commas")
    target = header[-1] if target is None else target
    if target not in header:
        raise DataError(f"{path}: no column {target!r}; the columns are {_shorten(', '.join(header))}")
    features = [_feature(table, name, column) for name, column in zip(header, table.columns, strict=True) if name != target]
    y = _target(table, target, table.columns[header.index(target)])
    part = Part(np.column_stack(features), y, f"{path}, column {target!r}", table.lines)
    return Raw(path.name, f"{path.resolve()}:{target}", part)


def _feature(table: _Table, name: str, column: Sequence[str] | Array) -> Array:
    """Return a column of finite numbers."""
    if isinstance(column, np.ndarray):
        numbers = column.astype(np.float64)
    else:
        row = next((row for row, cell in enumerate(column) if not _is_number(cell)), None)
        if row is not None:
            cell = column[row]
            problem = f"{_shorten(cell)!r} is not a number" if cell.strip() else "no value"
            raise DataError(f"{table.place(row, name)}: {problem}; features have to be numbers: correct it, or encode or remove the column")
        numbers = np.array([float(cell) for cell in column])
    if not np.isfinite(numbers).all():
        row = int(np.argmin(np.isfinite(numbers)))
        raise DataError(f"{table.place(row, name)}: the value is {numbers[row]}; fill the gap or leave the row out")
    return numbers


def _target(table: _Table, name: str, column: Sequence[str] | Array) -> Array:
    """Return a column as integers or numbers, where all of it can be read so, or else as text."""
    if isinstance(column, np.ndarray):
        return column
    cells = [cell.strip() for cell in column]
    for row, cell in enumerate(cells):
        if not cell:
            raise DataError(f"{table.place(row, name)}: no target; fill the gap or leave the row out")
        if len(cell) > LONGEST_LABEL:
            raise DataError(f"{table.place(row, name)}: a label of {len(cell)} characters; name the target's column: {table.path}:COLUMN")
    try:
        return np.array([int(cell) for cell in cells], np.int64)
    except (ValueError, OverflowError):
        numeric = all(map(_is_number, cells))
        return np.array(cells, np.float64) if numeric else np.array(cells)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _shorten(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."

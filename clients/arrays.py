"""Data sets that are arrays already: ``.npz`` files and Python functions."""

from __future__ import annotations

import importlib
import os
import sys
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from clients.errors import DataError
from clients.raw import Array, Part, Raw

WHOLE = ("x", "y")
SPLIT = ("x_train", "y_train", "x_test", "y_test")
MAX_BYTES = 2**32


def from_arrays(name: str, source: str, arrays: Mapping[str, Array]) -> Raw:
    """Check arrays and make a data set of them.

    Parameters
    ----------
    name, source : str
        As in :class:`clients.raw.Raw`.
    arrays : mapping
        ``x``, ``y`` or ``x_train``, ``y_train``, ``x_test``, ``y_test``. Features of shape (N, ...), flattened to (N, d); ``uint8``
        features of three or more dimensions are images, whose range 0..255 is known. Targets of shape (N,) or (N, 1).

    Raises
    ------
    DataError
        For anything but finite numbers as features, for an empty part, or for lengths that differ.
    """
    names = SPLIT if SPLIT[0] in arrays else WHOLE
    parts = [_part(name, arrays, *pair) for pair in (names[:2], names[2:]) if pair]
    test = parts[1] if len(parts) == 2 else None
    if test is not None and test.x.shape[1] != parts[0].x.shape[1]:
        raise DataError(f"{name}: {parts[0].x.shape[1]} features in x_train, {test.x.shape[1]} in x_test; give both the same features")
    features = [arrays[key] for key in names[::2]]
    images = all(x.dtype == np.uint8 and x.ndim > 2 for x in features)
    return Raw(name, source, parts[0], test, feature_range=(0.0, 255.0) if images else None)


def _part(name: str, arrays: Mapping[str, Array], x_name: str, y_name: str) -> Part:
    """Check one pair of arrays."""
    x, y = arrays[x_name], arrays[y_name]
    if x.ndim < 2:
        raise DataError(f"{name}: {x_name} has shape {x.shape}; give one row per sample, one column per feature")
    if x.dtype.kind not in "buif":
        raise DataError(f"{name}: {x_name} holds {x.dtype}, not plain numbers; encode text and dates as numbers first")
    if x.size == 0:
        raise DataError(f"{name}: {x_name} is empty (shape {x.shape}); give at least one sample and one feature")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise DataError(f"{name}: {y_name} has shape {y.shape}; give one target per sample (labels, not one-hot rows)")
    if len(x) != len(y):
        raise DataError(f"{name}: {len(x)} rows in {x_name}, {len(y)} in {y_name}; give every sample its target")
    x = x.reshape(len(x), -1)
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        row, column = np.argwhere(~np.isfinite(x))[0]
        raise DataError(f"{name}: {x_name}[{row}], column {column} is {x[row, column]}; fill the gap or leave the sample out")
    return Part(x.astype(np.uint8) if x.dtype == bool else x, y, f"{name}: {y_name}")


def read_npz(path: Path) -> Raw:
    """Read a ``.npz`` file with the keys ``x, y`` or ``x_train, y_train, x_test, y_test``; never unpickles anything."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_BYTES:
            raise DataError(f"{path}: unpacks to {size} bytes, {MAX_BYTES} can be read; give fewer samples")
        with np.load(path, allow_pickle=False) as file:
            names = next((names for names in (SPLIT, WHOLE) if set(names) <= set(file.files)), None)
            if names is None:
                found = ", ".join(file.files) or "nothing"
                raise DataError(f"{path}: holds {found}; save {', '.join(WHOLE)} or {', '.join(SPLIT)}")
            arrays = {name: file[name] for name in names}
    except (OSError, ValueError, EOFError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: not readable as plain arrays ({_first_line(error)}); write it with numpy.savez") from None
    return from_arrays(path.name, str(path.resolve()), arrays)


def call(spec: str) -> Raw:
    """Call ``module:function``; it returns ``(x, y)`` or ``(x_train, y_train, x_test, y_test)``.

    The working directory comes first when the module is looked for, as with ``python -m``.
    """
    module_name, _, function_name = spec.partition(":")
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        function = getattr(importlib.import_module(module_name), function_name)
        values = function()
    except Exception as error:
        raise DataError(
            f"{spec}: failed with {type(error).__name__} ({_first_line(error)}); it has to be a function without arguments"
        ) from error
    finally:
        sys.path.remove(folder)
    if not isinstance(values, tuple) or len(values) not in (2, 4):
        raise DataError(f"{spec}: returned {type(values).__name__}; return ({', '.join(WHOLE)}) or ({', '.join(SPLIT)})")
    names = WHOLE if len(values) == 2 else SPLIT
    try:
        arrays = {name: np.asarray(value) for name, value in zip(names, values, strict=True)}
    except ValueError as error:
        raise DataError(f"{spec}: returned no arrays ({_first_line(error)}); return NumPy arrays") from None
    return from_arrays(spec, spec, arrays)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "no message")

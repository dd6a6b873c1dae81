"""From a spec, the text a user gives for a data set, to the source that reads it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from clients import arrays, embedded, fashion, tables
from clients.errors import DataError
from clients.raw import Raw

_TABLE = re.compile(r"(?P<path>.+\.(?P<kind>csv|parquet))(:(?P<target>.+))?", re.IGNORECASE)
_FUNCTION = re.compile(r"[^\W\d][\w.]*:[^\W\d]\w*")


def read(spec: str) -> Raw:
    """Read the data set that ``spec`` names; :func:`clients.datasets.load` lists the specs.

    Raises
    ------
    DataError
        Where the spec means nothing, or its source cannot be read.
    """
    if spec in ("auto", fashion.NAME):
        return _find(fall_back=spec == "auto")
    if spec in embedded.NAMES:
        return embedded.read(spec)
    if spec.startswith(f"{fashion.NAME}:"):
        return fashion.read(Path(spec.removeprefix(f"{fashion.NAME}:")).expanduser())
    path = Path(spec).expanduser()
    if spec and path.is_dir():
        return fashion.read_images(path)
    if path.suffix.lower() == ".npz":
        return arrays.read_npz(_existing(path))
    if table := _TABLE.fullmatch(spec):
        reader = tables.read_csv if table["kind"].lower() == "csv" else tables.read_parquet
        return reader(_existing(Path(table["path"]).expanduser()), table["target"])
    if _FUNCTION.fullmatch(spec):
        return arrays.call(spec)
    raise DataError(
        f"data set {spec!r} is unknown: give auto, {fashion.NAME}, {', '.join(embedded.NAMES)}, "
        "a folder of idx files, a .npz, .csv or .parquet file, or module:function"
    )


def _find(fall_back: bool) -> Raw:
    found, notes = fashion.find()
    if found is not None:
        return replace(found, notes=notes)
    if not fall_back:
        raise DataError("; ".join([f"Fashion-MNIST is not on this machine: {fashion.HOW_TO_GET}", *notes]))
    note = f"Fashion-MNIST is not on this machine, using scikit-learn's digits instead; to have it, {fashion.HOW_TO_GET}"
    return replace(embedded.read("digits"), notes=(note, *notes))


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise DataError(f"{path}: no such file; give the path of an existing one")
    return path

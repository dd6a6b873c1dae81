"""Finds Fashion-MNIST (Xiao, Rasul, Vollgraf 2017, MIT licence) on this machine, or has Keras download it.

In this order: the folder in ``LUNARIA_DATA``, the Debian package's folder, Keras' cache, Keras' download. The download runs in
a process of its own with a time limit, so no network, no name server and no slow server can hang or litter a run; what it got
enters Keras' cache only after it was read and checked.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from clients.errors import DataError
from clients.idx import FILES, read_folder
from clients.raw import Part, Raw

NAME = "fashion-mnist"
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
HOW_TO_GET = "install the Debian package dataset-fashion-mnist, or set LUNARIA_DATA=FOLDER with its four .gz files"
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
PROBE_SECONDS = 10
DOWNLOAD_SECONDS = 120

_PROBE = (
    "import urllib.request; "
    "urllib.request.urlopen('https://storage.googleapis.com/tensorflow/tf-keras-datasets/train-labels-idx1-ubyte.gz')"
)
_DOWNLOAD = "from keras.datasets import fashion_mnist; fashion_mnist.load_data()"


def read(folder: Path) -> Raw:
    """Read Fashion-MNIST from the four idx files in ``folder``."""
    return _as_raw(folder, NAME, f"{NAME}:{folder.resolve()}", CLASSES)


def read_images(folder: Path) -> Raw:
    """Read any other data set in the four idx files of MNIST; its labels are their own names."""
    return _as_raw(folder, folder.resolve().name, str(folder.resolve()), ())


def find() -> tuple[Raw | None, tuple[str, ...]]:
    """Search for Fashion-MNIST.

    Returns
    -------
    found : Raw or None
        None where it is nowhere to be had.
    notes : tuple of str
        One line for every folder that was passed over although it should have been usable.
    """
    stated = os.environ.get("LUNARIA_DATA", "")
    cache = _keras_home() / "datasets" / NAME
    notes = []
    if stated and not any(map(_holds_files, _below(stated))):
        notes.append(f"passed over: LUNARIA_DATA={stated} does not hold {', '.join(FILES)}")
    for folder in filter(_holds_files, (*_below(stated), DEBIAN, cache)):
        try:
            return read(folder), tuple(notes)
        except DataError as error:
            notes.append(f"passed over: {error}")
    return (read(cache) if _download(cache) else None), tuple(notes)


def _holds_files(folder: Path) -> bool:
    return any((folder / file).exists() for file in FILES)


def _below(stated: str) -> tuple[Path, ...]:
    """Return where the user's folder may hold the files: itself, a subfolder, or the Debian package unpacked there."""
    if not stated:
        return ()
    folder = Path(stated).expanduser()
    return folder, folder / NAME, folder / DEBIAN.relative_to("/")


def _keras_home() -> Path:
    return Path(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras"))


def _download(cache: Path) -> bool:
    """Have Keras download the files, check them, and put them into its cache; False where that is not possible."""
    try:
        _run(_PROBE, PROBE_SECONDS, {})  # fails fast without a network; importing Keras takes ten seconds
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache.parent) as home:
            _run(_DOWNLOAD, DOWNLOAD_SECONDS, {"KERAS_HOME": home})
            fresh = Path(home, "datasets", NAME)
            read_folder(fresh)
            for file in FILES:
                os.replace(fresh / file, cache / file)
    except (OSError, subprocess.SubprocessError, DataError):
        return False
    return True


def _run(code: str, seconds: int, variables: dict[str, str]) -> None:
    """Run Python code in a silent process that cannot outlive its time."""
    subprocess.run(  # noqa: S603 - this interpreter, with code from this file
        [sys.executable, "-c", code],
        check=True,
        timeout=seconds,
        env=os.environ | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _as_raw(folder: Path, name: str, source: str, classes: tuple[str, ...]) -> Raw:
    x_train, y_train, x_test, y_test = read_folder(folder)
    train, test = Part(x_train, y_train, f"{folder}: y_train"), Part(x_test, y_test, f"{folder}: y_test")
    return Raw(name, source, train, test, feature_range=(0.0, 255.0), class_names=classes)

"""Reads the idx files of MNIST and its successors: four ``.gz`` files in one folder.

The format is Y. LeCun's (yann.lecun.com/exdb/mnist): a big-endian header ``magic, sizes...``, then bytes. The header is
untrusted: the sizes are capped before anything is decompressed, and the file has to hold exactly what its header says.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from clients.errors import DataError

Bytes = npt.NDArray[np.uint8]

FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
MAX_BYTES = 2**30


def read_idx(path: Path, dimensions: int) -> Bytes:
    """Read one gzip-compressed idx file of unsigned bytes.

    Parameters
    ----------
    path : Path
        The ``.gz`` file.
    dimensions : int
        1 for labels, 3 for images.

    Returns
    -------
    array of uint8, read-only
        Of the shape in the header.

    Raises
    ------
    DataError
        Where magic, sizes or length are wrong, or the file is no intact gzip file.
    """
    try:
        with gzip.open(path) as file:
            magic, *shape = struct.unpack(f">{1 + dimensions}I", file.read(4 + 4 * dimensions))
            if magic != 0x0800 + dimensions:
                raise DataError(
                    f"{path}: magic number {magic:#010x}, expected {0x0800 + dimensions:#010x}: "
                    "not an idx file of this kind; get a fresh copy"
                )
            size = math.prod(shape)
            if not 0 < size <= MAX_BYTES:
                raise DataError(f"{path}: the header announces {size} bytes, 1 to {MAX_BYTES} can be read; get a fresh copy")
            content = file.read(size + 1)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; the folder needs {', '.join(FILES)}") from None
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise DataError(f"{path}: not readable as a gzip-compressed idx file ({error}); get a fresh copy") from None
    if len(content) != size:
        found = "more" if len(content) > size else str(len(content))
        raise DataError(f"{path}: the header announces {size} bytes, the file has {found}; get a fresh copy")
    return np.frombuffer(content, np.uint8).reshape(shape)


def read_folder(folder: Path) -> tuple[Bytes, Bytes, Bytes, Bytes]:
    """Read the four standard files of ``folder``.

    Returns
    -------
    x_train, y_train, x_test, y_test : arrays of uint8
        Images of shape (N, rows · columns), labels of shape (N,).
    """
    images, labels = [], []
    for image_name, label_name in (FILES[:2], FILES[2:]):
        y = read_idx(folder / label_name, 1)
        x = read_idx(folder / image_name, 3)
        if len(x) != len(y):
            raise DataError(f"{folder}: {len(x)} images in {image_name}, {len(y)} labels in {label_name}; get a fresh copy of both")
        images.append(x)
        labels.append(y)
    if images[0].shape[1:] != images[1].shape[1:]:
        raise DataError(f"{folder}: training images are {_size(images[0])}, test images {_size(images[1])}; use files that belong together")
    x_train, x_test = (x.reshape(len(x), -1) for x in images)
    return x_train, labels[0], x_test, labels[1]


def _size(x: Bytes) -> str:
    return f"{x.shape[1]} x {x.shape[2]}"

"""The container of an export: a plain POSIX tar archive (ustar, IEEE Std 1003.1-1988) in one canonical form.

Any ``tar`` unpacks it. Nothing in it is free: regular files only, mode 0644, no owner, no time, names in ascending order of their rank,
padding of zeros, two blocks of zeros at the end. Two exports of one ledger therefore have equal bytes, and a reader can tell any other
byte: each header must be the one that :func:`header` makes. There is no compression, so nothing can inflate.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from ledger.errors import FormatError, StorageError, VerificationError

BLOCK = 512
MAX_NAME = 100
MAX_FILE = 8**11 - 1  # eleven octal digits
INDEX = "lunaria-export.json"
FORMAT = "lunaria-export/v1"


def header(name: str, size: int) -> bytes:
    """Return the 512-byte header of a file.

    Raises
    ------
    FormatError
        The name is longer than 100 bytes or not plain ASCII, or the size is above 8 GiB.
    """
    encoded = name.encode("ascii", errors="replace")
    if not 0 < len(encoded) <= MAX_NAME or not name.isascii() or not name.isprintable() or not 0 <= size <= MAX_FILE:
        raise FormatError("this name or size does not fit a plain tar archive")
    fields = (
        encoded.ljust(100, b"\0"),  # name
        b"0000644\0" + b"0000000\0" * 2,  # mode, owner, group
        b"%011o\0" % size,
        b"00000000000\0",  # time
        b" " * 8,  # the checksum counts as spaces while it is computed
        b"0" + b"\0" * 100,  # regular file, no link
        b"ustar\x0000" + b"\0" * 64,  # magic, version, no owner's or group's name
        b"0000000\0" * 2 + b"\0" * 167,  # no device, no prefix, padding
    )
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def rank(name: str) -> tuple[int, str]:
    """Return the place of a name in the archive: index, checkpoint, tiles, evidence; then by the alphabet."""
    order = {INDEX: 0, "checkpoint": 1}
    return order.get(name, 2 if name.startswith("tile/") else 3), name


class ArchiveWriter:
    """Writes an archive to ``path``; the file appears when all of it is written and durable.

    Parameters
    ----------
    path : Path
        Replaced where it exists.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.parent / f".{path.name}.{os.getpid()}.tmp"
        self._last = (-1, "")
        try:
            self._file: BinaryIO = self._temporary.open("wb")
        except OSError as error:
            raise StorageError(f"cannot write {path}: {error.strerror}") from error

    def add(self, name: str, data: bytes) -> None:
        """Add a file; names must come in ascending rank.

        Raises
        ------
        StorageError
            The disk is full, or broken.
        """
        if rank(name) <= self._last:
            raise ValueError(f"{name} does not come after {self._last[1]}")
        self._last = rank(name)
        try:
            self._file.write(header(name, len(data)) + data + bytes(-len(data) % BLOCK))
        except OSError as error:
            raise StorageError(f"cannot write {self._path}: {error.strerror}") from error

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Finish the archive; after an error leave nothing behind."""
        try:
            if error is None:
                self._file.write(bytes(2 * BLOCK))
                self._file.flush()
                os.fsync(self._file.fileno())
                self._file.close()
                self._temporary.replace(self._path)
        except OSError as failure:
            raise StorageError(f"cannot write {self._path}: {failure.strerror}") from failure
        finally:
            with suppress(OSError):  # what could not be flushed has been reported already
                self._file.close()
            self._temporary.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Place:
    offset: int
    size: int


class ArchiveReader:
    """Reads an archive without trusting it; only headers are held in memory.

    Raises
    ------
    FormatError
        The file is empty, truncated, or no export at all.
    VerificationError
        It is an export, but not in its canonical form: something was changed.
    StorageError
        It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            state = path.stat()
            if not stat.S_ISREG(state.st_mode):
                raise StorageError(f"cannot read {path}: it is not a file")
            self._file: BinaryIO = path.open("rb")
            self._length = state.st_size
            try:
                self._places = self._scan()
            except BaseException:
                self.close()
                raise
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror}") from error

    @property
    def length(self) -> int:
        """Size of the whole archive in bytes."""
        return self._length

    def names(self) -> list[str]:
        """Return all names in their order."""
        return list(self._places)

    def size(self, name: str) -> int:
        """Return the size of a file in bytes."""
        return self._places[name].size

    def __contains__(self, name: str) -> bool:
        """Whether the archive holds a file of this name."""
        return name in self._places

    def read(self, name: str, limit: int) -> bytes:
        """Return a file of at most ``limit`` bytes.

        Raises
        ------
        VerificationError
            There is none of this name, or it is larger.
        StorageError
            It cannot be read any more.
        """
        place = self._places.get(name)
        if place is None:
            raise VerificationError(f"{name} is missing")
        if place.size > limit:
            raise VerificationError(f"{name} has {place.size} bytes, above the limit of {limit}")
        try:
            self._file.seek(place.offset)
            data = self._file.read(place.size)
        except OSError as error:
            raise StorageError(f"cannot read {self.path}: {error.strerror}") from error
        if len(data) < place.size:
            raise StorageError(f"cannot read {self.path}: it became shorter meanwhile")
        return data

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the file."""
        self.close()

    def _scan(self) -> dict[str, _Place]:
        start = self._file.read(4 * BLOCK)
        if not start:
            raise FormatError(f"{self.path} is empty")
        # either mark alone will do, so that no single changed byte makes an export look like something else
        if not start.startswith(INDEX.encode() + b"\0") and FORMAT.encode() not in start[BLOCK:]:
            raise FormatError(f"{self.path} is not a Lunaria export: make one with 'lunaria export RUN -o FILE'")
        self._file.seek(0)
        return dict(self._walk())

    def _walk(self) -> Iterator[tuple[str, _Place]]:
        last = (-1, "")
        while (block := self._block()) != bytes(BLOCK):
            name, size = _parse(block)
            if rank(name) <= last:
                raise VerificationError(f"the archive is not canonical: {name} does not come after {last[1]}")
            last = rank(name)
            offset = self._file.tell()
            padding = -size % BLOCK
            if offset + size + padding > self._length:
                raise FormatError(f"{self.path} is truncated in {name}")
            self._file.seek(size, os.SEEK_CUR)
            if self._file.read(padding) != bytes(padding):
                raise VerificationError(f"the archive is not canonical: bytes were added behind {name}")
            yield name, _Place(offset, size)
        if self._block() != bytes(BLOCK) or self._file.read(1):
            raise VerificationError("the archive is not canonical: something follows its end")

    def _block(self) -> bytes:
        block = self._file.read(BLOCK)
        if len(block) < BLOCK:
            raise FormatError(f"{self.path} is truncated: it has no end")
        return block


def _parse(block: bytes) -> tuple[str, int]:
    """Return name and size of a header; VerificationError when it is not the canonical one."""
    name = block[:MAX_NAME].rstrip(b"\0").decode("ascii", errors="replace")
    try:
        size = int(block[124:135], 8)
        canonical = header(name, size) == block
    except (ValueError, FormatError):
        canonical = False
    if not canonical:
        raise VerificationError(f"the archive is not canonical: the header of {name!r} was changed")
    return name, size

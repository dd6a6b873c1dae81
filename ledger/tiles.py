"""Tiles (C2SP tlog-tiles): a log as a finite set of static files, as pure functions.

A *hash tile* ``(level, index)`` holds up to 256 neighbouring hashes of the tree's level ``8 * level``; the seven
levels up to the next tile follow from them by hashing. An *entry bundle* holds the up to 256 entries under a
hash tile of level 0, each behind its length (2 bytes, big-endian). Their paths::

    tile/<L>/<N>[.p/<W>]          tile/0/x001/x234/067     the full tile 1234067 of level 0
    tile/entries/<N>[.p/<W>]      tile/entries/000.p/5     the first five entries

N is in groups of three digits, all but the last behind an ``x``; ``.p/<W>`` stands only in the path of a partial
tile, the last of its level, of width 1 to 255. A tree of 256 entries has one full tile of level 0 and one of
level 1 whose width is 1; a tree of 70,000 has 273 full ones and one of width 112 at level 0, a full one and one
of width 17 at level 1, and one of width 1 at level 2.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ledger.errors import FormatError
from ledger.merkle import HASH_SIZE, NodeReader, root_of

HEIGHT = 8
"""Levels of the tree from one tile to the next."""

WIDTH = 1 << HEIGHT
"""Hashes in a full tile, entries in a full bundle."""

MAX_ENTRY_SIZE = 0xFFFF
"""Bytes in the largest entry: its length has 2 bytes."""

_MAX_LEVEL = 63
_MAX_INDEX = (1 << 63) - 1
_NUMBER = r"(?P<index>(?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
_PATH = re.compile(rf"tile/(?P<level>entries|[0-9]{{1,2}})/{_NUMBER}")


@dataclass(frozen=True)
class Tile:
    """Where a hash tile is in the tree.

    Raises
    ------
    FormatError
        The level is not 0 to 63, the index is negative, or the width is not 1 to 256.
    """

    level: int
    index: int
    width: int = WIDTH

    def __post_init__(self) -> None:
        """Refuse places that no tree has."""
        if not 0 <= self.level <= _MAX_LEVEL:
            raise FormatError(f"a tile cannot be of level {self.level}: levels are 0 to {_MAX_LEVEL}")
        _check_place(self.index, self.width)


@dataclass(frozen=True)
class Bundle:
    """Where an entry bundle is in the log: it starts at entry ``256 * index``.

    Raises
    ------
    FormatError
        The index is negative, or the width is not 1 to 256.
    """

    index: int
    width: int = WIDTH

    def __post_init__(self) -> None:
        """Refuse places that no tree has."""
        _check_place(self.index, self.width)


TileFetcher = Callable[[Tile], bytes]
"""Returns the bytes of a hash tile; raises a ``LedgerError`` where there is none."""


def tile_path(tile: Tile) -> str:
    """Return the path of a hash tile (tlog-tiles, "Merkle Tree")."""
    return f"tile/{tile.level}/{_number(tile.index, tile.width)}"


def entries_path(bundle: Bundle) -> str:
    """Return the path of an entry bundle (tlog-tiles, "Log entries")."""
    return f"tile/entries/{_number(bundle.index, bundle.width)}"


def parse_path(path: str) -> Tile | Bundle:
    """Read what :func:`tile_path` and :func:`entries_path` write, and nothing else.

    Raises
    ------
    FormatError
        The path is malformed or not canonical.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        raise FormatError("not the path of a tile")
    index = int(match["index"].replace("x", "").replace("/", ""))
    width = int(match["width"] or WIDTH)
    place = Bundle(index, width) if match["level"] == "entries" else Tile(int(match["level"]), index, width)
    canonical = entries_path(place) if isinstance(place, Bundle) else tile_path(place)
    if canonical != path:
        raise FormatError(f"the path of this tile reads {canonical}")
    return place


def tiles_of(size: int) -> Iterator[Tile]:
    """Yield the hash tiles of a tree of ``size`` entries, level by level: full ones, then a partial one."""
    level = 0
    while size:
        full, partial = divmod(size, WIDTH)
        for index in range(full):
            yield Tile(level, index)
        if partial:
            yield Tile(level, full, partial)
        level, size = level + 1, full


def bundles_of(size: int) -> Iterator[Bundle]:
    """Yield the entry bundles of a log of ``size`` entries: full ones, then a partial one."""
    full, partial = divmod(size, WIDTH)
    for index in range(full):
        yield Bundle(index)
    if partial:
        yield Bundle(full, partial)


def encode_tile(tile: Tile, read: NodeReader) -> bytes:
    """Return the bytes of ``tile``: its hashes, one behind the other, 32 bytes each."""
    first = tile.index * WIDTH
    return b"".join(read(HEIGHT * tile.level, first + i) for i in range(tile.width))


def decode_tile(tile: Tile, data: bytes) -> list[bytes]:
    """Return the hashes in the bytes of ``tile``.

    Raises
    ------
    FormatError
        There are more or fewer than its width.
    """
    if len(data) != tile.width * HASH_SIZE:
        raise FormatError(f"{tile_path(tile)}: {len(data)} bytes are not {tile.width} hashes")
    return [data[i : i + HASH_SIZE] for i in range(0, len(data), HASH_SIZE)]


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Return the bytes of a bundle of ``entries``.

    Raises
    ------
    FormatError
        There are not 1 to 256, or one is longer than 65,535 bytes.
    """
    if not 1 <= len(entries) <= WIDTH:
        raise FormatError(f"a bundle has 1 to {WIDTH} entries, not {len(entries)}")
    if any(len(entry) > MAX_ENTRY_SIZE for entry in entries):
        raise FormatError(f"an entry is over the limit of {MAX_ENTRY_SIZE} bytes")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def decode_bundle(bundle: Bundle, data: bytes) -> list[bytes]:
    """Return the entries in the bytes of ``bundle``.

    Raises
    ------
    FormatError
        There are more or fewer than its width, or the bytes end within one.
    """
    entries: list[bytes] = []
    start = 0
    while start < len(data) and len(entries) < bundle.width:
        body = start + 2
        stop = body + int.from_bytes(data[start:body], "big")
        if stop > len(data):
            raise FormatError(f"{entries_path(bundle)}: the bytes end within an entry")
        entries.append(data[body:stop])
        start = stop
    if start != len(data) or len(entries) != bundle.width:
        raise FormatError(f"{entries_path(bundle)}: the bytes are not {bundle.width} entries")
    return entries


def tile_reader(size: int, fetch: TileFetcher) -> NodeReader:
    """Return a reader of the nodes of a tree of ``size`` entries from its hash tiles.

    The tiles are taken as they are: a proof or a root computed from changed ones is wrong, and is found to be
    so when it is checked against a checkpoint.

    Parameters
    ----------
    size
        Number of entries: it decides which tiles are partial.
    fetch
        Returns the bytes of a tile; called for every node that is read.

    Returns
    -------
    NodeReader
        It raises FormatError for a node that the tree does not have and for a tile of a wrong length.
    """

    def read(level: int, index: int) -> bytes:
        tile_level, height = divmod(level, HEIGHT)
        first = index << height  # the node spans 2**height hashes of one tile
        tile_index, offset = divmod(first, WIDTH)
        width = min(WIDTH, (size >> HEIGHT * tile_level) - tile_index * WIDTH)
        if offset + (1 << height) > width:
            raise FormatError(f"a tree of {size} has no complete subtree ({level}, {index})")
        tile = Tile(tile_level, tile_index, width)
        return root_of(decode_tile(tile, fetch(tile))[offset : offset + (1 << height)])

    return read


def _check_place(index: int, width: int) -> None:
    if not 0 <= index <= _MAX_INDEX:
        raise FormatError(f"a tile cannot have index {index}")
    if not 1 <= width <= WIDTH:
        raise FormatError(f"a tile cannot be of width {width}: widths are 1 to {WIDTH}")


def _number(index: int, width: int) -> str:
    digits = str(index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    number = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
    return number if width == WIDTH else f"{number}.p/{width}"

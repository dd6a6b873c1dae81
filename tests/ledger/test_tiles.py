"""Tiles: the paths and counts of the specification, trees read back from tiles, and fuzzing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import merkle
from ledger.errors import FormatError
from ledger.tiles import (
    Bundle,
    Tile,
    bundles_of,
    decode_bundle,
    decode_tile,
    encode_bundle,
    encode_tile,
    entries_path,
    parse_path,
    tile_path,
    tile_reader,
    tiles_of,
)
from tests.ledger.test_merkle import grow

PATHS = {
    "tile/0/x001/x234/067": Tile(0, 1234067),
    "tile/0/000": Tile(0, 0),
    "tile/63/999": Tile(63, 999),
    "tile/1/x001/000.p/17": Tile(1, 1000, 17),
    "tile/entries/000.p/5": Bundle(0, 5),
    "tile/entries/x001/x234/067": Bundle(1234067),
}


@pytest.mark.parametrize(("path", "place"), PATHS.items())
def test_paths_are_those_of_the_specification(path: str, place: Tile | Bundle) -> None:
    assert parse_path(path) == place
    assert (entries_path(place) if isinstance(place, Bundle) else tile_path(place)) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "checkpoint",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000/001",
        "tile/0/001/002",
        "tile/0/x001",
        "tile/00/001",
        "tile/64/001",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/-1/000",
        "tile/entries/../000",
        "/tile/0/000",
        "tile/0/000\n",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
        "tile/0/٠٠٠",
    ],
)
def test_other_paths_are_refused(path: str) -> None:
    with pytest.raises(FormatError):
        parse_path(path)


def test_the_tiles_of_a_tree_are_those_of_the_specification() -> None:
    tiles = list(tiles_of(70_000))
    assert [tile for tile in tiles if tile.level == 0] == [*(Tile(0, n) for n in range(273)), Tile(0, 273, 112)]
    assert [tile for tile in tiles if tile.level > 0] == [Tile(1, 0), Tile(1, 1, 17), Tile(2, 0, 1)]
    assert list(tiles_of(256)) == [Tile(0, 0), Tile(1, 0, 1)]
    assert list(tiles_of(0)) == []
    assert list(bundles_of(0)) == []
    assert list(bundles_of(600)) == [Bundle(0), Bundle(1), Bundle(2, 88)]


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 1000])
def test_a_tree_read_from_its_tiles_is_the_tree(size: int) -> None:
    leaves = [merkle.leaf_hash(b"%d" % index) for index in range(size)]
    stored = grow(leaves)
    files = {tile_path(tile): encode_tile(tile, stored) for tile in tiles_of(size)}
    read = tile_reader(size, lambda tile: files[tile_path(tile)])
    assert merkle.root(size, read) == merkle.root_of(leaves)
    for level in range(size.bit_length()):
        for index in range(size >> level):
            assert read(level, index) == stored(level, index)
        with pytest.raises(FormatError, match="no complete subtree"):
            read(level, size >> level)


def test_a_tile_of_a_wrong_length_is_refused() -> None:
    read = tile_reader(3, lambda tile: bytes(32 * 4))
    with pytest.raises(FormatError, match=r"tile/0/000\.p/3: 128 bytes are not 3 hashes"):
        read(0, 0)
    assert decode_tile(Tile(0, 0, 2), bytes(64)) == [bytes(32)] * 2


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256))
def test_bundles_survive_their_encoding(entries: list[bytes]) -> None:
    assert decode_bundle(Bundle(0, len(entries)), encode_bundle(entries)) == entries


def test_the_largest_entry_fits_and_a_larger_one_does_not() -> None:
    largest = bytes(65_535)
    assert decode_bundle(Bundle(0, 1), encode_bundle([largest])) == [largest]
    with pytest.raises(FormatError, match="65535"):
        encode_bundle([largest + b"\x00"])


@pytest.mark.parametrize("count", [0, 257])
def test_a_bundle_has_1_to_256_entries(count: int) -> None:
    with pytest.raises(FormatError, match="1 to 256"):
        encode_bundle([b""] * count)


def test_a_bundle_with_missing_or_further_bytes_is_refused() -> None:
    data = encode_bundle([b"one", b"two"])
    for changed in (data[:-1], data[:6], data[:5], b"", data + b"\x00", data + b"\x00\x00", data + data):
        with pytest.raises(FormatError):
            decode_bundle(Bundle(0, 2), changed)


@pytest.mark.parametrize(("level", "index", "width"), [(-1, 0, 1), (64, 0, 1), (0, -1, 1), (0, 0, 0), (0, 0, 257)])
def test_places_that_no_tree_has_are_refused(level: int, index: int, width: int) -> None:
    with pytest.raises(FormatError):
        Tile(level, index, width)


@given(st.integers(0, 63), st.integers(0, 2**63 - 1), st.integers(1, 256))
def test_any_place_survives_its_path(level: int, index: int, width: int) -> None:
    assert parse_path(tile_path(Tile(level, index, width))) == Tile(level, index, width)
    assert parse_path(entries_path(Bundle(index, width))) == Bundle(index, width)


@given(st.text() | st.from_regex(r"tile/(entries|[0-9]{1,2})/(x[0-9]{3}/)*[0-9]{3}(\.p/[0-9]{1,3})?", fullmatch=True))
def test_path_parser_refuses_or_reads_what_is_written(path: str) -> None:
    try:
        place = parse_path(path)
    except FormatError:
        return
    assert (entries_path(place) if isinstance(place, Bundle) else tile_path(place)) == path


@given(st.integers(1, 256), st.binary())
def test_bundle_decoder_refuses_or_reads_what_is_written(width: int, data: bytes) -> None:
    try:
        entries = decode_bundle(Bundle(0, width), data)
    except FormatError:
        return
    assert encode_bundle(entries) == data

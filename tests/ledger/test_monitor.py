"""A monitor: it follows an honest log over any steps, and every lie is found, named, and where possible proved."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import ledger.monitor
from ledger import merkle, note
from ledger.agreement import Agreement
from ledger.checkpoint import Checkpoint, format_checkpoint
from ledger.cosignature import ED25519_COSIGNATURE, CosignatureSigner
from ledger.entries import encode_entry
from ledger.errors import FormatError, LedgerError, StorageError, VerificationError
from ledger.fork import ForkError, ForkProof
from ledger.monitor import Monitor, Outcome
from ledger.store import Store
from ledger.tiles import Bundle, encode_bundle, encode_tile, parse_path
from tests.federation import SIGNER, opening_of, terms

ORIGIN = SIGNER.verifier.key.name
KEY = str(SIGNER.verifier.key)
WITNESS = CosignatureSigner("w.example", ED25519_COSIGNATURE, bytes([9] * 32))


class Served:
    """A log that is served as it says, or changed by ``edit`` on the way; ``asked`` are the paths."""

    def __init__(self, entries: Sequence[bytes], *cosigners: note.Signer) -> None:
        self.entries, self.cosigners = list(entries), cosigners
        self.size = len(self.entries)
        self.edit: Callable[[str, bytes], bytes] = lambda path, data: data
        self.asked: list[str] = []

    def read(self, level: int, index: int) -> bytes:
        return merkle.root_of([merkle.leaf_hash(entry) for entry in self.entries[index << level : (index + 1) << level]])

    def checkpoint(self) -> bytes:
        text = format_checkpoint(Checkpoint(ORIGIN, self.size, merkle.root(self.size, self.read)))
        return note.sign(text, SIGNER, *self.cosigners)

    def __call__(self, path: str, limit: int) -> bytes:
        self.asked.append(path)
        if path == "checkpoint":
            return self.edit(path, self.checkpoint())
        place = parse_path(path)
        if isinstance(place, Bundle):
            data = encode_bundle(self.entries[place.index * 256 : place.index * 256 + place.width])
        else:
            data = encode_tile(place, self.read)
        return self.edit(path, data)


@pytest.fixture(scope="module")
def entries(run_folder: Path) -> list[bytes]:
    with Store.open(run_folder / "ledger.db", create=False) as store:
        return list(store.entries(0, store.size()))


@pytest.fixture(scope="module")
def long(entries: list[bytes]) -> list[bytes]:
    """Entries enough for several tiles: a monitor does not ask whether they may follow one another."""
    return [*entries[:6], *(entries[1 + number % 3] for number in range(600))]


def outcome(monitor: Monitor) -> tuple[Outcome, int]:
    step = monitor.step()
    return step.outcome, step.checkpoint.size


def lie(monitor: Monitor, kind: type[LedgerError] = VerificationError) -> str:
    with pytest.raises(kind) as caught:
        monitor.step()
    assert isinstance(caught.value, ForkError) is (kind is ForkError)
    return str(caught.value)


def test_it_follows_a_log_to_its_end(tmp_path: Path, entries: list[bytes]) -> None:
    log = Served(entries)
    for size in range(1, 8):
        log.size = size
        with Monitor(tmp_path, KEY, log) as monitor:  # it is stopped and started in between
            step = monitor.step()
            assert (step.outcome, step.checkpoint.size, step.closed) == (Outcome.GREW, size, size == 7)
            assert outcome(monitor) == (Outcome.SAME, size)
    with Store.open(tmp_path / "mirror.db", create=False) as store:
        assert list(store.entries(0, store.size())) == entries


@pytest.mark.parametrize("sizes", [[606], [1, 255, 256, 257, 606], [100, 512, 600]])
def test_it_follows_over_tiles_in_any_steps(tmp_path: Path, long: list[bytes], sizes: list[int]) -> None:
    log = Served(long)
    with Monitor(tmp_path, KEY, log) as monitor:
        for size in sizes:
            log.size, log.asked = size, []
            assert outcome(monitor) == (Outcome.GREW, size)
        if len(sizes) > 1:
            assert "tile/entries/000" not in log.asked  # what it has it does not fetch again


def test_an_empty_log_and_its_first_entries(tmp_path: Path, entries: list[bytes]) -> None:
    log = Served(entries)
    log.size = 0
    with Monitor(tmp_path, KEY, log) as monitor:
        assert outcome(monitor) == (Outcome.GREW, 0)
        assert outcome(monitor) == (Outcome.SAME, 0)
        log.size = 4
        assert outcome(monitor) == (Outcome.GREW, 4)


def test_an_older_checkpoint_is_stale_and_no_fork(tmp_path: Path, entries: list[bytes]) -> None:
    log = Served(entries)
    with Monitor(tmp_path, KEY, log) as monitor:
        monitor.step()
        for size in (6, 3, 0):
            log.size = size
            assert outcome(monitor) == (Outcome.STALE, size)
        log.size = 7
        assert outcome(monitor) == (Outcome.SAME, 7)


@pytest.mark.parametrize(("before", "after"), [(7, 7), (5, 7), (4, 7), (7, 5), (7, 4), (3, 4)])
def test_a_fork_is_proved_and_kept(tmp_path: Path, entries: list[bytes], before: int, after: int) -> None:
    log = Served(entries)
    log.size = before
    with Monitor(tmp_path, KEY, log) as monitor:
        monitor.step()
        other = Served([entries[0], entries[2], entries[1], *entries[3:]])
        other.size = after
        log.entries, log.size = other.entries, after
        assert "has forked" in lie(monitor, ForkError)
        assert "has forked" in lie(monitor, ForkError)  # and it says so again
    (path,) = tmp_path.glob("fork-*.json")
    proof = ForkProof.parse(path.read_bytes())
    assert sorted(checkpoint.size for checkpoint in proof.verify()) == sorted((before, after))
    assert note.parse((tmp_path / "checkpoint").read_bytes()).text.split("\n")[1] == str(before)  # what it saw stands


def test_a_fork_across_tiles_is_proved(tmp_path: Path, long: list[bytes]) -> None:
    log = Served(long)
    log.size = 300
    with Monitor(tmp_path, KEY, log) as monitor:
        monitor.step()
        log.entries = [*long[:270], long[0], *long[271:]]
        log.size = 606
        assert "the proof is in" in lie(monitor, ForkError)


def test_a_fork_is_one_without_witnesses_too(tmp_path: Path) -> None:
    log = Served([encode_entry(opening_of(agreed()))], WITNESS)
    with Monitor(tmp_path, KEY, log) as monitor:
        monitor.step()
        log.entries, log.cosigners = [encode_entry(opening_of(agreed(), run=1))], ()
        lie(monitor, ForkError)


def agreed() -> Agreement:
    return terms(3, 1, witnesses={"keys": [str(WITNESS.verifier.key)], "quorum": 1})


def test_the_quorum_of_the_agreement_is_demanded(tmp_path: Path) -> None:
    log = Served([encode_entry(opening_of(agreed()))])
    with Monitor(tmp_path, KEY, log) as monitor:
        for _ in range(2):
            assert "has 0 of the 1 cosignatures" in lie(monitor)
        assert not (tmp_path / "checkpoint").exists()
        log.cosigners = (WITNESS,)
        assert outcome(monitor) == (Outcome.GREW, 1)
        log.cosigners = ()
        assert "has 0 of the 1 cosignatures" in lie(monitor)


def changed(target: str) -> Callable[[str, bytes], bytes]:
    def edit(path: str, data: bytes) -> bytes:
        return data[:-40] + bytes([data[-40] ^ 1]) + data[-39:] if path.startswith(target) else data

    return edit


@pytest.mark.parametrize(
    ("target", "text"), [("tile/0/", "do not hash to the root"), ("tile/entries/", "is not the one under its root"), ("checkpoint", "")]
)
def test_a_changed_file_is_found(tmp_path: Path, entries: list[bytes], target: str, text: str) -> None:
    log = Served(entries)
    log.edit = changed(target)
    with Monitor(tmp_path, KEY, log) as monitor:
        with pytest.raises(LedgerError, match=text) as caught:
            monitor.step()
        assert not isinstance(caught.value, (ForkError, StorageError))
        log.edit = lambda path, data: data
        assert outcome(monitor) == (Outcome.GREW, 7)


@pytest.mark.parametrize("target", ["tile/0/", "tile/entries/"])
def test_a_changed_file_later_on_is_no_fork(tmp_path: Path, entries: list[bytes], target: str) -> None:
    log = Served(entries)
    log.size = 4
    with Monitor(tmp_path, KEY, log) as monitor:
        monitor.step()
        log.size, log.edit = 7, changed(target)
        lie(monitor)
        log.edit = lambda path, data: data
        assert monitor.step().checkpoint.size == 7
        assert outcome(monitor) == (Outcome.SAME, 7)
    assert not list(tmp_path.glob("fork-*"))


@pytest.mark.parametrize("data", [b"", b"x", bytes(31), bytes(256 * 32), b"\xff" * 70000])
@pytest.mark.parametrize("target", ["checkpoint", "tile/0/", "tile/entries/"])
def test_nonsense_is_found(tmp_path: Path, entries: list[bytes], target: str, data: bytes) -> None:
    log = Served(entries)
    log.edit = lambda path, good: data if path.startswith(target) else good
    with Monitor(tmp_path, KEY, log) as monitor, pytest.raises((FormatError, VerificationError)):
        monitor.step()


def test_entries_of_something_else_are_found(tmp_path: Path, entries: list[bytes]) -> None:
    for place, (bad, text) in enumerate(
        [([b"hello"], "not valid JSON"), ([entries[1]], "not an agreement"), ([entries[0], b"x"], "entry 1 is no")]
    ):
        with Monitor(tmp_path / str(place), KEY, Served(bad)) as monitor, pytest.raises((FormatError, VerificationError), match=text):
            monitor.step()


def test_a_log_of_another_key_is_found(tmp_path: Path, entries: list[bytes]) -> None:
    other = note.Ed25519Signer(ORIGIN, bytes([5] * 32))
    with Monitor(tmp_path, str(other.verifier.key), Served(entries)) as monitor:
        assert "none of the known keys" in lie(monitor)


def test_a_size_without_measure_is_refused_before_anything_is_fetched(tmp_path: Path, entries: list[bytes]) -> None:
    log = Served(entries)
    huge = note.sign(format_checkpoint(Checkpoint(ORIGIN, 1 << 40, bytes(32))), SIGNER)
    log.edit = lambda path, data: huge if path == "checkpoint" else data
    with Monitor(tmp_path, KEY, log) as monitor:
        assert "that is no run" in lie(monitor)
    assert log.asked == ["checkpoint"]


def test_a_step_that_was_cut_short_goes_on(tmp_path: Path, long: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    log = Served(long)

    def away(path: str, data: bytes) -> bytes:
        if path == "tile/entries/001":
            raise StorageError("away")
        return data

    log.edit = away
    with Monitor(tmp_path, KEY, log) as monitor:
        for _ in range(2):
            lie(monitor, StorageError)
    with Store.open(tmp_path / "mirror.db", create=False) as store:
        assert store.size() == 256
    log.edit = lambda path, data: data
    with Monitor(tmp_path, KEY, log) as monitor:
        assert outcome(monitor) == (Outcome.GREW, 606)
        assert outcome(monitor) == (Outcome.SAME, 606)


def test_partial_files_that_are_gone_are_taken_from_the_full_ones(tmp_path: Path, long: list[bytes]) -> None:
    log = Served(long)

    def pruned(path: str, limit: int) -> bytes:
        if ".p/" in path and path != "tile/0/002.p/94" and path != "tile/entries/002.p/94":
            raise StorageError("gone")
        return log(path, limit)

    signed = {}
    for size in (300, 606):
        log.size = size
        signed[size] = log.checkpoint()
    shown = [300]

    def fetch(path: str, limit: int) -> bytes:
        return signed[shown[0]] if path == "checkpoint" else pruned(path, limit)

    with Monitor(tmp_path, KEY, fetch) as monitor:
        for size in (300, 606):
            shown[0] = size
            assert outcome(monitor) == (Outcome.GREW, size)


def test_the_limit_on_growth_is_of_one_step(tmp_path: Path, long: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger.monitor, "MAX_GROWTH", 300)
    log = Served(long)
    with Monitor(tmp_path, KEY, log) as monitor:
        lie(monitor)
        for size in (300, 600):
            log.size = size
            assert outcome(monitor) == (Outcome.GREW, size)

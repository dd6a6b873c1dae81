"""Secrets at rest: what lies in the folder tells nothing, a wrong passphrase loses nothing, and a cut changes nothing."""

import io
import json
import os
from pathlib import Path

import pytest

from clients import passphrase, vault
from clients.errors import MemberError
from clients.home import SECRETS, ClientHome, Settings
from clients.passphrase import open_vault
from clients.vault import FILE, MAGIC, VARIABLE, Vault, in_memory
from ledger.errors import StorageError
from ledger.evidence import write_durably
from tests.clients.test_home import state_of

WORDS = "correct horse battery"


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vault.SCRYPT, "n", 1 << 10)  # the parameters are in the file: what is tested is the same


@pytest.fixture
def words(tmp_path: Path) -> Path:
    path = tmp_path / "passphrase"
    path.write_text(WORDS + "\n", encoding="utf-8")
    return path


@pytest.fixture
def plain(tmp_path: Path) -> ClientHome:
    """Return a client's folder without encryption."""
    home = ClientHome(tmp_path / "state")
    home.prepare(Settings("digits"))
    home.create("node.key", b"a node key")
    member = home.member()
    member.state = state_of()
    home.keep(member)
    return home


def opened(home: ClientHome, words: Path, *, encrypt: bool = False) -> ClientHome:
    return ClientHome(home.folder, open_vault(home.folder, SECRETS, encrypt=encrypt, file=words))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def secrets_in(home: ClientHome) -> list[bytes]:
    return [home.read(name) for name in SECRETS if (home.folder / name).exists()]


def test_a_fresh_folder_is_encrypted_from_the_start(tmp_path: Path, words: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    home = ClientHome(folder, open_vault(folder, SECRETS, encrypt=True, file=words))
    home.prepare(Settings("digits"))
    secret = home.member().secret
    assert not any(secret in data or secret.hex().encode() in data for data in contents(folder).values())
    assert opened(home, words).member().secret == secret
    assert (folder / "identity.key").stat().st_mode & 0o777 == 0o600


def test_an_existing_folder_is_encrypted_later(plain: ClientHome, words: Path) -> None:
    before, member = secrets_in(plain), plain.member()
    home = opened(plain, words, encrypt=True)
    assert secrets_in(home) == before
    assert (home.member().secret, home.member().state) == (member.secret, member.state)
    for name in ("identity.key", "member.json", "node.key"):
        assert (home.folder / name).read_bytes().startswith(MAGIC)
    texts = b"".join(contents(home.folder).values())
    assert not any(part in texts for part in (member.secret.hex().encode(), b"a node key", state_of().nonce.hex().encode(), b"contributed"))


def test_what_is_kept_after_that_is_sealed_too(plain: ClientHome, words: Path) -> None:
    home = opened(plain, words, encrypt=True)
    member = home.member()
    member.state = state_of(4)
    home.keep(member)
    assert (home.folder / "member.json").read_bytes().startswith(MAGIC)
    assert opened(home, words).member().state == state_of(4)


@pytest.mark.parametrize("wrong", ["correct horse batterz", WORDS + " ", "x" * 4000])
def test_a_wrong_passphrase_is_one_line_and_changes_nothing(plain: ClientHome, words: Path, wrong: str) -> None:
    opened(plain, words, encrypt=True)
    before = contents(plain.folder)
    words.write_text(wrong, encoding="utf-8")
    with pytest.raises(MemberError, match="the passphrase is not that of") as caught:
        opened(plain, words)
    assert "\n" not in str(caught.value)
    assert contents(plain.folder) == before
    words.write_text(WORDS, encoding="utf-8")
    assert opened(plain, words).member().state == state_of()


@pytest.mark.parametrize("cut", range(5))
def test_encryption_that_was_cut_off_goes_on(plain: ClientHome, words: Path, cut: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop before the first, second, ... write: the folder can be used, and is sealed as a whole at the next start."""
    before = secrets_in(plain)
    writes: list[str] = []

    def until(path: Path, data: bytes) -> None:
        if len(writes) == cut:
            raise StorageError("the power failed")
        writes.append(path.name)
        write_durably(path, data)

    monkeypatch.setattr(vault, "write_durably", until)
    if cut < 4:
        with pytest.raises(StorageError):
            opened(plain, words, encrypt=True)
    else:
        opened(plain, words, encrypt=True)
    monkeypatch.undo()
    monkeypatch.setitem(vault.SCRYPT, "n", 1 << 10)
    home = opened(plain, words, encrypt=True)
    assert secrets_in(home) == before
    assert all((home.folder / name).read_bytes().startswith(MAGIC) for name in ("identity.key", "member.json", "node.key"))


@pytest.mark.parametrize("name", ["identity.key", "member.json"])
@pytest.mark.parametrize("place", [20, 40, -1])
def test_a_changed_byte_is_found(plain: ClientHome, words: Path, name: str, place: int) -> None:
    home = opened(plain, words, encrypt=True)
    data = bytearray((home.folder / name).read_bytes())
    data[place] ^= 1
    (home.folder / name).write_bytes(bytes(data))
    with pytest.raises(MemberError, match=f"{name} is damaged"):
        home.read(name)


def test_a_sealed_file_does_not_pass_for_another_or_for_anothers(plain: ClientHome, words: Path, tmp_path: Path) -> None:
    home = opened(plain, words, encrypt=True)
    (home.folder / "member.json").write_bytes((home.folder / "identity.key").read_bytes())
    with pytest.raises(MemberError, match=r"member\.json is damaged"):
        home.member()
    other = Vault.create(tmp_path, WORDS)
    (home.folder / "identity.key").write_bytes(other.seal("identity.key", b"00" * 32))
    with pytest.raises(MemberError, match=r"identity\.key is damaged"):
        home.identity()


@pytest.mark.parametrize("short", [b"", b"x", b"x" * 12, b"x" * 27])
def test_a_truncated_file_is_found(plain: ClientHome, words: Path, short: bytes) -> None:
    home = opened(plain, words, encrypt=True)
    (home.folder / "identity.key").write_bytes(MAGIC + short)
    with pytest.raises(MemberError, match=r"identity\.key is damaged"):
        home.identity()


def test_without_the_vault_nothing_is_read_and_nothing_made_anew(plain: ClientHome, words: Path) -> None:
    home = opened(plain, words, encrypt=True)
    kept = (home.folder / FILE).read_bytes()
    (home.folder / FILE).unlink()
    for encrypt in (False, True):
        with pytest.raises(MemberError, match=r"vault\.json is missing"):
            opened(plain, words, encrypt=encrypt)
    with pytest.raises(MemberError, match=r"vault\.json is missing"):
        ClientHome(plain.folder).member()
    (home.folder / FILE).write_bytes(kept)
    assert opened(plain, words).member().state == state_of()


@pytest.mark.parametrize(
    "edit",
    [
        {"n": 1 << 40},
        {"n": 0},
        {"n": 1000},
        {"n": True},
        {"r": 1 << 24},
        {"p": 1 << 20},
        {"format": "lunaria-vault/v2"},
        {"salt": "?"},
        {"key": 7},
    ],
)
def test_a_damaged_vault_is_refused_without_much_memory(plain: ClientHome, words: Path, edit: dict[str, object]) -> None:
    opened(plain, words, encrypt=True)
    path = plain.folder / FILE
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **edit}), encoding="utf-8")
    with pytest.raises(MemberError, match=r"vault\.json is damaged"):
        opened(plain, words)


def test_the_cost_of_a_guess_cannot_be_lowered(plain: ClientHome, words: Path) -> None:
    """Parameters are bound to what they wrap: a folder that was given back with cheaper ones does not open."""
    opened(plain, words, encrypt=True)
    path = plain.folder / FILE
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "n": 512}), encoding="utf-8")
    with pytest.raises(MemberError, match="the passphrase is not that of"):
        opened(plain, words)


def test_a_short_passphrase_is_refused_before_anything_is_written(plain: ClientHome, words: Path) -> None:
    words.write_text("elevenchars", encoding="utf-8")
    before = contents(plain.folder)
    with pytest.raises(MemberError, match="a passphrase needs 12 characters or more, this one has 11"):
        opened(plain, words, encrypt=True)
    assert contents(plain.folder) == before


# ---- where a passphrase comes from


def test_the_environment_gives_it_and_children_do_not_see_it(plain: ClientHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())  # no terminal
    monkeypatch.setenv(passphrase.VARIABLE, WORDS)
    assert open_vault(plain.folder, SECRETS, encrypt=True, file=None) is not None
    assert passphrase.VARIABLE not in os.environ
    with pytest.raises(MemberError, match=f"{passphrase.VARIABLE} in the environment"):
        open_vault(plain.folder, SECRETS, encrypt=False, file=None)


def test_a_file_that_cannot_be_read_and_one_that_is_not_needed(plain: ClientHome, words: Path, tmp_path: Path) -> None:
    with pytest.raises(MemberError, match="cannot read the passphrase from"):
        opened(plain, tmp_path / "missing", encrypt=True)
    with pytest.raises(MemberError, match="a passphrase goes with --encrypt"):
        opened(plain, words)
    (tmp_path / "empty").write_bytes(b"\n")
    with pytest.raises(MemberError, match="is encrypted: give --passphrase-file"):
        opened(plain, tmp_path / "empty", encrypt=True)


def test_another_process_gets_the_key_through_memory(plain: ClientHome, words: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = opened(plain, words, encrypt=True)
    assert home.vault is not None
    with in_memory(home.vault.key) as path:
        monkeypatch.setenv(VARIABLE, path)
        assert Vault.held() == home.vault
    assert not Path(path).exists()
    monkeypatch.delenv(VARIABLE)
    assert Vault.held() is None

"""A deployed client's state folder: what survives, and what is refused."""

import json
import stat
from pathlib import Path

import pytest

from clients.errors import MemberError
from clients.home import ClientHome, Settings
from clients.memory import MemberState


def state_of(contributed: int = 3) -> MemberState:
    return MemberState(b"agreement", b"checkpoint", b"enrolment", b"rows", b"seed", b"statement", b"nonce", 3, contributed, 0)


@pytest.fixture
def home(tmp_path: Path) -> ClientHome:
    home = ClientHome(tmp_path / "state")
    home.prepare(Settings("digits"))
    return home


def test_the_member_is_the_same_when_its_process_starts_again(home: ClientHome) -> None:
    member = home.member()
    member.state = state_of()
    home.keep(member)
    home.prepare(Settings("digits"))
    again = ClientHome(home.folder).member()
    assert (again.secret, again.state) == (member.secret, member.state)


def test_a_fresh_folder_has_an_identity_of_its_own(home: ClientHome, tmp_path: Path) -> None:
    other = ClientHome(tmp_path / "other")
    other.prepare(Settings("digits"))
    assert other.member().secret != home.member().secret
    assert home.member().state is None


def test_nobody_else_can_read_the_secrets(home: ClientHome) -> None:
    assert stat.S_IMODE((home.folder / "identity.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(home.folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"format": "lunaria-member/v2"}'])
def test_a_damaged_memory_is_refused_and_kept(home: ClientHome, damage: str) -> None:
    (home.folder / "member.json").write_text(damage, encoding="utf-8")
    with pytest.raises(MemberError, match=r"member\.json is damaged"):
        home.prepare(Settings("digits"))
    assert (home.folder / "member.json").read_text(encoding="utf-8") == damage


@pytest.mark.parametrize("name", ["nonce", "contributed"])
def test_each_field_of_the_memory_is_needed(home: ClientHome, name: str) -> None:
    member = home.member()
    member.state = state_of()
    home.keep(member)
    record = json.loads((home.folder / "member.json").read_text(encoding="utf-8"))
    del record[name]
    (home.folder / "member.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(MemberError, match="damaged"):
        home.member()


@pytest.mark.parametrize("text", ["", "zz", "00" * 31])
def test_a_damaged_identity_is_refused(home: ClientHome, text: str) -> None:
    (home.folder / "identity.key").write_text(text, encoding="ascii")
    with pytest.raises(MemberError, match=r"identity\.key"):
        home.prepare(Settings("digits"))

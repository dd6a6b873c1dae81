"""Where a client's identity and data come from, and who may say so."""

from pathlib import Path

import numpy as np
import pytest
from flwr.app import Context, RecordDict

from clients.command import _account
from clients.errors import ClientError, MemberError
from clients.home import ClientHome
from clients.member import Member
from clients.memory import MemberState
from clients.settings import local_data, member_from
from clients.state import remember
from tests.federation import terms

Value = str | int | float | bool
TERMS = terms(1, layers=(30, 4, 1), training={"loss": "binary-cross-entropy"})
DATA: dict[str, Value] = {"data": "breast-cancer"}


def context(node: dict[str, Value] | None = None, run: dict[str, Value] | None = None) -> Context:
    return Context(run_id=1, node_id=1, node_config=node or {}, state=RecordDict(), run_config=run or {})


def test_fresh_secret_for_each_client() -> None:
    secrets = {member_from(context()).secret for _ in range(10)}
    assert len(secrets) == 10
    assert {len(secret) for secret in secrets} == {32}


def test_seed_makes_clients_repeatable_and_different() -> None:
    members = [member_from(context({"partition-id": number, "num-partitions": 2}), {"seed": 7}) for number in (0, 1, 0)]
    assert members[0].secret == members[2].secret != members[1].secret
    assert all(member.deterministic for member in members)
    assert member_from(context({"partition-id": 0}), {"seed": 8}).secret != members[0].secret


ACCOUNTS = " ".join("0x" + f"{number:02X}" * 20 for number in (171, 18))


def test_each_client_of_a_simulation_has_its_own_account() -> None:
    members = [member_from(context({"partition-id": number, "num-partitions": 3}), {"accounts": ACCOUNTS}) for number in range(3)]
    assert [member.account for member in members] == ["0x" + "ab" * 20, "0x" + "12" * 20, None]


def test_a_server_cannot_say_where_a_client_is_paid() -> None:
    assert member_from(context({}, {"accounts": ACCOUNTS})).account is None


@pytest.mark.parametrize("text", ["0x12", "12" * 20, "0x" + "zz" * 20, "0x" + "12" * 21])
def test_an_account_that_is_none(text: str) -> None:
    with pytest.raises(MemberError, match="give 0x and 40 hexadecimal digits"):
        member_from(context({"accounts": text}))


def test_an_account_is_said_once_and_kept(tmp_path: Path) -> None:
    home = ClientHome(tmp_path)
    assert _account(home, None) == ""
    assert _account(home, "0x" + "AB" * 20) == _account(home, None) == "0x" + "ab" * 20
    (tmp_path / "account").write_text("elsewhere", encoding="utf-8")
    with pytest.raises(MemberError, match="give 0x and 40 hexadecimal digits"):
        _account(home, None)


def test_without_a_seed_nothing_is_repeatable() -> None:
    assert not member_from(context()).deterministic


def test_secret_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("ab" * 32 + "\n")
    assert member_from(context({"secret-file": str(path)})).secret == b"\xab" * 32


@pytest.mark.parametrize(
    ("text", "line"),
    [("ab" * 31, "should hold 32 bytes in hexadecimal, it holds 31"), ("", "it holds 0"), ("xy" * 32, "cannot read"), ("é", "cannot read")],
)
def test_file_that_holds_no_secret(tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "secret"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(MemberError, match=line) as error:
        member_from(context({"secret-file": str(path)}))
    assert str(error.value).isprintable()


@pytest.mark.parametrize("name", ["missing", "."])
def test_secret_file_that_is_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(MemberError, match="cannot read the client's secret"):
        member_from(context({"secret-file": str(tmp_path / name)}))


def test_memory_wins_over_a_new_secret(folder: Path) -> None:
    where = context()
    member = member_from(where)
    member.state = MemberState(b"{}", b"note", b"enrolment", b"rows", b"seed", b"statement", b"nonce", 3)
    remember(member, where)
    again = member_from(where)
    assert (again.secret, again.state) == (member.secret, member.state)


def test_node_says_which_data(tmp_path: Path) -> None:
    """What its owner configured on the node is not changed by what comes with a run."""
    here = context({"data": "digits", "samples-per-client": 5}, {"data": "breast-cancer", "samples-per-client": 50})
    member = member_from(here, {"data": "diabetes"})
    x, y = member.data(terms(1, layers=(64, 8, 10)))
    assert (x.shape, y.shape) == ((5, 64), (5, 10))


def test_run_configuration_does_not_make_secrets_guessable() -> None:
    """Who submits a run could else compute every identity, blind and nonce of its clients."""
    members = [member_from(context({"partition-id": 0}, {"seed": 1})) for _ in range(2)]
    assert members[0].secret != members[1].secret
    assert not members[0].deterministic


def test_run_configuration_does_not_name_the_secret(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("ab" * 32)
    assert member_from(context({}, {"secret-file": str(path)})).secret != b"\xab" * 32


@pytest.mark.parametrize(
    "node",
    [
        {"seed": "many"},
        {"seed": -1},
        {"seed": 2**64},
        {"seed": 1, "partition-id": -1},
        {"partition-id": "first"},
        {**DATA, "partition-id": 3, "num-partitions": 2},
        {**DATA, "partition-id": -1, "num-partitions": 2},
    ],
    ids=str,
)
def test_setting_that_makes_no_sense(node: dict[str, Value]) -> None:
    with pytest.raises(ClientError) as error:
        member_from(context(node)).data(TERMS)
    assert str(error.value).isprintable()


def data_of(member: Member) -> np.ndarray[tuple[int, ...], np.dtype[np.integer]]:
    return np.concatenate(member.data(TERMS), axis=1)


def test_partitions_share_no_sample() -> None:
    parts = [local_data("breast-cancer", "iid", 20, 3, number, 4, TERMS)[0] for number in range(4)]
    assert [len(part) for part in parts] == [20] * 4
    assert len(np.unique(np.concatenate(parts), axis=0)) == 80


def test_the_same_samples_in_the_same_order_each_time() -> None:
    config: dict[str, str | int] = {"data": "breast-cancer", "samples-per-client": 10, "seed": 5}
    first, again = (member_from(context({"partition-id": 1, "num-partitions": 3}), config) for _ in range(2))
    assert (data_of(first) == data_of(again)).all()
    assert len(data_of(first)) == 10


def test_one_client_alone_has_all_of_its_data() -> None:
    alone = data_of(member_from(context(DATA)))
    split = [data_of(member_from(context({**DATA, "partition-id": number, "num-partitions": 2}))) for number in range(2)]
    assert len(alone) == sum(len(part) for part in split)


def test_share_of_nothing_is_refused() -> None:
    with pytest.raises(ClientError) as error:
        member_from(context({**DATA, "num-partitions": 0})).data(TERMS)
    assert str(error.value).isprintable()

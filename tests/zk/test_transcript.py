"""The transcript: whoever says anything else, or in another order, gets other challenges."""

from collections.abc import Callable

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from zk.field import ORDER
from zk.transcript import Transcript

Step = Callable[[Transcript], object]


def challenges_after(*steps: Step, protocol: str = "test") -> tuple[int, ...]:
    transcript = Transcript(protocol)
    for step in steps:
        step(transcript)
    return (*transcript.challenges("c", 2), *transcript.short_challenges("s", 1))


def absorb(label: str, data: bytes) -> Step:
    return lambda transcript: transcript.absorb(label, data)


ITEMS = st.lists(st.tuples(st.text(max_size=4), st.binary(max_size=6)), max_size=4)


@settings(deadline=None)
@given(ITEMS)
def test_the_same_history_gives_the_same_challenges(items: list[tuple[str, bytes]]) -> None:
    steps = [absorb(*item) for item in items]
    assert challenges_after(*steps) == challenges_after(*steps)


@settings(deadline=None)
@given(ITEMS, ITEMS)
def test_another_history_gives_other_challenges(one: list[tuple[str, bytes]], other: list[tuple[str, bytes]]) -> None:
    assume(one != other)
    assert not set(challenges_after(*(absorb(*item) for item in one))) & set(challenges_after(*(absorb(*item) for item in other)))


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param([absorb("b", b"1"), absorb("b", b"2")], id="label"),
        pytest.param([absorb("a", b"0"), absorb("b", b"2")], id="data"),
        pytest.param([absorb("b", b"2"), absorb("a", b"1")], id="order"),
        pytest.param([absorb("a", b"1")], id="left out"),
        pytest.param([absorb("a", b"1"), absorb("b", b"2"), absorb("", b"")], id="added"),
        pytest.param([absorb("a", b"1b2")], id="joined"),
        pytest.param([absorb("a1", b""), absorb("b", b"2")], id="data moved into the label"),
        pytest.param([absorb("a", b""), absorb("1b", b"2")], id="data moved into the next label"),
        pytest.param([absorb("a", b"1\0"), absorb("b", b"2")], id="trailing zero"),
        pytest.param([absorb("a", b"1"), lambda t: t.challenge("x"), absorb("b", b"2")], id="a challenge between"),
    ],
)
def test_any_change_changes_every_challenge(changed: list[Step]) -> None:
    honest = challenges_after(absorb("a", b"1"), absorb("b", b"2"))
    assert not set(honest) & set(challenges_after(*changed))


def test_protocols_share_no_challenges() -> None:
    assert not set(challenges_after()) & set(challenges_after(protocol="test2"))


def test_each_challenge_is_new() -> None:
    transcript = Transcript("test")
    drawn = [transcript.challenge("a"), transcript.challenge("a"), *transcript.challenges("a", 3), transcript.challenge("b")]
    drawn += transcript.short_challenges("a", 3)
    assert len(set(drawn)) == len(drawn)
    assert Transcript("test").challenge("a") != Transcript("test").challenge("b")


def test_a_challenge_label_counts_for_what_follows() -> None:
    assert challenges_after(lambda t: t.challenge("x")) != challenges_after(lambda t: t.challenge("y"))


@pytest.mark.parametrize("drawn", [lambda t: t.challenges("x", 1), lambda t: t.challenges("x", 3), lambda t: t.short_challenges("x", 2)])
def test_how_many_challenges_were_drawn_and_of_what_kind_counts_for_what_follows(drawn: Step) -> None:
    assert not set(challenges_after(lambda t: t.challenges("x", 2))) & set(challenges_after(drawn))


def test_no_challenges_at_all_count_too() -> None:
    assert not set(challenges_after()) & set(challenges_after(lambda t: t.challenges("x", 0)))


def test_one_challenge_is_the_first_of_one() -> None:
    assert [Transcript("test").challenge("a")] == Transcript("test").challenges("a", 1)


def test_challenges_are_scalars_and_short_ones_have_128_bits() -> None:
    long, short = Transcript("test").challenges("a", 300), Transcript("test").short_challenges("a", 300)
    assert max(long) < ORDER
    assert max(long).bit_length() == 255
    assert max(short).bit_length() == 128
    assert len({*long, *short}) == 600
    assert abs(sum(value / ORDER for value in long) / 300 - 0.5) < 0.1
    assert abs(sum(value / 2**128 for value in short) / 300 - 0.5) < 0.1


def test_integers_are_absorbed_as_eight_bytes_and_no_others_are() -> None:
    assert challenges_after(lambda t: t.absorb_int("n", 258)) == challenges_after(absorb("n", b"\0\0\0\0\0\0\1\2"))
    assert challenges_after(lambda t: t.absorb_int("n", 2**64 - 1)) == challenges_after(absorb("n", b"\xff" * 8))
    for value in (-1, 2**64):
        with pytest.raises(OverflowError):
            Transcript("test").absorb_int("n", value)


def test_the_state_moves_with_every_step_and_reading_it_changes_nothing() -> None:
    transcript = Transcript("test")
    states = [transcript.state()]
    for step in (absorb("a", b""), lambda t: t.challenge("a"), lambda t: t.short_challenges("a", 2)):
        assert transcript.state() == states[-1]
        step(transcript)
        states.append(transcript.state())
    assert len(set(states)) == 4
    assert {len(state) for state in states} == {32}


def test_the_challenges_are_those_of_the_first_version() -> None:
    transcript = Transcript("known answer")
    transcript.absorb("bytes", b"\x01\x02")
    transcript.absorb_int("number", 3)
    assert f"{transcript.challenge('long'):064x}" == "6461670c4dc55e08b0bc45d67118b096c194b35cc8258c371b9328d7b0075b2e"
    assert f"{transcript.short_challenges('short', 1)[0]:032x}" == "824386a9d884467fd1eb89de09b4ae63"

"""A client that is stopped: it leaves when its reply was fetched, or when nobody is there to take one."""

import socket
import time

import pytest

from clients import session
from clients.address import free_port
from clients.session import Connection, _Hand

AWAY = Connection("127.0.0.1", 1, None)


def test_nothing_in_hand_is_no_reason_to_stay() -> None:
    assert _Hand().empty(AWAY)


def test_a_message_is_answered_first_while_the_server_is_there() -> None:
    hand = _Hand()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))
        listener.listen()
        here = Connection("127.0.0.1", listener.getsockname()[1], None)
        hand.see("INFO :      Receiving: train message (ID: 1)")
        assert not hand.empty(here)
        hand.see("INFO :      Start `flwr-clientapp` process")
        assert not hand.empty(here)


def test_a_reply_is_given_time_to_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "FETCHED_SECONDS", 0.2)
    hand = _Hand()
    hand.see("Receiving: train message (ID: 1)")
    hand.see("Sent successfully")
    assert not hand.empty(AWAY)
    time.sleep(0.25)
    assert hand.empty(AWAY)


def test_nobody_waits_for_a_server_that_is_gone() -> None:
    hand = _Hand()
    hand.see("Receiving: train message (ID: 1)")
    assert hand.empty(AWAY)

"""A client's memory between messages, kept in Flower's context: it stays on the client's side."""

from dataclasses import replace

from flwr.app import ConfigRecord, Context

from clients.errors import MemberError
from clients.member import Member
from clients.memory import MemberState

_KEY = "lunaria-member"


def recall(context: Context) -> tuple[bytes | None, MemberState | None]:
    """Return the client's secret and state, as far as it has any."""
    record = context.state.config_records.get(_KEY)
    if record is None:
        return None, None
    secret = record["secret"]
    if not isinstance(secret, bytes):
        raise MemberError("the client's memory is damaged: give it a fresh state")
    return secret, MemberState.from_fields(record)


def remember(member: Member, context: Context) -> None:
    """Keep what the member must know when the next message comes; not its last answer, which nobody asks for again in one process."""
    if member.state is not None:
        state = replace(member.state, asked=b"", kept=b"")
        context.state[_KEY] = ConfigRecord({"secret": member.secret, **state.to_fields()})

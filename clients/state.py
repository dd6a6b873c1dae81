"""A client's memory between messages, kept in Flower's context: it stays on the client's side."""

from flwr.app import ConfigRecord, Context

from clients.errors import MemberError
from clients.member import Member, MemberState

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
    """Keep what the member must know when the next message comes."""
    if member.state is not None:
        context.state[_KEY] = ConfigRecord({"secret": member.secret, **member.state.to_fields()})

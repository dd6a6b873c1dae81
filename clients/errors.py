"""Errors of the ``clients`` room: one base class, messages that say what to do."""

from ledger.errors import LedgerError

UNUSABLE = 2
"""The exit code of an expected error (those of ``server.errors``)."""


class ClientError(Exception):
    """Anything this package refuses; its text is one line for a person."""


class DataError(ClientError):
    """Data that cannot be found, read, or trained on."""


class MemberError(ClientError):
    """A client refuses to take part: the server asked for something that the agreement or the ledger does not allow."""


EXPECTED = (ClientError, LedgerError)
"""Errors of ``flower-client`` whose text is a line for a person; any other is a defect."""

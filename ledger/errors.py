"""Errors of the ``ledger`` room: one base class, messages that say what is wrong and what to do."""


class LedgerError(Exception):
    """Anything this package refuses; its text is one line for a person."""


class FormatError(LedgerError):
    """Bytes or values that are not what they claim to be: malformed, not canonical, or over a limit."""


class VerificationError(LedgerError):
    """A well-formed statement that is false: a proof, a signature or a digest that does not verify."""


class StorageError(LedgerError):
    """A store that cannot be used as it stands: missing, locked, forked, damaged, or not ours."""

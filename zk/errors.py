"""Errors of the ``zk`` room: one base class, messages that say what to do."""


class ZkError(Exception):
    """Anything this package refuses; its text is one line for a person."""


class EncodingError(ZkError):
    """Bytes that are not a canonical encoding of what they claim to be."""


class RuleError(ZkError):
    """A training rule whose parts contradict each other."""


class RangeError(ZkError):
    """A value left the range that the agreed fixed-point plan gives it."""


class CommitmentError(ZkError):
    """A commitment or a proof about one that does not verify."""

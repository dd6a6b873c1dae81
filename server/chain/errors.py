"""Errors of the chain's client."""

from server.errors import ExitCode, ServerError


class Refused(ServerError):  # noqa: N818 - an outcome
    """The contract refuses a call; the text is its reason."""

    exit_code = ExitCode.FALSE


class Unreachable(ServerError):  # noqa: N818 - a state
    """The node cannot be reached, or did not take a transaction in time: nothing is lost, try again."""

    exit_code = ExitCode.FAILED


class Disagreement(ServerError):  # noqa: N818 - a fact
    """Ledger and chain contradict each other."""

    exit_code = ExitCode.FORK

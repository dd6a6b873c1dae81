"""Errors of the ``server`` room, and the exit codes of its commands.

====  ==============================================================================================================
code  meaning
====  ==============================================================================================================
0     done; for ``lunaria audit``: everything verified; for ``lunaria fsck``: intact
1     something is false: a check of the audit, a proof, an accusation; for ``lunaria fsck``: damaged; for ``lunaria chain``: refused
2     the input is unusable: an option, an agreement, a data set, a file
3     the run failed: too few clients enrolled, or too few updates were accepted; for ``lunaria chain``: the node is away
4     a part of the installation is missing
5     a log has forked: it signed two histories; for ``lunaria chain status``: what is anchored is not the ledger
75    flower-server: a process ended or the ledger cannot be written now; the same command goes on with the run
130   stopped with Ctrl-C or SIGTERM; the ledger audits as far as it came
====  ==============================================================================================================
"""

from enum import IntEnum

from clients.errors import ClientError
from ledger.errors import LedgerError
from zk.errors import ZkError


class ExitCode(IntEnum):
    """Exit codes of ``lunaria``."""

    OK = 0
    FALSE = 1
    UNUSABLE = 2
    FAILED = 3
    NOT_INSTALLED = 4
    FORK = 5
    AGAIN = 75
    INTERRUPTED = 130


class ServerError(Exception):
    """A command cannot do what it was asked; the text is one line that says why and what to do."""

    exit_code = ExitCode.UNUSABLE


class RunFailed(ServerError):  # noqa: N818 - an outcome, named as one
    """A run started and could not be completed."""

    exit_code = ExitCode.FAILED


class CutOff(RunFailed):
    """A run stands still through no fault of its own, and goes on when it is started again."""

    exit_code = ExitCode.AGAIN


EXPECTED = (ServerError, ClientError, LedgerError, ZkError)
"""Errors whose text is a line for a person; any other is a defect."""


def exit_code(error: Exception) -> ExitCode:
    """Return the exit code of an expected error."""
    return error.exit_code if isinstance(error, ServerError) else ExitCode.UNUSABLE

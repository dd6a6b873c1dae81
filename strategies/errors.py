"""Errors of the ``strategies`` room."""


class StrategyError(Exception):
    """The run cannot start or go on; the text is one line that says why and what to do."""

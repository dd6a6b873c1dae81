"""The client of the contracts in ``deploy/contracts``: needs the extra ``[chain]``; nothing else in Lunaria needs a chain."""

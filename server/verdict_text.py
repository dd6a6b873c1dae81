"""Verdicts in words."""

from collections import Counter

from ledger.entries import RoundEntry


def verdict_text(entry: RoundEntry) -> str:
    """Return a round's verdicts: how many of each kind, accepted ones first."""
    counts = Counter(verdict.reason.value for verdict in entry.verdicts)
    return ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items(), key=lambda item: (item[0] != "accepted", item[0])))

"""What a run's settlements come to, for people."""

from collections.abc import Iterable

from rich import box
from rich.table import Table

from ledger.entries import EnrolmentEntry, SettlementEntry, decode_entry


def settlements_table(entries: Iterable[bytes]) -> Table | None:
    """Return a table of what each client earned and lost in all epochs; None where nothing was settled."""
    keys: list[str] = []
    settled: list[SettlementEntry] = []
    for data in entries:
        entry = decode_entry(data)
        if isinstance(entry, EnrolmentEntry):
            keys.append(entry.enrolment.statement.client)
        elif isinstance(entry, SettlementEntry):
            settled.append(entry)
    if not settled:
        return None
    table = Table(box=box.SIMPLE, title=f"{len(settled)} epochs settled", title_justify="left")
    for column in ("client", "account", "rounds", "score", "contribution", "licence", "lost", "because of"):
        table.add_column(column, justify="left" if column in ("client", "account", "because of") else "right", overflow="fold")
    lines = [line for entry in settled for line in entry.clients]
    for number in sorted({line.client for line in lines}):
        own = [line for line in lines if line.client == number]
        table.add_row(
            f"{number} {keys[number][:8]}",
            f"{own[0].account[:6]}…{own[0].account[-4:]}" if own[0].account else "—",
            str(sum(line.rounds for line in own)),
            f"{sum(line.score for line in own):,}",
            str(sum(int(line.contribution) for line in own)),
            str(sum(int(line.licence) for line in own)),
            str(sum(int(line.penalty) for line in own)),
            ", ".join(sorted({reason for line in own for reason in line.reasons})),
        )
    return table

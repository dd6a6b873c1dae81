"""Gas is deterministic: the checked-in table is what the contracts take, and the limits hold."""

from bench.chain_gas import LIMITS, REPORT, table


def test_the_table_of_gas_is_what_the_contracts_take() -> None:
    made = table()
    assert made == REPORT.read_text(encoding="utf-8"), "python -m bench.chain_gas"
    for line in made.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 5 and cells[1].strip("`") in LIMITS:
            assert all(int(cell.replace(",", "")) <= LIMITS[cells[1].strip("`")] for cell in cells[2:4]), line

"""The journal: what was promised is read again, and nothing else is."""

from pathlib import Path

import pytest

from ledger.entries import Reveal, Verdict
from ledger.errors import StorageError
from ledger.verdicts import Reason
from strategies.journal import Drawn, Journal, Page

RUN, OTHER = "11" * 32, "22" * 32
DRAWN = Drawn(reveals=(Reveal(client=0, nonce="33" * 32),), withheld=(1,), beacon="44" * 32)
VERDICTS = (Verdict(client=0, reason=Reason.ACCEPTED), Verdict(client=1, reason=Reason.NO_REPLY))


@pytest.mark.parametrize(
    "page",
    [
        Page(run=RUN, size=3),
        Page(run=RUN, size=3, drawn=DRAWN),
        Page(run=RUN, size=3, verdicts=VERDICTS, drawn=DRAWN),
    ],
    ids=["empty", "drawn", "with verdicts"],
)
def test_what_was_promised_is_read_again(tmp_path: Path, page: Page) -> None:
    Journal(tmp_path).write(page)
    assert Journal(tmp_path).read(RUN, 3) == page


def test_a_page_belongs_to_one_size_of_one_run(tmp_path: Path) -> None:
    Journal(tmp_path).write(Page(run=RUN, size=3))
    assert Journal(tmp_path).read(RUN, 4) is None
    assert Journal(tmp_path).read(OTHER, 3) is None


def test_a_page_that_was_moved_counts_for_nothing(tmp_path: Path) -> None:
    Journal(tmp_path).write(Page(run=RUN, size=3, drawn=DRAWN))
    (tmp_path / "journal" / "3.json").rename(tmp_path / "journal" / "5.json")
    assert Journal(tmp_path).read(RUN, 5) is None


def test_old_pages_go_and_the_one_before_stays(tmp_path: Path) -> None:
    """It may still be the ledger's: a page is written before the entry that makes it the current one."""
    journal = Journal(tmp_path)
    for size in (3, 4, 5):
        journal.write(Page(run=RUN, size=size))
    assert sorted(path.name for path in (tmp_path / "journal").iterdir()) == ["4.json", "5.json"]


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"format":"lunaria-journal/v2","run":"' + RUN.encode() + b'","size":3}'])
def test_a_damaged_page_is_an_error_in_one_line(tmp_path: Path, damage: bytes) -> None:
    Journal(tmp_path).write(Page(run=RUN, size=3))
    (tmp_path / "journal" / "3.json").write_bytes(damage)
    with pytest.raises(StorageError, match=r"3\.json is damaged") as error:
        Journal(tmp_path).read(RUN, 3)
    assert "\n" not in str(error.value)


def test_a_simulation_has_none(tmp_path: Path) -> None:
    Journal(None).write(Page(run=RUN, size=3))
    assert Journal(None).read(RUN, 3) is None
    assert list(tmp_path.iterdir()) == []

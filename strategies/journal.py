"""What a server has promised about the next entry and not yet appended: read again after a crash, it makes the same entry.

::

    journal/SIZE.json    what belongs to the entry that makes the ledger larger than SIZE entries

A beacon is drawn once. Were it drawn again after a crash, whoever can make the server crash would have a second try, and clients that
have answered to the first one sit the round out. So it is on disk before anybody is asked to train by it, and so are the verdicts of
the contributions that are appended before it is drawn who must prove (``proof.rate`` below 1). A page whose SIZE is not that of the
ledger has had its day.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from ledger.canonical import dump_json
from ledger.entries import Reveal, Verdict
from ledger.errors import StorageError
from ledger.evidence import read_capped, write_durably
from ledger.schema import Hex32, Index, Section, explain

FOLDER = "journal"
MAX_PAGE_BYTES = 2**20


class Drawn(Section):
    """A beacon, the nonces behind it, and the clients that kept theirs back."""

    reveals: tuple[Reveal, ...]
    withheld: tuple[Index, ...]
    beacon: Hex32

    @property
    def clients(self) -> list[int]:
        """The clients whose nonces are in it."""
        return [reveal.client for reveal in self.reveals]

    @property
    def nonces(self) -> list[bytes]:
        """Their nonces, in the same order."""
        return [bytes.fromhex(reveal.nonce) for reveal in self.reveals]


class Page(Section):
    """What is known of the entry that comes next; an empty page says that enrolment is over.

    ``run`` is the digest of entry 0 and ``size`` the ledger's. ``verdicts`` are those of the contributions that stand, before any is
    proved; ``drawn`` is the beacon.
    """

    format: Literal["lunaria-journal/v1"] = "lunaria-journal/v1"
    run: Hex32
    size: int = Field(ge=1)
    verdicts: tuple[Verdict, ...] = ()
    drawn: Drawn | None = None


class Journal:
    """The journal of one run.

    Parameters
    ----------
    folder : Path or None
        The run's folder; None for a run that ends with its process, as a simulation does, and needs none.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = None if folder is None else folder / FOLDER

    def read(self, run: str, size: int) -> Page | None:
        """Return the page of the ledger's size; None where nothing was promised yet.

        Raises
        ------
        StorageError
            It cannot be read, or is damaged.
        """
        if self._folder is None:
            return None
        path = self._folder / f"{size}.json"
        data = read_capped(path, MAX_PAGE_BYTES)
        if data is None:
            return None
        try:
            page = Page.model_validate_json(data)
        except ValidationError as error:
            raise StorageError(
                f"{path} is damaged ({explain(error)}): bring it back from a backup, or remove it and have the beacon drawn again; "
                "clients that answered to the one it held sit this round out"
            ) from error
        return page if (page.run, page.size) == (run, size) else None

    def write(self, page: Page) -> None:
        """Make a page durable, in the place of an older one; raises StorageError where it cannot."""
        if self._folder is None:
            return
        write_durably(self._folder / f"{page.size}.json", dump_json(page.model_dump(mode="json")))
        for old in self._folder.glob("*.json"):
            if old.stem.isdecimal() and int(old.stem) < page.size - 1:  # the one before may still be the ledger's
                old.unlink(missing_ok=True)

"""``lunaria crate``: an export, the page that shows it, and the metadata of an RO-Crate, in one folder for an archive."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from ledger.archive import ArchiveReader
from ledger.canonical import digest
from ledger.entries import AgreementEntry, decode_entry
from ledger.errors import FormatError
from ledger.evidence import write_durably
from ledger.export import write_export
from ledger.tiles import bundles_of, decode_bundle, entries_path
from server.crate import EXPORT, METADATA, PREVIEW, Exported, crate_metadata
from server.errors import ServerError
from server.explorer_data import MAX_BUNDLE_BYTES, ledger_data
from server.explorer_page import explorer_page
from server.files import file_digest


def crate(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    folder: Annotated[Path, typer.Argument(help="A new folder for the crate.")],
    updates: Annotated[bool, typer.Option(help="Include single updates; without them the audit checks the sums only.")] = True,
    license_url: Annotated[str | None, typer.Option("--license", help="URL of a licence. [default: the terms in the agreement]")] = None,
    published: Annotated[str | None, typer.Option("--date", help="Date of publication, YYYY-MM-DD. [default: today]")] = None,
) -> None:
    """Write an export into a folder that describes itself to archives (RO-Crate 1.1)."""
    day = _date(published)
    if license_url is not None and urlsplit(license_url).scheme not in ("http", "https"):
        raise ServerError(f"--license {license_url} is not a URL: it begins with https://")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ServerError(f"{folder} is not empty: name a new folder")
    except OSError as error:
        raise ServerError(f"cannot write {folder}: {error.strerror}") from error
    export = folder / EXPORT
    count = write_export(run, export, updates=updates)
    write_durably(folder / PREVIEW, explorer_page(ledger_data(export)).html)
    metadata = crate_metadata(_exported(export, count), day, license_url)
    write_durably(folder / METADATA, json.dumps(metadata, indent=2, ensure_ascii=False).encode() + b"\n")
    typer.echo(f"{folder}: {count} entries in {EXPORT}, {METADATA}, {PREVIEW}")


def _exported(export: Path, count: int) -> Exported:
    first = next(bundles_of(count))
    with ArchiveReader(export) as archive:
        leaf = decode_bundle(first, archive.read(entries_path(first), MAX_BUNDLE_BYTES))[0]
    opening = decode_entry(leaf)
    if not isinstance(opening, AgreementEntry):
        raise FormatError(f"the ledger in {export} does not begin with an agreement")
    sha256, size = file_digest(export)
    return Exported(opening.agreement, digest(leaf), opening.origin, count, sha256, size)


def _date(text: str | None) -> date:
    try:
        return date.fromisoformat(text) if text else datetime.now(UTC).date()
    except ValueError as error:
        raise ServerError(f"--date {text} is not a date: write it as YYYY-MM-DD") from error

"""An export as a research object (RO-Crate 1.1): the metadata that archives and repositories read.

Source: Soiland-Reyes et al., "Packaging research artefacts with RO-Crate", 2022, and the specification at
https://w3id.org/ro/crate/1.1. One JSON-LD file describes the folder that it is in.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any

from ledger.agreement import Agreement

METADATA = "ro-crate-metadata.json"
PREVIEW = "ro-crate-preview.html"
EXPORT = "export.tar"
_VERSION = "https://w3id.org/ro/crate/1.1"
Json = dict[str, Any]


@dataclass(frozen=True)
class Exported:
    """An export and what it is of.

    Attributes
    ----------
    agreement
        What was agreed.
    run, origin
        Digest of entry 0, and the log's name.
    entries
        Number of entries.
    digest, size
        SHA-256 in hexadecimal, and bytes, of the export.
    """

    agreement: Agreement
    run: str
    origin: str
    entries: int
    digest: str
    size: int


def crate_metadata(exported: Exported, published: date, license_url: str | None = None) -> Json:
    """Return the content of ``ro-crate-metadata.json``.

    Parameters
    ----------
    exported
        The export in the crate, as ``export.tar``.
    published
        The date of publication, which RO-Crate demands.
    license_url
        Under what the data may be used; without one, the terms in the agreement stand there.
    """
    federation, terms = exported.agreement.federation, exported.agreement.data
    license_id = license_url or "#terms"
    about = f" {terms.description}" if terms.description else ""
    root: Json = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"{federation.name}: ledger of a federated-learning run",
        "description": f"The run {exported.run} of the log {exported.origin}: {exported.entries} entries, with everything that an audit "
        f"needs ('lunaria audit {EXPORT}').{about}",
        "identifier": exported.run,
        "datePublished": published.isoformat(),
        "license": {"@id": license_id},
        "hasPart": [{"@id": EXPORT}],
        "mainEntity": {"@id": EXPORT},
    }
    export: Json = {
        "@id": EXPORT,
        "@type": "File",
        "name": "Export of the ledger",
        "description": "Signed checkpoint, Merkle tree, entries, and evidence named by SHA-256.",
        "encodingFormat": ["application/x-tar", {"@id": "#format"}],
        "contentSize": str(exported.size),
        "sha256": exported.digest,
    }
    return {
        "@context": [f"{_VERSION}/context", {"sha256": "https://schema.org/sha256"}],  # a term that 1.1 does not have yet
        "@graph": [
            {"@id": METADATA, "@type": "CreativeWork", "conformsTo": {"@id": _VERSION}, "about": {"@id": "./"}},
            root,
            export,
            {"@id": PREVIEW, "@type": "CreativeWork", "name": "The ledger, verified by the browser that shows it", "about": {"@id": "./"}},
            {"@id": "#format", "@type": "CreativeWork", "name": "lunaria-export/v1: POSIX tar, C2SP tlog-tiles, RFC 6962, RFC 8785"},
            _license(license_id, terms.terms),
        ],
    }


def _license(identifier: str, terms: str) -> Json:
    if identifier != "#terms":
        return {"@id": identifier, "@type": "CreativeWork", "name": identifier}
    said = terms or "The agreement states no terms: ask those who took part."
    return {"@id": identifier, "@type": "CreativeWork", "name": "Terms in the agreement of the federation", "description": said}

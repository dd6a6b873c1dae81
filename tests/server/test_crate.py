"""The RO-Crate: its structure is that of the specification, and what it says of the export is true."""

import json
from pathlib import Path
from typing import Any

import pytest

from ledger.export import write_export
from server.crate import EXPORT, METADATA, PREVIEW
from server.explorer_data import ledger_data
from server.explorer_page import explorer_page
from tests.ledger.conftest import Forgery
from tests.server.conftest import Cli
from zk.hashing import sha256

Json = dict[str, Any]


@pytest.fixture
def graph(cli: Cli, run_folder: Path) -> Json:
    """Return the entities of a crate by their identifiers."""
    done = cli("crate", run_folder, "crate", "--date", "2026-11-22")
    assert (done.code, done.err) == (0, "")
    content = json.loads(Path("crate", METADATA).read_text(encoding="utf-8"))
    assert content["@context"][0] == "https://w3id.org/ro/crate/1.1/context"
    entities = {entity["@id"]: entity for entity in content["@graph"]}
    assert len(entities) == len(content["@graph"])
    return entities


def references(value: object) -> list[str]:
    if isinstance(value, dict):
        return [value["@id"]] if set(value) == {"@id"} else [found for each in value.values() for found in references(each)]
    return [found for each in value for found in references(each)] if isinstance(value, list) else []


def test_its_structure_is_that_of_the_specification(graph: Json) -> None:
    descriptor, root = graph[METADATA], graph["./"]
    assert descriptor["@type"] == "CreativeWork"
    assert descriptor["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    assert descriptor["about"] == {"@id": "./"}
    assert root["@type"] == "Dataset"
    assert root["datePublished"] == "2026-11-22"
    assert all(isinstance(root[name], str) and root[name] for name in ("name", "description", "identifier"))
    for entity in graph.values():
        assert {"@id", "@type"} <= set(entity)
        missing = [target for target in references(entity) if target not in graph and not target.startswith("https://w3id.org/")]
        assert not missing
    for part in root["hasPart"]:
        assert graph[part["@id"]]["@type"] == "File"
        assert Path("crate", part["@id"]).is_file()


def test_it_says_what_is_true(graph: Json, run_folder: Path, export: Path) -> None:
    data = Path("crate", EXPORT).read_bytes()
    assert data == export.read_bytes()
    assert graph[EXPORT]["sha256"] == sha256(data).hex()
    assert graph[EXPORT]["contentSize"] == str(len(data))
    assert graph["./"]["identifier"] == Forgery.load(export).run
    assert "7 entries" in graph["./"]["description"]
    assert Path("crate", PREVIEW).read_bytes() == explorer_page(ledger_data(export)).html
    assert {path.name for path in Path("crate").iterdir()} == {EXPORT, METADATA, PREVIEW}


def test_a_licence_takes_the_place_of_the_terms(cli: Cli, run_folder: Path, graph: Json) -> None:
    assert graph["./"]["license"] == {"@id": "#terms"}
    assert graph["#terms"]["description"]
    url = "https://creativecommons.org/licenses/by/4.0/"
    assert cli("crate", run_folder, "other", "--license", url, "--no-updates").code == 0
    entities = json.loads(Path("other", METADATA).read_text(encoding="utf-8"))["@graph"]
    assert next(entity for entity in entities if entity["@id"] == "./")["license"] == {"@id": url}
    write_export(run_folder, Path("small.tar"), updates=False)
    assert Path("other", EXPORT).read_bytes() == Path("small.tar").read_bytes()


def test_the_rocrate_package_reads_it(graph: Json) -> None:
    rocrate = pytest.importorskip("rocrate.rocrate", reason="the package rocrate is not installed")
    crate = rocrate.ROCrate("crate")
    assert crate.root_dataset["identifier"] == graph["./"]["identifier"]
    assert crate.mainEntity.id == EXPORT
    assert [entity.id for entity in crate.data_entities] == [EXPORT]


def test_nothing_is_overwritten(cli: Cli, run_folder: Path, tmp_path: Path) -> None:
    Path("full").mkdir()
    Path("full", "a").write_text("x")
    assert "full is not empty" in cli("crate", run_folder, "full").refused()
    assert "is not a date" in cli("crate", run_folder, "new", "--date", "tomorrow").refused()
    assert "is not a URL" in cli("crate", run_folder, "new", "--license", "mine").refused()
    assert "cannot write" in cli("crate", run_folder, Path("full", "a")).refused()
    assert "not the folder of a run" in cli("crate", "full", "new").refused()
    assert not Path("new", METADATA).exists()

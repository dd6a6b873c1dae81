"""The explorer in a real Chromium: it verifies what is true, names what is false, and shows hostile text as text."""

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

import server
from ledger import merkle
from ledger.checkpoint import Checkpoint, format_checkpoint, parse_checkpoint, sign_checkpoint
from ledger.cosignature import ED25519_COSIGNATURE, ML_DSA_44_COSIGNATURE, CosignatureSigner
from ledger.entries import encode_entry
from ledger.log import Log
from ledger.note import Ed25519Signer, Signature, parse, signature_by
from ledger.note import sign as sign_note
from ledger.store import Store
from ledger.verdicts import EXPLANATIONS, Reason
from server.explorer_data import ledger_data
from server.explorer_page import explorer_page
from server.read_app import Files, explorer_route, read_routes
from tests.browser import Tab, chromium
from tests.federation import SIGNER, key_of
from tests.ledger.conftest import FIRST, LAST, Forgery, agreed, forgery
from tests.ledger.test_entries import EXAMPLES
from tests.server.conftest import Cli
from tests.server.live import served
from zk.hashing import sha256

__all__ = ["forgery"]
Json = dict[str, Any]
GOLDEN = Path(__file__).parents[1] / "ledger" / "golden"
ENTRIES, TILE = "tile/entries/000.p/7", "tile/0/000.p/7"
HOSTILE = "</script><script>window.owned=1</script><img src=x onerror='window.owned=1'>\u202egnp.\u200b"
WITNESSES = [
    CosignatureSigner(f"w{number}.example", kind, bytes([number + 1] * 32), lambda: 1_700_000_000)
    for number, kind in enumerate((ED25519_COSIGNATURE, ED25519_COSIGNATURE, ML_DSA_44_COSIGNATURE))
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with chromium(tmp_path_factory.mktemp("browser") / "profile") as tab:
        yield tab


@pytest.fixture
def tab(browser: Tab) -> Tab:
    browser.size(1200)
    browser.colours("light")
    return browser


@pytest.fixture
def copy_of_run(run_folder: Path, tmp_path: Path) -> Path:
    """Return a run's folder that a test may change."""
    return Path(shutil.copytree(run_folder, tmp_path / "served"))


@pytest.fixture
def data(run_folder: Path) -> Json:
    return ledger_data(run_folder)


Show = Callable[[Json], str]


@pytest.fixture
def show(tab: Tab, tmp_path: Path) -> Show:
    """Return a function that opens the page of a ledger and returns its verdict."""

    def open_page(ledger: Json) -> str:
        path = tmp_path / "page.html"
        path.write_bytes(explorer_page(ledger).html)
        tab.open(path.as_uri())
        assert not tab.complaints()
        return str(tab.run("document.querySelector('#verdict').dataset.state"))

    return open_page


def changed(data: Json, name: str, edit: Callable[[bytes], bytes]) -> Json:
    """Return the data with one file edited."""
    files = data["files"] | {name: base64.b64encode(edit(base64.b64decode(data["files"][name]))).decode()}
    return data | {"files": files}


def forged(forgery: Forgery, *earlier: bytes) -> Json:
    """Return the page's data of a ledger that the log itself forged."""
    files = {name: base64.b64encode(data).decode() for name, data in forgery.files().items() if name.startswith("tile/")}
    notes = [*earlier, forgery.files()["checkpoint"]]
    return {"checkpoints": [base64.b64encode(note).decode() for note in notes], "files": files}


def findings(tab: Tab) -> list[str]:
    return list(tab.run("[...document.querySelectorAll('#verdict li')].map((item) => item.innerText)"))


def outcomes(tab: Tab) -> dict[str, str]:
    items = "[...document.querySelectorAll('.checks li')].map((item) => [item.querySelector('b').innerText, item.className])"
    return dict(tab.run(items))


def flip(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


class TestVerification:
    def test_a_true_ledger_passes_every_check(self, tab: Tab, show: Show, data: Json, run_folder: Path) -> None:
        assert show(data) == "verified"
        assert set(outcomes(tab).values()) == {"passed"}
        assert len(outcomes(tab)) == 7
        root = parse_checkpoint(parse((run_folder / "checkpoint").read_bytes()).text).root.hex()
        assert f"7 entries, signed by the log, root {root[:12]}" in tab.text("#verdict")

    def test_so_does_its_export_which_has_one_checkpoint(self, tab: Tab, show: Show, export: Path) -> None:
        assert show(ledger_data(export)) == "verified"
        assert outcomes(tab)["Consistency"] == "nothing-to-check"

    @pytest.mark.parametrize(("name", "proofs"), [("1-all-proved", "Every update that was accepted"), ("1-some-proved", "a second beacon")])
    def test_so_do_the_golden_ledgers(self, tab: Tab, show: Show, name: str, proofs: str) -> None:
        assert show(ledger_data(GOLDEN / f"{name}.tar")) == "verified"
        assert proofs in tab.text("#proofs")
        assert ("Proofs by round" in tab.run("document.querySelector('#proofs').textContent")) == (name == "1-some-proved")

    @pytest.mark.parametrize("entry", [0, 2, 4, 6])
    def test_a_changed_entry_is_named(self, tab: Tab, show: Show, data: Json, run_folder: Path, entry: int) -> None:
        with Store.open(run_folder / "ledger.db", create=False) as store:
            offset = sum(2 + len(leaf) for leaf in store.entries(0, entry)) + 2 + 20
        assert show(changed(data, ENTRIES, lambda bundle: flip(bundle, offset))) == "failed"
        assert f"entry {entry}: it is not what the tree was made of: its hash is another" in findings(tab)
        assert "the entries do not hash to the root in the checkpoint" in findings(tab)
        assert tab.run(f"document.getElementById('entry-{entry}').classList.contains('wrong')")
        assert "Not verified" in tab.text("#verdict")

    def test_a_changed_tile_is_found(self, tab: Tab, show: Show, data: Json) -> None:
        assert show(changed(data, TILE, lambda tile: flip(tile, 3 * 32))) == "failed"
        assert findings(tab) == ["entry 3: it is not what the tree was made of: its hash is another"]

    def test_a_checkpoint_that_the_log_did_not_sign(self, tab: Tab, show: Show, data: Json) -> None:
        note = base64.b64decode(data["checkpoints"][-1])
        size, root = parse_checkpoint(parse(note).text).size, parse_checkpoint(parse(note).text).root
        right = parse(note).signatures[0]
        other = Ed25519Signer(SIGNER.verifier.key.name, bytes([1] * 32))
        for wrong in (
            sign_checkpoint(Checkpoint(SIGNER.verifier.key.name, size, root), other),
            note.replace(b"\n7\n", b"\n6\n"),
            sign_checkpoint(Checkpoint("example.com/other", size, root), Ed25519Signer("example.com/other", bytes(32))),
            sign_note(format_checkpoint(Checkpoint("example.com/other", size, root)), SIGNER),  # the right key, for another log
            note + Signature(right.name, right.key_id, flip(right.value, 9)).encode().encode(),  # one right, one wrong
        ):
            ledger = data | {"checkpoints": [base64.b64encode(wrong).decode()]}
            if b"\n6\n" in wrong:
                assert show(ledger) == "unreadable"  # the tiles of another size
                continue
            assert show(ledger) == "failed"
            assert "the checkpoint is not signed by the log's key" in findings(tab)

    def test_an_enrolment_that_its_client_did_not_sign(self, tab: Tab, show: Show, forgery: Forgery) -> None:
        enrolment = forgery[2]["enrolment"]
        enrolment["statement"]["samples"] += 1
        assert show(forged(forgery)) == "failed"
        assert findings(tab) == ["entry 2: the enrolment is not signed by the client it names"]
        enrolment |= forgery.sign("contribution", enrolment["statement"], enrolment["statement"]["client"])
        assert show(forged(forgery)) == "failed"  # signed, but as another kind of message

    def test_a_client_of_another_run_and_a_key_that_everybody_can_sign_for(self, tab: Tab, show: Show, forgery: Forgery) -> None:
        statement = forgery[3]["enrolment"]["statement"] | {"run": bytes(32).hex()}
        forgery.entries[3] = forgery[3] | {"enrolment": forgery.sign("enrolment", statement, statement["client"])}
        zero = forgery[1]["enrolment"]["statement"] | {"client": "01" + "00" * 31}
        signature = base64.b64encode(b"\x01" + bytes(63)).decode()
        forgery.entries[1] = forgery[1] | {"enrolment": {"statement": zero, "signature": signature}}
        assert show(forged(forgery)) == "failed"
        assert findings(tab) == [
            "entry 1: the enrolment is not signed by the client it names",
            "entry 3: the enrolment belongs to another run",
        ]

    def test_changes_of_memberships_are_shown_and_their_signatures_checked(self, tab: Tab, show: Show, forgery: Forgery) -> None:
        keys = forgery.state(FIRST).keys
        statement = {"run": forgery.run, "client": keys[0], "previous": None, "node": "77" * 32}
        changes = [
            {"change": "rotation", "client": 0, **forgery.sign("rotation", statement, keys[0])},
            {"change": "revocation", "client": 1, "reason": "key-compromised"},
            {"change": "withdrawal", "client": 2, **forgery.sign("withdrawal", {"run": forgery.run, "client": keys[2]}, keys[2])},
        ]
        forgery[FIRST]["changes"] = changes
        assert show(forged(forgery)) == "verified"
        assert "revoked by the operator after round 1: key-compromised" in tab.text("#participants")
        assert "withdrew after round 1" in tab.text("#participants")
        assert "rotation of client 0, revocation of client 1, withdrawal of client 2" in tab.text(f"#entry-{FIRST} summary")
        changes[0]["statement"] = statement | {"node": "78" * 32}
        changes[2]["client"] = 1
        assert show(forged(forgery)) == "failed"
        assert findings(tab) == [
            f"entry {FIRST}: the rotation is not signed by the client it names",
            f"entry {FIRST}: the withdrawal is another client's",
        ]

    def test_what_is_no_entry_is_named_and_the_page_goes_on(self, tab: Tab, show: Show, forgery: Forgery) -> None:
        deep = b"[" * 30_000 + b"]" * 30_000
        forgery.entries[1:4] = [forgery.leaf(1).replace(b":", b": ", 1), deep, b"\xff"]
        forgery.entries.append({"kind": "__proto__", "version": 1})
        forgery.entries.append(forgery[FIRST] | {"verdicts": [{"client": 0}]})
        assert show(forged(forgery)) == "failed"
        said = findings(tab)
        for finding in (
            "entry 1: it is not canonical JSON",
            "entry 2: it is not JSON that can be read",
            "entry 3: it is not JSON that can be read",
            "entry 7: it is of no known kind",
            "entry 8: it does not have the fields of its kind, round",
        ):
            assert finding in said
        assert tab.run("document.querySelectorAll('#entries li').length") == 9

    def test_rounds_that_do_not_follow_each_other(self, tab: Tab, show: Show, forgery: Forgery) -> None:
        forgery[5]["model-before"] = bytes(32).hex()
        forgery[6]["rounds"] = 3
        assert show(forged(forgery)) == "failed"
        assert findings(tab) == [
            "entry 6: the closing counts 3 rounds instead of 2",
            "entry 5: the round starts from another model than the one before ended with",
        ]
        forgery.entries[4], forgery.entries[6] = forgery.entries[6], forgery.entries[4]
        assert show(forged(forgery)) == "failed"
        assert "entry 5: a round entry cannot follow a closing entry" in findings(tab)

    def test_enrolments_stand_in_the_order_of_keys(self, tab: Tab, show: Show, forgery: Forgery) -> None:
        forgery.entries[1], forgery.entries[2] = forgery.entries[2], forgery.entries[1]
        assert show(forged(forgery)) == "failed"
        assert findings(tab) == ["entry 2: enrolments do not stand in the order of their keys, or a key enrols twice"]

    def test_earlier_checkpoints_must_be_the_beginning_of_this_one(self, tab: Tab, show: Show, data: Json, forgery: Forgery) -> None:
        origin = SIGNER.verifier.key.name
        true = sign_checkpoint(Checkpoint(origin, 5, forgery.root(5)), SIGNER)
        assert show(forged(forgery, true)) == "verified"
        assert outcomes(tab)["Consistency"] == "passed"
        for note, reason in (
            (sign_checkpoint(Checkpoint(origin, 5, bytes(32)), SIGNER), "this is not the history it signed with 5 entries"),
            (sign_checkpoint(Checkpoint(origin, 7, bytes(32)), SIGNER), "it signed two roots for 7 entries"),
            (sign_checkpoint(Checkpoint(origin, 9, bytes(32)), SIGNER), "signed 9 entries before, and shows 7 now"),
            (true.replace(b"\n5\n", b"\n4\n"), "an earlier checkpoint is not signed by the log's key"),
        ):
            assert show(forged(forgery, note)) == "failed"
            assert reason in findings(tab)[0]

    @pytest.mark.parametrize(
        ("present", "state", "said"),
        [
            ((0, 1), "verified", ""),
            ((0,), "failed", "the checkpoint has 1 of the 2 cosignatures that were agreed"),
            ((0, 2), "partly", "1 cosignatures are of a kind that this page or this browser cannot check"),
            ((0, -1), "failed", "the cosignature of w1.example is wrong"),
        ],
    )
    def test_cosignatures(self, tab: Tab, show: Show, present: tuple[int, ...], state: str, said: str) -> None:
        keys = [str(witness.verifier.key) for witness in WITNESSES]
        forgery = Forgery.begin(agreed(witnesses={"keys": keys, "quorum": 2}))
        ledger = forged(forgery)
        text = parse(base64.b64decode(ledger["checkpoints"][0])).text
        note = sign_note(text, SIGNER, *(WITNESSES[number] for number in present if number >= 0)).decode()
        if -1 in present:
            good = signature_by(WITNESSES[1], text.encode())
            note += Signature(good.name, good.key_id, flip(good.value, 7)).encode()  # another time than it signed
        assert show(ledger | {"checkpoints": [base64.b64encode(note.encode()).decode()]}) == state
        assert said in tab.text("#verdict")
        if state == "verified":
            assert "cosigned 2023-11-14 22:13:20 UTC" in tab.text("#checks")

    def test_no_key_counts_twice(self, tab: Tab, show: Show) -> None:
        forgery = Forgery.begin(agreed(witnesses={"keys": [str(WITNESSES[0].verifier.key)], "quorum": 1}))
        forgery[0]["agreement"]["witnesses"] = {"keys": [str(WITNESSES[0].verifier.key)] * 2, "quorum": 2}
        ledger = forged(forgery)
        note = sign_note(parse(base64.b64decode(ledger["checkpoints"][0])).text, SIGNER, WITNESSES[0])
        assert show(ledger | {"checkpoints": [base64.b64encode(note).decode()]}) == "failed"
        assert "it would count more than once" in tab.text("#verdict")

    def test_a_page_without_cryptography_says_why(self, tab: Tab, show: Show, data: Json) -> None:
        script = "Object.defineProperty(crypto, 'subtle', { value: undefined })"  # as over plain http from another machine
        added = tab.call("Page.addScriptToEvaluateOnNewDocument", source=script)["identifier"]
        try:
            assert show(data) == "unreadable"
            assert "open it by https, on localhost, or as a file" in tab.text("#verdict")
        finally:
            tab.call("Page.removeScriptToEvaluateOnNewDocument", identifier=added)

    def test_a_browser_without_ed25519_says_so(self, tab: Tab, show: Show, data: Json) -> None:
        script = "crypto.subtle.importKey = () => Promise.reject(new DOMException('unrecognized name', 'NotSupportedError'))"
        added = tab.call("Page.addScriptToEvaluateOnNewDocument", source=script)["identifier"]
        try:
            assert show(data) == "partly"
            assert "Checkpoint: Ed25519 is not supported by this browser" in findings(tab)
            assert outcomes(tab)["Tree"] == "passed"
            assert outcomes(tab)["Clients' signatures"] == outcomes(tab)["Consistency"] == "not-checked"
            assert show(changed(data, TILE, lambda tile: flip(tile, 0))) == "failed"
        finally:
            tab.call("Page.removeScriptToEvaluateOnNewDocument", identifier=added)

    def test_the_tree_is_that_of_the_ledger_room(self, tab: Tab) -> None:
        folder = Path(server.__file__).parent / "explorer"
        with served(Starlette(routes=[Mount("/", StaticFiles(directory=folder, html=False))])) as url:
            tab.call("Page.navigate", url=f"{url}/style.css")
            tab.wait("document.readyState === 'complete' && location.pathname === '/style.css'")
            script = """(async () => {
                const { hex } = await import('/bytes.js');
                const { inclusionPath, leafHash, rootOf, treeLevels, verifyInclusion } = await import('/merkle.js');
                const leaves = await Promise.all(Array.from({ length: 33 }, (_, i) => leafHash(Uint8Array.of(i))));
                const levels = await treeLevels(leaves);
                const [roots, wrong] = [[], []];
                for (let size = 0; size <= 33; size += 1) {
                    const root = await rootOf(levels, size);
                    roots.push(hex(root));
                    for (let index = 0; index < size; index += 1) {
                        const path = await inclusionPath(levels, index, size);
                        const leaf = leaves[index];
                        const tries = [[leaf, index, size, path, true], [leaves[(index + 1) % 33], index, size, path, false],
                            [leaf, index, size, [...path, root], false], [leaf, size, size, path, false]];
                        if (path.length) tries.push([leaf, index, size, path.slice(1), false]);
                        if (path.length) tries.push([leaf, index, size, [root, ...path.slice(1)], false]);
                        if (index === 0) tries.push([leaf, 0, 2 ** path.length + 1, path, false]);
                        for (const [each, at, of, some, holds] of tries) {
                            if ((await verifyInclusion(each, at, of, some, root)) !== holds) wrong.push([of, at, holds]);
                        }
                    }
                }
                return { roots, wrong };
            })()"""
            found = tab.run(script)
        leaves = [merkle.leaf_hash(bytes([number])) for number in range(33)]
        assert found["roots"] == [(merkle.root_of(leaves[:size]) if size else sha256(b"")).hex() for size in range(34)]
        assert found["wrong"] == []


class TestPage:
    def test_it_shows_the_run(self, tab: Tab, show: Show, forgery: Forgery) -> None:
        forgery[FIRST]["test"] = {"data": bytes(32).hex(), "total": 200, "correct": 150, "squared-error": None}
        show(forged(forgery))
        assert tab.text("h1") == "tests"
        assert "3 clients · 2 rounds · completed" in tab.text("#facts")
        rows = tab.run("[...document.querySelectorAll('#rounds tbody tr')].map((row) => [...row.children].map((cell) => cell.innerText))")
        assert rows[0] == ["1", "75.00 %", "2", "2", forgery[4]["model-after"]["digest"][:12], "entry 4"]
        assert rows[1][1] == "—"
        assert "Accuracy by round: from 75.00 %" in tab.run("document.querySelector('#curve svg').getAttribute('aria-label')")
        keys = tab.run("[...document.querySelectorAll('#participants tbody code')].map((cell) => cell.title)")
        assert keys == sorted(key_of(number) for number in range(3))
        assert "Every update was accepted." in tab.text("#verdicts")
        assert "asks for no proof of training" in tab.text("#proofs")
        assert forgery[6]["model"][:12] in tab.text("#models")

    def test_verdicts_come_with_their_reasons(self, tab: Tab, show: Show) -> None:
        forgery = Forgery.begin(agreed())
        forgery.open_round(FIRST)
        forgery.judge(FIRST, 0)
        forgery.settle(FIRST)
        assert show(forged(forgery)) == "verified"
        assert EXPLANATIONS[Reason.NO_REPLY] in tab.text("#verdicts")
        assert "no-reply" in tab.text("#verdicts")
        assert "The run is not closed yet." in tab.text("#models")

    def test_contributions_that_wait_for_their_proofs(self, tab: Tab, show: Show, forgery: Forgery) -> None:
        proved = forgery[FIRST]["verdicts"][0]
        contribution = proved["contribution"]
        fields = ("round", "version", "reveals", "withheld", "beacon")
        fixed = {name: forgery[FIRST][name] for name in fields} | {"kind": "commitments"}
        standing = [{"client": verdict["client"], "contribution": contribution} for verdict in forgery[FIRST]["verdicts"]]
        forgery.entries.insert(FIRST, fixed | {"contributions": standing})
        proved["proof"] = contribution
        assert show(forged(forgery)) == "verified"  # as far as this page goes: the agreement asked for no proofs
        row = "[...document.querySelectorAll('#proofs tbody tr')].map((row) => [...row.children].map((cell) => cell.innerText))"
        assert tab.run(row) == [["1", "2", "1", "0", "entry 4", "entry 5"]]
        forgery.entries.insert(FIRST, forgery[FIRST])
        assert show(forged(forgery)) == "failed"
        assert "entry 5: a commitments entry cannot follow a commitments entry" in findings(tab)

    def test_settlements_are_listed_and_must_cover_the_rounds(self, tab: Tab, show: Show, forgery: Forgery) -> None:
        settlement = json.loads(encode_entry(EXAMPLES["settlement"])) | {"last": 2}
        forgery.entries.insert(LAST + 1, settlement)
        assert show(forged(forgery)) == "verified"
        row = "[...document.querySelectorAll('#settlements tbody tr')].map((row) => [...row.children].map((cell) => cell.innerText))"
        assert tab.run(row) == [["1", "1 to 2", "0", "-7", "3", "0", "340282366920938463463374607431768211455", "0", "no-reply", "entry 6"]]
        settlement["last"] = 1
        assert show(forged(forgery)) == "failed"
        assert "entry 6: rounds 1 to 1 are settled where 1 to 2 are due" in findings(tab)
        settlement["total"] = "01"
        show(forged(forgery))
        assert "entry 6: it does not have the fields of its kind, settlement" in findings(tab)

    def test_an_account_is_part_of_what_a_client_signs(self, tab: Tab, show: Show, forgery: Forgery) -> None:
        enrolment = forgery[1]["enrolment"]
        enrolment["statement"]["account"] = "0x" + "ab" * 20
        assert show(forged(forgery)) == "failed"
        assert "entry 1: the enrolment is not signed by the client it names" in findings(tab)
        enrolment |= forgery.sign("enrolment", enrolment["statement"], enrolment["statement"]["client"])
        assert show(forged(forgery)) == "verified"

    def test_an_error_curve_for_a_regression(self, tab: Tab, show: Show, forgery: Forgery) -> None:
        bits = forgery[0]["agreement"]["fixed-point"]["logit-bits"]
        for entry, error in ((4, 3), (5, 1)):
            forgery[entry]["test"] = {"data": bytes(32).hex(), "total": 2, "correct": None, "squared-error": error * 4**bits}
        show(forged(forgery))
        assert tab.text("#curve h2") == "Error"
        assert "from 1.500 in round 1 to 0.5000 in round 2" in tab.run("document.querySelector('#curve svg').getAttribute('aria-label')")

    def test_hostile_text_stays_text(self, tab: Tab, show: Show) -> None:
        forgery = Forgery.begin(agreed(data={"description": HOSTILE, "terms": HOSTILE * 20}))
        forgery.open_round(FIRST)
        forgery.judge(FIRST, 0)
        forgery.settle(FIRST)
        forgery[FIRST]["verdicts"][1]["reason"] = HOSTILE  # what no honest log writes, a log that lies may
        forgery[0]["agreement"]["federation"]["name"] = HOSTILE
        forgery[0]["agreement"]["training"]["loss"] = HOSTILE
        show(forged(forgery))
        assert tab.run("window.owned") is None
        assert tab.run("document.querySelectorAll('img').length + document.querySelectorAll('script').length") == 3
        seen = HOSTILE.replace("\u202e", "\\u{202e}").replace("\u200b", "\\u{200b}")
        assert tab.text("h1") == seen
        assert seen in tab.text("#agreement")
        assert seen in tab.text("#verdicts")
        tab.run("document.getElementById('entry-0').open = true")
        tab.wait("document.querySelector('#entry-0 pre')")
        assert "\\u{202e}" in tab.text("#entry-0")
        assert "\u202e" not in tab.text("body")
        for width in (390, 900):
            tab.size(width)
            assert tab.run("document.documentElement.scrollWidth") <= width

    def test_nothing_on_the_page_could_be_run_or_fetched(self, tab: Tab, show: Show, data: Json) -> None:
        show(data)
        assert [url for url in tab.requested() if not url.startswith("file:")] == []
        for attempt in (
            "document.body.innerHTML = '<b>x</b>'",
            "fetch('https://example.com/')",
            "document.createElement('script').src = 'x.js'",
        ):
            with pytest.raises(AssertionError, match="exceptionDetails"):
                tab.run(attempt)

    def test_the_log_key_is_compared_with_a_known_one(self, tab: Tab, show: Show, data: Json) -> None:
        show(data)
        fill = "(() => {{ const f = document.getElementById('known-key'); f.value = {}; f.dispatchEvent(new Event('input')); }})()"
        tab.run(fill.format(json.dumps(f" {SIGNER.verifier.key} ")))
        assert "It is the same key" in tab.text("output")
        tab.run(fill.format(json.dumps("lunaria.local/attacks+00000000+AAAA")))
        assert "This is another key" in tab.text("output")

    @pytest.mark.parametrize(
        ("query", "entries"),
        [
            ("round 2", [5]),
            ("1", [4]),
            ("nothing like it", []),
            ("round 9", []),
            ("client 0", None),
            ("KEY", None),
            ("DIGEST", [5, 6]),
            ("MODEL", [0, 4]),
        ],
    )
    def test_search(self, tab: Tab, show: Show, data: Json, forgery: Forgery, query: str, entries: list[int] | None) -> None:
        key = sorted(key_of(number) for number in range(3))[0]
        query = {"KEY": key[:10].upper(), "DIGEST": forgery[6]["model"], "MODEL": forgery[0]["model"]["digest"][:8]}.get(query, query)
        if entries is None:  # the enrolment of client 0, and the rounds for which it was chosen
            entries = [1, *(place for place in (4, 5) if any(verdict["client"] == 0 for verdict in forgery[place]["verdicts"]))]
        show(data)
        tab.run("document.getElementById('query').focus()")
        tab.call("Input.insertText", text=query)
        found = tab.run("[...document.querySelectorAll('#hits a')].map((link) => link.hash)")
        assert found == [f"#entry-{entry}" for entry in entries]
        assert ("Nothing found" in tab.text("#hits")) == (not entries)


class TestEverybody:
    def test_the_keyboard_reaches_everything(self, tab: Tab, show: Show, data: Json) -> None:
        show(data)
        tab.press("Tab", 9)
        assert tab.run("document.activeElement.className") == "skip"
        reached = []
        for _ in range(200):
            tab.press("Tab", 9)
            name = tab.run("document.activeElement.id || document.activeElement.hash || document.activeElement.parentElement.id")
            if name in ("entry-6",):
                break
            reached.append(name)
        assert {"query", "#checks", "#entries", "known-key", "entry-0"} <= set(reached)
        assert tab.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        tab.press("Enter", 13, "\r")
        tab.wait("document.querySelector('#entry-6 pre')")
        tab.wait("document.querySelector('#entry-6').innerText.includes('2 hashes lead from it to the root')")

    def test_an_address_opens_an_entry(self, tab: Tab, show: Show, data: Json) -> None:
        show(data)
        tab.run("document.querySelector('#rounds a').click()")
        tab.wait("document.querySelector('#entry-4')?.open")
        assert tab.run("document.activeElement.parentElement.id") == "entry-4"

    @pytest.mark.parametrize("width", [320, 390, 768])
    def test_a_phone_needs_no_scrolling_sideways(self, tab: Tab, show: Show, data: Json, width: int) -> None:
        tab.size(width)
        show(data)
        tab.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        tab.wait("document.querySelectorAll('#entries pre').length >= 7")
        assert tab.run("document.documentElement.scrollWidth") <= width

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_text_stands_out_from_its_ground(self, tab: Tab, show: Show, data: Json, scheme: str) -> None:
        tab.colours(scheme)
        show(data)
        script = """(() => {
            const linear = (c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
            const parts = (colour) => colour.match(/[0-9.]+/g).map((c) => linear(c / 255));
            const light = (colour) => { const [r, g, b] = parts(colour); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
            const style = (selector) => getComputedStyle(document.querySelector(selector));
            const paper = style('body').backgroundColor;
            const contrast = (selector, back = paper) => {
                const [b, a] = [light(style(selector).color), light(back)].sort((x, y) => x - y);
                return (a + 0.05) / (b + 0.05);
            };
            return [light(paper), contrast('.verdict', style('.banner').backgroundColor), contrast('.mark'),
                ...['body', '.quiet', 'nav a', '.passed .outcome', 'thead th', 'summary', 'code'].map((selector) => contrast(selector))];
        })()"""
        paper, *contrasts = tab.run(script)
        assert (paper > 0.5) == (scheme == "light")
        assert min(contrasts) >= 4.5  # WCAG 2.2, 1.4.3

    def test_the_structure_can_be_heard(self, tab: Tab, show: Show, data: Json) -> None:
        show(data)
        assert tab.run("document.querySelectorAll('h1').length") == 1
        levels = tab.run("[...document.querySelectorAll('h1, h2, h3')].map((heading) => Number(heading.tagName[1]))")
        assert all(after - before <= 1 for before, after in pairwise(levels))
        assert tab.run("document.documentElement.lang") == "en"
        assert tab.run("[...document.querySelectorAll('input')].every((field) => field.labels.length === 1)")
        assert tab.run("[...document.querySelectorAll('table')].every((each) => each.caption && each.querySelector('th[scope=col]'))")
        assert tab.run(
            "[...document.querySelectorAll('[id]')].length === new Set([...document.querySelectorAll('[id]')].map((e) => e.id)).size"
        )
        for landmark in ("header", "main", "nav[aria-label]", "form[role=search]", "footer", "#status[role=status]"):
            assert tab.run(f"document.querySelectorAll({json.dumps(landmark)}).length") == 1


class TestServed:
    def test_it_reads_and_verifies_the_ledger_of_its_server(self, tab: Tab, copy_of_run: Path) -> None:
        with (
            Store.open(copy_of_run / "ledger.db", create=False) as store,
            served(Starlette(routes=[explorer_route(), *read_routes(Files(copy_of_run, store))])) as url,
        ):
            tab.open(f"{url}/")
            assert tab.run("document.querySelector('#verdict').dataset.state") == "verified"
            assert not tab.complaints()
            assert {address.removeprefix(url) for address in tab.requested()} == {"/", "/checkpoint", f"/{ENTRIES}", f"/{TILE}"}
            assert "came from the server whose ledger it checks" in tab.text("#checks")

            # What this browser has seen it holds the log to: a fork that is consistent in itself is found at the next visit.
            tab.open(f"{url}/")
            assert outcomes(tab)["Consistency"] == "passed"
            true = parse_checkpoint(parse((copy_of_run / "checkpoint").read_bytes()).text)
            (copy_of_run / "checkpoint").write_bytes(sign_checkpoint(Checkpoint(true.origin, 6, merkle.root(6, store.node)), SIGNER))
            tab.open(f"{url}/")
            assert findings(tab) == ["the log signed 7 entries before, and shows 6 now"]
            (copy_of_run / "checkpoint").unlink()
            tab.open(f"{url}/")
            assert "the ledger has published nothing yet" in tab.text("#verdict")

    def test_it_follows_a_ledger_that_grows(self, tab: Tab, forgery: Forgery, tmp_path: Path) -> None:
        hurry = "const wait = setTimeout; window.setTimeout = (call, after) => wait(call, Math.min(after, 100))"
        added = tab.call("Page.addScriptToEvaluateOnNewDocument", source=hurry)["identifier"]
        run = tmp_path / "run"
        try:
            with (
                Log.open(run, SIGNER, create=True) as log,
                Store.open(run / "ledger.db", create=False) as store,
                served(Starlette(routes=[explorer_route(), *read_routes(Files(run, store))])) as url,
            ):
                tab.open(f"{url}/")
                assert "the ledger has no entry yet" in tab.text("#verdict")
                for leaf in forgery.leaves()[:5]:
                    log.append(leaf)
                tab.wait("document.querySelector('#facts').innerText.includes('1 round ·')")
                tab.run("document.querySelector('#entry-3').open = true; document.querySelector('#entry-3 summary').focus()")
                for leaf in forgery.leaves()[5:]:
                    log.append(leaf)
                tab.wait("document.querySelector('#facts').innerText.includes('2 rounds · completed')")
                assert tab.run("document.querySelector('#verdict').dataset.state") == "verified"
                assert int(tab.run("document.querySelectorAll('.checks li')[2].querySelector('.outcome').innerText.split('· ')[1]")) >= 1
                assert tab.run("document.querySelector('#entry-3').open && document.activeElement.parentElement.id === 'entry-3'")
        finally:
            tab.call("Page.removeScriptToEvaluateOnNewDocument", identifier=added)

    def test_its_policy_lets_nothing_in(self, copy_of_run: Path) -> None:
        httpx = pytest.importorskip("httpx")
        with (
            Store.open(copy_of_run / "ledger.db", create=False) as store,
            served(Starlette(routes=[explorer_route(), *read_routes(Files(copy_of_run, store))])) as url,
        ):
            got = httpx.get(f"{url}/")
        assert got.status_code == 200
        policy = got.headers["content-security-policy"]
        for rule in ("default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"):
            assert rule in policy
        assert "unsafe" not in policy
        assert "http" not in policy


class TestCommand:
    def test_a_run_and_an_export_become_a_file(self, cli: Cli, run_folder: Path, export: Path) -> None:
        for source in (run_folder, export):
            done = cli("explorer", source, "-o", "page.html")
            assert (done.code, done.err) == (0, "")
            assert Path("page.html").read_bytes() == explorer_page(ledger_data(source)).html

    def test_what_is_neither_is_refused(self, cli: Cli, tmp_path: Path) -> None:
        assert "cannot read nowhere" in cli("explorer", "nowhere", "-o", "page.html").refused()
        (tmp_path / "empty").mkdir()
        assert "not the folder of a run" in cli("explorer", "empty", "-o", "page.html").refused()
        (tmp_path / "text").write_text("x")
        assert "not a Lunaria export" in cli("explorer", "text", "-o", "page.html").refused()
        assert not Path("page.html").exists()

    def test_the_page_is_the_modules_and_nothing_else(self) -> None:
        html = explorer_page().html.decode()
        assert "import {" not in html
        assert "\nexport " not in html
        assert "innerHTML" not in html
        assert html.count("<script") == html.count("</script>") == 3

"""Witnesses over HTTP: the server waits for a quorum, loses nothing meanwhile, and is not led astray by any of them."""

import gzip
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

import server.fetch
from ledger import note
from ledger.audit import audit
from ledger.cosignature import ED25519_COSIGNATURE, ML_DSA_44_COSIGNATURE, CosignatureSigner
from ledger.errors import StorageError
from ledger.export import write_export
from ledger.log import Log, published_checkpoint
from ledger.note import Ed25519Signer
from ledger.quorum import Policy
from ledger.report import Check
from ledger.store import Store
from ledger.witness import Witness
from ledger.witnessing import MAX_REQUEST_SIZE
from server.cosigner import Cosigner
from server.errors import ServerError
from server.planning import Plan
from server.witness_app import witness_app
from tests.federation import OK, SIGNER, Federation, client, federate, terms
from tests.ledger.test_messages import FORK
from tests.ledger.test_witness import request
from tests.server.live import answering, flood, reply, served, trickle

KINDS = (ED25519_COSIGNATURE, ML_DSA_44_COSIGNATURE, ED25519_COSIGNATURE)
SIGNERS = [CosignatureSigner(f"w{number}.example", kind, bytes([number + 1] * 32)) for number, kind in enumerate(KINDS)]
LOG = Ed25519Signer("example.com/log", bytes(32))
KEYS = tuple(signer.verifier for signer in SIGNERS)


def witness_of(folder: Path, number: int, log: Ed25519Signer = LOG) -> Witness:
    return Witness(folder / f"witness-{number}.db", [SIGNERS[number]], [log.verifier.key])


@pytest.fixture
def urls(tmp_path: Path) -> Iterator[list[str]]:
    with ExitStack() as stack:
        yield [stack.enter_context(served(witness_app(witness_of(tmp_path, number)))) for number in range(3)]


def cosigner(urls: list[str], quorum: int, said: list[str] | None = None, stop: threading.Event | None = None) -> Cosigner:
    notify = (lambda line: None) if said is None else said.append
    return Cosigner(Policy(LOG.verifier, KEYS, quorum), urls, notify=notify, stop=stop, pause=0.02)


def closed_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{one.getsockname()[1]}"


class TestHttp:
    def test_every_answer_has_its_status_and_media_type(self, urls: list[str]) -> None:
        url = urls[0] + "/add-checkpoint"
        assert httpx.post(url, content=b"hello").status_code == 400
        assert httpx.post(url, content=request(0, 5)).status_code == 200
        conflict = httpx.post(url, content=request(0, 9))
        assert (conflict.status_code, conflict.headers["content-type"], conflict.text) == (409, "text/x.tlog.size", "5\n")
        assert httpx.post(url, content=request(5, 9, FORK)).status_code == 422
        assert httpx.post(url, content=request(0, 5).replace(b"example.com/log", b"example.com/xxx")).status_code == 404
        assert httpx.post(url, content=request(5, 9).replace(b"\n9\n", b"\n8\n")).status_code == 403
        assert httpx.get(url).status_code == 405
        assert httpx.get(urls[0] + "/").status_code == 404

    def test_a_body_without_end_is_cut_off(self, urls: list[str]) -> None:
        sent = 0

        def chunks() -> Iterator[bytes]:
            nonlocal sent
            for _ in range(1000):
                sent += 1 << 16
                yield bytes(1 << 16)

        with suppress(httpx.WriteError):
            assert httpx.post(urls[0] + "/add-checkpoint", content=chunks()).status_code == 413
        assert sent < 40 * MAX_REQUEST_SIZE
        assert httpx.post(urls[0] + "/add-checkpoint", content=request(0, 5)).status_code == 200

    def test_a_body_that_never_comes_is_given_up(self, urls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("server.witness_app.BODY_SECONDS", 0.2)
        address = httpx.URL(urls[0])
        with socket.create_connection((str(address.host), address.port or 0)) as slow:
            slow.sendall(b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nold 0")
            slow.settimeout(5)
            assert slow.recv(100).startswith(b"HTTP/1.1 408")

    def test_without_storage_it_cosigns_nothing(self, tmp_path: Path) -> None:
        witness = witness_of(tmp_path, 0)
        (tmp_path / "witness-0.db").write_bytes(b"damaged" * 1000)
        with served(witness_app(witness)) as url:
            assert httpx.post(url + "/add-checkpoint", content=request(0, 5)).status_code == 503


class TestCosigner:
    @pytest.mark.parametrize("quorum", [0, 1, 3])
    def test_a_log_publishes_what_a_quorum_cosigned(self, urls: list[str], tmp_path: Path, quorum: int) -> None:
        with cosigner(urls, quorum) as cosign, Log.open(tmp_path / "run", LOG, create=True, cosign=cosign) as log:
            for number in range(5):
                log.append(b"entry %d" % number)
                published = published_checkpoint(tmp_path / "run")
                assert published == log.checkpoint_note()
                assert Policy(LOG.verifier, KEYS, 3).open(published).size == number + 1  # all are there, so all cosigned

    def test_a_missing_quorum_delays_and_loses_nothing(self, tmp_path: Path, urls: list[str]) -> None:
        said: list[str] = []
        stop = threading.Event()
        folder = tmp_path / "run"
        with cosigner(urls, 3) as cosign, Log.open(folder, LOG, create=True, cosign=cosign) as log:
            log.append(b"entry 0")
        before = published_checkpoint(folder)
        with cosigner([*urls[:2], closed_port()], 3, said, stop) as cosign, Log.open(folder, LOG, create=False, cosign=cosign) as log:
            threading.Timer(0.3, stop.set).start()
            with pytest.raises(StorageError, match="has 2 of the 3 cosignatures"):
                log.append(b"entry 1")
            assert published_checkpoint(folder) == before == log.checkpoint_note()  # nobody sees what has no quorum
            with pytest.raises(StorageError):
                log.append(b"entry 2")  # and nothing comes after it
        assert len(said) == 1
        assert said[0].startswith(
            f"waiting for witnesses of the log {LOG.verifier.key}: the checkpoint of size 2 has 2 of the 3 cosignatures"
        )
        with cosigner(urls, 3) as cosign, Log.open(folder, LOG, create=False, cosign=cosign) as log:
            assert (log.size, log.entry(1)) == (2, b"entry 1")
            assert Policy(LOG.verifier, KEYS, 3).open(log.checkpoint_note()).size == 2

    def test_a_witness_that_comes_late_is_waited_for(self, tmp_path: Path, urls: list[str]) -> None:
        late = closed_port()
        with ExitStack() as stack:

            def come() -> None:
                time.sleep(0.3)
                stack.enter_context(served(witness_app(witness_of(tmp_path, 2)), httpx.URL(late).port or 0))

            thread = threading.Thread(target=come)
            thread.start()
            began = time.monotonic()
            with cosigner([urls[0], urls[1], late], 3) as cosign, Log.open(tmp_path / "run", LOG, create=True, cosign=cosign) as log:
                log.append(b"entry")
            thread.join()
            assert time.monotonic() - began >= 0.3

    def test_a_server_that_was_restarted_learns_the_size(self, tmp_path: Path, urls: list[str]) -> None:
        for number in range(3):
            with cosigner(urls, 3) as cosign, Log.open(tmp_path / "run", LOG, create=True, cosign=cosign) as log:
                log.append(b"entry %d" % number)

    @pytest.mark.parametrize(
        "answer",
        [
            reply(200, b""),
            reply(200, b"nonsense"),
            reply(200, "— w3.example AAAAAAAA\n".encode()),
            reply(409, b"7\n", "text/x.tlog.size"),
            reply(409, b"99999999999999999999\n", "text/x.tlog.size"),
            reply(409, b"1\n", "text/x.tlog.size"),
            reply(409, b"0\n"),
            reply(500, b"\xff" * 1000),
            reply(302, b"", Location="http://127.0.0.1:1/"),
            reply(200, gzip.compress(bytes(1 << 24)), Content_Encoding="gzip"),
            flood,
            trickle,
        ],
        ids=["empty", "nonsense", "wrong", "larger", "huge", "smaller", "no-size", "error", "redirect", "bomb", "flood", "trickle"],
    )
    def test_a_hostile_witness_only_withholds_its_own_cosignature(
        self, tmp_path: Path, urls: list[str], answer: object, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server.fetch, "TOTAL_SECONDS", 0.5)
        with answering(answer) as hostile:  # type: ignore[arg-type]  # a function of the request
            with cosigner([*urls[:2], hostile], 2) as cosign, Log.open(tmp_path / "run", LOG, create=True, cosign=cosign) as log:
                log.append(b"entry")
                assert Policy(LOG.verifier, KEYS, 2).open(log.checkpoint_note()).size == 1
            said: list[str] = []
            stop = threading.Event()
            stop.set()
            with cosigner([*urls[:2], hostile], 3, said, stop) as cosign, pytest.raises(StorageError, match="2 of the 3"):
                Log.open(tmp_path / "run", LOG, create=False, cosign=cosign)
            assert len(said) == 1

    def test_one_witness_at_two_addresses_counts_once(self, urls: list[str], tmp_path: Path) -> None:
        stop = threading.Event()
        stop.set()
        twice = [urls[0], urls[0].replace("127.0.0.1", "localhost")]
        with cosigner(twice, 2, stop=stop) as cosign, pytest.raises(StorageError, match="1 of the 2"):
            Log.open(tmp_path / "run", LOG, create=True, cosign=cosign)

    @pytest.mark.parametrize("bad", ["", "w1.example", "ftp://w1.example", "http://", "file:///etc/passwd"])
    def test_what_is_no_address_is_refused(self, bad: str) -> None:
        with pytest.raises(ServerError):
            cosigner([bad], 1)

    def test_too_few_addresses_are_refused_at_once(self) -> None:
        with pytest.raises(ServerError, match="demands 2 cosignatures, and 1 addresses"):
            cosigner(["http://127.0.0.1:1", "http://127.0.0.1:1"], 2)


class TestRun:
    """A federation whose agreement has witnesses."""

    def agreed(self, quorum: int) -> dict[str, object]:
        return {"keys": [str(key.key) for key in KEYS], "quorum": quorum}

    @pytest.fixture
    def live(self, tmp_path: Path) -> Iterator[list[str]]:
        with ExitStack() as stack:
            yield [stack.enter_context(served(witness_app(witness_of(tmp_path, number, SIGNER)))) for number in range(3)]

    def test_clients_follow_and_the_audit_verifies(self, tmp_path: Path, live: list[str]) -> None:
        agreement = terms(3, 2, witnesses=self.agreed(2))
        policy = Policy(SIGNER.verifier, KEYS, 2)
        with Cosigner(policy, live, notify=print) as cosign:
            run = federate(tmp_path / "run", [client(number) for number in range(3)], agreement=agreement, cosign=cosign)
        assert run.verdicts(2) == [OK, OK, OK]
        write_export(tmp_path / "run", tmp_path / "export.tar")
        report = audit(tmp_path / "export.tar", backend="arkworks")
        assert report.verified
        with Store.open(tmp_path / "run" / "ledger.db", create=False) as store:
            signed = store.latest_checkpoint() or b""
            store.save_checkpoint(store.size(), note.sign(note.parse(signed).text, SIGNER, SIGNERS[0]))
        (tmp_path / "run" / "checkpoint").unlink()
        write_export(tmp_path / "run", tmp_path / "fewer.tar")
        found = audit(tmp_path / "fewer.tar", backend="arkworks").findings
        assert [(one.check, one.entry) for one in found] == [(Check.CHECKPOINT, None)]
        assert "1 of the 2 cosignatures" in found[0].reason

    def test_a_client_refuses_a_checkpoint_without_its_quorum(self, tmp_path: Path) -> None:
        """A server that publishes without waiting for anybody."""
        agreement = terms(3, 1, witnesses=self.agreed(2))
        with pytest.raises(Exception, match="has 0 of the 2 cosignatures"):
            Federation(tmp_path, [client(number) for number in range(3)], agreement).run()

    def test_a_server_with_an_old_copy_is_not_cosigned(self, tmp_path: Path, live: list[str]) -> None:
        stop = threading.Event()
        said: list[str] = []
        stop.set()
        policy = Policy(SIGNER.verifier, KEYS, 2)
        with Cosigner(policy, live, notify=print) as cosign, Log.open(tmp_path / "a", SIGNER, create=True, cosign=cosign) as log:
            log.append(b"one")
            log.append(b"two")
        with Cosigner(policy, live, notify=said.append, stop=stop) as cosign, pytest.raises(StorageError):
            Log.open(tmp_path / "b", SIGNER, create=True, cosign=cosign)
        assert "has cosigned 2 entries, more than this ledger has: it is an old copy, or forked" in said[0]

    def test_a_server_that_forked_is_found_out(self, tmp_path: Path, live: list[str]) -> None:
        policy, witness = Policy(SIGNER.verifier, KEYS, 2), witness_of(tmp_path, 0, SIGNER)
        stop = threading.Event()
        stop.set()
        for name in ("a", "b"):
            with Log.open(tmp_path / name, SIGNER, create=True) as log:
                log.append(b"one")
                log.append(name.encode())
        with Cosigner(policy, live, notify=print) as cosign:
            Log.open(tmp_path / "a", SIGNER, create=False, cosign=cosign).close()
        (tmp_path / "b" / "checkpoint").unlink()
        with Cosigner(policy, live, notify=print, stop=stop) as cosign, pytest.raises(StorageError):
            Log.open(tmp_path / "b", SIGNER, create=False, cosign=cosign)
        proof = witness.fork(SIGNER.verifier.key.name)
        assert proof is not None
        assert [checkpoint.size for checkpoint in proof.verify()] == [2, 2]

    def test_two_runs_of_one_federation_are_two_logs_to_a_witness(self, tmp_path: Path) -> None:
        plan = SimpleNamespace(agreement=terms(3, 1))
        logs = [Plan.signer(plan, bytes([number] * 32)) for number in (11, 12)]  # type: ignore[arg-type]  # all of a plan that names it
        assert logs[0].verifier.key.name.startswith("lunaria.local/attacks/")
        witness = Witness(tmp_path / "w.db", SIGNERS[:1], [log.verifier.key for log in logs])
        with served(witness_app(witness)) as url:
            for number, log in enumerate(logs):
                policy = Policy(log.verifier, KEYS[:1], 1)
                with (
                    Cosigner(policy, [url], notify=print) as cosign,
                    Log.open(tmp_path / str(number), log, create=True, cosign=cosign) as opened,
                ):
                    opened.append(b"entry")

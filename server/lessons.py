"""The examples in the help of ``lunaria`` and ``flower-server`` (:mod:`clients.help`)."""

from clients.help import Lesson

_FALSE = "0 {}, 1 {}, 2 the input is unusable, 4 a part of the installation is missing, 130 interrupted with Ctrl-C"
_RUN = "--agreement agreement.toml --state run --certs certs/server.crt --key certs/server.key"

SERVER = {
    "": Lesson(
        (
            "lunaria certs --host federation.example",
            "lunaria invite hospital-a --server federation.example:9443 --ca certs/ca.crt --agreement agreement.toml",
            f"flower-server {_RUN} --host 0.0.0.0 --metrics 127.0.0.1:9464",
            f"flower-server {_RUN} --close",
        ),
        "ledger, evidence, keys, model and logs into --state; what happens, a line an event, to standard error",
        "0 all rounds are done, 2 the input is unusable, 3 the run failed (too few clients, too few updates), 4 a part of the installation "
        "is missing, 75 a process ended or the ledger cannot be written now: the same command goes on, 130 stopped with SIGTERM or Ctrl-C: "
        "the same command goes on",
    )
}

LUNARIA = {
    "simulate": Lesson(
        ("lunaria simulate --data digits --out runs/first", "lunaria simulate --agreement agreement.toml --witness http://127.0.0.1:8081"),
        "a run folder: ledger, evidence, keys, model, learning curve, and export.tar, which is audited",
        "0 done and verified, 1 the audit found something false, 2 the input is unusable, 3 the run failed, 4 a part of the installation "
        "is missing, 130 interrupted with Ctrl-C",
    ),
    "audit": Lesson(
        (
            "lunaria audit export.tar --agreement agreement.toml",
            "lunaria audit export.tar --html report.html --auditor 'A. Auditor'",
            "lunaria audit export.tar --evaluation-set evaluation.npy",
        ),
        "the report to standard output; with --html FILE a page; with --resume FILE its progress",
        _FALSE.format("everything verified", "something is false"),
    ),
    "export": Lesson(("lunaria export run -o export.tar", "lunaria export run -o small.tar --no-updates"), "the file of -o"),
    "crate": Lesson(("lunaria crate run archive",), "a new folder"),
    "explorer": Lesson(("lunaria explorer export.tar -o ledger.html",), "the file of -o"),
    "evaluation-set": Lesson(
        ("lunaria evaluation-set agreement.toml --data digits -o evaluation.npy",),
        "the file of -o; the lines for the agreement to standard output",
    ),
    "model": Lesson(("lunaria model run -o model.keras", "lunaria model run --round 2 -o round-2.keras"), "the file of -o"),
    "scale": Lesson(("lunaria scale records.csv >> agreement.toml",), "the fields to standard output"),
    "monitor": Lesson(
        ("lunaria monitor https://federation.example/ledger --key 'federation.example/hospitals+…' --state seen",),
        "what it has seen into --state; the proof too, should the log fork",
        "0 the run is closed, 1 what is served is false, 2 it cannot be read, 4 a part of the installation is missing, "
        "5 the log has forked, 130 interrupted with Ctrl-C",
    ),
    "publish": Lesson(("lunaria publish run --witness http://w1.example:8080",), "the cosigned checkpoint into the run folder"),
    "serve": Lesson(("lunaria serve run --port 8000 --metrics 127.0.0.1:9467",)),
    "witness": Lesson(
        (
            "lunaria witness --key w1.key --name w1.example",
            "lunaria witness --key w1.key --log 'federation.example/hospitals+…' --metrics 127.0.0.1:9466",
        ),
        "the key file where there is none; what it cosigned into --state",
    ),
    "log list": Lesson(("lunaria log list run",)),
    "log show": Lesson(("lunaria log show run 3",)),
    "log proof": Lesson(("lunaria log proof run 3 > entry-3.tlog-proof", "lunaria log proof run --round 2")),
    "log verify": Lesson(
        ("lunaria log verify entry-3.tlog-proof --key 'federation.example/hospitals+…'",),
        codes=_FALSE.format("it is in the ledger", "it is not"),
    ),
    "fsck": Lesson(("lunaria fsck run",), codes=_FALSE.format("intact", "damaged")),
    "backup": Lesson(("lunaria backup run backups/today",), "a new folder, without keys"),
    "restore": Lesson(("lunaria restore backups/today run",), "a new run folder, on hold"),
    "release": Lesson(("lunaria release run --newest checkpoint",), "the end of the hold, into the ledger"),
    "certs": Lesson(
        ("lunaria certs --host federation.example --host 192.0.2.7",), "ca.crt, ca.key, server.crt and server.key, never over others"
    ),
    "keygen": Lesson(("lunaria keygen node.key",), "node.key (secret) and node.key.pub, never over others"),
    "invite": Lesson(
        ("lunaria invite hospital-a --server federation.example:9443 --ca certs/ca.crt --agreement agreement.toml",),
        "NAME.invitation.toml (secret) and NAME.pub in --members, never over others",
    ),
    "revoke": Lesson(
        (
            "lunaria revoke run hospital-c --reason key-compromised",
            "lunaria revoke run 4f1a90c2 --reason rules-broken    # the first digits of its identity in the ledger",
        ),
        "STATE/changes/, where a running flower-server finds it at once, and another when it starts",
    ),
    "change": Lesson(
        ("lunaria change run rotation.json", "lunaria change run withdrawal.json"),
        "STATE/changes/ and STATE/nodes/, where a running flower-server finds it at once, and another when it starts",
    ),
    "fork prove": Lesson(
        ("lunaria fork prove theirs mine --key 'federation.example/hospitals+…' -o fork.json",),
        "the file of -o",
        _FALSE.format("proved", "the two do not contradict each other"),
    ),
    "fork verify": Lesson(("lunaria fork verify fork.json",), codes=_FALSE.format("the log forked", "this proves nothing")),
}

_CODES = (
    "0 done, also where it was done already, 1 the contract refuses, 2 the input is unusable, 3 the node cannot be reached: try again, "
    "4 a part of the installation is missing, 5 ledger and chain contradict each other, 130 interrupted with Ctrl-C"
)
_ON_CHAIN = "transactions, unless --dry-run; a journal beside chain.toml"
_CALLS = {
    "deploy": ("deploy run --dry-run", "deploy run"),
    "join": ("join --stake 1000 --identity 3350f42b6a6c76922fba7218834ffb8edf2fbc4a618116877185d33883f6240e",),
    "vote": ("vote 0x00000000000000000000000000000000000000a1",),
    "elect": ("elect",),
    "fund": ("fund --total 100000 --dry-run", "fund --total 100000"),
    "anchor": ("anchor run", "anchor run --follow"),
    "settle": ("settle run --epoch 1",),
    "claim": ("claim run --epoch 1", "claim run --epoch 1 --proof"),
    "challenge": ("challenge run --epoch 1",),
    "decide": ("decide run --epoch 1 > mine.json",),
    "resolve": ("resolve --epoch 1 one.json two.json three.json",),
    "unbond": ("unbond", "unbond --keep 1000"),
    "withdraw": ("withdraw --dry-run", "withdraw"),
    "close": ("close",),
    "licence deploy": ("licence deploy",),
    "licence offer": (f"licence offer --data {'9f3e' * 16} --terms terms.txt --price 100 --rule {'1ab0' * 16}",),
    "licence buy": ("licence buy 0 --rounds 20 --days 30",),
    "licence proven": ("licence proven run 0 > mine.json",),
    "licence release": ("licence release 0 one.json two.json three.json",),
    "licence reclaim": ("licence reclaim 0",),
    "licence retire": ("licence retire 0",),
    "licence status": ("licence status",),
    "witness": ("witness --log 'federation.example/hospitals+…'",),
    "status": ("status run",),
}
_WRITES = {
    "status": "nothing",
    "licence status": "nothing",
    "decide": "a signed decision to standard output",
    "licence proven": "a signed statement to standard output",
    "witness": "what it signed into --state",
}
for _name, _examples in _CALLS.items():
    _lines = tuple(f"lunaria chain {example}" for example in _examples)
    LUNARIA[f"chain {_name}"] = Lesson(_lines, _WRITES.get(_name, _ON_CHAIN), _CODES)

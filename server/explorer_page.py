"""The explorer as one HTML page: the modules in ``server/explorer`` put together, with or without a ledger in it.

The page takes nothing from elsewhere: its Content-Security-Policy allows its own script and style by their SHA-256 and, where it is
served, requests to the server that it came from.
"""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from ledger.verdicts import EXPLANATIONS
from zk.hashing import sha256

_FOLDER = files("server") / "explorer"
_MAIN = "main.js"
_IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./([a-z_]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?(?:function\*?|const|class) ([A-Za-z0-9_]+))", re.MULTILINE)
_PLACE = re.compile("@(policy|style|texts|ledger|script)@")


@dataclass(frozen=True)
class Page:
    """The bytes of the page, and the policy that it is to be served with."""

    html: bytes
    policy: str


def explorer_page(ledger: Mapping[str, object] | None = None) -> Page:
    """Return the page.

    Parameters
    ----------
    ledger : mapping, optional
        The ledger that it shows (:func:`server.explorer_data.ledger_data`); otherwise it reads the one of the server that it came from.
    """
    script, style = _script(), _read("style.css")
    reaches = "'self'" if ledger is None else "'none'"
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src {_source(script)}",
            f"style-src {_source(style)}",
            f"connect-src {reaches}",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    )
    parts = {"policy": policy, "style": style, "texts": _json({"verdicts": EXPLANATIONS}), "ledger": _json(ledger), "script": script}
    html = _PLACE.sub(lambda match: parts[match[1]], _read("page.html"))
    return Page(html.encode(), policy)


@cache
def _script() -> str:
    """Return all modules as one: each but the last a function that returns what it exports."""
    done: dict[str, str] = {}

    def take(name: str) -> None:
        text = _read(name)
        for match in _IMPORT.finditer(text):
            if match[2] not in done:
                take(match[2])
        text = _IMPORT.sub(lambda match: f"const {match[1]} = {_name(match[2])};\n", text)
        exports = ", ".join(match[2] for match in _EXPORT.finditer(text))
        text = _EXPORT.sub(r"\1", text)
        done[name] = text if name == _MAIN else f"const {_name(name)} = (() => {{\n{text}return {{ {exports} }};\n}})();\n"

    take(_MAIN)
    return "\n" + "\n".join(done.values())


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _name(module: str) -> str:
    return "$" + module.removesuffix(".js")


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(sha256(text.encode())).decode()}'"


def _json(value: object) -> str:
    """Return JSON that can stand in a script element, whatever the strings in it."""
    return json.dumps(value).replace("<", "\\u003c")

"""The compiled contracts that are shipped: ABI and bytecode of what is in ``deploy/contracts``.

``python -m server.chain.artifacts`` compiles them anew (it needs Vyper, of the extra ``[dev]``); a test holds them to the sources.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

CONTRACTS = ("federation", "data_licence")
EVM = "cancun"
"""Oldest EVM they run on: re-entrancy locks are in transient storage (EIP-1153)."""

_FOLDER = Path(__file__).parent / "compiled"
_SOURCES = Path(__file__).parents[2] / "deploy" / "contracts"


@cache
def artifact(name: str) -> dict[str, Any]:
    """Return ``abi`` and ``bytecode`` of a contract."""
    found: dict[str, Any] = json.loads((_FOLDER / f"{name}.json").read_bytes())
    return found


def compiled(path: Path) -> str:
    """Compile a contract; returns the text of its artifact."""
    from vyper import compile_from_file_input
    from vyper.compiler.input_bundle import FilesystemInputBundle
    from vyper.compiler.settings import Settings

    bundle = FilesystemInputBundle([path.parent, _SOURCES])
    with bundle.search_path(path.parent):
        source = bundle.load_file(path.name)
    out = compile_from_file_input(
        source,
        input_bundle=bundle,
        output_formats=["abi", "bytecode"],
        settings=Settings(evm_version=EVM),
        no_bytecode_metadata=True,
    )
    return json.dumps({"abi": out["abi"], "bytecode": out["bytecode"]}, indent=1) + "\n"


if __name__ == "__main__":
    for contract in CONTRACTS:
        (_FOLDER / f"{contract}.json").write_text(compiled(_SOURCES / f"{contract}.vy"), encoding="utf-8")

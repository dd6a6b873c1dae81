"""``lunaria model``: the model of a ledger as a Keras file, wherever TensorFlow is; a server need not have it."""

from pathlib import Path
from typing import Annotated

import typer

from ledger.canonical import load_vector
from ledger.entries import AgreementEntry, RoundEntry, decode_entry
from ledger.errors import StorageError
from ledger.storage import ledger_of
from server.http import installed
from zk.sgd import unflatten


def model(
    run: Annotated[Path, typer.Argument(help="The folder of a run; a server may be writing to it.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .keras file to write.")],
    round_: Annotated[int | None, typer.Option("--round", min=0, help="After which round; 0: the first. [default: the last]")] = None,
) -> None:
    """Write the model after a round as a Keras file."""
    with installed("federation"):
        import keras  # noqa: F401 - what the two need

        from clients.keras_models import save, to_keras
    store, evidence = ledger_of(run)
    with store:
        opening, last, reached = decode_entry(store.entry(0)), None, 0
        for data in store.entries(1, store.size()):
            entry = decode_entry(data)
            if isinstance(entry, RoundEntry) and (round_ is None or entry.round <= round_):
                last, reached = entry.model_after, entry.round
    if not isinstance(opening, AgreementEntry):
        raise StorageError(f"{run} holds a ledger that does not begin with an agreement: see 'lunaria fsck'")
    if round_ is not None and reached != round_:
        raise StorageError(f"the ledger has no round {round_}")
    reference = last or opening.model
    rule = opening.agreement.rule
    vector = load_vector(evidence.get(reference.digest, reference.size), rule.size, "the model")
    save(to_keras(unflatten(rule, vector), rule), output)
    typer.echo(f"{output}: after round {reached}, digest {reference.digest}")

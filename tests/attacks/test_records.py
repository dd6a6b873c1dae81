"""A client sends Flower records that are not an update: other types, other shapes, other parts, bytes that are no array at all."""

import io
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import rfc8785
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy.strategy_utils import validate_message_reply_consistency

from ledger.canonical import dump_json
from ledger.entries import decode_contribution
from ledger.messages import RECORD, TrainReply
from ledger.verdicts import Reason
from strategies.exact_fedavg import ExactFedAvg
from tests.federation import OK, Content, Tampered, client, federate, judged, refused, reply_of, with_reply

Anything = npt.NDArray[np.generic]
NUMPY = "numpy.ndarray"
SHAPE = (6, 8)  # of the first layer


def layers(content: Content) -> list[Anything]:
    return list(content.array_records["arrays"].to_numpy_ndarrays())


def with_layers(content: Content, sent: Iterable[Array]) -> Content:
    content["arrays"] = ArrayRecord({f"layer-{i}": array for i, array in enumerate(sent)})
    return content


def changed(change: Callable[[Anything], Anything]) -> Callable[[Content], Content]:
    """Send other arrays of the same number; their declared type and shape are their own."""
    return lambda content: with_layers(content, [Array(np.ascontiguousarray(change(layer))) for layer in layers(content)])


def posing(change: Callable[[Anything], Anything]) -> Callable[[Content], Content]:
    """Send other arrays that declare themselves as the int64 of the right shape that they are not."""

    def edit(content: Content) -> Content:
        return with_layers(content, [Array("int64", layer.shape, NUMPY, npy(change(layer))) for layer in layers(content)])

    return edit


def npy(array: Anything) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(array: Anything) -> bytes:
    file = io.BytesIO()
    np.savez(file, array)
    return file.getvalue()


def header(text: str, rest: bytes = bytes(64), version: int = 1) -> bytes:
    """Return an NPY file with this header."""
    length = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + text.encode() + rest


def poison(value: float) -> Callable[[Anything], Anything]:
    def change(layer: Anything) -> Anything:
        floats = layer.astype(np.float64)
        floats[0, 0] = value
        return floats

    return change


TYPES: dict[str, Callable[[Anything], Anything]] = {
    "NaN": poison(np.nan),
    "infinity": poison(np.inf),
    "float64": lambda layer: layer.astype(np.float64),
    "int32": lambda layer: layer.astype(np.int32),
    "uint64": lambda layer: layer.astype(np.uint64),
    "big-endian": lambda layer: layer.astype(">i8"),
    "bool": lambda layer: layer != 0,
    "complex": lambda layer: layer.astype(np.complex128),
    "strings": lambda layer: layer.astype("S8"),
    "dates": lambda layer: layer.astype("M8[s]"),
}


def edited(edit: Callable[[Content], Content]) -> Callable[[int], ClientApp]:
    return lambda number: Tampered(client(number), edit)


@pytest.mark.parametrize("send", [changed, posing], ids=["as it is", "posing as int64"])
def test_values_of_another_type(folder: Path, send: Callable[[Callable[[Anything], Anything]], Callable[[Content], Content]]) -> None:
    cases = {name: edited(send(change)) for name, change in TYPES.items()}
    assert judged(folder, cases) == dict.fromkeys(cases, Reason.WRONG_TYPE)


SHAPES: dict[str, Callable[[Anything], Anything]] = {
    "transposed": lambda layer: layer.T,
    "flat": lambda layer: layer.ravel(),
    "one dimension more": lambda layer: layer[None],
    "without bias": lambda layer: layer[:-1],
    "empty": lambda layer: layer[:0],
    "a number": lambda layer: layer[0, 0],
    "twice as long": lambda layer: np.concatenate([layer, layer]),
}


@pytest.mark.parametrize("send", [changed, posing], ids=["as it is", "posing as the right shape"])
def test_layers_of_another_shape(folder: Path, send: Callable[[Callable[[Anything], Anything]], Callable[[Content], Content]]) -> None:
    cases = {name: edited(send(change)) for name, change in SHAPES.items()}
    # bytes that do not begin as an array of the stated shape are no such array
    assert judged(folder, cases) == dict.fromkeys(cases, Reason.WRONG_SHAPE if send is changed else Reason.WRONG_TYPE)


def arrays(content: Content) -> list[Array]:
    return list(content.array_records["arrays"].values())


def named(*names: str) -> Callable[[Content], Content]:
    def edit(content: Content) -> Content:
        content["arrays"] = ArrayRecord(dict(zip(names, [*arrays(content), arrays(content)[0]], strict=False)))
        return content

    return edit


def test_other_layers(folder: Path) -> None:
    cases = {
        "extra layer": edited(named("layer-0", "layer-1", "layer-2")),
        "missing layer": edited(named("layer-0")),
        "names in another order": edited(named("layer-1", "layer-0")),
        "another name": edited(named("layer-0", "bias")),
        "no layer": edited(lambda content: with_layers(content, [])),
        "layers swapped": edited(lambda content: with_layers(content, reversed(arrays(content)))),
    }
    assert judged(folder, cases) == dict.fromkeys(cases, Reason.WRONG_SHAPE)


def bytes_of_first_layer(data: bytes, shape: tuple[int, ...] = SHAPE, stype: str = NUMPY) -> Callable[[Content], Content]:
    return lambda content: with_layers(content, [Array("int64", shape, stype, data), arrays(content)[1]])


def test_bytes_that_are_no_such_array(folder: Path) -> None:
    types = {
        "nothing": edited(bytes_of_first_layer(b"")),
        "raw zeros": edited(bytes_of_first_layer(bytes(192))),
        "another library's": edited(bytes_of_first_layer(npy(np.zeros(SHAPE, np.int64)), stype="torch")),
        "pickle": edited(bytes_of_first_layer(header("{'descr':'|O','fortran_order':False,'shape':(6,4)}", b"cos\nsystem\n(S'x'\ntR."))),
        "bare pickle": edited(bytes_of_first_layer(b"\x80\x04cos\nsystem\n(S'x'\ntR.")),
        "negative shape": edited(bytes_of_first_layer(header("{'descr':'<i8','fortran_order':False,'shape':(-1,4)}"))),
        "code in the header": edited(bytes_of_first_layer(header("__import__('os')"))),
        "empty header": edited(bytes_of_first_layer(header("{}"))),
    }
    shapes = {
        "truncated": edited(bytes_of_first_layer(npy(np.zeros(SHAPE, np.int64))[:-1])),
        "oversized": edited(bytes_of_first_layer(npy(np.zeros(SHAPE, np.int64)) + bytes(2000))),
        "huge declared shape": edited(bytes_of_first_layer(npy(np.zeros(SHAPE, np.int64)), (2**40, 2**40))),
    }
    expected = {**dict.fromkeys(types, Reason.WRONG_TYPE), **dict.fromkeys(shapes, Reason.WRONG_SHAPE)}
    assert judged(folder, {**types, **shapes}) == expected


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"PK\x03\x04" + bytes(60), id="broken zip archive"),
        pytest.param(npz(np.zeros(SHAPE, np.int64)), id="zip archive of arrays"),
        pytest.param(header("{'descr':'<i8','fortran_order':False,'shape':(1125899906842624,)}"), id="petabytes in the header"),
        pytest.param(header("{'descr':'<i8','fortran_order':False,'shape':(1180591620717411303424,)}"), id="shape beyond 64 bits"),
        pytest.param(header("{'descr':("), id="header that does not end"),
    ],
)
def test_bytes_that_break_the_reader(folder: Path, data: bytes) -> None:
    refused(federate(folder, [client(0), Tampered(client(1), bytes_of_first_layer(data)), client(2)]), Reason.WRONG_TYPE)


def without(name: str) -> Callable[[Content], Content]:
    def edit(content: Content) -> Content:
        del content[name]
        return content

    return edit


def more(name: str, record: ArrayRecord | MetricRecord | ConfigRecord) -> Callable[[Content], Content]:
    def edit(content: Content) -> Content:
        content[name] = record
        return content

    return edit


def field(name: str, value: str | float | bytes | list[bytes] | None) -> Callable[[Content], Content]:
    """Replace a field of the signed part by something of another type; ``None`` takes it out."""

    def edit(content: Content) -> Content:
        record = content.config_records[RECORD]
        if value is None:
            del record[name]
        else:
            record[name] = value
        return content

    return edit


def test_other_records(folder: Path) -> None:
    cases = {
        "nothing": edited(lambda _: RecordDict()),
        "no update": edited(without("arrays")),
        "no metrics": edited(without("metrics")),
        "no statement": edited(without(RECORD)),
        "second update": edited(more("more", ArrayRecord({"layer-0": Array(np.zeros(SHAPE, np.int64))}))),
        "second metrics": edited(more("more", MetricRecord({"num-examples": 6}))),
        "extra configuration": edited(more("more", ConfigRecord({"note": "please"}))),
        "record of another kind": edited(more("arrays", ConfigRecord({"layer-0": b""}))),
        "metrics without a number of examples": edited(more("metrics", MetricRecord({"examples": 6}))),
    }
    for name in ("statement", "commitment", "blinds"):
        for value in (None, "text", 1, 0.5, [b""]):
            cases[f"{name} is {type(value).__name__}"] = edited(field(name, value))
    assert judged(folder, cases) == dict.fromkeys(cases, Reason.MALFORMED)


def test_other_number_of_examples(folder: Path) -> None:
    """What Flower would weight by must be the enrolled number, as an integer."""
    stated: list[int | float | list[int] | list[float]] = [
        7,
        5,
        0,
        -6,
        2**62,
        2**63 - 1,
        -(2**63),
        6.0,
        1e300,
        float("nan"),
        float("inf"),
        [6],
        [6.0, 6.0],
    ]
    cases = {str(value): edited(more("metrics", MetricRecord({"num-examples": value}))) for value in stated}
    assert judged(folder, cases) == dict.fromkeys(cases, Reason.MALFORMED)


def said(change: Callable[[bytes], bytes]) -> Callable[[Content], Content]:
    """Send other bytes as the signed statement."""

    def edit(content: Content) -> Content:
        reply = reply_of(content)
        return with_reply(content, TrainReply(change(reply.statement), reply.commitment, reply.blinds, reply.proof))

    return edit


def with_field(data: bytes, **fields: object) -> bytes:
    value = decode_contribution(data).model_dump(mode="json")
    value["statement"].update(fields)
    return dump_json(value)


def test_statement_that_is_none(folder: Path) -> None:
    cases = {
        "empty": edited(said(lambda _: b"")),
        "not UTF-8": edited(said(lambda _: b"\xff\xfe")),
        "null": edited(said(lambda _: b"null")),
        "NaN": edited(said(lambda _: b"NaN")),
        "infinity": edited(said(lambda _: b"1e999")),
        "long number": edited(said(lambda _: b"1" * 5000)),
        "truncated": edited(said(lambda data: data[:-1])),
        "space after it": edited(said(lambda data: data + b" ")),
        "space in it": edited(said(lambda data: data.replace(b":", b": ", 1))),
        "a name twice": edited(said(lambda data: data.replace(b'"signature"', b'"signature":"","signature"', 1))),
        "too long": edited(said(lambda data: data + bytes(70_000))),
        "unknown field": edited(said(lambda data: with_field(data, more=1))),
        "negative round": edited(said(lambda data: with_field(data, round=-1))),
        "round as text": edited(said(lambda data: with_field(data, round="1"))),
        "round as bool": edited(said(lambda data: with_field(data, round=True))),
        "uppercase digest": edited(said(lambda data: with_field(data, nonce="AB" * 32))),
        "path as a name": edited(said(lambda data: with_field(data, client="../" * 21 + "x"))),
        "very deep": edited(said(lambda data: b'{"a":' * 3000 + b"1" + b"}" * 3000)),
    }
    assert judged(folder, cases) == dict.fromkeys(cases, Reason.MALFORMED)


def test_statement_with_half_a_surrogate_pair_as_a_name(folder: Path) -> None:
    edit = said(lambda _: b'{"\\ud800":1}')
    refused(federate(folder, [client(0), Tampered(client(1), edit), client(2)]), Reason.MALFORMED)


def test_statement_just_not_too_deep_for_the_parser(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The canonical writer takes a little more stack than the parser: somewhere near 950 levels it gives up where the parser did not."""
    written = rfc8785.dumps

    def dumps(value: object) -> bytes:
        if isinstance(value, dict) and "deep" in value:
            raise RecursionError("maximum recursion depth exceeded")
        return written(value)  # type: ignore[arg-type]

    monkeypatch.setattr(rfc8785, "dumps", dumps)
    edit = said(lambda _: b'{"deep":' * 950 + b"1" + b"}" * 950)
    refused(federate(folder, [client(0), Tampered(client(1), edit), client(2)]), Reason.MALFORMED)


def test_one_more_metric_does_not_break_a_wrapped_strategy(folder: Path) -> None:
    """Flower's own strategies fail the run when the metrics of two replies have different names."""

    class Strict(ExactFedAvg):
        def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> tuple[ArrayRecord | None, MetricRecord | None]:
            received = list(replies)
            validate_message_reply_consistency([reply.content for reply in received], "num-examples", check_arrayrecord=True)
            return super().aggregate_train(server_round, received)

    edit = more("metrics", MetricRecord({"num-examples": 6, "gift": 1.0}))
    run = federate(folder, [client(0), Tampered(client(1), edit), client(2)], strategy=Strict)
    assert run.verdicts(2) == [OK, OK, OK]

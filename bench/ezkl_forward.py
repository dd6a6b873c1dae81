"""What one forward pass of 784-128-10 costs with ezkl (a zk-SNARK of Halo2/KZG), as a scale beside the proof of training.

ezkl is no dependency of Lunaria: it runs in an interpreter of its own, ``python bench/ezkl_forward.py FOLDER`` after
``pip install ezkl onnx``, and prints one line of JSON. ``bench.training_proof --ezkl PYTHON`` calls it. The set-up string is made here, by
somebody who could forge with it: good for timings only. What is proved is a forward pass of one secret sample, in ezkl's own fixed point,
with the weights as constants of the circuit: less than a training step does with one of its samples.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import ezkl
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LAYERS = (784, 128, 10)


def write_network(path: Path) -> None:
    """Write the network with random weights."""
    rng = np.random.default_rng(1)
    nodes, constants, last = [], [], "x"
    for i, (rows, columns) in enumerate(pairwise(LAYERS)):
        W = (rng.normal(size=(rows, columns)) / np.sqrt(rows)).astype(np.float32)
        constants += [numpy_helper.from_array(W, f"W{i}"), numpy_helper.from_array(np.zeros(columns, dtype=np.float32), f"b{i}")]
        nodes.append(helper.make_node("Gemm", [last, f"W{i}", f"b{i}"], [f"z{i}"]))
        last = f"z{i}"
        if i + 2 < len(LAYERS):
            nodes.append(helper.make_node("Relu", [last], [f"a{i}"]))
            last = f"a{i}"
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, LAYERS[0]])]
    outputs = [helper.make_tensor_value_info(last, TensorProto.FLOAT, [1, LAYERS[-1]])]
    graph = helper.make_graph(nodes, "network", inputs, outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))


def main(folder: Path) -> None:
    """Prove one forward pass and print the seconds of each step."""
    names = ("network.onnx", "input.json", "settings.json", "circuit", "srs", "pk", "vk", "witness.json", "proof.json")
    network, data, settings, circuit, srs, pk, vk, witness, proof = (str(folder / name) for name in names)
    write_network(Path(network))
    x = np.random.default_rng(2).integers(0, 256, LAYERS[0]) / 256
    Path(data).write_text(json.dumps({"input_data": [x.tolist()]}), encoding="utf-8")
    seconds: dict[str, float] = {}

    def step(name: str, work: Callable[..., object], *arguments: object, **options: object) -> None:
        began, cpu = time.perf_counter(), time.process_time()
        if work(*arguments, **options) is False:
            raise RuntimeError(f"{name} failed")
        seconds[name], seconds[f"{name}, processor"] = time.perf_counter() - began, time.process_time() - cpu

    secret = ezkl.PyRunArgs()
    secret.input_visibility = "private"
    step("settings", ezkl.gen_settings, network, settings, py_run_args=secret)
    step("calibrate", ezkl.calibrate_settings, data, network, settings, "resources")
    step("compile", ezkl.compile_circuit, network, circuit, settings)
    logrows = json.loads(Path(settings).read_text(encoding="utf-8"))["run_args"]["logrows"]
    step("srs", ezkl.gen_srs, srs, logrows)
    step("setup", ezkl.setup, circuit, vk, pk, srs_path=srs)
    step("witness", ezkl.gen_witness, data, circuit, witness)
    step("prove", ezkl.prove, witness, circuit, pk, proof, srs_path=srs)
    step("verify", ezkl.verify, proof, settings, vk, srs_path=srs)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sizes = {name: Path(path).stat().st_size for name, path in (("proof.json", proof), ("pk", pk), ("vk", vk))}
    print(json.dumps({"version": ezkl.__version__, "logrows": logrows, "seconds": seconds, "bytes": sizes, "peak_mb": peak}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

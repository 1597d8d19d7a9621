"""The train step at full size as it is lowered for accelerators: nothing that makes it slow."""

import math

import jax
import numpy as np
import pytest
from jax.extend.mlir import ir

from experiments.benchmarks import networks
from mgr_jax import config as config_lib
from mgr_jax import parallel
from mgr_jax.training import network as network_lib

LARGEST_CONSTANT = 25_000  # values


def _trace(name):
    """Return the traced train step of a network, from waveforms on."""
    config = networks.cases()[name][1]
    network = network_lib.make_network(config, num_classes=10, devices=jax.devices()[:1])
    state = parallel.abstract(jax.eval_shape(network.init), network.mesh)
    shapes = {"waveform": ((8, config_lib.window_length(config)), np.int16)}
    shapes |= {"scale": ((8,), np.float32)}
    shapes |= dict.fromkeys(("num_samples", "label", "row"), ((8,), np.int32))
    batch = {key: jax.ShapeDtypeStruct(*value) for key, value in shapes.items()}
    return network.train_step.trace(state, batch)


def _operations(root, functions):
    """Return all operations below `root`, with those of the functions that it calls."""
    operations, called = [], set()

    def visit(operation):
        operations.append(operation)
        if operation.name == "func.call":
            called.add(ir.FlatSymbolRefAttr(operation.attributes["callee"]).value)
        return ir.WalkResult.ADVANCE

    pending = [root]
    while pending:
        pending.pop().walk(visit)
        pending = [functions.pop(name) for name in called & functions.keys()]
    return operations


def _constant_size(operation):
    value = ir.DenseElementsAttr(operation.attributes["value"])
    return 1 if value.is_splat else math.prod(ir.ShapedType(value.type).shape)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("gru", marks=pytest.mark.e2e),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("cnn_lstm", "bbnn")),
    ],
)
def test_step_for_accelerators_has_no_float64_large_constant_or_convolution_in_a_loop(name):
    traced = _trace(name)
    for platform in ("cuda", "tpu"):
        lowered = traced.lower(lowering_platforms=(platform,))
        assert "f64" not in lowered.as_text()
        module = lowered.compiler_ir("stablehlo")
        functions = {ir.StringAttr(f.attributes["sym_name"]).value: f for f in module.body}
        operations = _operations(module.operation, {})
        constants = [each for each in operations if each.name == "stablehlo.constant"]
        assert max(map(_constant_size, constants)) <= LARGEST_CONSTANT
        loops = [each for each in operations if each.name == "stablehlo.while"]
        assert bool(loops) == (name != "bbnn")
        for loop in loops:
            inside = {each.name for each in _operations(loop, dict(functions))}
            assert "stablehlo.add" in inside and "stablehlo.convolution" not in inside

"""One device, four by `jit`, four by `pmap`: the same numbers; batch sizes that do not divide.

Two processes of two devices are in tests/experiments/test_distributed.py.
"""

import functools
import types
import warnings

import jax
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec

from mgr_jax import parallel
from mgr_jax.errors import UserError
from mgr_jax.training import network as network_lib
from tests.training import tiny

NETWORKS = ("bbnn", "cnn_lstm", "rnn")
LAYOUTS = {"one": ("jit", 1), "jit": ("jit", 4), "pmap": ("pmap", 4)}
# Options that read other rows, or draw at random; of recurrent networks, which compile the fastest.
_OPTIONS = {"label_smoothing": 0.1, "ema_decay": 0.9, "train__mixup_alpha": 0.4}
OPTIONS = {"rnn": _OPTIONS, "simple": _OPTIONS}


def make_network(network, layout, optimizer="sgd"):
    parallelism, num_devices = LAYOUTS[layout]
    values = tiny.config(
        network,
        name=optimizer,
        learning_rate=0.05 if optimizer == "sgd" else 0.003,
        train__parallelism=parallelism,
        **OPTIONS.get(network, {}),
    )
    devices = jax.devices()[:num_devices]
    return network_lib.make_network(values, num_classes=3, devices=devices)


@functools.cache
def first_state(network, optimizer):
    made = make_network(network, "one", optimizer)
    return jax.device_get(parallel.jit_init(made.init, made.mesh))


@functools.cache
def run(network, layout, optimizer, num_steps=5):
    """Return the states and the losses of all steps of one layout, and how often it compiled."""
    made = make_network(network, layout, optimizer)
    state = parallel.replicate(first_state(network, optimizer), made.mesh)
    losses, states, last = [], [], 0.0
    for number in range(num_steps):
        with jax.transfer_guard("disallow"):
            state = made.train_step(state, made.shard(tiny.batch(number)))
        states.append(jax.device_get(state))
        total = float(states[-1].metrics["loss"])
        losses.append((total - last) / 8)
        last = total
    num_compiled = made.train_step._cache_size() if layout == "jit" else None
    return states, losses, num_compiled


def assert_close(left, right, tolerance):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), left, right
    )


@pytest.mark.parametrize("layout", ["jit", "pmap"])
@pytest.mark.parametrize(
    "network",
    [
        "simple",
        pytest.param("rnn", marks=pytest.mark.e2e),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("bbnn", "cnn_lstm")),
    ],
)
def test_train_step_by_sgd_is_the_same_on_one_and_on_four_devices(network, layout):
    assert jax.device_count() == 4
    assert_same_by_sgd(network, layout)


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["jit", "pmap"])
@pytest.mark.parametrize("network", NETWORKS)
def test_train_step_optimised_is_the_same_on_one_and_on_four_devices(network, layout):
    run.cache_clear()
    assert_same_by_sgd(network, layout)


def assert_same_by_sgd(network, layout):
    states, losses, _ = run(network, layout, "sgd")
    expected, expected_losses, _ = run(network, "one", "sgd")
    for name in ("params", "batch_stats", "average", "metrics"):
        assert_close(getattr(states[-1], name), getattr(expected[-1], name), 1e-5)
    assert_close(losses, expected_losses, 1e-5)
    moved = jax.tree.map(
        lambda a, b: float(np.abs(a - b).max()), states[0].params, states[-1].params
    )
    assert max(jax.tree.leaves(moved)) > 1e-3  # Else equality would say nothing.


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["jit", "pmap"])
@pytest.mark.parametrize("network", NETWORKS)
def test_train_step_by_adam_has_the_same_gradients_and_losses(network, layout):
    states, losses, _ = run(network, layout, "adam")
    expected, expected_losses, _ = run(network, "one", "adam")
    assert_close(losses, expected_losses, 1e-3)
    # After one step from zero, Adam's mean is a tenth of the gradient.
    gradients, expected_gradients = (
        jax.tree.map(lambda mean: 10 * mean, optax.tree_utils.tree_get(first.opt_state, "mu"))
        for first in (states[0], expected[0])
    )
    assert_close(gradients, expected_gradients, 1e-5)


@pytest.mark.parametrize("layout", ["jit", "pmap"])
def test_predictor_is_the_same_on_one_and_on_four_devices(layout):
    batch, scores = tiny.batch(9), []
    for name in ("one", layout):
        made = make_network("simple", name)
        state = parallel.replicate(first_state("simple", "sgd"), made.mesh)
        scores.append(network_lib.predictor(made, state)(batch))
    assert_close(*scores, 1e-5)


def test_pmap_train_step_donates_and_keeps_the_placement_of_jit():
    compiled = make_network("simple", "pmap")
    state = parallel.replicate(first_state("simple", "sgd"), compiled.mesh)
    batch = compiled.shard(tiny.batch(0))
    assert batch["waveform"].shape == (4, 2, tiny.WINDOW)
    with warnings.catch_warnings(), jax.transfer_guard("disallow"):
        warnings.simplefilter("error")
        after = compiled.train_step(state, batch)
    assert jax.tree.leaves(state.params)[0].is_deleted()
    abstract = parallel.abstract(jax.eval_shape(compiled.init), compiled.mesh)
    jax.tree.map(lambda a, b: _same_placement(a, b), after, abstract)


def _same_placement(array, expected):
    assert (array.shape, array.dtype) == (expected.shape, expected.dtype)
    assert array.sharding.is_equivalent_to(expected.sharding, array.ndim)


def test_jit_train_step_compiles_once_for_all_steps_of_a_run():
    states, _, num_compiled = run("simple", "jit", "sgd")
    assert int(states[-1].step) == 5 and num_compiled == 1


def test_shard_keeps_rows_in_order():
    mesh = parallel.make_mesh()
    batch = {"x": np.arange(8, dtype=np.float32)}
    sharded = parallel.shard(batch, mesh)["x"]
    np.testing.assert_array_equal(sharded, batch["x"])
    assert len(sharded.sharding.device_set) == 4


def test_shard_by_device_gives_each_device_contiguous_rows():
    mesh = parallel.make_mesh()
    sharded = parallel.shard_by_device({"x": np.arange(8, dtype=np.float32)}, mesh)["x"]
    assert sharded.sharding.spec == PartitionSpec("data")
    np.testing.assert_array_equal(sharded, [[0, 1], [2, 3], [4, 5], [6, 7]])


def test_check_batch_size_names_a_size_that_fits():
    mesh = parallel.make_mesh()
    parallel.check_batch_size(8, mesh)
    with pytest.raises(UserError, match=r"train.batch_size is 6.*multiple of 4"):
        parallel.check_batch_size(6, mesh)


def test_make_mesh_takes_fewer_devices_than_all():
    assert parallel.make_mesh().size == 4
    assert parallel.make_mesh(jax.devices()[1:3]).devices.tolist() == jax.devices()[1:3]


@pytest.mark.parametrize("name", sorted(parallel.ADAPTERS))
def test_predict_step_replicates_its_result(name):
    mesh, adapter = parallel.make_mesh(), parallel.ADAPTERS[name]
    step = adapter.predict_step(lambda scale, batch: scale * batch["x"], mesh)
    scale = parallel.replicate(np.float32(2), mesh)
    result = step(scale, adapter.shard({"x": np.arange(8, dtype=np.float32)}, mesh))
    assert result.sharding.is_fully_replicated
    np.testing.assert_array_equal(result, 2 * np.arange(8))


def test_compiler_options_are_known_to_this_xla_and_for_cpu_alone():
    options = parallel.compiler_options(parallel.make_mesh())
    assert list(options) == ["xla_cpu_experimental_ynn_fusion_type"]
    assert not parallel._is_known("xla_cpu_no_such_option", "1")
    tpu = types.SimpleNamespace(devices=np.array([types.SimpleNamespace(platform="tpu")]))
    assert parallel.compiler_options(tpu) == {}

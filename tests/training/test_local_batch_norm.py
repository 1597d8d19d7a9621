"""`model.local_batch_norm`: each device's own statistics, against its rows alone and NumPy."""

import functools

import jax
import numpy as np
import pytest

from mgr_jax import parallel
from mgr_jax.features.frontend import make_frontend
from mgr_jax.training import network as network_lib
from tests.training import tiny

SHARDS = [slice(2 * i, 2 * i + 2) for i in range(4)]


def make_config(local, parallelism="jit"):
    return tiny.config(
        name="sgd",
        learning_rate=0.05,
        model__dropout=0.0,
        model__batch_norm_momentum=0.99,
        model__local_batch_norm=local,
        train__parallelism=parallelism,
    )


@functools.cache
def make_network(local, parallelism="jit", num_devices=4):
    values = make_config(local, parallelism)
    devices = jax.devices()[:num_devices]
    return network_lib.make_network(values, num_classes=3, devices=devices)


def step(network, rows=slice(0, 8)):
    """Return the state after the first step on some rows of a batch."""
    state = parallel.jit_init(network.init, network.mesh)
    batch = {name: value[rows] for name, value in tiny.batch(0).items()}
    return jax.device_get(network.train_step(state, network.shard(batch)))


@pytest.fixture(scope="module", name="alone")
def _alone():
    """The states after each device's rows alone, on one device."""
    network = make_network(False, num_devices=1)
    return [step(network, rows) for rows in SHARDS]


@pytest.mark.parametrize("parallelism", ["jit", "pmap"])
def test_local_batch_norm_is_the_mean_of_the_devices_alone(alone, parallelism):
    together = step(make_network(True, parallelism))
    # A step of SGD is linear in the gradient, and the running averages in the moments.
    for name in ("params", "batch_stats"):
        mean = jax.tree.map(lambda *x: np.mean(x, axis=0), *(getattr(s, name) for s in alone))
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
            getattr(together, name),
            mean,
        )
    assert together.metrics["count"] == 8
    assert together.metrics["correct"] == sum(s.metrics["correct"] for s in alone)
    losses = [s.metrics["loss"] for s in alone]
    np.testing.assert_allclose(together.metrics["loss"], sum(losses), rtol=1e-5)


def test_local_batch_norm_averages_are_those_written_out():
    values = make_config(local=True)
    keep, moments = values.model.batch_norm_momentum, []
    for rows in SHARDS:
        x = np.asarray(make_frontend(values.features)(tiny.batch(0)["waveform"][rows]), np.float64)
        moments.append((x.mean((0, 1)), x.var((0, 1))))
    mean, var = (np.mean(part, axis=0) for part in zip(*moments, strict=True))
    local = step(make_network(True)).batch_stats["input_norm"]
    np.testing.assert_allclose(local["mean"], (1 - keep) * mean, rtol=1e-5)
    np.testing.assert_allclose(local["var"], keep + (1 - keep) * var, rtol=1e-5)
    # The variance of all rows together is larger, since the means of the devices differ.
    whole = step(make_network(False)).batch_stats["input_norm"]
    np.testing.assert_allclose(whole["mean"], local["mean"], rtol=1e-5)
    assert (whole["var"] > local["var"] + 1e-3).any()


@pytest.mark.e2e
def test_local_batch_norm_changes_nothing_on_one_device():
    left, right = (step(make_network(local, num_devices=1)) for local in (False, True))
    jax.tree.map(np.testing.assert_array_equal, left, right)

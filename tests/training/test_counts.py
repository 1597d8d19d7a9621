"""What a step costs by the compiler's own count, which no machine's speed changes."""

import jax
import jax.numpy as jnp
import pytest

from experiments.benchmarks import flax_networks
from mgr_jax.compile_report import program
from mgr_jax.models import make_model
from mgr_jax.training import network as network_lib
from mgr_jax.training import optimizer, steps
from mgr_jax.training.state import create_state
from tests.training import tiny

SHAPE = (80, 32)


def compile_step(model, config, shape=SHAPE):
    """The train step on 8 examples of `shape` on one device, and what describes it."""
    tx = optimizer.make_optimizer(config.optim, num_steps=9, steps_per_epoch=3)

    def frontend(inputs, normalizer=None):
        return inputs

    def init():
        return create_state(jax.random.key(0), model, tx, jnp.zeros((1, *shape)))

    step = steps.make_train_step(config, frontend, model, tx, num_classes=10)
    ints = jax.ShapeDtypeStruct((8,), jnp.int32)
    batch = dict.fromkeys(("num_samples", "label", "row"), ints)
    batch["waveform"] = jax.ShapeDtypeStruct((8, *shape), jnp.float32)
    return jax.jit(step, donate_argnums=0).lower(jax.eval_shape(init), batch).compile()


@pytest.mark.slow
def test_bbnn_step_costs_less_than_in_plain_flax():
    """Of the compiler's counts; where a loop's body is counted once, they are a lower bound."""
    config = tiny.config()
    config.model.width, config.model.num_modules = 32, 3
    ours = compile_step(make_model(config.model, num_classes=10), config)
    plain = compile_step(flax_networks.make_model(config.model, num_classes=10), config)
    found, wanted = program.describe(ours), program.describe(plain)
    temporaries = [c.memory_analysis().temp_size_in_bytes for c in (ours, plain)]
    assert temporaries[0] <= 0.6 * temporaries[1]
    assert found.bytes_accessed <= 0.65 * wanted.bytes_accessed
    assert found.flops <= wanted.flops


# Network -> FLOPs, bytes that operations read and write, bytes of temporaries: what was found when
# these were written, rounded up. A step that needs a quarter more has lost something.
COUNTS = {
    "bbnn": (42.7e6, 48.0e6, 4.60e6),
    "cnn_lstm": (4.40e6, 5.39e6, 0.686e6),
    "rnn": (0.320e6, 0.421e6, 0.0747e6),
}


@pytest.mark.parametrize("name", COUNTS)
def test_train_step_costs_no_more_than_it_did(name):
    config = tiny.config(name)
    shape = (9, 16) if name == "rnn" else (64, 48)
    compiled = compile_step(make_model(config.model, num_classes=10), config, shape)
    found = program.describe(compiled)
    counts = found.flops, found.bytes_accessed, compiled.memory_analysis().temp_size_in_bytes
    for count, limit in zip(counts, COUNTS[name], strict=True):
        assert 0 < count <= 1.25 * limit


def test_train_step_compiles_once_for_all_steps_of_a_run():
    config = tiny.config("rnn")
    network = network_lib.make_network(config, num_classes=3)
    state = jax.device_put(network.init(), jax.sharding.NamedSharding(network.mesh, jax.P()))
    for step in range(4):
        state = network.train_step(state, network.shard(tiny.batch(step)))
    assert int(state.step) == 4 and network.train_step._cache_size() == 1

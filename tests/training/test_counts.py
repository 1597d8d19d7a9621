"""Costs of a step by the compiler's own counts, which do not depend on the machine's speed."""

import jax
import jax.numpy as jnp
import pytest

from mgr_jax.compile_report import program
from mgr_jax.models import make_model
from mgr_jax.training import optimizer, steps
from mgr_jax.training.state import create_state
from tests.training import tiny

SHAPE = (80, 32)


def compile_step(model, config, shape=SHAPE):
    """Return the compiled train step on 8 examples of `shape` on one device."""
    tx = optimizer.make_optimizer(config.optim, num_steps=9, steps_per_epoch=3)

    def frontend(inputs, normalizer=None, num_samples=None):
        return inputs

    def init():
        return create_state(jax.random.key(0), model, tx, jnp.zeros((1, *shape)))

    step = steps.make_train_step(config, frontend, model, tx, num_classes=10)
    ints = jax.ShapeDtypeStruct((8,), jnp.int32)
    batch = dict.fromkeys(("num_samples", "label", "row"), ints)
    batch["waveform"] = jax.ShapeDtypeStruct((8, *shape), jnp.float32)
    return jax.jit(step, donate_argnums=0).lower(jax.eval_shape(init), batch).compile()


@pytest.mark.slow
def test_bbnn_step_costs_less_than_its_plain_formulas():
    """A loop's body is counted once, so the counts are lower bounds."""
    config = tiny.config("bbnn")
    config.model.width, config.model.num_modules = 32, 3
    ours = compile_step(make_model(config.model, num_classes=10), config)
    config.model.implementation = "reference"
    plain = compile_step(make_model(config.model, num_classes=10), config)
    actual, reference = program.describe(ours), program.describe(plain)
    temporaries = [c.memory_analysis().temp_size_in_bytes for c in (ours, plain)]
    assert temporaries[0] <= 0.6 * temporaries[1]
    assert actual.bytes_accessed <= 0.65 * reference.bytes_accessed
    assert actual.flops <= reference.flops


# Network -> FLOPs, bytes that operations read and write, bytes of temporaries: as measured when
# these were written, rounded up. A step that needs a quarter more is a regression.
COUNTS = {
    "bbnn": (42.7e6, 48.0e6, 4.60e6),
    "cnn_lstm": (4.40e6, 5.39e6, 0.686e6),
    "rnn": (0.320e6, 0.421e6, 0.0747e6),
}


@pytest.mark.e2e
@pytest.mark.parametrize("name", COUNTS)
def test_train_step_costs_no_more_than_it_did(name):
    config = tiny.config(name)
    shape = (9, 16) if name == "rnn" else (64, 48)
    compiled = compile_step(make_model(config.model, num_classes=10), config, shape)
    step = program.describe(compiled)
    counts = step.flops, step.bytes_accessed, compiled.memory_analysis().temp_size_in_bytes
    for count, limit in zip(counts, COUNTS[name], strict=True):
        assert 0 < count <= 1.25 * limit

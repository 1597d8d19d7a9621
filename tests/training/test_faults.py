"""The first tensor that is not finite: which, and at which step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mgr_jax.training import faults, network
from tests.training import tiny

PARAMS = {"dense": {"bias": jnp.zeros(2), "kernel": jnp.ones((2, 2))}}
STATS = {"norm": {"mean": jnp.zeros(2)}}


def find(fault, step, **bad):
    tensors = {"loss": jnp.float32(1), "gradients": PARAMS, "params": PARAMS, "batch_stats": STATS}
    return jax.jit(faults.find_fault)(fault, jnp.int32(step), **(tensors | bad))


def spoiled(tree, value):
    return jax.tree.map(lambda leaf: leaf.at[(0,) * leaf.ndim].set(value), tree)


@pytest.mark.parametrize("value", [jnp.nan, jnp.inf, -1e30])
@pytest.mark.parametrize(
    ("bad", "name"),
    [
        ("loss", "the loss"),
        ("gradients", "the gradient of dense/bias"),
        ("params", "the parameter dense/bias"),
        ("batch_stats", "the batch statistic norm/mean"),
    ],
)
def test_find_fault_names_the_first_bad_tensor(value, bad, name):
    tree = (
        jnp.float32(value)
        if bad == "loss"
        else spoiled({"gradients": PARAMS, "params": PARAMS, "batch_stats": STATS}[bad], value)
    )
    fault = find(faults.no_fault(), 7, **{bad: tree})
    assert faults.read_fault(fault, PARAMS, STATS) == (7, name)


def test_find_fault_names_one_leaf_of_several():
    gradients = {"dense": PARAMS["dense"] | {"kernel": jnp.full((2, 2), jnp.nan)}}
    fault = find(faults.no_fault(), 1, gradients=gradients)
    assert faults.read_fault(fault, PARAMS, STATS) == (1, "the gradient of dense/kernel")


def test_find_fault_remembers_the_first():
    fault = find(faults.no_fault(), 3)
    assert faults.read_fault(fault, PARAMS, STATS) is None
    fault = find(fault, 4, params=spoiled(PARAMS, jnp.nan))
    fault = find(fault, 5, loss=jnp.float32(jnp.nan))
    assert faults.read_fault(find(fault, 6), PARAMS, STATS) == (4, "the parameter dense/bias")


def test_names_are_as_many_as_the_tensors_of_a_network():
    state = jax.eval_shape(network.make_network(tiny.config("bbnn"), num_classes=3).init)
    params, stats = (len(jax.tree.leaves(x)) for x in (state.params, state.batch_stats))
    names = faults.names(state.params, state.batch_stats)
    assert len(names) == len(set(names)) == 1 + 2 * params + stats


def test_train_step_records_where_a_run_diverges():
    step, state = tiny.train_step(tiny.config(name="sgd", learning_rate=1e38))
    for number in range(4):
        state = step(state, tiny.batch(number))
    fault_step, name = faults.read_fault(state.fault, state.params, state.batch_stats)
    assert 1 <= fault_step <= 3
    assert name.startswith(("the loss", "the gradient of", "the parameter", "the batch"))
    assert not np.isfinite(float(state.metrics["loss"]))

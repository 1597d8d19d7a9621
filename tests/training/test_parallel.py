"""Four devices give what one gives; batches that do not fit are refused."""

import jax
import numpy as np
import pytest
from jax.sharding import AxisType

from mgr_jax.errors import UserError
from mgr_jax.training import parallel
from tests.training import tiny


def run(mesh, num_steps=5):
    values = tiny.config(name="sgd", learning_rate=0.05)
    step, state = tiny.train_step(values)
    compiled = parallel.jit_train_step(step, mesh)
    state = parallel.replicate(state, mesh)
    for number in range(num_steps):
        state = compiled(state, parallel.shard(tiny.batch(number), mesh))
    return jax.device_get(state)


def test_jit_train_step_is_the_same_on_one_and_on_four_devices():
    assert jax.device_count() == 4
    one = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:1])
    left, right = run(one), run(parallel.make_mesh())
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
        (left.params, left.batch_stats, left.metrics),
        (right.params, right.batch_stats, right.metrics),
    )


def test_jit_train_step_compiles_once():
    mesh = parallel.make_mesh()
    step, state = tiny.train_step(tiny.config())
    compiled = parallel.jit_train_step(step, mesh)
    state = parallel.replicate(state, mesh)
    with jax.transfer_guard("disallow"):
        for number in range(3):
            state = compiled(state, parallel.shard(tiny.batch(number), mesh))
    assert compiled._cache_size() == 1


def test_shard_keeps_rows_in_order():
    mesh = parallel.make_mesh()
    batch = {"x": np.arange(8, dtype=np.float32)}
    sharded = parallel.shard(batch, mesh)["x"]
    np.testing.assert_array_equal(sharded, batch["x"])
    assert len(sharded.sharding.device_set) == 4


def test_check_batch_size_names_a_size_that_fits():
    mesh = parallel.make_mesh()
    parallel.check_batch_size(8, mesh)
    with pytest.raises(UserError, match=r"train.batch_size is 6.*multiple of 4"):
        parallel.check_batch_size(6, mesh)


def test_jit_predict_step_replicates_its_result():
    mesh = parallel.make_mesh()
    step = parallel.jit_predict_step(lambda scale, batch: scale * batch["x"], mesh)
    result = step(parallel.replicate(np.float32(2), mesh), parallel.shard({"x": np.ones(4)}, mesh))
    assert result.sharding.is_fully_replicated
    np.testing.assert_array_equal(result, 2 * np.ones(4))

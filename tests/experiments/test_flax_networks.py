"""Plain Flax as a peer of the benchmark."""

import jax
import numpy as np

from experiments.benchmarks import flax_networks
from mgr_jax.config import Model
from mgr_jax.models import make_model


def test_plain_bbnn_has_the_variables_and_outputs_of_ours():
    model, inputs = Model(width=4, num_modules=2), np.zeros((2, 24, 8), np.float32)
    inputs += np.random.default_rng(0).normal(size=inputs.shape)
    plain = flax_networks.make_model(model, num_classes=10)
    ours = make_model(model, num_classes=10)
    shapes = [jax.eval_shape(m.init, jax.random.key(0), inputs) for m in (ours, plain)]
    assert shapes[0] == shapes[1]
    random = np.random.default_rng(1)
    variables = jax.tree.map(lambda x: random.uniform(0.1, 0.5, x.shape).astype("f"), shapes[0])

    @jax.jit(static_argnums=(0, 2))
    def apply(module, variables, train):
        return module.apply(variables, inputs, train=train, mutable=["batch_stats"])

    for train in (False, True):
        found, wanted = (apply(module, variables, train) for module in (plain, ours))
        np.testing.assert_allclose(found[0], wanted[0], atol=1e-4)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), found[1], wanted[1])

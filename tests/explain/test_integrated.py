"""Integrated gradients against functions whose attributions are known."""

import jax.numpy as jnp
import numpy as np

from mgr_jax.explain.integrated import integrated_gradients


def test_integrated_gradients_of_a_linear_function_are_its_terms():
    weights = jnp.array([[1.0, -2.0], [0.5, 3.0]])
    x, baseline = jnp.array([[1.0, 2.0], [3.0, 4.0]]), jnp.ones((2, 2))
    result = integrated_gradients(lambda x: jnp.sum(weights * x), x, baseline, num_steps=2)
    np.testing.assert_allclose(result.attributions, weights * (x - baseline), rtol=1e-6)
    assert result.score - result.baseline_score == jnp.sum(weights * (x - baseline))


def test_integrated_gradients_are_complete_and_share_a_product():
    x, baseline = jnp.array([0.7, 1.4, -0.3]), jnp.zeros(3)
    # The last value has no effect; the two factors of a product share it.
    result = integrated_gradients(lambda x: jnp.tanh(x[0] * x[1]) + 0 * x[2], x, baseline)
    change = result.score - result.baseline_score
    np.testing.assert_allclose(result.attributions.sum(), change, rtol=1e-5)
    np.testing.assert_allclose(result.attributions, [change / 2, change / 2, 0], rtol=1e-4)

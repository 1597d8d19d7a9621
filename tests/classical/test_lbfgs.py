"""L-BFGS on functions whose minimum is known, and against SciPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from mgr_jax.classical import lbfgs


@pytest.fixture(name="quadratic")
def _quadratic():
    """Value and gradient of tr(X' A X) / 2 - tr(B' X), with A [5, 5] and B [5, 2] at random."""
    rng = np.random.default_rng(0)
    root = rng.normal(size=(5, 5)).astype(np.float32)
    a, b = root @ root.T + np.eye(5, dtype=np.float32), rng.normal(size=(5, 2)).astype(np.float32)

    def value_and_gradient(x):
        return jnp.vdot(x, a @ x / 2 - b), a @ x - b

    return value_and_gradient, a, b


def _cosh(x):
    """Convex, with a minimum of 10 at 0, far from quadratic."""
    return jnp.sum(jnp.cosh(x)), jnp.sinh(x)


def _minimize(function, start, inverse, **options):
    options = {"max_iterations": 200, "tolerance": 1e-5} | options
    run = jax.jit(functools.partial(lbfgs.minimize, function, **options))
    return [np.asarray(value) for value in run(jnp.asarray(start), jnp.asarray(inverse))]


def test_minimize_with_the_inverse_hessian_takes_one_step(quadratic):
    function, a, b = quadratic
    point, value, gradient, iterations = _minimize(function, np.zeros_like(b), np.linalg.inv(a))
    assert iterations <= 2  # the second one if rounding left the gradient above the tolerance
    np.testing.assert_allclose(point, np.linalg.solve(a, b), atol=1e-5)
    assert value == pytest.approx(-np.vdot(b, np.linalg.solve(a, b)) / 2, rel=1e-5)
    assert np.linalg.norm(gradient) <= 1e-5


def test_minimize_without_preconditioner_equals_scipy(quadratic):
    function, _, b = quadratic
    point, value, _, iterations = _minimize(function, np.zeros_like(b), np.eye(5, dtype="float32"))

    def flat(x):
        value, gradient = function(x.reshape(b.shape).astype(np.float32))
        return float(value), np.asarray(gradient, np.float64).ravel()

    peer = scipy.optimize.minimize(flat, np.zeros(b.size), jac=True, method="L-BFGS-B", tol=1e-10)
    np.testing.assert_allclose(point, peer.x.reshape(b.shape), atol=1e-3)
    assert value == pytest.approx(peer.fun, rel=1e-5) and 2 < iterations < 100


def test_minimize_halves_steps_that_are_too_long():
    start, inverse = np.full((5, 2), 3, np.float32), 20 * np.eye(5, dtype=np.float32)
    point, value, _, _ = _minimize(_cosh, start, inverse)
    np.testing.assert_allclose(point, 0, atol=1e-5)
    assert value == pytest.approx(10)


def test_minimize_ends_at_max_iterations():
    start = np.full((5, 2), 3, np.float32)
    _, value, _, iterations = _minimize(_cosh, start, np.eye(5, dtype="float32"), max_iterations=2)
    assert iterations == 2 and value > 10.01


def test_minimize_gives_up_where_no_step_is_accepted():
    def uphill(x):  # The gradient has the wrong sign.
        return jnp.vdot(x, x), -2 * x

    start = np.ones((5, 2), np.float32)
    point, _, _, iterations = _minimize(uphill, start, np.eye(5, dtype=np.float32))
    np.testing.assert_array_equal(point, start)
    assert iterations == lbfgs._PATIENCE


def test_minimize_under_vmap_equals_separate_calls(quadratic):
    function, _, b = quadratic
    starts = jnp.stack([jnp.zeros_like(b), jnp.ones_like(b)])
    run = functools.partial(lbfgs.minimize, function, max_iterations=100, tolerance=1e-4)
    together = jax.jit(jax.vmap(run, (0, None)))(starts, jnp.eye(5))
    for lane, start in enumerate(starts):
        alone = jax.jit(run)(start, jnp.eye(5))
        np.testing.assert_allclose(together[0][lane], alone[0], atol=1e-4)
        assert together[1][lane] == pytest.approx(float(alone[1]), rel=1e-5)

"""Moments against NumPy's: masked, in blocks, over devices, of a convolution, with gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType, PartitionSpec

from mgr_jax import ops
from mgr_jax.ops.cpu import blocks
from mgr_jax.ops.cpu import moments as on_cpu


@pytest.mark.parametrize(("rows", "block_values"), [(7, 12), (24, 100), (40, 10**6), (13, 1)])
def test_blocks_give_the_moments_of_the_formula(monkeypatch, rows, block_values):
    monkeypatch.setattr(blocks, "BLOCK_VALUES", block_values)
    x = np.random.default_rng(0).normal(size=(2, rows, 3, 4)) + 50
    mean, var = on_cpu.moments(jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(mean, x.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(var, x.var((0, 1, 2)), rtol=1e-4)


@pytest.mark.e2e
def test_moments_of_pieces_are_those_of_their_channels_side_by_side():
    rng = np.random.default_rng(0)
    pieces = [jnp.asarray(rng.normal(size=(2, 3, 4, n)), jnp.float32) for n in (2, 5)]
    weight = jnp.arange(7.0) - 2

    def loss(pieces, together):
        x = jnp.concatenate(pieces, -1) if together else pieces
        mean, var = ops.moments(x)
        return jnp.sum(weight * (jnp.sin(mean) + var)), (mean, var)

    results = [
        jax.value_and_grad(loss, has_aux=True)(pieces, together) for together in (False, True)
    ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), *results)


def test_gradient_of_moments_is_that_of_autodiff():
    with jax.enable_x64(True):
        x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4, 2)) + 5)

        def ours(x):
            return ops.moments(x)

        def plain(x):
            return jnp.mean(x, (0, 1)), jnp.var(x, (0, 1))

        weights = jnp.array([1.0, -2.0]), jnp.array([0.5, 3.0])
        results = [jax.vjp(f, x)[1](weights)[0] for f in (ours, plain)]
        np.testing.assert_allclose(*results, rtol=1e-10)


@pytest.mark.e2e
@pytest.mark.parametrize(("size", "channels"), [((3, 3), 1), ((2, 5), 3)])
def test_moments_of_convolution_equal_those_of_its_output(size, channels):
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        x = jnp.asarray(10 * rng.normal(size=(2, 9, 8, channels)) - 40)
        kernel = jnp.asarray(rng.normal(size=(*size, channels, 4)))

        def by_patches(kernel):
            return ops.moments_of_convolution(x, kernel)

        def by_output(kernel):
            layout = ("NHWC", "HWIO", "NHWC")
            y = lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout)
            return ops.moments(y)

        weights = jnp.arange(4.0), jnp.arange(4.0) - 2
        ours, theirs = (jax.vjp(f, kernel) for f in (by_patches, by_output))
        for a, b in zip(ours[0], theirs[0], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10)
        for a, b in zip(ours[1](weights), theirs[1](weights), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)


def test_variance_of_a_convolution_is_never_negative():
    """A kernel that sees hardly any difference in a large, smooth input."""
    axes = (np.sin(np.pi * np.arange(n) / (n - 1)) ** 2 for n in (160, 64))
    x = jnp.asarray(500 * np.outer(*axes), jnp.float32)[None, :, :, None]
    kernel = jnp.outer(jnp.array([1.0, -2.0, 1.0]), jnp.array([1.0, -2.0, 1.0]))[:, :, None, None]
    _, var = ops.moments_of_convolution(x, kernel)
    assert bool((var >= 0).all())


@pytest.mark.parametrize("distance", [0.0, -40.0])
def test_moments_of_convolution_keep_their_digits(distance):
    rng = np.random.default_rng(0)
    x = (distance + 10 * rng.normal(size=(2, 30, 20, 1))).astype(np.float32)
    kernel = rng.normal(size=(3, 3, 1, 4)).astype(np.float32)
    results = ops.moments_of_convolution(jnp.asarray(x), jnp.asarray(kernel))
    with jax.enable_x64(True):
        wide = (jnp.asarray(a, jnp.float64) for a in (x, kernel))
        exact = ops.moments_of_convolution(*wide)
    np.testing.assert_allclose(results[0], exact[0], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(results[1], exact[1], rtol=1e-4)


def test_moments_of_convolution_over_devices_are_those_of_all_rows():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(4, 2, 6, 5, 1)) + np.arange(4)[:, None, None, None, None])
    kernel = jnp.asarray(rng.normal(size=(3, 3, 1, 4)))
    whole = ops.moments_of_convolution(x.reshape(8, 6, 5, 1), kernel)
    spread = jax.pmap(lambda x: ops.moments_of_convolution(x, kernel, axis_name="d"), "d")(x)
    for a, b in zip(spread, whole, strict=True):
        np.testing.assert_allclose(a[2], b, rtol=1e-5, atol=1e-5)


def test_moments_keep_their_digits_far_from_zero():
    x = np.random.default_rng(0).normal(size=(5000, 2)).astype(np.float32) + 1000
    mean, var = ops.moments(jnp.asarray(x))
    np.testing.assert_allclose(mean, x.astype(np.float64).mean(0), rtol=1e-6)
    np.testing.assert_allclose(var, x.astype(np.float64).var(0), rtol=1e-4)


def test_moments_under_a_mask_are_those_of_what_is_left():
    x = np.random.default_rng(0).normal(size=(4, 6, 3)).astype(np.float32)
    mask = np.arange(6)[None] < np.array([[6], [2], [0], [5]])
    for ours, theirs in zip(
        ops.moments(jnp.asarray(x), mask=jnp.asarray(mask)),
        (x[mask].mean(0), x[mask].var(0)),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    parts = (jnp.asarray(a).reshape(2, 2, *a.shape[1:]) for a in (x, mask))
    mean, var = jax.pmap(lambda x, m: ops.moments(x, mask=m, axis_name="d"), "d")(*parts)
    np.testing.assert_allclose(mean[1], x[mask].mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(var[1], x[mask].var(0), rtol=1e-5, atol=1e-6)
    mean, var = ops.moments(jnp.asarray(x), mask=jnp.zeros((4, 6), bool))
    assert bool((mean == 0).all() and (var == 0).all())


@pytest.mark.e2e
@pytest.mark.parametrize("masked", [False, True])
def test_moments_over_devices_are_those_of_all_rows_with_their_gradient(masked):
    """Devices of unlike means, one of them all masked."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 5, 3)) + np.repeat(np.arange(4), 2)[:, None, None]
    x, mask = jnp.asarray(x, jnp.float32), None
    if masked:
        mask = jnp.arange(5)[None] < jnp.array([5, 2, 0, 0, 1, 4, 3, 5])[:, None]

    def both(x, mask, axis_name=None):
        mean, var = ops.moments(x, mask=mask, axis_name=axis_name)
        # What each row makes of the moments, so that every device has a gradient of its own.
        part = jnp.sum(jnp.sin(mean)[None, None] * x**2 + jnp.cos(x) * var[None, None])
        return part, (mean, var)

    gradient = jax.grad(both, has_aux=True)
    expected = gradient(x, mask)
    rows, whole = PartitionSpec("d"), PartitionSpec()
    spread = jax.shard_map(
        lambda x, mask: gradient(x, mask, "d"),
        mesh=jax.make_mesh((4,), ("d",), axis_types=(AxisType.Auto,)),
        in_specs=(rows, rows if masked else None),
        out_specs=(rows, whole),
        check_vma=False,
    )(x, mask)
    for ours, theirs in zip(jax.tree.leaves(spread), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_moments_over_devices_keep_their_digits_far_from_zero():
    x = np.random.default_rng(0).normal(size=(4, 5000, 2)).astype(np.float32) + 1000
    mean, var = jax.pmap(lambda x: ops.moments(x, axis_name="d"), "d")(jnp.asarray(x))
    np.testing.assert_allclose(mean[3], x.astype(np.float64).mean((0, 1)), rtol=1e-6)
    np.testing.assert_allclose(var[3], x.astype(np.float64).var((0, 1)), rtol=1e-4)

"""Every operation, on every path, against its reference formula.

The paths are those of `auto`: what a CPU takes, and what other platforms take, which runs on a CPU
as well. Each is compiled, differentiated and mapped over a leading axis.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export, lax

from mgr_jax import ops
from mgr_jax.ops.cpu import blocks


def _convolve(**options):
    return lambda x, kernel: ops.convolve(x, kernel, **options)


def _max_pool(window, strides, padding):
    return lambda x: ops.max_pool(x, window=window, strides=strides, padding=padding)


def _recurrent(cell, **options):
    return lambda *inputs: ops.recurrent(*inputs, jnp.array([5, 2]), cell=cell, **options)


def _recurrent_shapes(gates, inputs):
    return (2, 5, inputs), (inputs, gates * 4), (4, gates * 4), (gates * 4,)


# Name: the operation, and the shapes of its differentiable inputs.
CASES = {
    "convolve same": (_convolve(), [(2, 9, 7, 16), (3, 3, 16, 6)]),
    "convolve valid": (_convolve(padding="VALID"), [(2, 8, 11, 16), (3, 3, 16, 6)]),
    "convolve wide": (_convolve(), [(2, 9, 7, 16), (2, 3, 16, 6)]),
    "convolve few channels": (_convolve(), [(2, 9, 7, 3), (3, 3, 3, 6)]),
    "convolve 5x5": (_convolve(), [(2, 9, 7, 16), (5, 5, 16, 6)]),
    "convolve even, strided": (_convolve(strides=(2, 2)), [(2, 9, 11, 16), (4, 4, 16, 6)]),
    "convolve odd, strided": (_convolve(strides=(2, 3)), [(2, 11, 10, 16), (3, 5, 16, 6)]),
    "convolve below stride": (
        _convolve(strides=(2, 2), padding="VALID"),
        [(2, 9, 7, 16), (1, 1, 16, 6)],
    ),
    "convolve 1x1": (_convolve(), [(2, 5, 4, 16), (1, 1, 16, 6)]),
    "max_pool 3x3": (_max_pool((3, 3), (1, 1), "SAME"), [(2, 9, 8, 3)]),
    "max_pool 3x3, smallest inside": (_max_pool((3, 3), (1, 1), "SAME"), [(2, 5, 6, 3)]),
    "max_pool 3x3, no inside": (_max_pool((3, 3), (1, 1), "SAME"), [(2, 4, 6, 3)]),
    "max_pool rows": (_max_pool((4, 1), (4, 1), "VALID"), [(2, 11, 4, 3)]),
    "max_pool strided": (_max_pool((3, 2), (2, 2), "SAME"), [(2, 9, 8, 3)]),
    "max_pool overlapping": (_max_pool((2, 3), (2, 1), "VALID"), [(2, 9, 8, 3)]),
    "max_pool of pieces": (
        lambda *x: _max_pool((3, 3), (1, 1), "SAME")(x),
        [(2, 9, 8, 3), (2, 9, 8, 2)],
    ),
    "moments": (ops.moments, [(2, 7, 3, 4)]),
    "moments of pieces": (lambda *x: ops.moments(x), [(2, 6, 4, 2), (2, 6, 4, 5)]),
    "moments masked": (
        lambda x: ops.moments(x, mask=jnp.arange(6)[None] < jnp.array([[6], [2], [0]])),
        [(3, 6, 4)],
    ),
    "normalise_relu": (ops.normalise_relu, [(2, 7, 3, 4), (4,), (4,), (4,)]),
    "normalise_relu_project": (
        lambda a, b, *vectors: ops.normalise_relu_project([a, b], *vectors),
        [(2, 7, 3, 4), (2, 7, 3, 6), (2, 10), (2, 10), (2, 10), (2, 10, 5)],
    ),
    "recurrent simple": (_recurrent("simple"), _recurrent_shapes(1, 1)),
    "recurrent gru": (_recurrent("gru", return_sequences=True), _recurrent_shapes(3, 9)),
    "recurrent gru, joined": (_recurrent("gru", reverse=True), _recurrent_shapes(3, 1)),
    "recurrent lstm": (
        _recurrent("lstm", return_sequences=True, reverse=True),
        _recurrent_shapes(4, 9),
    ),
}
GPU_CASES = [name for name in CASES if "project" in name or "recurrent" in name or "max" in name]
BLOCKED = [name for name in CASES if name.split()[0] in ("moments", "normalise_relu")]
TOLERANCES = {"float64": 1e-10, "float32": 2e-4, "bfloat16": 0.15}


def _inputs(case, dtype):
    rng = np.random.default_rng(0)
    values = [rng.normal(size=shape) for shape in CASES[case][1]]
    if case.startswith("max_pool"):  # Many equal values, of which the first gets the gradient.
        values = [np.round(2 * value) for value in values]
    return [jnp.asarray(value, dtype) for value in values]


def _everything(case, mapped, *inputs):
    """Value and gradients, and with `mapped` the same over a leading axis of two examples."""

    def value_and_gradients(*inputs):
        outputs, pullback = jax.vjp(CASES[case][0], *inputs)
        weights = jax.tree.map(
            lambda y: jnp.asarray(np.sin(np.arange(y.size)).reshape(y.shape), y.dtype), outputs
        )
        return outputs, pullback(weights)

    pairs = [jnp.stack([x, -x]) for x in inputs]
    return value_and_gradients(*inputs), jax.vmap(value_and_gradients)(*pairs) if mapped else ()


def _elsewhere(*operands, default, **_):
    return default(*operands)


def _on_gpu(*operands, default, cuda=None, **_):
    return (cuda or default)(*operands)


PLATFORMS = {"other platforms": _elsewhere, "GPU": _on_gpu}


def _run(case, path, inputs, monkeypatch, *, compiled=True, mapped=True):
    function = functools.partial(_everything, case, mapped)
    with monkeypatch.context() as patch:
        if path in PLATFORMS:
            patch.setattr(lax, "platform_dependent", PLATFORMS[path])
        with ops.implementation("reference" if path == "reference" else "auto"):
            return (jax.jit(function) if compiled else function)(*inputs)


def _check(case, path, dtype, monkeypatch, **options):
    with jax.enable_x64(dtype == "float64"):
        inputs = _inputs(case, dtype)
        ours = _run(case, path, inputs, monkeypatch, **options)
        # Rounding of narrow types is judged against the formula in a wide one.
        wide = [x.astype(jnp.float32) for x in inputs] if dtype == "bfloat16" else inputs
        expected = _run(case, "reference", wide, monkeypatch, mapped=options.get("mapped", True))
        # In float32 or better: vectors and states stay wide.
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
            error = jnp.linalg.norm((a.astype(b.dtype) - b).ravel())
            assert a.shape == b.shape and error <= TOLERANCES[dtype] * (
                1e-3 + jnp.linalg.norm(b.ravel())
            )


@pytest.mark.parametrize("path", ["CPU", "other platforms"])
@pytest.mark.parametrize("case", CASES)
def test_operation_equals_its_reference(case, path, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_VALUES", 60)
    _check(case, path, "float64", monkeypatch, mapped=False)


@pytest.mark.e2e
@pytest.mark.parametrize("case", GPU_CASES)
def test_operation_on_a_gpu_equals_its_reference(case, monkeypatch):
    _check(case, "GPU", "float64", monkeypatch)


@pytest.mark.e2e
@pytest.mark.parametrize("block_values", [1, 1000, 2**19])
@pytest.mark.parametrize("case", [*BLOCKED, *(name for name in CASES if "convolve" in name)])
def test_blocks_of_any_size_equal_the_reference(case, block_values, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_VALUES", block_values)
    _check(case, "CPU", "float64", monkeypatch)


# States and gates of recurrent layers are float32 at least: tests of `models.rnn` narrow the rest.
@pytest.mark.e2e
@pytest.mark.parametrize(
    ("case", "dtype"),
    [(case, "float32") for case in CASES]
    + [(case, "bfloat16") for case in CASES if not case.startswith("recurrent")],
)
@pytest.mark.parametrize("path", ["CPU", "other platforms"])
def test_operation_is_close_to_its_reference_in_narrow_types(case, path, dtype, monkeypatch):
    _check(case, path, dtype, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_operation_is_the_same_uncompiled(case, monkeypatch):
    _check(case, "CPU", "float64", monkeypatch, compiled=False)


# Moments are of training, which is not exported; `num_frames` [2] fixes the batch of the cells.
@pytest.mark.e2e
@pytest.mark.parametrize(
    "case", [name for name in CASES if name.split()[0] not in ("moments", "recurrent")]
)
def test_operation_exports_with_a_symbolic_batch(case):
    """As a model is exported: the first inputs have the batch, the others are weights."""
    function, inputs = CASES[case][0], _inputs(case, jnp.float32)
    batched = 2 if case in ("normalise_relu_project", "max_pool of pieces") else 1
    (symbol,) = export.symbolic_shape("b")
    shapes = [
        jax.ShapeDtypeStruct((symbol, *x.shape[1:]) if i < batched else x.shape, x.dtype)
        for i, x in enumerate(inputs)
    ]
    exported = export.export(jax.jit(function), platforms=["cpu", "cuda", "tpu"])(*shapes)
    for size in (2, 1):
        rows = [x[:size] if i < batched else x for i, x in enumerate(inputs)]
        for a, b in zip(
            jax.tree.leaves(exported.call(*rows)), jax.tree.leaves(function(*rows)), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_implementation_holds_within_its_context_alone():
    def program():
        return str(jax.make_jaxpr(lambda x: ops.moments(x))(jnp.zeros((2, 3))))

    auto = program()
    with ops.implementation("reference"):
        formula = program()
        with ops.implementation("auto"):
            assert program() == auto
        assert program() == formula
    assert program() == auto != formula


def test_reference_has_no_choice_by_platform_and_no_backward_pass_of_its_own():
    with ops.implementation("reference"):
        for case, (function, _) in CASES.items():
            text = str(jax.make_jaxpr(function)(*_inputs(case, jnp.float32)))
            assert "custom_vjp" not in text and "platform_index" not in text, case


def test_implementation_refuses_an_unknown_name():
    with (
        pytest.raises(ValueError, match="'fast'; use one of auto, reference"),
        ops.implementation("fast"),
    ):
        pass

"""Convolution with bias and ReLU, and the product of its gradient, by oneDNN, as in PyTorch.

XLA's CPU backend has oneDNN in its x86 builds, but never chooses it for a convolution; here the
call is written out. That is no public interface, so it is used under three conditions alone, and
else convolutions are XLA's own: a version of jaxlib with which the tests have passed, a trial that
gives the right numbers, and no folder that JAX keeps compiled programs in, since a program with
this call cannot be written down.
"""

import functools
import json
from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
from jax import lax

TESTED = ("0.10.2",)  # versions of jaxlib

_Pads = Sequence[tuple[int, int]]


def suits(x: jax.Array, kernel: jax.Array) -> bool:
    """Whether `convolve` can be used for these operands, in this process."""
    known = all(isinstance(size, int) for size in x.shape)  # Not exported for any batch.
    single = x.dtype == kernel.dtype == jnp.float32
    return known and single and available()


def available() -> bool:
    """Whether the calls can be used in this process, as its settings are now."""
    return not jax.config.jax_compilation_cache_dir and _works()


@functools.cache
def _works() -> bool:
    """Whether this build of XLA has the calls, and they compute what they should."""
    if jaxlib.__version__ not in TESTED or jax.default_backend() != "cpu":
        return False
    random = np.random.default_rng(0)
    shapes = (2, 7, 6, 3), (3, 2, 3, 5), (5,)
    arrays = [random.normal(size=shape).astype(np.float32) for shape in shapes]
    settings = {"strides": (1, 2), "pads": ((1, 0), (1, 1))}

    def both(x, kernel, bias):
        y = lax.conv_general_dilated(
            x, kernel, *settings.values(), dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        part = x[:, :6, :4]
        return (
            (convolve(x, kernel, **settings), y),
            (convolve(x, kernel, bias, **settings), jax.nn.relu(y + bias.reshape(1, 1, 1, -1))),
            (product(part, y), jnp.einsum("bhwm,bhwn->mn", part, y)),
        )

    try:
        pairs = jax.jit(both).lower(*arrays).compile()(*arrays)
    except jax.errors.JaxRuntimeError:
        return False
    return all(np.allclose(*pair, atol=1e-4) for pair in pairs)


def convolve(
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array | None = None,
    *,
    strides: tuple[int, int],
    pads: _Pads,
) -> jax.Array:
    """relu(x * kernel + bias), or x * kernel without a bias; on CPU only, and not differentiable.

    Of NaN the ReLU makes 0. Training finds it in the gradients (`training.faults`).

    Args:
      x: [B, H, W, Cin], float32.
      kernel: [h, w, Cin, Cout].
      bias: [Cout].
      strides: (height, width).
      pads: zeros (before, after) along height and width.

    Returns:
      [B, H', W', Cout].
    """
    sizes = [
        (n + sum(pad) - k) // stride + 1
        for n, k, stride, pad in zip(x.shape[1:3], kernel.shape[:2], strides, pads, strict=True)
    ]
    settings = _settings(kernel.shape, strides, pads, bias is not None)
    operands = (x, kernel) if bias is None else (x, kernel, bias)
    return _call("convolution", (x.shape[0], *sizes, kernel.shape[3]), settings, *operands)


def product(left: jax.Array, right: jax.Array) -> jax.Array:
    """The sum [M, N] over all axes but the last of `left` [..., M] and `right` [..., N], float32.

    On CPU only; XLA's own would write `left` transposed first.
    """
    rows = [array.reshape(-1, array.shape[-1]) for array in (left, right)]
    settings = {"onednn_matmul_config": {"transpose_a": True}}
    return _call("matmul", (left.shape[-1], right.shape[-1]), settings, *rows)


def _call(name: str, shape: tuple[int, ...], settings: dict, *operands: jax.Array) -> jax.Array:
    return jax.ffi.ffi_call(
        f"__onednn${name}",
        jax.ShapeDtypeStruct(shape, operands[0].dtype),
        vmap_method="sequential",
        custom_call_api_version=2,
        legacy_backend_config=json.dumps(settings),
    )(*operands)


def _settings(kernel: tuple[int, ...], strides: tuple[int, int], pads: _Pads, relu: bool) -> dict:
    """XLA's `OneDnnConvolutionConfig`; in JSON, 64-bit integers are strings."""

    def numbers(values: Iterable[int]) -> list[str]:
        return [str(value) for value in values]

    image = {"data": {"batch_dim": "0", "feature_dim": "3", "spatial_dims": ["1", "2"]}}
    places = {"input_feature_dim": "2", "output_feature_dim": "3", "spatial_dims": ["0", "1"]}
    settings = {
        "dims": "4",
        "input": image,
        "kernel": {"filter": places},
        "output": image,
        "window": {
            "size": numbers(kernel[:2]),
            "pad_left": numbers(before for before, _ in pads),
            "pad_right": numbers(after for _, after in pads),
            "strides": numbers(strides),
            "window_dilations": ["1", "1"],
        },
        "feature_groups": "1",
    }
    if relu:
        settings["fusions"] = {"ops": ["BIAS", "RELU"]}
    return {"onednn_conv_config": settings}

"""Normalisation and ReLU, alone or before the 1x1 convolutions of several branches, in one pass.

The branches of a BBNN module all normalise the same activation, each with its own scale and shift,
and project it to few channels. Layer by layer each branch writes a normalised copy and reads it
again, and keeps another for the gradient. Here the backward pass recomputes them from the input.
"""

from collections.abc import Sequence

import jax
from jax import lax

from mgr_jax.ops import switch
from mgr_jax.ops.cpu import normalise_relu as on_cpu
from mgr_jax.ops.formulas import normalised, project_backward, project_forward, relu_backward
from mgr_jax.ops.gpu import normalise_relu as on_gpu


def normalise_relu(
    x: jax.Array, center: jax.Array, factor: jax.Array, shift: jax.Array
) -> jax.Array:
    """Return relu((x - center) * factor + shift) of `x` [B, H, W, C] by vectors [C].

    The result has the type of x; the vectors are in float32 or better.
    """
    function = _reference if switch.is_reference() else _normalise_relu
    return function(x, center, factor, shift)


def _reference(x, center, factor, shift):
    return jax.nn.relu(normalised(x, center, factor, shift)[1]).astype(x.dtype)


@jax.custom_vjp
def _normalise_relu(x, center, factor, shift):
    return _reference(x, center, factor, shift)


def _forward(x, center, factor, shift):
    return _reference(x, center, factor, shift), (x, center, factor, shift)


def _backward(residuals, gradient):
    to_x, to_factor, to_shift = lax.platform_dependent(
        *residuals, gradient, cpu=on_cpu.relu_backward, default=relu_backward
    )
    return to_x, *_to_vectors(to_factor, to_shift, residuals[1:])


_normalise_relu.defvjp(_forward, _backward)


def normalise_relu_project(
    pieces: Sequence[jax.Array],
    center: jax.Array,
    factor: jax.Array,
    shift: jax.Array,
    kernel: jax.Array,
) -> tuple[jax.Array, ...]:
    """Return relu((x - center[k]) * factor[k] + shift[k]) @ kernel[k], K arrays [B, H, W, N].

    Args:
      pieces: x as pieces [B, H, W, C_i] whose channels, side by side, are its C channels.
      center, factor, shift: [K, C], in float32 or better.
      kernel: [K, C, N], in the type of the products.
    """
    function = project_forward if switch.is_reference() else _project
    return function(pieces, center, factor, shift, kernel)


@jax.custom_vjp
def _project(pieces, center, factor, shift, kernel):
    return lax.platform_dependent(
        *(pieces, center, factor, shift, kernel),
        cpu=on_cpu.project_forward,
        cuda=on_gpu.project_forward,
        default=project_forward,
    )


def _project_forward(pieces, center, factor, shift, kernel):
    inputs = pieces, center, factor, shift, kernel
    return _project(*inputs), inputs


def _project_backward(inputs, gradients):
    to_pieces, to_factor, to_shift, to_kernel = lax.platform_dependent(
        *inputs,
        gradients,
        cpu=on_cpu.project_backward,
        cuda=on_gpu.project_backward,
        default=project_backward,
    )
    _, *vectors, kernel = inputs
    vectors = _to_vectors(to_factor, to_shift, vectors)
    return to_pieces, *vectors, to_kernel.astype(kernel.dtype)


_project.defvjp(_project_forward, _project_backward)


def _to_vectors(to_factor, to_shift, vectors):
    """Gradients of center, factor and shift, in their types."""
    gradients = -to_shift * vectors[1], to_factor, to_shift
    return (g.astype(v.dtype) for g, v in zip(gradients, vectors, strict=True))

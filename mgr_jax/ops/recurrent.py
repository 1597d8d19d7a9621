"""A recurrent layer over a sequence by `lax.scan`, with a backward pass of its own.

Autodiff of a scan adds a matrix to the gradient of each kernel at every frame. Here the backward
scan carries gradients of the state alone; a kernel's gradient is one product over all frames.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from mgr_jax.ops import switch
from mgr_jax.ops.cells import CELLS, column_groups
from mgr_jax.ops.gpu import lstm as on_gpu

# Inputs of at most a fourth of the units are multiplied together with the state.
_FEW_INPUTS = 4
# Frames in a round of the loop on a GPU, whose every round launches kernels of its own.
_GPU_UNROLL = 8
_GPU_UNROLLS = range(4, 25)


def recurrent(
    x: jax.Array,
    kernel: jax.Array,
    recurrent_kernel: jax.Array,
    bias: jax.Array,
    num_frames: jax.Array | None = None,
    *,
    cell: str,
    return_sequences: bool = False,
    reverse: bool = False,
) -> jax.Array:
    """Return the states [B, F, H] of a cell (see `ops.cells`) along the frames, or the last [B, H].

    Args:
      x: [B, F, D], in the type of the products, as are the kernels.
      kernel: [D, G H], with the columns of the G gates side by side.
      recurrent_kernel: [H, G H].
      bias: [G H], in the type of states and gates.
      num_frames: [B], valid frames; later ones leave the state as it is. None: all are valid.
      cell: `simple`, `gru` or `lstm`.
      return_sequences: all states instead of the last.
      reverse: read from the last valid frame to the first.
    """
    inputs = x, kernel, recurrent_kernel, bias, num_frames
    options = {"return_sequences": return_sequences, "reverse": reverse}
    by_scan = functools.partial(_by_scan, cell=cell, **options)
    if switch.is_reference():
        return by_scan(*inputs)
    # One product of state and frame costs less than writing and reading its projection. On a GPU it
    # is one kernel more in every frame.
    joined = x.shape[-1] <= recurrent_kernel.shape[0] // _FEW_INPUTS and x.dtype == bias.dtype
    on_gpus = functools.partial(by_scan, unroll=_gpu_unroll(x.shape[1]))
    if cell == "lstm" and on_gpu.suits(x, bias):
        on_gpus = functools.partial(on_gpu.layer, **options)
    return lax.platform_dependent(
        *inputs, cuda=on_gpus, default=functools.partial(by_scan, joined=joined)
    )


def _gpu_unroll(length: int) -> int:
    """Return about eight frames that divide `length`, since the rest would be copied out first."""
    divisors = [n for n in _GPU_UNROLLS if isinstance(length, int) and length % n == 0]
    return min(divisors, key=lambda n: abs(n - _GPU_UNROLL), default=_GPU_UNROLL)


def _by_scan(
    x,
    kernel,
    recurrent_kernel,
    bias,
    num_frames,
    *,
    cell,
    return_sequences,
    reverse,
    joined=False,
    unroll=1,
):
    size, frames = recurrent_kernel.shape[0], x.swapaxes(0, 1)
    valid = None
    if num_frames is not None:
        valid = (jnp.arange(x.shape[1])[:, None] < num_frames[None])[..., None]
    kernels = recurrent_kernel
    if joined:
        kernels = jnp.concatenate([recurrent_kernel, kernel])
    else:
        # The product with the input needs no state: one large product before the scan.
        frames = (frames @ kernel).astype(bias.dtype)
    kernels = column_groups(cell, kernels, size)
    scan = _reference if switch.is_reference() else _scan
    states: Any = scan((cell, return_sequences, reverse, unroll), frames, kernels, bias, valid)
    return states.swapaxes(0, 1) if return_sequences else states


def _reference(*arguments):
    return _scan_frames(*arguments, save=False)[0]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _scan(options, frames, kernels, bias, valid):
    """Scan `frames` [F, B, D]; returns states [F, B, H], or the last [B, H].

    `kernels`, by column group, are those of the state and then of the frame, [H + D, G H]; or of
    the state alone, with frames that are projected already. `valid` [F, B, 1] may be None.
    `options` are cell, return_sequences, reverse and the frames in a round of the loop.
    """
    return _reference(options, frames, kernels, bias, valid)


def _scan_frames(options, frames, kernels, bias, valid, *, save):
    """As `_scan`; with `save` also the state before each frame and what its cell saved."""
    cell, return_sequences, reverse, unroll = options
    size = bias.shape[0] // CELLS[cell].gates
    biases = column_groups(cell, bias[None], size)
    joined = kernels[0].shape[0] > size

    def step(state, inputs):
        frame, is_valid = inputs
        if unroll > 1:
            state = lax.optimization_barrier(state)  # Else every reader of it computes it again.
        projected = None if joined else column_groups(cell, frame, size)

        def product(i, h):
            h = h.astype(frame.dtype if joined else kernels[i].dtype)
            if joined:
                return jnp.concatenate([h, frame], axis=-1) @ kernels[i] + biases[i]
            return projected[i] + (h @ kernels[i]).astype(bias.dtype) + biases[i]

        new, saved = CELLS[cell].forward(product, *state)
        if is_valid is not None:
            new = tuple(jnp.where(is_valid, a, b) for a, b in zip(new, state, strict=True))
        return new, (new[0] if return_sequences else None, (state, saved) if save else None)

    zero = jnp.zeros((frames.shape[1], size), bias.dtype)
    start = (zero,) * (2 if cell == "lstm" else 1)
    end, (states, saved) = lax.scan(step, start, (frames, valid), reverse=reverse, unroll=unroll)
    return (states if return_sequences else end[0]), saved


def _scan_forward(options, *inputs):
    states, saved = _scan_frames(options, *inputs, save=True)
    return states, (*inputs, saved)


def _scan_backward(options, residuals, gradient):
    cell, return_sequences, reverse, unroll = options
    frames, kernels, bias, valid, (before, saved) = residuals
    size = bias.shape[0] // CELLS[cell].gates
    joined = kernels[0].shape[0] > size
    transposed = [kernel[:size].T for kernel in kernels]

    def product(i, gates):
        return (gates.astype(transposed[i].dtype) @ transposed[i]).astype(bias.dtype)

    # Gradients are linear in those of the state: the factors are computed for all frames at once.
    factors = CELLS[cell].factors(before, saved, valid)

    def step(to_state, inputs):
        to_output, factors = inputs
        if unroll > 1:
            to_state = lax.optimization_barrier(to_state)
        if to_output is not None:
            to_state = (to_state[0] + to_output, *to_state[1:])
        return CELLS[cell].backward(product, to_state, factors)

    zero = jnp.zeros_like(before[0][0])
    end = (zero if return_sequences else gradient, zero)[: len(before)]
    to_outputs = gradient if return_sequences else None
    rounds = {"reverse": not reverse, "unroll": unroll}
    _, gates = lax.scan(step, end, (to_outputs, factors), **rounds)
    inputs = [before[0]] if cell != "gru" else [before[0], saved[1] * before[0]]
    narrow = [g.astype(k.dtype) for g, k in zip(gates, kernels, strict=True)]
    to_kernels = []
    for h, g, kernel in zip(inputs, narrow, kernels, strict=True):
        h = h.astype(kernel.dtype)
        h = jnp.concatenate([h, frames], axis=-1) if joined else h
        to_kernels.append(jnp.einsum("fbh,fbg->hg", h, g))
    if joined:
        to_frames = sum(g @ kernel[size:].T for g, kernel in zip(narrow, kernels, strict=True))
    else:
        to_frames = jnp.concatenate(gates, axis=-1)
    to_bias = jnp.concatenate([g.sum((0, 1)) for g in gates])
    return to_frames, tuple(to_kernels), to_bias, None


_scan.defvjp(_scan_forward, _scan_backward)

"""A layer of LSTM by cuDNN, which runs all frames in a few kernels (`jax.experimental.rnn`)."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import sequential_vmap


def suits(x: jax.Array, bias: jax.Array) -> bool:
    """Return whether cuDNN can compute the layer of `x` [B, F, D] and `bias` [4 H].

    It takes float32 alone, and a GPU in this process: JAX calls cuDNN while it traces.
    """
    has_sizes = all(isinstance(size, int) for size in x.shape)
    return has_sizes and bias.dtype == jnp.float32 and jax.default_backend() == "gpu"


def layer(
    x: jax.Array,
    kernel: jax.Array,
    recurrent_kernel: jax.Array,
    bias: jax.Array,
    num_frames: jax.Array | None,
    *,
    return_sequences: bool,
    reverse: bool,
) -> jax.Array:
    """Return what `ops.recurrent` does for the cell `lstm`; products are in TF32 or float32."""
    batch, length, size = *x.shape[:2], recurrent_kernel.shape[0]
    counts = jnp.full(batch, length, jnp.int32)
    if num_frames is not None:
        counts = jnp.clip(num_frames.astype(jnp.int32), 1, length)
    if reverse:
        x = _reversed(x, counts)
    # One vector, as cuDNN packs it, with a second bias beside the recurrent product.
    parts = kernel.T.ravel(), recurrent_kernel.T.ravel(), bias, jnp.zeros_like(bias)
    weights = jnp.concatenate([part.astype(bias.dtype) for part in parts])
    outputs: Any = _cudnn(x.astype(bias.dtype), weights, counts, size)
    states, last = outputs
    if num_frames is not None:  # cuDNN has no row without frames.
        last = jnp.where(num_frames[:, None] > 0, last, 0)
    if not return_sequences:
        return last
    if reverse:
        states = _reversed(states, counts)
    if num_frames is None:
        return states
    # cuDNN gives zeros where the state stays as it is: at the end, or at the start in reverse.
    valid = jnp.arange(length)[None] < num_frames[:, None]
    held = jnp.zeros_like(last) if reverse else last
    return jnp.where(valid[..., None], states, held[:, None])


def _reversed(x: jax.Array, counts: jax.Array) -> jax.Array:
    """Return `x` [B, F, D] with the first `counts` [B] frames of each row in reverse."""
    frames = jnp.arange(x.shape[1])[None]
    order = jnp.where(frames < counts[:, None], counts[:, None] - 1 - frames, frames)
    return jnp.take_along_axis(x, order[..., None], axis=1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _cudnn(x, weights, counts, size):
    """Return the states [B, F, H] and the last valid one [B, H]."""
    return _forward(x, weights, counts, size)[0]


# cuDNN has no further leading axis: under `vmap`, as of several folds, the calls are a loop.
def _forward(x, weights, counts, size):
    from jax.experimental import rnn

    @sequential_vmap
    def run(x, weights, counts):
        zeros = jnp.zeros((1, x.shape[0], size), x.dtype)
        forward: Any = rnn.lstm_fwd
        return forward(x, zeros, zeros, weights, counts, *_options(x, size))

    (states, last, _), residuals = run(x, weights, counts)
    return (states, last[0]), residuals


def _backward(size, residuals, gradients):
    from jax.experimental import rnn

    @sequential_vmap
    def run(residuals, to_states, to_last):
        to_last = to_last[None]
        gradients = to_states, to_last, jnp.zeros_like(to_last)
        backward: Any = rnn.lstm_bwd
        return backward(*_options(residuals[0], size), residuals, gradients)

    to_x, _, _, to_weights, _ = run(residuals, *gradients)
    return to_x, to_weights, None


_cudnn.defvjp(_forward, _backward)


def _options(x: jax.Array, size: int) -> tuple[Any, ...]:
    """Sizes of input and state, one layer, no dropout, one direction, and the precision."""
    config: Any = jax.config
    exact = config.jax_default_matmul_precision in ("highest", "float32")
    precision = lax.Precision.HIGHEST if exact else lax.Precision.HIGH  # HIGH allows TF32.
    return x.shape[-1], size, 1, 0.0, False, precision

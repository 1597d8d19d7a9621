"""Layers that the networks share, with the initialisers and conventions of Keras.

Kernels are Glorot uniform and biases zero; parameters stay in float32, while `dtype` is the type of
the arithmetic. Every layer is a module, so that the table of a network (`models.summary`) names it.
"""

import functools
import zlib

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

from mgr_jax import ops
from mgr_jax.ops.arrays import as_row

BATCH_NORM_EPSILON = 1e-3  # Keras' default; Flax and PyTorch use 1e-5
BATCH_NORM_MOMENTUM = 0.99  # Keras' default, as a share that is kept; PyTorch's is 0.9

kernel_init = nn.initializers.glorot_uniform()

Dense = functools.partial(nn.Dense, kernel_init=kernel_init)


class Conv(nn.Module):
    """Two-dimensional convolution with bias, as `keras.layers.Conv2D`.

    Attributes:
      features: output channels.
      kernel_size, strides: (height, width).
      padding: `SAME` or `VALID`.
      train_bias: False where a batch normalisation follows, which subtracts the bias again: its
        gradient is exactly zero then, and Adam would scale rounding noise up to full steps.
      dtype: type of the arithmetic.
    """

    features: int
    kernel_size: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    padding: str = "SAME"
    train_bias: bool = True
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H', W', features]."""
        kernel, bias = conv_weights(self, (*self.kernel_size, x.shape[-1], self.features))
        x, kernel, bias = (a.astype(self.dtype) for a in (x, kernel, bias))
        bias = bias if self.train_bias else lax.stop_gradient(bias)
        y = ops.convolve(x, kernel, strides=self.strides, padding=self.padding)
        return y + as_row(bias, y)


def conv_weights(module: nn.Module, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Declare the parameters of a convolution in a compact `module`.

    Returns:
      Kernel `shape`, which is [h, w, Cin, Cout], and bias [Cout].
    """
    kernel = module.param("kernel", kernel_init, shape)
    return kernel, module.param("bias", nn.initializers.zeros_init(), shape[-1:])


class BatchNorm(nn.Module):
    """Batch normalisation over all axes but the last (Ioffe & Szegedy 2015), as Keras has it.

    The variance is the biased one. Running averages live in the collection `batch_stats`.

    Attributes:
      use_running_average: normalise by the running averages, as in evaluation.
      momentum: share of the running averages that is kept at a step.
      axis_name: axis of devices over which the statistics are taken; None takes those of `x`.
      dtype: type of the output; statistics are in float32 or better.
    """

    use_running_average: bool
    momentum: float | jax.Array = BATCH_NORM_MOMENTUM
    axis_name: str | None = None
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        """[..., C] -> [..., C]; only where `mask` [...] holds does `x` enter the statistics."""
        batch = None
        if not self.use_running_average:
            batch = ops.moments(x, mask=mask, axis_name=self.axis_name)
        vectors = batch_norm_vectors(self, x.shape[-1], batch, momentum=self.momentum)
        center, factor, shift = (as_row(vector, x) for vector in vectors)
        return ((x - center) * factor + shift).astype(self.dtype)


def settling_momentum(num_steps: int | jax.Array | None) -> float | jax.Array:
    """Return a momentum of batch normalisation that suits a training of `num_steps` steps.

    Its running averages are over about the last tenth of the steps, as of the last hundred with
    Keras' default, which is the largest: 1 - 10 / `num_steps`, and 0.1 at least. None stands for a
    network that is not trained.
    """
    if num_steps is None:
        return BATCH_NORM_MOMENTUM
    # In float32, so that a number that is traced gives the same.
    if isinstance(num_steps, int):
        return float(np.clip(1 - 10 / np.float32(num_steps), 0.1, BATCH_NORM_MOMENTUM))
    return jnp.clip(1 - 10 / jnp.float32(num_steps), 0.1, BATCH_NORM_MOMENTUM)


def batch_norm_vectors(
    module: nn.Module,
    channels: int,
    batch: tuple[jax.Array, jax.Array] | None,
    *,
    momentum: float | jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Declare the variables of a batch normalisation in a compact `module`, and update them.

    Args:
      module: gets the parameters `scale` and `bias`, and `mean` and `var` in `batch_stats`.
      batch: mean and variance [C] of the batch, which enter the running averages with a share of
        1 - `momentum`; None normalises by the running averages.

    Returns:
      Center, factor and shift [C]: the output is (x - center) * factor + shift.
    """
    shape = (channels,)
    scale = module.param("scale", nn.initializers.ones_init(), shape)
    bias = module.param("bias", nn.initializers.zeros_init(), shape)
    running = tuple(
        module.variable("batch_stats", name, init, shape, jnp.float32)
        for name, init in (("mean", jnp.zeros), ("var", jnp.ones))
    )
    mean, var = (average.value for average in running) if batch is None else batch
    if batch is not None and not module.is_initializing():
        for average, value in zip(running, (mean, var), strict=True):
            average.value = momentum * average.value + (1 - momentum) * value
    return mean, scale * lax.rsqrt(var + BATCH_NORM_EPSILON), bias


class MaxPool(nn.Module):
    """Max-pooling, as `keras.layers.MaxPooling2D`."""

    window: tuple[int, int]
    strides: tuple[int, int]
    padding: str = "VALID"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H', W', C]."""
        return ops.max_pool(x, window=self.window, strides=self.strides, padding=self.padding)


class AveragePool(nn.Module):
    """Mean over windows that do not overlap; rows and columns left over are dropped."""

    window: tuple[int, int] = (2, 2)

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H // h, W // w, C].

        Raises:
          ValueError: `x` is smaller than the window.
        """
        height, width = self.window
        rows, columns = x.shape[1] // height, x.shape[2] // width
        if rows == 0 or columns == 0:
            raise ValueError(
                f"x of {x.shape[1]}x{x.shape[2]} is too small for {height}x{width} pooling;"
                " use a longer window or a larger image"
            )
        x = x[:, : rows * height, : columns * width]
        return x.reshape(x.shape[0], rows, height, columns, width, x.shape[-1]).mean((2, 4))


class GlobalAveragePool(nn.Module):
    """Mean over height and width, taken in float32."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, C]."""
        return x.astype(jnp.promote_types(jnp.float32, x.dtype)).mean((1, 2))


class StatisticsPool(nn.Module):
    """Mean and standard deviation over time, in float32 (Snyder et al. 2018, x-vectors).

    Bands keep their place, so that what follows knows low from high frequencies.
    """

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        """[B, F, ..., C] -> [B, 2 D], where D values are those of a frame, in row-major order.

        Only frames where `mask` [B, F] holds enter the statistics.
        """
        x = x.astype(jnp.promote_types(jnp.float32, x.dtype)).reshape(*x.shape[:2], -1)
        where = None if mask is None else mask[..., None]
        mean = jnp.mean(x, 1, where=where)
        # The small number keeps the gradient of a constant finite.
        deviation = jnp.sqrt(jnp.var(x, 1, where=where) + 1e-5)
        return jnp.concatenate([mean, deviation], axis=-1)


class Flatten(nn.Module):
    """All axes from `start` on become one, in row-major order."""

    start: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, ...] -> [B, D]."""
        return x.reshape(*x.shape[: self.start], -1)


class Dropout(nn.Module):
    """Dropout with a draw of its own for every example (Srivastava et al. 2014).

    The draw depends on the example's key and on this layer's path in the network, so that it does
    not depend on how the rows of a batch are spread over devices.
    """

    rate: float

    @nn.compact
    def __call__(
        self, x: jax.Array, *, train: bool = False, row_keys: jax.Array | None = None
    ) -> jax.Array:
        """[B, ...] -> [B, ...]; `row_keys` are typed PRNG keys [B].

        Raises:
          ValueError: `train` without `row_keys`, at a rate above 0.
        """
        if not train or self.rate == 0.0 or self.is_initializing():
            return x
        if row_keys is None:
            raise ValueError("row_keys is None; dropout in training needs one key per row")
        salt = zlib.crc32("/".join(self.path).encode())
        keep = 1.0 - self.rate

        def draw(key: jax.Array) -> jax.Array:
            return _bernoulli(jax.random.fold_in(key, salt), keep, x.shape[1:])

        return jnp.where(jax.vmap(draw)(row_keys), x / keep, jnp.zeros_like(x))


def _bernoulli(key: jax.Array, keep: float, shape: tuple[int, ...]) -> jax.Array:
    """Draw booleans of `shape`, each true with probability `keep`.

    Random bits cost more than all the rest of dropout. A few of them decide exactly on a multiple
    of 1/4 or 1/256, so that a word holds those of several values along the first axis.
    """
    bits = next((n for n in (2, 8) if (2**n * keep) % 1 == 0), None)
    if bits is None:
        return jax.random.bernoulli(key, keep, shape)
    words = jax.random.bits(key, (-(-shape[0] * bits // 32), *shape[1:]), jnp.uint32)
    values = jnp.concatenate([(words >> shift) & (2**bits - 1) for shift in range(0, 32, bits)])
    return values[: shape[0]] < int(2**bits * keep)

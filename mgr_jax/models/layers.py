"""Layers that the networks share, with the initialisers and conventions of Keras.

Kernels are Glorot uniform and biases zero; parameters stay in float32 (their own type), while
`dtype` is the type of the arithmetic. Every layer is a module, so that a table of a network
(`mgr_jax.models.summary`) names it.
"""

import zlib

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from mgr_jax.ops.convolution import convolve, convolve_relu
from mgr_jax.ops.moments import as_row, moments

BATCH_NORM_EPSILON = 1e-3  # Keras' default; Flax and PyTorch use 1e-5

kernel_init = nn.initializers.glorot_uniform()


class Conv(nn.Module):
    """Two-dimensional convolution with bias, as `keras.layers.Conv2D`.

    A 1x1 convolution of stride 1 runs as a matrix product, several times faster on CPU.

    Attributes:
      channels: input channels.
      features: output channels.
      kernel_size: (height, width).
      strides: (height, width).
      padding: `SAME` or `VALID`.
      normalised: the output's mean is subtracted further on (batch normalisation), so that in
        training the gradient of the bias is exactly zero. It is then set to zero: rounding noise
        in its place would be scaled up to full steps by Adam.
      relu: apply ReLU to the output.
      dtype: type of the arithmetic.
    """

    channels: int
    features: int
    kernel_size: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    padding: str = "SAME"
    normalised: bool = False
    relu: bool = False
    dtype: jnp.dtype = jnp.float32

    def setup(self) -> None:
        shape = (*self.kernel_size, self.channels, self.features)
        self.kernel = self.param("kernel", kernel_init, shape)
        self.bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))

    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, channels] -> [B, H', W', features]."""
        kernel, bias = self.weights()
        function = convolve_relu if self.relu else convolve
        return function(
            x.astype(self.dtype), kernel, bias, strides=self.strides, padding=self.padding
        )

    def weights(self) -> tuple[jax.Array, jax.Array]:
        """Kernel [h, w, channels, features] and bias [features] as the arithmetic takes them."""
        bias = lax.stop_gradient(self.bias) if self.normalised else self.bias
        return self.kernel.astype(self.dtype), bias.astype(self.dtype)


class Dense(nn.Module):
    """Fully connected layer, as `keras.layers.Dense`."""

    features: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, D] -> [B, features]."""
        kernel = self.param("kernel", kernel_init, (x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
        y = x.astype(self.dtype) @ kernel.astype(self.dtype)
        return y + as_row(bias.astype(self.dtype), y)


class BatchNorm(nn.Module):
    """Batch normalisation over all axes but the last (Ioffe & Szegedy 2015), as Keras has it.

    The variance is the biased one, from the differences to the mean (see `moments`). Running
    averages move by `1 - momentum` a step and live in the collection `batch_stats`.

    Attributes:
      channels: C.
      momentum: share of the running averages that is kept at a step.
      axis_name: axis of devices over which the statistics are taken; None takes those of `x`.
      dtype: type of the output; statistics are in float32 or better.
    """

    channels: int
    momentum: float = 0.99
    axis_name: str | None = None
    dtype: jnp.dtype = jnp.float32

    def setup(self) -> None:
        shape = (self.channels,)
        self.scale = self.param("scale", nn.initializers.ones_init(), shape)
        self.bias = self.param("bias", nn.initializers.zeros_init(), shape)
        self.mean = self.variable("batch_stats", "mean", jnp.zeros, shape, jnp.float32)
        self.var = self.variable("batch_stats", "var", jnp.ones, shape, jnp.float32)

    def __call__(
        self, x: jax.Array, *, train: bool = False, mask: jax.Array | None = None
    ) -> jax.Array:
        """[..., C] -> [..., C]; only where `mask` [...] holds does `x` enter the statistics."""
        batch = moments(x, mask=mask, axis_name=self.axis_name) if train else None
        center, factor, shift = (as_row(vector, x) for vector in self.affine(batch))
        return ((x - center) * factor + shift).astype(self.dtype)

    def affine(
        self, batch: tuple[jax.Array, jax.Array] | None
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Center, factor and shift [C]: the output is (x - center) * factor + shift.

        `batch` is the mean and the variance [C] of the batch, which enter the running averages;
        None means evaluation, by the running averages.
        """
        mean, var = (self.mean.value, self.var.value) if batch is None else batch
        if batch is not None and not self.is_initializing():
            keep = self.momentum
            self.mean.value = keep * self.mean.value + (1 - keep) * mean
            self.var.value = keep * self.var.value + (1 - keep) * var
        return mean, self.scale * lax.rsqrt(var + BATCH_NORM_EPSILON), self.bias


class Dropout(nn.Module):
    """Dropout with a draw of its own for every example (Srivastava et al. 2014).

    The draw depends on the example's key and on this layer's place in the network, so that it
    does not depend on how the rows of a batch are spread over devices.
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
    """Booleans of `shape`, each true with probability `keep`.

    A few bits decide exactly on a multiple of 1/4 or 1/256, and a word of random bits, which cost
    more than all the rest of dropout, holds those of several values along the first axis.
    """
    bits = next((n for n in (2, 8) if (2**n * keep) % 1 == 0), None)
    if bits is None:
        return jax.random.bernoulli(key, keep, shape)
    words = jax.random.bits(key, (-(-shape[0] * bits // 32), *shape[1:]), jnp.uint32)
    values = jnp.concatenate([(words >> shift) & (2**bits - 1) for shift in range(0, 32, bits)])
    return values[: shape[0]] < int(2**bits * keep)


def conv_pair(
    x: jax.Array,
    features: int,
    *,
    kernel_size: int,
    stride: int,
    first: int,
    dtype: jnp.dtype,
) -> jax.Array:
    """Two convolutions with ReLU, `same` then `valid`, named conv2d_<first> and the next.

    To be called inside the compact method of a network; [B, H, W, C] -> [B, H', W', features].
    """
    for number, padding in ((first, "SAME"), (first + 1, "VALID")):
        conv = Conv(
            x.shape[-1],
            features,
            (kernel_size, kernel_size),
            (stride, stride),
            padding,
            relu=True,
            dtype=dtype,
            name=f"conv2d_{number}",
        )
        x = conv(x)
    return x


def scaled(units: int, multiplier: float) -> int:
    """`units` times `multiplier`, at least 1."""
    return max(1, round(units * multiplier))


class Flatten(nn.Module):
    """All axes from `start` on become one, in row-major order."""

    start: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, ...] -> [B, D]."""
        return x.reshape(*x.shape[: self.start], -1)

"""BBNN with what its branches share computed once: the function and parameters of `models.bbnn`.

It is the same network by three identities:
- All branches normalise the same activation. Its moments are computed once for each piece of
  channels, and one pass normalises, applies ReLU and projects for all 1x1 branches
  (`ops.normalise_relu_project`).
- Normalisation subtracts the bias of the convolution before it again. So the bias is carried along
  as a vector, and never added to an activation.
- What follows the stem's convolution is monotonic in its output, so that max-pooling may come
  first; the moments come from those of the input.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from mgr_jax import ops
from mgr_jax.models import bbnn, layers
from mgr_jax.ops.arrays import as_row

STEM_POOL = (4, 1)

Moments = tuple[jax.Array, jax.Array]
# Center, factor and shift [C] of a normalisation.
Vectors = tuple[jax.Array, jax.Array, jax.Array]


class Piece(NamedTuple):
    """Some of the channels that a module reads.

    Attributes:
      x: [B, H, W, N], the output of a convolution without its bias.
      bias: [N].
      moments: mean and variance [N] of x over the batch; None in evaluation.
    """

    x: jax.Array
    bias: jax.Array
    moments: Moments | None = None


class Conv(nn.Module):
    """The parameters of `layers.Conv`, whose bias is not trained."""

    features: int
    kernel_size: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, channels: int) -> tuple[jax.Array, jax.Array]:
        """Kernel [k, k, channels, features] and bias [features]."""
        shape = (self.kernel_size, self.kernel_size, channels, self.features)
        kernel, bias = layers.conv_weights(self, shape)
        return kernel.astype(self.dtype), jax.lax.stop_gradient(bias).astype(self.dtype)


class Norm(nn.Module):
    """The variables of `layers.BatchNorm`."""

    momentum: float | jax.Array

    @nn.compact
    def __call__(self, moments: Moments | None, bias: jax.Array) -> Vectors:
        """Vectors that normalise x + bias, to be applied to x, which has the moments given."""
        bias = bias.astype(jnp.promote_types(bias.dtype, jnp.float32))
        if moments is not None:
            moments = moments[0] + bias, moments[1]
        center, factor, shift = layers.batch_norm_vectors(
            self, bias.size, moments, momentum=self.momentum
        )
        return center - bias, factor, shift


class Unit(nn.Module):
    """Batch normalisation, ReLU, convolution."""

    features: int
    kernel_size: int
    momentum: float | jax.Array
    dtype: jnp.dtype

    def setup(self) -> None:
        self.norm = Norm(self.momentum)
        self.conv = Conv(self.features, self.kernel_size, self.dtype)

    def weights(
        self, moments: Moments | None, bias: jax.Array
    ) -> tuple[Vectors, jax.Array, jax.Array]:
        """Normalisation, kernel and bias of the unit, for an input with these moments and bias."""
        return self.norm(moments, bias), *self.conv(bias.size)

    def __call__(self, piece: Piece) -> Piece:
        """[B, H, W, N] -> [B, H, W, features]."""
        vectors, kernel, bias = self.weights(piece.moments, piece.bias)
        return Piece(ops.convolve(ops.normalise_relu(piece.x, *vectors), kernel), bias)


def project(units: Sequence[Unit], pieces: Sequence[Piece]) -> list[Piece]:
    """Apply 1x1 units that read the same channels, all in one pass."""
    moments = None
    if pieces[0].moments is not None:
        mean, var = zip(*(piece.moments for piece in pieces), strict=True)
        moments = jnp.concatenate(mean), jnp.concatenate(var)
    bias = jnp.concatenate([piece.bias for piece in pieces])
    weights = [unit.weights(moments, bias) for unit in units]
    vectors, kernels, biases = zip(*weights, strict=True)
    kernels = jnp.stack(kernels)[:, 0, 0]  # [K, 1, 1, C, N] -> [K, C, N]
    center, factor, shift = map(jnp.stack, zip(*vectors, strict=True))
    xs = [piece.x for piece in pieces]
    outputs = ops.normalise_relu_project(xs, center, factor, shift, kernels)
    return [Piece(x, bias) for x, bias in zip(outputs, biases, strict=True)]


def with_moments(pieces: Sequence[Piece], *, train: bool, axis_name: str | None) -> list[Piece]:
    """Return the pieces with their moments: over devices, one exchange for all of them."""
    if not train:
        return list(pieces)
    arrays = [piece.x for piece in pieces]
    ends = np.cumsum([x.shape[-1] for x in arrays])[:-1].tolist()
    moments = (jnp.split(part, ends) for part in ops.moments(arrays, axis_name=axis_name))
    return [p._replace(moments=own) for p, *own in zip(pieces, *moments, strict=True)]


def max_pool(pieces: Sequence[Piece]) -> list[Piece]:
    """Max-pool 3x3 at stride 1; the bias is the same for all pixels and stays outside."""
    xs = ops.max_pool([p.x for p in pieces], window=(3, 3), strides=(1, 1), padding="SAME")
    return [piece._replace(x=x) for piece, x in zip(pieces, xs, strict=True)]


class BroadcastModule(nn.Module):
    """Four branches of `features` channels each."""

    features: int
    momentum: float | jax.Array
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, pieces: Sequence[Piece], pooled: Sequence[Piece], **options) -> list[Piece]:
        """Four new pieces, from all so far, as they are and max-pooled.

        `options` are those of `with_moments`.
        """

        def unit(name: str, kernel_size: int = 1) -> Unit:
            return Unit(self.features, kernel_size, self.momentum, self.dtype, name=name)

        names = ("unit_1x1", "reduce_3x3", "reduce_5x5")
        one, three, five = project([unit(name) for name in names], pieces)
        (pool,) = project([unit("unit_pool")], pooled)
        three, five = with_moments([three, five], **options)
        return [one, unit("unit_3x3", 3)(three), unit("unit_5x5", 5)(five), pool]


class BBNN(bbnn.BBNN):
    """The network of `models.bbnn`, with its attributes."""

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        *,
        train: bool = False,
        row_keys: jax.Array | None = None,
        num_frames: jax.Array | None = None,
    ) -> jax.Array:
        """Logits [B, C] of `x`: log-mel [B, F, M] or image [B, H, W, 3]."""
        del row_keys, num_frames
        options = {"train": train, "axis_name": self.axis_name}
        x = self._stem(x[..., None] if x.ndim == 3 else x, train)
        new = [Piece(x, jnp.zeros(self.width, x.dtype))]
        pieces, pooled = [], []
        for i in range(self.num_modules):
            ready = with_moments([*new, *max_pool(new)], **options)
            pieces += ready[: len(new)]
            pooled += ready[len(new) :]
            if not train:
                # Those of before again, which compilers compute once; a GPU's may rather compute
                # the maxima where they are read.
                pooled = max_pool(pieces)
            module = BroadcastModule(self.width, self.momentum, self.dtype, name=f"broadcast_{i}")
            new = module(pieces, pooled, **options)
        pieces += with_moments(new, **options)
        transition = Unit(self.width, 1, self.momentum, self.dtype, name="transition")
        ((x, bias, _),) = project([transition], pieces)
        x = layers.AveragePool((2, 2), name="transition_pool")(x + as_row(bias, x))
        norm = layers.BatchNorm(
            not train, self.momentum, self.axis_name, self.dtype, name="final_norm"
        )
        pool = layers.StatisticsPool if self.pooling == "statistics" else layers.GlobalAveragePool
        x = pool(name="global_pool")(nn.relu(norm(x)))
        logits = layers.Dense(self.num_classes, dtype=self.dtype, name="classifier")(x)
        return logits.astype(jnp.promote_types(jnp.float32, self.dtype))

    def _stem(self, x: jax.Array, train: bool) -> jax.Array:
        """Convolution, batch normalisation, ReLU and max-pooling over rows, pooling first.

        Where a channel's factor is negative, the convolution's sign is changed, so that the largest
        value is the one that max-pooling would choose after the normalisation.
        """
        kernel, bias = Conv(self.width, 3, self.dtype, name="stem_conv")(x.shape[-1])
        x, moments = x.astype(kernel.dtype), None
        if train:
            moments = ops.moments_of_convolution(x, kernel, axis_name=self.axis_name)
        center, factor, shift = Norm(self.momentum, name="stem_norm")(moments, bias)
        sign = jnp.where(factor < 0, -1, 1).astype(kernel.dtype).reshape(1, 1, 1, -1)
        # As exact as the moments, which a TPU else rounds otherwise than its convolutions.
        with jax.default_matmul_precision("highest"):
            x = ops.convolve(x, kernel * sign)
        x = ops.max_pool(x, window=STEM_POOL, strides=STEM_POOL, padding="VALID") * sign
        return ops.normalise_relu(x, center, factor, shift)

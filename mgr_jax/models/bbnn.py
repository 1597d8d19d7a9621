"""Bottom-up broadcast neural network (Liu et al. 2019, arXiv 1901.08928)."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from mgr_jax.models import layers
from mgr_jax.ops import max_pool as pooling
from mgr_jax.ops import normalise_relu as fused
from mgr_jax.ops.convolution import convolve
from mgr_jax.ops.moments import Moments, as_row, moments, moments_of_convolution

STEM_POOL = (4, 1)


class Unit(nn.Module):
    """Batch normalisation, ReLU, convolution: the paper's basic unit."""

    channels: int
    features: int
    kernel_size: int
    train: bool
    momentum: float
    axis_name: str | None
    dtype: jnp.dtype

    def setup(self) -> None:
        self.norm = layers.BatchNorm(self.channels, self.momentum, self.axis_name, self.dtype)
        self.conv = layers.Conv(
            self.channels,
            self.features,
            (self.kernel_size,) * 2,
            normalised=self.train,
            dtype=self.dtype,
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, channels] -> [B, H, W, features]."""
        return self.conv(nn.relu(self.norm(x, train=self.train)))

    def in_one_pass(self, output: "Output") -> "Output":
        """The same, normalised in one pass forward and one back."""
        batch = moments(output.x, axis_name=self.axis_name) if self.train else None
        x = fused.normalise_relu(output.x, *self.affine(batch, output.offset))
        kernel, bias = self.conv.weights()
        return Output(convolve(x, kernel), bias)

    def affine(self, batch: Moments | None, offset: jax.Array) -> tuple[jax.Array, ...]:
        """Center, factor and shift of the normalisation of x + offset, to be applied to x.

        `batch` has the moments of x.
        """
        offset = offset.astype(jnp.promote_types(offset.dtype, jnp.float32))
        if batch is not None:
            batch = batch[0] + offset, batch[1]
        center, factor, shift = self.norm.affine(batch)
        return center - offset, factor, shift


class Output(NamedTuple):
    """An activation x [B, H, W, N] to which `offset` [N], a bias, is still to be added.

    Normalisation, which comes next, subtracts it again: adding it would be a pass over x for
    nothing.
    """

    x: jax.Array
    offset: jax.Array


class Piece(NamedTuple):
    """Channels that a module reads, with what all its readers share: the moments of x."""

    x: jax.Array
    offset: jax.Array
    moments: Moments | None


def _pieces(outputs: Sequence[Output], train: bool, axis_name: str | None) -> list[Piece]:
    """Outputs that are ready together, with their moments: over devices, one exchange for all."""
    if not train:
        return [Piece(*output, None) for output in outputs]
    arrays = [output.x for output in outputs]
    ends = np.cumsum([x.shape[-1] for x in arrays])[:-1].tolist()
    parts = (jnp.split(part, ends) for part in moments(arrays, axis_name=axis_name))
    return [Piece(*output, own) for output, *own in zip(outputs, *parts, strict=True)]


def _pool(output: Output) -> Output:
    x = pooling.max_pool(output.x, window=(3, 3), strides=(1, 1), padding="SAME")
    return output._replace(x=x)


def _stem(
    conv: layers.Conv, norm: layers.BatchNorm, x: jax.Array, *, train: bool, axis_name: str | None
) -> jax.Array:
    """Convolution, batch normalisation, ReLU and max-pooling over rows, pooling first.

    What follows the convolution only grows with it, or only falls where the factor is negative:
    then the convolution's sign is changed. So the largest value can be taken before, and all else
    is done on a fourth of the pixels. The moments come from those of the input.
    """
    kernel, bias = conv.weights()
    x = x.astype(kernel.dtype)
    batch = moments_of_convolution(x, kernel, bias, axis_name=axis_name) if train else None
    center, factor, shift = norm.affine(batch)
    sign = jnp.where(factor < 0, -1, 1).astype(kernel.dtype)
    # As exact as the moments, which a TPU else rounds otherwise than its convolutions.
    with jax.default_matmul_precision("highest"):
        x = convolve(x, kernel * as_row(sign, kernel))
    x = pooling.max_pool(x, window=STEM_POOL, strides=STEM_POOL, padding="VALID")
    x = x * as_row(sign, x) + as_row(bias, x)
    return fused.normalise_relu(x, center, factor, shift)


def _apply_together(units: Sequence[Unit], pieces: Sequence[Piece]) -> list[Output]:
    """Outputs of 1x1 units that read the same channels."""
    batch = None
    if pieces[0].moments is not None:
        batch = tuple(map(jnp.concatenate, zip(*(p.moments for p in pieces), strict=True)))
    offset = jnp.concatenate([piece.offset for piece in pieces])
    vectors = map(jnp.stack, zip(*(unit.affine(batch, offset) for unit in units), strict=True))
    kernels, biases = zip(*(unit.conv.weights() for unit in units), strict=True)
    kernels = jnp.stack(kernels)[:, 0, 0]  # [K, 1, 1, C, N] -> [K, C, N]
    outputs = fused.normalise_relu_project([piece.x for piece in pieces], *vectors, kernels)
    return list(map(Output, outputs, biases))


class BroadcastModule(nn.Module):
    """Four branches of `features` channels each, which join the module's input."""

    features: int
    settings: dict
    fused: bool

    @nn.compact
    def __call__(self, pieces: Sequence[Piece], pooled: Sequence[Piece]) -> list[Output]:
        """Four times new channels [B, H, W, features] from all so far, raw and max-pooled."""
        channels, features = sum(piece.x.shape[-1] for piece in pieces), self.features

        def unit(name: str, channels: int, kernel_size: int = 1) -> Unit:
            return Unit(channels, features, kernel_size, **self.settings, name=name)

        one, three, five = (unit(n, channels) for n in ("unit_1x1", "reduce_3x3", "reduce_5x5"))
        wide_three, wide_five = unit("unit_3x3", features, 3), unit("unit_5x5", features, 5)
        pool = unit("unit_pool", channels)
        # Kept apart, since XLA's CPU compiler is slow to join channels and to cut them again.
        if self.fused:
            ones, threes, fives = _apply_together((one, three, five), pieces)
            (pools,) = _apply_together((pool,), pooled)
            return [ones, wide_three.in_one_pass(threes), wide_five.in_one_pass(fives), pools]
        x = jnp.concatenate([piece.x for piece in pieces], axis=-1)
        x_pooled = pooling.MaxPool((3, 3), (1, 1), "SAME", name="pool")(x)
        new = one(x), wide_three(three(x)), wide_five(five(x)), pool(x_pooled)
        return [Output(y, jnp.zeros(features, y.dtype)) for y in new]


class BBNN(nn.Module):
    """The network: stem, broadcast modules, transition, global average, classifier.

    With the defaults and 10 classes it has 185 642 trainable parameters on a 647x128 log-mel
    spectrogram, and 186 218 on a 288x432x3 image. Convolutions keep their bias, as the authors
    have it, though the batch normalisation that follows takes it out again.

    Attributes:
      num_classes: C.
      width: channels of the stem, of each branch and of the transition.
      num_modules: broadcast modules.
      momentum: of the running averages of batch normalisation.
      axis_name: axis of the devices, for batch normalisation.
      dtype: type of the arithmetic; parameters stay float32.
      fused: compute what several branches or modules share once (same result, less memory and
        time); otherwise layer by layer, as the paper has it.
    """

    num_classes: int
    width: int = 32
    num_modules: int = 3
    momentum: float = 0.99
    axis_name: str | None = None
    dtype: jnp.dtype = jnp.float32
    fused: bool = True

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        *,
        train: bool = False,
        row_keys: jax.Array | None = None,
        num_frames: jax.Array | None = None,
    ) -> jax.Array:
        """Logits [B, C] of `x`: log-mel [B, F, M] or image [B, H, W, 3].

        `row_keys` and `num_frames` are not used: there is no dropout and no masking.
        """
        del row_keys, num_frames
        if x.ndim == 3:
            x = x[..., None]
        width, norm = self.width, (self.momentum, self.axis_name, self.dtype)
        settings = dict(zip(("momentum", "axis_name", "dtype"), norm, strict=True), train=train)
        # Making parameters takes the plain way, so that a table of the layers can be drawn.
        together = self.fused and not self.is_initializing()

        def as_pieces(outputs: Sequence[Output]) -> list[Piece]:
            return _pieces(outputs, train and together, self.axis_name)

        conv = layers.Conv(
            x.shape[-1], width, (3, 3), normalised=train, dtype=self.dtype, name="stem_conv"
        )
        norm_layer = layers.BatchNorm(width, *norm, name="stem_norm")
        if together:
            x = _stem(conv, norm_layer, x, train=train, axis_name=self.axis_name)
        else:
            x = nn.relu(norm_layer(conv(x), train=train))
            x = pooling.MaxPool(STEM_POOL, STEM_POOL, name="stem_pool")(x)
        pieces, pooled = [], []
        new = [Output(x, jnp.zeros(width, x.dtype))]
        for i in range(self.num_modules):
            found = as_pieces([*new, *map(_pool, new)] if together else new)
            pieces += found[: len(new)]
            pooled += found[len(new) :]
            module = BroadcastModule(width, settings, together, name=f"broadcast_{i}")
            new = module(pieces, pooled)
        pieces += as_pieces(new)
        channels = width * (1 + 4 * self.num_modules)
        transition = Unit(channels, width, 1, **settings, name="transition")
        if together:
            ((x, bias),) = _apply_together((transition,), pieces)
            x += as_row(bias, x)
        else:
            x = transition(jnp.concatenate([p.x for p in pieces], axis=-1))
        x = pooling.AveragePool((2, 2), name="transition_pool")(x)
        x = nn.relu(layers.BatchNorm(width, *norm, name="final_norm")(x, train=train))
        x = pooling.GlobalAveragePool(name="global_pool")(x)
        logits = layers.Dense(self.num_classes, self.dtype, name="classifier")(x)
        return logits.astype(jnp.promote_types(jnp.float32, self.dtype))

"""Bottom-up broadcast neural network (Liu et al. 2019, arXiv 1901.08928)."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from mgr_jax.models import fused, layers, pooling

Moments = tuple[jax.Array, jax.Array]


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

    def parts(self, batch: Moments | None) -> tuple[jax.Array, ...]:
        """Center, factor and shift of the normalisation; kernel and bias of the convolution."""
        return *self.norm.affine(batch), *self.conv.weights()


class Piece(NamedTuple):
    """Channels that a module reads, with what all its readers share: x and its moments."""

    x: jax.Array
    moments: Moments | None


def _piece(x: jax.Array, train: bool, axis_name: str | None) -> Piece:
    return Piece(x, layers.moments(x, axis_name=axis_name) if train else None)


def _apply_together(units: Sequence[Unit], pieces: Sequence[Piece]) -> list[jax.Array]:
    """Outputs of 1x1 units that read the same channels."""
    batch = None
    if pieces[0].moments is not None:
        batch = tuple(map(jnp.concatenate, zip(*(p.moments for p in pieces), strict=True)))
    *inputs, biases = map(jnp.stack, zip(*(unit.parts(batch) for unit in units), strict=True))
    inputs[-1] = inputs[-1][:, 0, 0]  # kernels [K, 1, 1, C, N] -> [K, C, N]
    outputs = fused.normalise_relu_project([piece.x for piece in pieces], *inputs)
    return [y + b.reshape(1, 1, 1, -1) for y, b in zip(outputs, biases, strict=True)]


class BroadcastModule(nn.Module):
    """Four branches of `features` channels each, which join the module's input."""

    features: int
    settings: dict
    fused: bool

    @nn.compact
    def __call__(self, pieces: Sequence[Piece], pooled: Sequence[Piece]) -> jax.Array:
        """New channels [B, H, W, 4 features] from all channels so far, raw and max-pooled."""
        channels, features = sum(piece.x.shape[-1] for piece in pieces), self.features

        def unit(name: str, channels: int, kernel_size: int = 1) -> Unit:
            return Unit(channels, features, kernel_size, **self.settings, name=name)

        one, three, five = (unit(n, channels) for n in ("unit_1x1", "reduce_3x3", "reduce_5x5"))
        wide_three, wide_five = unit("unit_3x3", features, 3), unit("unit_5x5", features, 5)
        pool = unit("unit_pool", channels)
        if self.fused:
            ones, threes, fives = _apply_together((one, three, five), pieces)
            (pools,) = _apply_together((pool,), pooled)
        else:
            x = jnp.concatenate([piece.x for piece in pieces], axis=-1)
            ones, threes, fives = one(x), three(x), five(x)
            pools = pool(pooling.MaxPool((3, 3), (1, 1), "SAME", name="pool")(x))
        return jnp.concatenate([ones, wide_three(threes), wide_five(fives), pools], axis=-1)


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

        def piece(x: jax.Array) -> Piece:
            return _piece(x, train and together, self.axis_name)

        stem = layers.Conv(
            x.shape[-1], width, (3, 3), normalised=train, dtype=self.dtype, name="stem_conv"
        )
        x = nn.relu(layers.BatchNorm(width, *norm, name="stem_norm")(stem(x), train=train))
        pieces = [piece(pooling.MaxPool((4, 1), (4, 1), name="stem_pool")(x))]
        pooled: list[Piece] = []
        for i in range(self.num_modules):
            if together:
                new = pooling.max_pool(pieces[-1].x, window=(3, 3), strides=(1, 1), padding="SAME")
                pooled.append(piece(new))
            module = BroadcastModule(width, settings, together, name=f"broadcast_{i}")
            pieces.append(piece(module(pieces, pooled)))
        channels = width * (1 + 4 * self.num_modules)
        transition = Unit(channels, width, 1, **settings, name="transition")
        if together:
            (x,) = _apply_together((transition,), pieces)
        else:
            x = transition(jnp.concatenate([p.x for p in pieces], axis=-1))
        x = pooling.AveragePool((2, 2), name="transition_pool")(x)
        x = nn.relu(layers.BatchNorm(width, *norm, name="final_norm")(x, train=train))
        x = pooling.GlobalAveragePool(name="global_pool")(x)
        logits = layers.Dense(self.num_classes, self.dtype, name="classifier")(x)
        return logits.astype(jnp.promote_types(jnp.float32, self.dtype))

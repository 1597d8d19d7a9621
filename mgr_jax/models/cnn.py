"""The convolutional network of the presentation: 480x640x3 image -> CNN -> genre."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from mgr_jax.models import layers


class CNN(nn.Module):
    """Three pairs of convolutions with average pooling, then four dense layers.

    15 762 770 parameters for a 480x640x3 image and 10 classes; other sizes change the first
    dense layer. Activations (not given in the source) are ReLU.

    Attributes:
      num_classes: C.
      width_multiplier: factor on the channels and units of every layer but the last.
      dropout: share of values dropped in training, after every layers.
      batch_norm: normalise batches after every pooling, which the source does not; `momentum` and
        `axis_name` are as in `layers.BatchNorm`.
      dtype: type of the arithmetic; parameters stay float32.
    """

    num_classes: int
    width_multiplier: float = 1.0
    dropout: float = 0.25
    batch_norm: bool = False
    momentum: float | jax.Array = layers.BATCH_NORM_MOMENTUM
    axis_name: str | None = None
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        *,
        train: bool = False,
        row_keys: jax.Array | None = None,
        num_frames: jax.Array | None = None,
    ) -> jax.Array:
        """Logits [B, C] of `x`: image [B, H, W, 3] or log-mel [B, F, M].

        `row_keys` [B] draw the dropout; `num_frames` is not used.

        Raises:
          ValueError: the input is too small for the convolutions and poolings.
        """
        del num_frames
        if x.ndim == 3:
            x = x[..., None]
        pairs = ((32, 3, 1), (64, 4, 2), (64, 4, 1))
        x = conv_pairs(self, x, pairs, train=train, row_keys=row_keys)
        x = layers.Flatten(name="flatten_1")(x)
        for i, units in enumerate((1000, 512, 64)):
            units = scaled(units, self.width_multiplier)
            x = nn.relu(layers.Dense(units, dtype=self.dtype, name=f"dense_{i + 1}")(x))
        logits = layers.Dense(self.num_classes, dtype=self.dtype, name="dense_4")(x)
        return logits.astype(jnp.promote_types(jnp.float32, self.dtype))


def conv_pairs(
    network: Any,
    x: jax.Array,
    pairs: Sequence[tuple[int, int, int]],
    *,
    train: bool,
    row_keys: jax.Array | None,
) -> jax.Array:
    """Pairs of convolutions with ReLU, `same` then `valid`, then average pooling and dropout.

    To be called in the compact method of `network`, whose width, dropout and type they have. With
    its `batch_norm`, batches are normalised after each pooling.
    `pairs` are (channels, kernel size, stride); [B, H, W, C] -> [B, H', W', C'].
    """
    for i, (channels, size, stride) in enumerate(pairs, start=1):
        for number, padding in ((2 * i - 1, "SAME"), (2 * i, "VALID")):
            conv = layers.Conv(
                scaled(channels, network.width_multiplier),
                (size, size),
                (stride, stride),
                padding,
                dtype=network.dtype,
                name=f"conv2d_{number}",
            )
            x = nn.relu(conv(x))
        x = layers.AveragePool((2, 2), name=f"average_pooling2d_{i}")(x)
        if network.batch_norm:
            x = layers.BatchNorm(
                not train,
                network.momentum,
                network.axis_name,
                network.dtype,
                name=f"batch_normalization_{i}",
            )(x)
        dropout = layers.Dropout(network.dropout, name=f"dropout_{i}")
        x = dropout(x, train=train, row_keys=row_keys)
    return x


def scaled(units: int, multiplier: float) -> int:
    """Return `units` times `multiplier`, at least 1."""
    return max(1, round(units * multiplier))

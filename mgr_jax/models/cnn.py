"""The convolutional network of the presentation: 480x640x3 image -> CNN -> genre."""

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
      dtype: type of the arithmetic; parameters stay float32.
    """

    num_classes: int
    width_multiplier: float = 1.0
    dropout: float = 0.25
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
        # (channels, kernel, stride) of each pair: the first `same`, the second `valid`.
        pairs = ((32, 3, 1), (64, 4, 2), (64, 4, 1))
        for i, (channels, kernel, stride) in enumerate(pairs):
            x = conv_pair(
                x,
                scaled(channels, self.width_multiplier),
                kernel_size=kernel,
                stride=stride,
                first=2 * i + 1,
                dtype=self.dtype,
            )
            x = layers.AveragePool((2, 2), name=f"average_pooling2d_{i + 1}")(x)
            x = layers.Dropout(self.dropout, name=f"dropout_{i + 1}")(
                x, train=train, row_keys=row_keys
            )
        x = layers.Flatten(name="flatten_1")(x)
        for i, units in enumerate((1000, 512, 64)):
            units = scaled(units, self.width_multiplier)
            x = nn.relu(layers.Dense(units, dtype=self.dtype, name=f"dense_{i + 1}")(x))
        logits = layers.Dense(self.num_classes, dtype=self.dtype, name="dense_4")(x)
        return logits.astype(jnp.promote_types(jnp.float32, self.dtype))


def conv_pair(
    x: jax.Array, features: int, *, kernel_size: int, stride: int, first: int, dtype: jnp.dtype
) -> jax.Array:
    """Two convolutions with ReLU, `same` then `valid`, named conv2d_<first> and the next.

    To be called in the compact method of a network; [B, H, W, C] -> [B, H', W', features].
    """
    for number, padding in ((first, "SAME"), (first + 1, "VALID")):
        conv = layers.Conv(
            features,
            (kernel_size, kernel_size),
            (stride, stride),
            padding,
            dtype=dtype,
            name=f"conv2d_{number}",
        )
        x = nn.relu(conv(x))
    return x


def scaled(units: int, multiplier: float) -> int:
    """Return `units` times `multiplier`, at least 1."""
    return max(1, round(units * multiplier))

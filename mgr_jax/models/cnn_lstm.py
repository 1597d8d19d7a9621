"""The CNN-LSTM of the presentation: a CNN over the image, an LSTM over what it leaves."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from mgr_jax.models import cnn, layers, rnn


class CNNLSTM(nn.Module):
    """Three pairs of convolutions, two LSTMs along one axis of the image, three dense layers.

    27 013 436 parameters for a 480x640x3 image and 10 classes. Activations of convolutions and
    dense layers (not given in the source) are ReLU; the LSTM is that of Keras.

    Attributes:
      num_classes: C.
      width_multiplier: factor on the channels and units of every layer but the last.
      scan_axis: `frequency` steps along image rows, as in the presentation; `time` along columns.
      dropout: share of values dropped in training, after poolings and dense layers.
      batch_norm: normalise batches after every pooling, which the source does not; `momentum` and
        `axis_name` are as in `layers.BatchNorm`.
      dtype: type of the arithmetic; parameters stay float32.
    """

    num_classes: int
    width_multiplier: float = 1.0
    scan_axis: str = "frequency"
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
        """Logits [B, C] of `x`: image [B, H, W, 3], or log-mel [B, F, M] laid out as an image.

        `row_keys` [B] draw the dropout; `num_frames` is not used.

        Raises:
          ValueError: the input is too small, or `scan_axis` is unknown.
        """
        del num_frames
        if self.scan_axis not in ("frequency", "time"):
            raise ValueError(f"scan_axis is {self.scan_axis!r}; it must be frequency or time")
        if x.ndim == 3:
            x = x.swapaxes(1, 2)[..., None]  # rows are frequency, as in an image
        options = {"train": train, "row_keys": row_keys}
        x = cnn.conv_pairs(self, x, ((32, 3, 1), (64, 4, 1), (64, 4, 1)), **options)
        if self.scan_axis == "time":
            x = x.swapaxes(1, 2)
        x = layers.Flatten(start=2, name="time_distributed_1")(x)
        for i, units in enumerate((1000, 500)):
            x = rnn.Recurrent(
                cnn.scaled(units, self.width_multiplier),
                cell="lstm",
                return_sequences=i == 0,
                dtype=self.dtype,
                name=f"lstm_{i + 1}",
            )(x)
        for i, units in enumerate((100, 50)):
            units = cnn.scaled(units, self.width_multiplier)
            x = nn.relu(layers.Dense(units, dtype=self.dtype, name=f"dense_{i + 1}")(x))
            x = layers.Dropout(self.dropout, name=f"dropout_{i + 4}")(x, **options)
        logits = layers.Dense(self.num_classes, dtype=self.dtype, name="dense_3")(x)
        return logits.astype(jnp.promote_types(jnp.float32, self.dtype))

"""Recurrent networks on a sequence of frames: SimpleRNN, GRU and LSTM, as Keras has them."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from mgr_jax import ops
from mgr_jax.models import layers
from mgr_jax.ops.cells import CELLS


class Recurrent(nn.Module):
    """One recurrent layer, read in one direction; `ops.cells` has the formulas of the cells.

    Kernels of the input are Glorot uniform, recurrent kernels orthogonal, biases zero but for the
    LSTM's forget gate at 1, with one bias vector per gate. The columns of `kernel` [D, G H],
    `recurrent_kernel` [H, G H] and `bias` [G H] are those of the G gates side by side.

    Attributes:
      features: H.
      cell: `simple`, `gru` or `lstm`.
      return_sequences: all states instead of the last.
      reverse: read from the last valid frame to the first.
      dtype: type of the products; states and gates are in float32 or better.
    """

    features: int
    cell: str = "lstm"
    return_sequences: bool = False
    reverse: bool = False
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, num_frames: jax.Array | None = None) -> jax.Array:
        """States of `x` [B, F, D]: [B, F, H], or the last one [B, H].

        Frames from `num_frames` [B] on leave the state as it is.

        Raises:
          ValueError: `cell` is unknown.
        """
        if self.cell not in CELLS:
            raise ValueError(f"cell is {self.cell!r}; it must be one of {', '.join(CELLS)}")
        size, width = self.features, CELLS[self.cell].gates * self.features
        kernel = self.param("kernel", layers.kernel_init, (x.shape[-1], width))
        recurrent = self.param("recurrent_kernel", nn.initializers.orthogonal(), (size, width))
        bias = self.param("bias", _bias_init, (width,), self.cell)
        x, kernel, recurrent = (a.astype(self.dtype) for a in (x, kernel, recurrent))
        return ops.recurrent(
            x,
            kernel,
            recurrent,
            bias.astype(jnp.promote_types(jnp.float32, self.dtype)),
            num_frames,
            cell=self.cell,
            return_sequences=self.return_sequences,
            reverse=self.reverse,
        )


def _bias_init(_, shape, cell):
    bias = jnp.zeros(shape, jnp.float32)
    return bias.at[shape[0] // 4 : shape[0] // 2].set(1) if cell == "lstm" else bias


class RNN(nn.Module):
    """Stacked recurrent layers on a sequence, the last state or their statistics to a classifier.

    The presentation says only "SimpleRNN and others"; sizes are options. The input is batch
    normalised first, over valid frames: raw cepstra would saturate the gates.

    Attributes:
      num_classes: C.
      cell: `simple`, `gru` or `lstm`.
      hidden_size: units of a layer, in each direction.
      num_layers: recurrent layers.
      bidirectional: every layer reads both ways; its two outputs are concatenated.
      pooling: of the last layer: `default`, its last state, or `statistics`, mean and deviation of
        all states (`layers.StatisticsPool`).
      dropout: share of values dropped in training after each recurrent layer.
      momentum: of the running averages of batch normalisation.
      axis_name: axis of the devices, for batch normalisation.
      dtype: type of the arithmetic; parameters stay float32.
    """

    num_classes: int
    cell: str = "simple"
    hidden_size: int = 128
    num_layers: int = 1
    bidirectional: bool = False
    pooling: str = "default"
    dropout: float = 0.25
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
        """Logits [B, C] of `x` [B, F, D], of which the first `num_frames` [B] frames count.

        Raises:
          ValueError: `x` is not a sequence, or `cell` is unknown.
        """
        if x.ndim != 3:
            raise ValueError(f"x is {x.shape}; an rnn reads sequences [B, F, D], not images")
        mask = None
        if num_frames is not None:
            mask = jnp.arange(x.shape[1])[None] < num_frames[:, None]
        wide = jnp.promote_types(jnp.float32, self.dtype)
        norm = layers.BatchNorm(not train, self.momentum, self.axis_name, wide, name="input_norm")
        x = norm(x, mask)
        for i in range(self.num_layers):
            layer = functools.partial(
                Recurrent,
                self.hidden_size,
                cell=self.cell,
                return_sequences=i < self.num_layers - 1 or self.pooling == "statistics",
                dtype=self.dtype,
            )
            name = f"{self.cell}_{i + 1}"
            if self.bidirectional:
                forward = layer(name=f"{name}_forward")(x, num_frames)
                backward = layer(reverse=True, name=f"{name}_backward")(x, num_frames)
                x = jnp.concatenate([forward, backward], axis=-1)
            else:
                x = layer(name=name)(x, num_frames)
            if self.pooling == "statistics" and i == self.num_layers - 1:
                x = layers.StatisticsPool(name="statistics_pool")(x, mask)
            x = layers.Dropout(self.dropout, name=f"dropout_{i + 1}")(
                x, train=train, row_keys=row_keys
            )
        logits = layers.Dense(self.num_classes, dtype=self.dtype, name="dense_1")(x)
        return logits.astype(wide)

"""Recurrent networks on a sequence of frames: SimpleRNN, GRU and LSTM, as Keras has them."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from mgr_jax.models import layers
from mgr_jax.ops import recurrent as cells
from mgr_jax.ops.recurrent import CELLS

_FEW = 4  # inputs of at most a fourth of the units are multiplied with the state


class Recurrent(nn.Module):
    """One recurrent layer, read in one direction by `lax.scan`.

    Kernels of the input are Glorot uniform, recurrent kernels orthogonal, biases zero but for
    the LSTM's forget gate at 1, with one bias vector per gate. Gates lie side by side in the
    columns of `kernel` [D, G H], `recurrent_kernel` [H, G H] and `bias` [G H]:
      simple: h = tanh(x W + h U + b)
      gru:  z, r, candidate; h = z h + (1 - z) tanh(x W + (r h) U + b)  (Cho et al. 2014; Keras'
        `reset_after=False`)
      lstm: i, f, candidate, o; c = f c + i tanh(.), h = o tanh(c)  (Hochreiter & Schmidhuber
        1997, Gers et al. 2000)

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
        wide = jnp.promote_types(jnp.float32, self.dtype)
        frames, rows = x.astype(self.dtype).swapaxes(0, 1), recurrent.astype(self.dtype)
        kernel = kernel.astype(self.dtype)
        if x.shape[-1] <= size // _FEW and wide == self.dtype:
            # One product of state and frame costs less than to write and read `width` projections.
            rows = jnp.concatenate([rows, kernel])
        else:
            # The product with the input needs no state: one large product ahead of the scan.
            frames = (frames @ kernel).astype(wide)
        valid = None
        if num_frames is not None:
            valid = (jnp.arange(x.shape[1])[:, None] < num_frames[None])[..., None]
        how = _How(self.cell, self.return_sequences, self.reverse)
        states = _scan(how, frames, cells.columns(self.cell, rows, size), bias.astype(wide), valid)
        return states.swapaxes(0, 1) if self.return_sequences else states


def _bias_init(key, shape, cell, dtype=jnp.float32):
    del key
    bias = jnp.zeros(shape, dtype)
    if cell == "lstm":
        size = shape[0] // 4
        bias = bias.at[size : 2 * size].set(1)
    return bias


class _How(NamedTuple):
    """What is fixed of a scan: its cell, whether all states are asked for, and its direction."""

    cell: str
    sequences: bool
    reverse: bool


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _scan(how, frames, kernels, bias, valid):
    """States [F, B, H], or the last [B, H], of `frames` [F, B, D].

    `kernels` are of the state and then of the frame, [H + D, G H] by columns; or of the state
    alone, with frames that are products already. `valid` [F, B, 1] may be None.
    """
    return _forward(how, frames, kernels, bias, valid, keep=False)[0]


def _forward(how, frames, kernels, bias, valid, *, keep):
    """As `_scan`; with `keep` also the state before each frame and what the cell saved."""
    size = bias.shape[0] // CELLS[how.cell].gates
    biases = cells.columns(how.cell, bias[None], size)
    joined = kernels[0].shape[0] > size

    def step(state, now):
        frame, ok = now
        projected = None if joined else cells.columns(how.cell, frame, size)

        def product(i, h):
            h = h.astype(frame.dtype if joined else kernels[i].dtype)
            if joined:
                return jnp.concatenate([h, frame], axis=-1) @ kernels[i] + biases[i]
            return projected[i] + (h @ kernels[i]).astype(bias.dtype) + biases[i]

        new, saved = CELLS[how.cell].forward(product, *state)
        if ok is not None:
            new = tuple(jnp.where(ok, a, b) for a, b in zip(new, state, strict=True))
        return new, (new[0] if how.sequences else None, (state, saved) if keep else None)

    zero = jnp.zeros((frames.shape[1], size), bias.dtype)
    start = (zero,) * (2 if how.cell == "lstm" else 1)
    end, (states, kept) = lax.scan(step, start, (frames, valid), reverse=how.reverse)
    return (states if how.sequences else end[0]), kept


def _scan_fwd(how, frames, kernels, bias, valid):
    states, kept = _forward(how, frames, kernels, bias, valid, keep=True)
    return states, (frames, kernels, bias, valid, kept)


def _scan_bwd(how, residuals, slope):
    """The scan back gives the slopes of the gates only; kernels take one product over all frames.

    Differentiated as it stands, a scan would add a matrix to the slope of a kernel at every frame.
    """
    frames, kernels, bias, valid, (before, saved) = residuals
    size = bias.shape[0] // CELLS[how.cell].gates
    joined = kernels[0].shape[0] > size
    transposed = [kernel[:size].T for kernel in kernels]

    def product(i, gates):
        return (gates.astype(transposed[i].dtype) @ transposed[i]).astype(bias.dtype)

    # Slopes are linear in those of the state: the factors are taken for all frames at once.
    factors = CELLS[how.cell].factors(before, saved, valid)

    def step(after, now):
        given, factors = now
        if given is not None:
            after = (after[0] + given, *after[1:])
        return CELLS[how.cell].back(product, after, factors)

    zero = jnp.zeros_like(before[0][0])
    end = (zero if how.sequences else slope, zero)[: len(before)]
    given = slope if how.sequences else None
    _, gates = lax.scan(step, end, (given, factors), reverse=not how.reverse)
    read = [before[0]] if how.cell != "gru" else [before[0], saved[1] * before[0]]
    narrow = [g.astype(k.dtype) for g, k in zip(gates, kernels, strict=True)]
    to_kernels = []
    for h, g, kernel in zip(read, narrow, kernels, strict=True):
        h = h.astype(kernel.dtype)
        h = jnp.concatenate([h, frames], axis=-1) if joined else h
        to_kernels.append(jnp.einsum("fbh,fbg->hg", h, g))
    if joined:
        to_frames = sum(g @ kernel[size:].T for g, kernel in zip(narrow, kernels, strict=True))
    else:
        to_frames = jnp.concatenate(gates, axis=-1)
    to_bias = jnp.concatenate([g.sum((0, 1)) for g in gates])
    return to_frames, tuple(to_kernels), to_bias, None


_scan.defvjp(_scan_fwd, _scan_bwd)


class RNN(nn.Module):
    """Stacked recurrent layers on a sequence, the last state to a classifier.

    The presentation says only "SimpleRNN and others"; sizes are options. The input is batch
    normalised first, over valid frames: raw cepstra would saturate the gates.

    Attributes:
      num_classes: C.
      cell: `simple`, `gru` or `lstm`.
      hidden_size: units of a layer, in each direction.
      num_layers: recurrent layers.
      bidirectional: every layer reads both ways; its two outputs are concatenated.
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
    dropout: float = 0.25
    momentum: float = 0.99
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
        norm = layers.BatchNorm(x.shape[-1], self.momentum, self.axis_name, wide, name="input_norm")
        x = norm(x, train=train, mask=mask)
        for i in range(self.num_layers):
            layer = functools.partial(
                Recurrent,
                self.hidden_size,
                cell=self.cell,
                return_sequences=i < self.num_layers - 1,
                dtype=self.dtype,
            )
            name = f"{self.cell}_{i + 1}"
            if self.bidirectional:
                forward = layer(name=f"{name}_forward")(x, num_frames)
                backward = layer(reverse=True, name=f"{name}_backward")(x, num_frames)
                x = jnp.concatenate([forward, backward], axis=-1)
            else:
                x = layer(name=name)(x, num_frames)
            x = layers.Dropout(self.dropout, name=f"dropout_{i + 1}")(
                x, train=train, row_keys=row_keys
            )
        logits = layers.Dense(self.num_classes, self.dtype, name="dense_1")(x)
        return logits.astype(wide)

"""MusiCNN without the filters that its training has switched off: the same function, faster.

Weight decay has shrunk most kernels of the first layer to nothing: of the 561 filters of
`MSD_musicnn` 64 react to their input, in a tenth of the arithmetic. Each of the others gives a
constant, whatever is played. In the middle of the network one channel of ones stands for all of
them, with the sum of their kernels; the pooled values list them again. Convolutions in time are
products, by which 30 s of music take 0.13 s on two cores, not 0.6. The outputs are those of
`models.musicnn` up to rounding.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from mgr_jax.models import layers, musicnn
from mgr_jax.ops.arrays import as_row

KERNELS = (*musicnn.TIMBRAL, *musicnn.TEMPORAL)
# Normalised log-mel values of music lie in -2 to 2, those of the loudest floating point file below.
_LARGEST_INPUT = 16.0
# Outputs of a filter are normalised to a deviation near 1: below this a change is rounding.
_NO_CHANGE = 1e-6


class Pruned(NamedTuple):
    """A network and its variables."""

    module: "PrunedMusiCNN"
    variables: dict[str, Any]


class TimeConv(nn.Module):
    """Convolution along time, zero-padded to the same length, as one product.

    A convolution of one input channel by XLA takes a hundred times as long on CPU.
    """

    features: int
    num_taps: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, M, F] -> [B, M, F, features]."""
        kernel, bias = layers.conv_weights(self, (self.num_taps, 1, 1, self.features))
        matrix = toeplitz(kernel[:, 0, 0], x.shape[-1])
        y = jnp.matmul(x, matrix.reshape(len(matrix), -1)).reshape(*x.shape, self.features)
        return y + as_row(bias, y)


def toeplitz(kernel: jax.Array, size: int) -> jax.Array:
    """Return the matrix of a convolution padded to the same size, `[K, C] -> [size, size, C]`.

    Entry (i, j) is the weight of input i in output j.
    """
    taps, channels = kernel.shape
    before, length = (taps - 1) // 2, size + taps - 1
    # Rows of `length` out of copies of `length + 1` move by one from row to row.
    rows = jnp.tile(jnp.pad(kernel, ((0, length + 1 - taps), (0, 0))), (size, 1))
    rows = rows[: size * length].reshape(size, length, channels)
    return rows[:, before : before + size].swapaxes(0, 1)


class TemporalBlock(nn.Module):
    """`musicnn.branch` for a temporal kernel, with the same parameters."""

    features: int
    num_taps: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, F, M, 1] -> [B, F, 1, features]."""
        y = TimeConv(self.features, self.num_taps, name="conv")(x[..., 0].swapaxes(1, 2))
        return musicnn.norm("norm")(nn.relu(y)).max(axis=1)[:, :, None]


class PrunedMusiCNN(nn.Module):
    """The network of `prune`.

    Attributes:
      kept: indices of the filters that are computed, for each kernel of the front end.
      num_filters: of each kernel, with the constant ones.
      num_tags, width, num_units: see `musicnn.MusiCNN`.
    """

    kept: tuple[tuple[int, ...], ...]
    num_filters: tuple[int, ...]
    num_tags: int
    width: int
    num_units: int

    @nn.compact
    def __call__(self, x: jax.Array) -> musicnn.Outputs:
        """Return the outputs for log-mel windows [B, F, 96], as `musicnn.MusiCNN` does."""
        x = musicnn.norm("input_norm")(x[..., None])
        front = [
            _branch(x, size, features=len(kept))
            for size, kept in zip(KERNELS, self.kept, strict=True)
            if kept
        ]
        ones = jnp.ones((*x.shape[:2], 1, 1), x.dtype)
        x = musicnn.densely_connected(jnp.concatenate([ones, *front], axis=-1), width=self.width)
        constants = self.param("constants", nn.initializers.zeros_init(), (sum(self.num_filters),))
        constants = jnp.broadcast_to(constants, (len(x), constants.size))
        indices = flat(self.kept, self.num_filters)

        def with_constants(values: jax.Array) -> jax.Array:
            live, middle = values[:, 1 : 1 + len(indices)], values[:, 1 + len(indices) :]
            return jnp.concatenate([constants.at[:, indices].set(live), middle], axis=-1)

        pooled = musicnn.interleave(
            with_constants(x.max(axis=(1, 2))), with_constants(x.mean(axis=(1, 2)))
        )
        return musicnn.classify(pooled, num_units=self.num_units, num_tags=self.num_tags)


def _branch(x: jax.Array, kernel_size: tuple[int, int], *, features: int) -> jax.Array:
    if kernel_size in musicnn.TIMBRAL:
        return musicnn.branch(x, kernel_size, features=features)
    name = musicnn.branch_name(kernel_size)
    return TemporalBlock(features, kernel_size[0], name=name)(x)


def prune(variables: dict[str, Any]) -> Pruned:
    """Return the network of `variables` of a `musicnn.MusiCNN` without its constant filters."""
    params, stats = (dict(variables[name]) for name in ("params", "batch_stats"))
    kept, constants = [], []
    for name in map(musicnn.branch_name, KERNELS):
        kernel, bias = (np.asarray(params[name]["conv"][key]) for key in ("kernel", "bias"))
        scale, shift = (np.asarray(params[name]["norm"][key]) for key in ("scale", "bias"))
        mean, var = (np.asarray(stats[name]["norm"][key]) for key in ("mean", "var"))
        scale = scale / np.sqrt(var + layers.BATCH_NORM_EPSILON)
        constants.append((np.maximum(bias, 0) - mean) * scale + shift)
        change = _LARGEST_INPUT * np.abs(kernel).sum(axis=(0, 1, 2)) * np.abs(scale)
        live = np.flatnonzero(change > _NO_CHANGE)
        kept.append(tuple(live.tolist()))
        if len(live):
            params[name], stats[name] = jax.tree.map(
                lambda value, live=live: value[..., live], (params[name], stats[name])
            )
        else:
            del params[name], stats[name]
    num_filters = tuple(len(values) for values in constants)
    params["constants"] = np.concatenate(constants).astype(np.float32)
    params["middle_1"] = _with_ones(
        params["middle_1"], params["constants"], flat(tuple(kept), num_filters)
    )
    module = PrunedMusiCNN(
        kept=tuple(kept),
        num_filters=num_filters,
        num_tags=params["tags"]["bias"].size,
        width=params["middle_1"]["conv"]["bias"].size,
        num_units=params["units"]["bias"].size,
    )
    return Pruned(module, {"params": params, "batch_stats": stats})


def flat(kept: tuple[tuple[int, ...], ...], num_filters: tuple[int, ...]) -> np.ndarray:
    """Return the positions of the filters `kept` among all channels of the front end."""
    starts = np.cumsum((0, *num_filters))
    return np.concatenate(
        [start + np.array(i, int) for start, i in zip(starts, kept, strict=False)]
    )


def _with_ones(block: dict[str, Any], constants: np.ndarray, live: np.ndarray) -> dict[str, Any]:
    """Return the first block of the middle for an input of ones and the filters `live`."""
    kernel = np.asarray(block["conv"]["kernel"])  # [7, 1, C, width]
    is_constant = np.ones(len(constants), bool)
    is_constant[live] = False
    ones = np.einsum(
        "hwcd,c->hwd", kernel[:, :, is_constant].astype(np.float64), constants[is_constant]
    )
    kernel = np.concatenate([ones[:, :, None].astype(np.float32), kernel[:, :, live]], axis=2)
    return {**block, "conv": {**block["conv"], "kernel": kernel}}

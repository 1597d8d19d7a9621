"""MusiCNN, a tagger of music, as the paper has it (Pons & Serra 2019, arXiv 1909.06654).

The filters of the first layer have musical shapes: tall ones for timbre, long ones for rhythm. The
network is for use as trained: batch normalisation takes its running averages, and the dropout of
the training is left out.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from mgr_jax.models import layers

# Kernels of the front end, in frames of 16 ms x mel bands. The timbral ones span 0.4 and 0.7 of the
# 96 bands.
TIMBRAL = ((7, 38), (7, 67))
TEMPORAL = ((128, 1), (64, 1), (32, 1))
MIDDLE = (7, 1)


class Outputs(NamedTuple):
    """The outputs of MusiCNN for B windows.

    Attributes:
      logits: [B, num_tags]; their sigmoid is the probability of each tag by itself.
      embedding: [B, num_units], the penultimate layer, for other classifiers.
      pooled: [B, 2 C], maximum and mean over time of each of C channels, one after the other.
    """

    logits: jax.Array
    embedding: jax.Array
    pooled: jax.Array


class ConvBlock(nn.Module):
    """Convolution, ReLU, batch normalisation, in this order."""

    features: int
    kernel_size: tuple[int, int]
    padding: str = "SAME"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H', W', features]."""
        x = layers.Conv(self.features, self.kernel_size, padding=self.padding, name="conv")(x)
        return norm("norm")(nn.relu(x))


def norm(name: str) -> nn.Module:
    """Return batch normalisation by the running averages."""
    return layers.BatchNorm(use_running_average=True, name=name)


class MusiCNN(nn.Module):
    """Timbral and temporal filters, three densely connected layers, pooling over time, tags.

    The defaults are `MSD_musicnn` and `MTT_musicnn`. `models.musicnn_pruned` computes the same
    function of the same weights, faster.

    Attributes:
      num_tags: outputs.
      num_timbral: filters of each timbral shape.
      num_temporal: filters of each temporal shape.
      width: channels of a layer in the middle.
      num_units: values of the embedding.
    """

    num_tags: int = 50
    num_timbral: int = 204
    num_temporal: int = 51
    width: int = 64
    num_units: int = 200

    @nn.compact
    def __call__(self, x: jax.Array) -> Outputs:
        """Return the outputs for log-mel windows [B, F, 96] of `features.musicnn`.

        The weights are trained on F = 187 frames, 3 s; any number of frames is computed.
        """
        x = norm("input_norm")(x[..., None])
        front = jnp.concatenate(
            [
                branch(x, size, features=self.num_timbral if size in TIMBRAL else self.num_temporal)
                for size in (*TIMBRAL, *TEMPORAL)
            ],
            axis=-1,
        )
        x = densely_connected(front, width=self.width)
        pooled = interleave(x.max(axis=(1, 2)), x.mean(axis=(1, 2)))
        return classify(pooled, num_units=self.num_units, num_tags=self.num_tags)


# The parts below are called by a compact module, which owns the layers that they make.


def branch(x: jax.Array, kernel_size: tuple[int, int], *, features: int) -> jax.Array:
    """Return the loudest response of each filter over the bands, [B, F, M, 1] -> [B, F, 1, C]."""
    name = branch_name(kernel_size)
    if kernel_size in TEMPORAL:
        y = ConvBlock(features, kernel_size, name=name)(x)
    else:  # Padded in time alone, since the maximum goes over all bands anyway.
        margin = kernel_size[0] // 2
        x = jnp.pad(x, ((0, 0), (margin, margin), (0, 0), (0, 0)))
        y = ConvBlock(features, kernel_size, "VALID", name=name)(x)
    return y.max(axis=2, keepdims=True)


def branch_name(kernel_size: tuple[int, int]) -> str:
    """Return the name of the layer of these filters, as `front_7x38`."""
    return "front_{}x{}".format(*kernel_size)


def densely_connected(front: jax.Array, *, width: int) -> jax.Array:
    """Return `front` and the three layers above it, [B, F, 1, C] -> [B, F, 1, C + 3 width]."""
    first = ConvBlock(width, MIDDLE, name="middle_1")(front)
    second = first + ConvBlock(width, MIDDLE, name="middle_2")(first)
    third = second + ConvBlock(width, MIDDLE, name="middle_3")(second)
    return jnp.concatenate([front, first, second, third], axis=-1)


def interleave(maximum: jax.Array, mean: jax.Array) -> jax.Array:
    """Return maximum and mean of the first channel, of the second ..., 2 x [B, C] -> [B, 2 C]."""
    return jnp.stack([maximum, mean], axis=-1).reshape(len(mean), -1)


def classify(pooled: jax.Array, *, num_units: int, num_tags: int) -> Outputs:
    """Return the outputs for `pooled` [B, D]."""
    y = nn.relu(layers.Dense(num_units, name="units")(norm("pooled_norm")(pooled)))
    embedding = norm("units_norm")(y)
    return Outputs(layers.Dense(num_tags, name="tags")(embedding), embedding, pooled)

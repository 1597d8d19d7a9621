"""Bottom-up broadcast neural network, as the paper has it (Liu et al. 2019, arXiv 1901.08928).

`models.bbnn_fused` computes the same function from the same parameters, faster.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from mgr_jax.models import layers


class Unit(nn.Module):
    """The paper's basic unit: batch normalisation, ReLU, convolution."""

    features: int
    kernel_size: int
    norm: Callable[..., nn.Module]
    conv: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H, W, features]."""
        x = nn.relu(self.norm(name="norm")(x))
        return self.conv(self.features, (self.kernel_size, self.kernel_size), name="conv")(x)


class BroadcastModule(nn.Module):
    """Four branches of `features` channels each, which join the module's input."""

    features: int
    unit: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, H, W, C] -> [B, H, W, C + 4 features]."""
        unit = functools.partial(self.unit, self.features)
        pooled = layers.MaxPool((3, 3), (1, 1), "SAME", name="pool")(x)
        branches = (
            unit(1, name="unit_1x1")(x),
            unit(3, name="unit_3x3")(unit(1, name="reduce_3x3")(x)),
            unit(5, name="unit_5x5")(unit(1, name="reduce_5x5")(x)),
            unit(1, name="unit_pool")(pooled),
        )
        return jnp.concatenate([x, *branches], axis=-1)


class BBNN(nn.Module):
    """Stem, broadcast modules, transition, global average, classifier.

    With the defaults and 10 classes it has 185 642 trainable parameters on a 647x128 log-mel
    spectrogram, and 186 218 on a 288x432x3 image. Convolutions have a bias, as the authors have it,
    though the batch normalisation that follows subtracts it again.

    Attributes:
      num_classes: C.
      width: channels of the stem, of each branch and of the transition.
      num_modules: broadcast modules.
      pooling: of the last map: `default`, the mean over time and frequency, or `statistics`, mean
        and deviation over time of every band and channel (`layers.StatisticsPool`).
      momentum: of the running averages of batch normalisation.
      axis_name: axis of the devices, for batch normalisation.
      dtype: type of the arithmetic; parameters stay float32.
    """

    num_classes: int
    width: int = 32
    num_modules: int = 3
    pooling: str = "default"
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
        """Logits [B, C] of `x`: log-mel [B, F, M] or image [B, H, W, 3].

        `row_keys` and `num_frames` are not used: there is no dropout and no masking.
        """
        del row_keys, num_frames
        norm = functools.partial(
            layers.BatchNorm, not train, self.momentum, self.axis_name, self.dtype
        )
        conv = functools.partial(layers.Conv, train_bias=False, dtype=self.dtype)
        unit = functools.partial(Unit, norm=norm, conv=conv)
        if x.ndim == 3:
            x = x[..., None]
        x = conv(self.width, (3, 3), name="stem_conv")(x)
        x = nn.relu(norm(name="stem_norm")(x))
        x = layers.MaxPool((4, 1), (4, 1), name="stem_pool")(x)
        for i in range(self.num_modules):
            x = BroadcastModule(self.width, unit, name=f"broadcast_{i}")(x)
        x = unit(self.width, 1, name="transition")(x)
        x = layers.AveragePool((2, 2), name="transition_pool")(x)
        x = nn.relu(norm(name="final_norm")(x))
        pool = layers.StatisticsPool if self.pooling == "statistics" else layers.GlobalAveragePool
        x = pool(name="global_pool")(x)
        logits = layers.Dense(self.num_classes, dtype=self.dtype, name="classifier")(x)
        return logits.astype(jnp.promote_types(jnp.float32, self.dtype))

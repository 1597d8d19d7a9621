"""Bottom-up broadcast neural network (Liu et al. 2019, arXiv 1901.08928)."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from mgr_jax.models import layers, pooling


class Unit(nn.Module):
    """Batch normalisation, ReLU, convolution: the paper's basic unit."""

    features: int
    kernel_size: int
    momentum: float
    axis_name: str | None
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """[B, H, W, Cin] -> [B, H, W, features]."""
        norm = layers.BatchNorm(self.momentum, self.axis_name, self.dtype, name="norm")
        conv = layers.Conv(
            self.features, (self.kernel_size,) * 2, normalised=train, dtype=self.dtype, name="conv"
        )
        return conv(nn.relu(norm(x, train=train)))


class BroadcastModule(nn.Module):
    """Four branches of `features` channels, concatenated to the input."""

    features: int
    momentum: float
    axis_name: str | None
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """[B, H, W, C] -> [B, H, W, C + 4 features]."""

        def unit(inputs: jax.Array, kernel_size: int, name: str) -> jax.Array:
            module = Unit(
                self.features, kernel_size, self.momentum, self.axis_name, self.dtype, name=name
            )
            return module(inputs, train=train)

        pooled = pooling.MaxPool((3, 3), (1, 1), "SAME", name="pool")(x)
        return jnp.concatenate(
            [
                x,
                unit(x, 1, "unit_1x1"),
                unit(unit(x, 1, "reduce_3x3"), 3, "unit_3x3"),
                unit(unit(x, 1, "reduce_5x5"), 5, "unit_5x5"),
                unit(pooled, 1, "unit_pool"),
            ],
            axis=-1,
        )


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
      axis_name: axis of `pmap`, for batch normalisation.
      dtype: type of the arithmetic; parameters stay float32.
    """

    num_classes: int
    width: int = 32
    num_modules: int = 3
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
        """Logits [B, C] of `x`: log-mel [B, F, M] or image [B, H, W, 3].

        `row_keys` and `num_frames` are not used: there is no dropout and no masking.
        """
        del row_keys, num_frames
        if x.ndim == 3:
            x = x[..., None]
        shared = {"momentum": self.momentum, "axis_name": self.axis_name, "dtype": self.dtype}
        x = layers.Conv(self.width, (3, 3), normalised=train, dtype=self.dtype, name="stem_conv")(x)
        x = nn.relu(layers.BatchNorm(**shared, name="stem_norm")(x, train=train))
        x = pooling.MaxPool((4, 1), (4, 1), name="stem_pool")(x)
        for i in range(self.num_modules):
            x = BroadcastModule(self.width, **shared, name=f"broadcast_{i}")(x, train=train)
        x = Unit(self.width, 1, **shared, name="transition")(x, train=train)
        x = pooling.AveragePool((2, 2), name="transition_pool")(x)
        x = nn.relu(layers.BatchNorm(**shared, name="final_norm")(x, train=train))
        x = pooling.GlobalAveragePool(name="global_pool")(x)
        logits = layers.Dense(self.num_classes, self.dtype, name="classifier")(x)
        return logits.astype(jnp.promote_types(jnp.float32, self.dtype))

"""BBNN in plain Flax, layer by layer as the paper has it: what ours is measured against.

Names and conventions (Keras' epsilon, a gradient of zero for biases in front of batch
normalisation left out) are such that it takes the variables of ours and gives the same outputs.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from mgr_jax import config as config_lib


class Unit(nn.Module):
    """Batch normalisation, ReLU, convolution."""

    features: int
    kernel: int
    momentum: float

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """[B, H, W, C] -> [B, H, W, features]."""
        x = nn.relu(_norm(self.momentum, "norm")(x, use_running_average=not train))
        return nn.Conv(self.features, (self.kernel,) * 2, name="conv")(x)


class BroadcastModule(nn.Module):
    """Four branches, which join the module's input."""

    features: int
    momentum: float

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """[B, H, W, C] -> [B, H, W, C + 4 features]."""

        def unit(name: str, x: jax.Array, kernel: int = 1) -> jax.Array:
            return Unit(self.features, kernel, self.momentum, name=name)(x, train=train)

        branches = (
            unit("unit_1x1", x),
            unit("unit_3x3", unit("reduce_3x3", x), 3),
            unit("unit_5x5", unit("reduce_5x5", x), 5),
            unit("unit_pool", nn.max_pool(x, (3, 3), (1, 1), "SAME")),
        )
        return jnp.concatenate([x, *branches], axis=-1)


class BBNN(nn.Module):
    """The network, with the call of `mgr_jax.models`."""

    num_classes: int
    width: int
    num_modules: int
    momentum: float

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        *,
        train: bool = False,
        row_keys: jax.Array | None = None,
        num_frames: jax.Array | None = None,
    ) -> jax.Array:
        """Logits [B, C] of [B, F, M] or [B, H, W, 3]."""
        del row_keys, num_frames
        if x.ndim == 3:
            x = x[..., None]
        x = nn.Conv(self.width, (3, 3), name="stem_conv")(x)
        x = nn.relu(_norm(self.momentum, "stem_norm")(x, use_running_average=not train))
        x = nn.max_pool(x, (4, 1), (4, 1))
        for i in range(self.num_modules):
            x = BroadcastModule(self.width, self.momentum, name=f"broadcast_{i}")(x, train=train)
        x = Unit(self.width, 1, self.momentum, name="transition")(x, train=train)
        x = nn.avg_pool(x, (2, 2), (2, 2))
        x = nn.relu(_norm(self.momentum, "final_norm")(x, use_running_average=not train))
        return nn.Dense(self.num_classes, name="classifier")(x.mean((1, 2)))


def make_model(model: config_lib.Model, *, num_classes: int) -> BBNN:
    """The plain counterpart of `mgr_jax.models.make_model`, for `bbnn`."""
    return BBNN(num_classes, model.width, model.num_modules, model.batch_norm_momentum)


def _norm(momentum: float, name: str) -> nn.BatchNorm:
    return nn.BatchNorm(momentum=momentum, epsilon=1e-3, name=name)

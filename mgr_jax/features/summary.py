"""Frames to one vector: statistics over time, `[..., F, K]` -> `[..., D]`."""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike


def mean_covariance(frames: ArrayLike) -> jax.Array:
    """Mean vector and covariance of the frames, `[..., F, K]` -> `[..., K + K (K + 1) / 2]`.

    The K means, then the upper triangle of the covariance (`numpy.cov`, F - 1 in the
    denominator) row by row. 14 MFCCs give 14 + 105 = 119 values.

    Raises:
      ValueError: there are fewer than two frames.
    """
    frames = _checked(frames, 2)
    mean = jnp.mean(frames, axis=-2)
    centred = frames - mean[..., None, :]
    products = jnp.einsum("...fi,...fj->...ij", centred, centred, precision="highest")
    rows, columns = np.triu_indices(frames.shape[-1])
    return jnp.concatenate([mean, products[..., rows, columns] / (frames.shape[-2] - 1)], axis=-1)


def _checked(frames: ArrayLike, fewest: int) -> jax.Array:
    frames = jnp.asarray(frames)
    if frames.ndim < 2 or frames.shape[-2] < fewest:
        raise ValueError(
            f"frames has shape {frames.shape}; it must be [..., F, K] with F >= {fewest}"
        )
    return frames.astype(jnp.float32)

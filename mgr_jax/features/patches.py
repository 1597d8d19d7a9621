"""Whitened patches of a spectrogram, and statistics of the patches of a track.

A patch is a few neighbouring frames as one vector. Principal components of patches, scaled to unit
variance, are fitted on the training part. A track is then described by the matrix logarithm of
their covariance (log-Euclidean: Arsigny et al. 2006, used on time series by Barachant et al. 2013),
or by the variation of the activation of each word of a codebook (soft k-means features of Coates,
Lee and Ng 2011).
"""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from mgr_jax.features import summary
from mgr_jax.ops.arrays import as_row

Whitening = dict[str, jax.Array]


def extract(frames: ArrayLike, *, width: int) -> jax.Array:
    """Return all patches of `width` frames, `[..., F, K] -> [..., F - width + 1, width K]`.

    Raises:
      ValueError: `width` is not in 1..F.
    """
    frames = jnp.asarray(frames)
    if frames.ndim < 2 or not 1 <= width <= frames.shape[-2]:
        raise ValueError(f"width is {width}; it must be in 1..F for frames {frames.shape}")
    count = frames.shape[-2] - width + 1
    return jnp.concatenate([frames[..., i : i + count, :] for i in range(width)], axis=-1)


def fit_whitening(
    patches: ArrayLike, *, num_components: int, regularizer: float = 1e-5
) -> Whitening:
    """Fit `mean` `[D]` and `matrix` `[D, num_components]` of components of unit variance.

    Args:
      patches: `[N, D]` of the training part.
      num_components: number of principal components to keep, the largest first.
      regularizer: added to each variance, so that tiny components are not amplified.

    Raises:
      ValueError: there are fewer than two patches, or `num_components` is not in 1..D.
    """
    patches = jnp.asarray(patches)
    if patches.ndim != 2 or len(patches) < 2:
        raise ValueError(f"patches has shape {patches.shape}; it must be [N, D] with N >= 2")
    if not 1 <= num_components <= patches.shape[1]:
        raise ValueError(f"num_components is {num_components}; it must be 1..{patches.shape[1]}")
    mean = patches.mean(axis=0)
    centred = patches - mean[None]
    covariance = jnp.matmul(centred.T, centred, precision="highest") / (len(patches) - 1)
    variance, directions = jnp.linalg.eigh(covariance)
    variance = variance[::-1][:num_components]
    directions = directions[:, ::-1][:, :num_components]
    return {
        "mean": mean,
        "matrix": directions / jnp.sqrt(jnp.maximum(variance, 0) + regularizer)[None],
    }


def whiten(whitening: Whitening, patches: ArrayLike) -> jax.Array:
    """Return the components of patches, `[..., D] -> [..., num_components]`."""
    patches = jnp.asarray(patches)
    centred = patches - as_row(whitening["mean"], patches)
    return jnp.matmul(centred, whitening["matrix"], precision="highest")


def log_covariance(components: ArrayLike, *, floor: float = 1e-3) -> jax.Array:
    """Return the matrix logarithm of the frames' covariance, `[..., F, D] -> [..., D (D+1) / 2]`.

    The upper triangle row by row, off the diagonal times sqrt(2), so that the Euclidean distance of
    two vectors is the log-Euclidean distance of the covariances. `floor` times the mean variance
    is added to the diagonal.

    Raises:
      ValueError: there are fewer than two frames.
    """
    components = jnp.asarray(components)
    size = components.shape[-1]
    rows, columns = np.triu_indices(size)
    triangle = summary.mean_covariance(components)[..., size:]
    covariance = jnp.zeros((*triangle.shape[:-1], size, size), triangle.dtype)
    covariance = covariance.at[..., rows, columns].set(triangle)
    covariance = covariance.at[..., columns, rows].set(triangle)
    added = floor * jnp.trace(covariance, axis1=-2, axis2=-1)[..., None, None] / size
    identity = jnp.eye(size).reshape((1,) * (covariance.ndim - 2) + (size, size))
    values, vectors = jnp.linalg.eigh(covariance + (added + 1e-12) * identity)
    # Rounding may leave a tiny negative eigenvalue.
    values = jnp.log(jnp.maximum(values, 1e-12))
    logarithm = jnp.matmul(
        vectors * values[..., None, :], jnp.swapaxes(vectors, -1, -2), precision="highest"
    )
    weight = np.where(rows == columns, 1.0, np.sqrt(2.0)).astype(np.float32)
    upper = logarithm[..., rows, columns]
    return upper * as_row(weight, upper)


def word_activations(components: ArrayLike, words: ArrayLike) -> jax.Array:
    """Return the activation of each word, `[..., F, D]` and `[W, D]` -> `[..., F, W]`.

    The mean distance to all words minus the distance to this one, at least 0 (the `triangle`
    activation of Coates, Lee and Ng).
    """
    components, words = jnp.asarray(components), jnp.asarray(words)
    square = jnp.sum(jnp.square(components), axis=-1, keepdims=True)
    norms = as_row(jnp.sum(jnp.square(words), axis=-1), components)
    product = jnp.matmul(components, words.T, precision="highest")
    distance = jnp.sqrt(jnp.maximum(square + norms - 2 * product, 0))
    return jnp.maximum(distance.mean(axis=-1, keepdims=True) - distance, 0)

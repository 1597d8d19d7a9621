"""Mel spectrograms as images, the input of the presentation's networks."""

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from mgr_jax.config_sections import COLORMAPS, TIME_AXES
from mgr_jax.features.colormaps import TABLES
from mgr_jax.features.filters import require_positive


def spectrogram_image(
    decibels: ArrayLike,
    *,
    height: int = 288,
    width: int = 432,
    colormap: str = "viridis",
    time_axis: str = "horizontal",
) -> jax.Array:
    """Render a spectrogram like a plot without axes, `[..., F, M] -> [..., height, width, C]`.

    The decibels are scaled to [0, 1] between the minimum and maximum of the clip (0 for
    a constant clip), resized linearly (averaging where they shrink) and coloured. As in a
    plot, time runs to the right and frequency upward: row 0 is the highest band.

    Args:
      decibels: log-mel spectrogram.
      height, width: pixels: 288 and 432, or 480 and 640 in the presentation.
      colormap: `viridis` or `magma` (C = 3), or `grey` (C = 1).
      time_axis: `horizontal`, or `vertical`: row 0 is the first frame and frequency runs to the
        right.

    Returns:
      float32 in [0, 1]. Colours are steps of the map: only `grey` has a useful gradient.

    Raises:
      ValueError: an argument is out of its range.
    """
    decibels = jnp.asarray(decibels)
    if decibels.ndim < 2:
        raise ValueError(f"decibels has shape {decibels.shape}; it must be [..., F, M]")
    require_positive(height=height, width=width)
    if colormap not in COLORMAPS:
        raise ValueError(f"colormap is {colormap!r}; it must be one of {', '.join(COLORMAPS)}")
    if time_axis not in TIME_AXES:
        raise ValueError(f"time_axis is {time_axis!r}; it must be one of {', '.join(TIME_AXES)}")
    decibels = decibels.astype(jnp.float32)
    low = jnp.min(decibels, axis=(-2, -1), keepdims=True)
    extent = jnp.max(decibels, axis=(-2, -1), keepdims=True) - low
    levels = (decibels - low) / jnp.where(extent == 0, 1.0, extent)
    if time_axis == "horizontal":
        levels = jnp.flip(jnp.swapaxes(levels, -1, -2), axis=-2)
    shape = (*levels.shape[:-2], height, width)
    levels = jnp.clip(jax.image.resize(levels, shape, method="linear"), 0, 1)
    if colormap == "grey":
        return levels[..., None]
    table = jnp.asarray(TABLES[colormap], jnp.float32) / 255
    return table[jnp.minimum(levels * 256, 255).astype(jnp.int32)]

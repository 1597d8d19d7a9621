"""Operations that a network may call in place of a formula, each with the formula beside it.

An operation is first a reference formula, then the implementations that are faster on some
platform, chosen when the program is lowered for it, with a backward pass of their own where that
pays. `implementation("reference")` switches to the formulas alone: for exports, for tests, and for
who wants to know what the fast ones buy. What only a CPU gains from is in `ops.cpu`, what only a
GPU gains from in `ops.gpu`.
"""

from mgr_jax.ops.convolution import convolve
from mgr_jax.ops.frames import Framing, frames
from mgr_jax.ops.map_frames import map_frames
from mgr_jax.ops.max_pool import max_pool
from mgr_jax.ops.moments import moments, moments_of_convolution
from mgr_jax.ops.normalise_relu import normalise_relu, normalise_relu_project
from mgr_jax.ops.recurrent import recurrent
from mgr_jax.ops.switch import IMPLEMENTATIONS, implementation, is_reference

__all__ = [
    "IMPLEMENTATIONS",
    "Framing",
    "convolve",
    "frames",
    "implementation",
    "is_reference",
    "map_frames",
    "max_pool",
    "moments",
    "moments_of_convolution",
    "normalise_relu",
    "normalise_relu_project",
    "recurrent",
]

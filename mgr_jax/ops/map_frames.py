"""A function of frames, applied to a waveform."""

import functools
from collections.abc import Callable

import jax

from mgr_jax.ops import switch
from mgr_jax.ops.cpu import frames as on_cpu
from mgr_jax.ops.frames import Framing, frames


def map_frames(
    function: Callable[[jax.Array], jax.Array],
    waveform: jax.Array,
    framing: Framing,
    *,
    block_samples: int = on_cpu.BLOCK_SAMPLES,
) -> jax.Array:
    """Return `function(frames(waveform, framing))`, computed in blocks of frames on CPU.

    Args:
      function: `[..., F, n_fft] -> [..., F, K]`, which treats each frame independently.
      waveform: `[..., T]`. Blocks run along time, so that a batch may be sharded over devices.
      block_samples: approximate number of samples in a block of frames, over the whole batch.
    """

    def reference(waveform: jax.Array) -> jax.Array:
        return function(frames(waveform, framing))

    if switch.is_reference():
        return reference(waveform)
    in_blocks = functools.partial(
        on_cpu.map_frames, function, framing=framing, block_samples=block_samples
    )
    return jax.lax.platform_dependent(waveform, cpu=in_blocks, default=reference)

"""The devices that a command computes on, as a line for its user."""

import collections
import importlib.util
import logging
import os

from mgr_jax import gpus


def names() -> str:
    """Return number and kind of the devices of JAX, which it starts, such as `8 NVIDIA H100`."""
    import jax

    logging.getLogger("jax._src.xla_bridge").addFilter(_is_news)
    kinds = collections.Counter(device.device_kind for device in jax.devices())
    text = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    return f"{text} in {jax.process_count()} processes" if jax.process_count() > 1 else text


def describe() -> str:
    """Return the devices of JAX as one line, `devices   8 NVIDIA H100`.

    A second line warns of a GPU that JAX does not use, though nobody has chosen the CPU.
    """
    import jax

    line = f"devices   {names()}"
    is_chosen = jax.config.values["jax_platforms"]  # From $JAX_PLATFORMS, too.
    if jax.default_backend() != "cpu" or is_chosen or not gpus.count_visible(os.environ):
        return line
    plugins = (f"jax_cuda{version}_plugin" for version in (12, 13))
    if any(importlib.util.find_spec(plugin) for plugin in plugins):
        remedy = "its driver must be 580 or newer for jax[cuda13], 525 for jax[cuda12]"
    else:
        remedy = "pip install -e '.[cuda]'"
    return f"{line}\nwarning: JAX does not use the NVIDIA GPU of this machine; {remedy}"


def _is_news(record: logging.LogRecord) -> bool:
    """Return whether JAX logs something else than what the warning here says with its remedy."""
    return "CUDA-enabled jaxlib is not installed" not in record.getMessage()

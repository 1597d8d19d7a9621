"""Settings for every test: four CPU devices, no silent rank promotion, programs compiled once.

JAX is confined to the CPU, also in the processes that tests start, unless `-m` selects the tests
marked `gpu`: a GPU in the machine must not change what the other tests compute.

Compiling takes most of the time of the tests, and many compile the same operations: the workers
of a run, and later runs, share what is compiled in `.pytest_cache/xla`, by the hash of the program.
What Numba compiles for librosa they do not share: two processes that fill one cache of Numba at
once can mix up the kernels of two types in it, and whoever reads it later crashes.
"""

import functools
import os
import pathlib
import re

import jax
import pytest

_CACHE = pathlib.Path(__file__).parents[1] / ".pytest_cache"

# Before the backend starts: an environment variable read by XLA would come too late here.
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_compilation_cache_dir", str(_CACHE / "xla"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
# Read when Numba is imported, by this process and those that it starts.
os.environ["NUMBA_CACHE_DIR"] = str(_CACHE / "numba" / os.environ.get("PYTEST_XDIST_WORKER", "0"))


def pytest_configure(config):
    """Select platform and compilation, before any test module is imported."""

    def selects(marker):
        return re.search(rf"(?<!not )\b{marker}\b", config.option.markexpr) is not None

    if not selects("gpu"):
        os.environ["JAX_PLATFORMS"] = "cpu"  # Read by the processes that tests start.
        jax.config.update("jax_platforms", "cpu")
    # In half the time, to slower programs; those of whole runs and full sweeps are optimised.
    jax.config.update("jax_disable_most_optimizations", not (selects("e2e") or selects("slow")))


@pytest.fixture(scope="session", autouse=True)
def _shared_decoders():
    """Let all clip stores use the same processes, since each takes half a second to start."""
    from mgr_jax.data import clip_writer, decoders

    pool = decoders.Decoders(2)
    end, pool.close = pool.close, lambda: None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clip_writer, "Decoders", lambda count: pool)
        yield
    end()


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory):
    """A function that makes the config of a tiny run: `tiny_config("rnn", train__num_epochs=1)`.

    See `tests.training.tiny.config`. The band is decoded once for all of them.
    """
    from tests.training import tiny

    return functools.partial(tiny.config, data__cache=str(tmp_path_factory.mktemp("cache")))

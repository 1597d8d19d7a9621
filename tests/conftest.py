"""Settings for every test: four CPU devices, no silent rank promotion, programs compiled once.

Compiling takes most of the time of the tests, and many compile the same operations: the workers
of a run, and later runs, share what is compiled in `.pytest_cache/xla`, by the hash of the program.
"""

import pathlib

import jax

# Before the backend starts: an environment variable read by XLA would come too late here.
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update(
    "jax_compilation_cache_dir", str(pathlib.Path(__file__).parents[1] / ".pytest_cache" / "xla")
)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

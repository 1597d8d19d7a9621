"""Settings for every test: four CPU devices, and no silent rank promotion."""

import jax

# Before the backend starts: an environment variable read by XLA would come too late here.
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")

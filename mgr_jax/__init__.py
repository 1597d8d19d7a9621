"""mgr_jax: music genre recognition in JAX."""

__version__ = "0.1.0"

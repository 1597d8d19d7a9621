"""Config files: `get_config()` returns one `mgr_jax.config.Config`."""

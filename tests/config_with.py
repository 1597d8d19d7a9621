"""Configs for tests: the default with single fields replaced."""

from mgr_jax import config as config_lib


def config_with(**fields) -> config_lib.Config:
    """The default config with dotted fields replaced: `config_with(**{"data.seed": 3})`."""
    config = config_lib.Config()
    for name, value in fields.items():
        section, field = name.split(".")
        setattr(getattr(config, section), field, value)
    return config

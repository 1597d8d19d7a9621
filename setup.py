"""Install `mgr_jax`; what is installed is declared in pyproject.toml."""

import setuptools

setuptools.setup()

"""Compiles the programs of these tests without optimizations, which takes half the time."""

import jax
import pytest


@pytest.fixture(scope="module", autouse=True)
def _unoptimized():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)

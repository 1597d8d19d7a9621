"""What tests of training share."""

import jax
import pytest


@pytest.fixture
def quick():
    """Compiles in half the time, to slower programs."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)

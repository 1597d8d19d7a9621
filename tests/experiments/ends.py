"""Final states of runs, to compare them."""

import jax
import numpy as np

from mgr_jax import parallel
from mgr_jax import workdir as workdir_lib
from mgr_jax.training import checkpoint
from mgr_jax.training import network as network_lib
from mgr_jax.workdir import read_metrics

# Fields that depend on the clock.
_TIMES = ("clips_per_second", "seconds", "data_wait_fraction")


def final_state(workdir):
    """Return step and state of the newest checkpoint."""
    run = workdir_lib.load(str(workdir))
    # The optimiser's state does not depend on the number of steps.
    network = network_lib.make_network(run.config, num_classes=len(run.labels))
    abstract = parallel.abstract(jax.eval_shape(network.init), network.mesh)
    step, state = checkpoint.restore(run.path, "latest", abstract)
    return step, jax.device_get(state)


def records(workdir):
    """Return the metrics of each epoch without times."""
    return [
        {name: value for name, value in record.items() if name not in _TIMES}
        for record in read_metrics(workdir)
    ]


def assert_same_end(workdir, expected):
    """Check that two finished runs have the same state and metrics, bit by bit."""
    step, left = final_state(workdir)
    expected_step, right = final_state(expected)
    assert step == expected_step
    jax.tree.map(np.testing.assert_array_equal, left, right)
    assert records(workdir) == records(expected)
    assert (workdir / "STATUS").read_text() == "done\n"


def assert_close_end(workdir, expected, tolerance):
    """Check that two finished runs have the same parameters up to rounding."""
    step, left = final_state(workdir)
    expected_step, right = final_state(expected)
    assert step == expected_step
    for name in ("params", "batch_stats"):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance),
            getattr(left, name),
            getattr(right, name),
        )
    assert (workdir / "STATUS").read_text() == "done\n"

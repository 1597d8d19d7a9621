"""A run that is resumed on another number of devices."""

import contextlib
import signal

import jax
import pytest

from mgr_jax import parallel
from mgr_jax.training import preemption
from tests.experiments import ends
from tests.training import tiny


@pytest.mark.e2e
def test_a_run_resumes_on_another_number_of_devices(tiny_config, tmp_path, monkeypatch):
    """Stopped within an epoch on one device, it ends as on four, up to rounding."""
    config = tiny_config()
    tiny.train(config, tmp_path / "whole")
    make_mesh, stops = parallel.make_mesh, iter([3])

    @contextlib.contextmanager
    def watch(_):
        stop = next(stops, None)
        yield lambda step: signal.SIGTERM if step == stop else None

    monkeypatch.setattr(preemption, "watch", watch)
    with monkeypatch.context() as patch, pytest.raises(preemption.Interrupted):
        patch.setattr(parallel, "make_mesh", lambda _=None: make_mesh(jax.devices()[:1]))
        tiny.train(config, tmp_path / "run")
    tiny.train(config, tmp_path / "run")
    ends.assert_close_end(tmp_path / "run", tmp_path / "whole", 1e-5)

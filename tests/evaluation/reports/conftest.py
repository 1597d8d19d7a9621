"""Fixtures of the tests of reports."""

import pytest

from mgr_jax import config as config_lib
from mgr_jax import workdir
from mgr_jax.evaluation.reports import plots
from tests.evaluation.reports import evaluated


@pytest.fixture
def data():
    return evaluated.make_dataset()


@pytest.fixture
def run(tmp_path, data):
    return workdir.create(str(tmp_path / "run"), config_lib.Config(), data.catalog, data.split)


@pytest.fixture
def quick_figures(monkeypatch):
    """Figures are made but not painted, which takes most of the time; see test_plots."""
    monkeypatch.setattr(plots, "_save", lambda figure, path: path.write_bytes(b"a picture"))

"""What a run of the loop shows while it goes on, and that how it reads changes no number."""

import contextlib
import io
import json

import jax
import numpy as np
import pytest

from mgr_jax import config as config_lib
from mgr_jax import workdir
from mgr_jax.data import dataset as dataset_lib
from mgr_jax.errors import UserError
from mgr_jax.training import loop
from mgr_jax.workdir import read_metrics
from tests.training.test_writer import read_events


def train(config, folder, **kwargs):
    """Trains into `folder`; returns what was printed."""
    data = dataset_lib.open_dataset(config)
    run = workdir.create(str(folder), config, data.catalog, data.split)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        loop.train(config, data, run, **kwargs)
    return out.getvalue()


@pytest.fixture(name="watched", scope="module")
def _watched(tmp_path_factory):
    """Config, workdir and output of a recurrent network's run of three epochs of two steps."""
    folder = tmp_path_factory.mktemp("watched")
    config = config_lib.Config()
    config.data.clip_seconds, config.data.window_seconds = 1.0, 0.5
    config.data.num_grooves, config.data.clips_per_groove = 3, 1
    config.data.cache, config.data.num_workers = str(folder / "cache"), 1
    config.features.kind, config.features.sample_rate = "mfcc", 8000
    config.features.n_fft, config.features.hop_length = 256, 256
    config.features.n_mels = 16
    config.model.name, config.model.cell, config.model.hidden_size = "rnn", "gru", 4
    config.optim.clip_norm, config.optim.accumulate_steps = 1.0, 2
    config.optim.schedule, config.optim.warmup_epochs = "cosine", 1.0
    config.train.batch_size, config.train.num_epochs = 4, 3
    return config, folder / "run", train(config, folder / "run", profile=range(1, 3))


def test_train_records_the_wait_for_data(watched):
    _, folder, out = watched
    records = read_metrics(folder)
    assert len(records) == 3
    assert all(0 <= record["data_wait_fraction"] < 1 for record in records)
    for record, line in zip(records, [x for x in out.splitlines() if "epoch " in x], strict=False):
        assert f"waited {100 * record['data_wait_fraction']:.1f} % for data" in line


def test_train_shows_scalars_config_and_the_best_confusion_matrix(watched):
    config, folder, _ = watched
    events, records = read_events(folder), read_metrics(folder)
    for name in records[0].keys() - {"step"}:
        assert [step for step, _ in events[name]] == [2, 4, 6]
    assert {"learning_rate", "gradient_norm", "parameter_norm"} <= events.keys()
    ((step, value),) = events["valid_confusion"]
    best = max(records, key=lambda record: (record["valid_accuracy"], -record["valid_loss"]))
    assert step == best["step"] and value.image.height > 100
    ((_, value),) = next(found for tag, found in events.items() if tag.startswith("config"))
    assert json.loads(value.tensor.string_val[0]) == config_lib.to_json(config)


def test_train_reports_the_rate_of_the_next_update(watched):
    # Three updates, of two steps each, of which one warms up: 1/2, then the half cosine over two.
    config, folder, _ = watched
    rates = [record["learning_rate"] for record in read_metrics(folder)]
    np.testing.assert_allclose(rates, config.optim.learning_rate * np.array([1, 0.5, 0]), atol=1e-9)


def test_train_writes_the_trace_that_was_asked_for(watched):
    _, folder, out = watched
    assert len(list((folder / "profile").rglob("*.trace.json.gz"))) == 1
    assert "profile   steps 1 to 2 in" in out


def test_train_refuses_to_profile_steps_that_it_does_not_have(watched):
    config, folder, _ = watched
    with pytest.raises(UserError, match="--profile is 6:9, but the run has only 6 steps"):
        train(config, folder, profile=range(6, 9))


def test_train_learns_the_same_with_reading_processes(watched, tmp_path):
    config, folder, _ = watched
    config = config_lib.from_json(config_lib.to_json(config))
    config.data.read_processes = 1
    train(config, tmp_path / "run")
    kept = {"train_loss", "valid_loss", "gradient_norm", "parameter_norm"}
    ours, theirs = (
        [{name: record[name] for name in kept} for record in read_metrics(path)]
        for path in (tmp_path / "run", folder)
    )
    assert ours == theirs
    assert jax.device_count() == 4

"""What a run of the loop logs, and that reading by other processes changes no number."""

import json

import jax
import numpy as np
import pytest

from mgr_jax import config as config_lib
from mgr_jax.errors import UserError
from mgr_jax.workdir import read_metrics
from tests.training import tiny
from tests.training.test_writer import read_events

pytestmark = pytest.mark.e2e


@pytest.fixture(name="watched", scope="module")
def _watched(tiny_config, tmp_path_factory):
    """Config, workdir and output of a recurrent network's run of three epochs of two steps."""
    folder = tmp_path_factory.mktemp("watched")
    config = tiny_config(
        features__kind="mfcc",
        features__hop_length=256,
        clip_norm=1.0,
        accumulate_steps=2,
        schedule="cosine",
        warmup_epochs=1.0,
    )
    return config, folder, tiny.train(config, folder, profile=range(1, 3))


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
    ((_, value),) = next(values for tag, values in events.items() if tag.startswith("config"))
    assert json.loads(value.tensor.string_val[0]) == config_lib.to_json(config)


def test_train_reports_the_rate_of_the_next_update(watched):
    # Three updates, of two steps each, of which one warms up: 1/2, then the half cosine over two.
    config, folder, _ = watched
    rates = [record["learning_rate"] for record in read_metrics(folder)]
    np.testing.assert_allclose(rates, config.optim.learning_rate * np.array([1, 0.5, 0]), atol=1e-9)


def test_train_writes_the_requested_trace(watched):
    _, folder, out = watched
    assert len(list((folder / "profile").rglob("*.trace.json.gz"))) == 1
    assert "profile   steps 1 to 2 in" in out


def test_train_refuses_to_profile_steps_that_it_does_not_have(watched):
    config, folder, _ = watched
    with pytest.raises(UserError, match="--profile is 6:9, but the run has only 6 steps"):
        tiny.train(config, folder, profile=range(6, 9))


@pytest.mark.e2e
def test_train_learns_the_same_with_reading_processes(watched, tmp_path):
    config, folder, _ = watched
    config = config_lib.from_json(config_lib.to_json(config))
    config.data.read_processes = 1
    tiny.train(config, tmp_path / "run")
    compared = {"train_loss", "valid_loss", "gradient_norm", "parameter_norm"}
    ours, theirs = (
        [{name: record[name] for name in compared} for record in read_metrics(path)]
        for path in (tmp_path / "run", folder)
    )
    assert ours == theirs
    assert jax.device_count() == 4

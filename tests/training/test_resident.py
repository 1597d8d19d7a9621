"""The clip store on the devices: the same batches, scores and runs, to the last bit."""

import contextlib
import io
import signal

import jax
import numpy as np
import pytest

from mgr_jax import config as config_lib
from mgr_jax import parallel, workdir
from mgr_jax.data import batches
from mgr_jax.data import dataset as dataset_lib
from mgr_jax.data.clips import Clips
from mgr_jax.data.records import Record
from mgr_jax.errors import UserError
from mgr_jax.evaluation import tracks as tracks_lib
from mgr_jax.training import loop, preemption, resident
from tests.experiments import ends

WINDOW = 400


@pytest.fixture(name="part", scope="module")
def _part(tmp_path_factory):
    """Seven clips of 1000 samples, one of them shorter than the window, one louder than 1."""
    random = np.random.default_rng(0)
    samples = random.integers(-(2**15), 2**15, (7, 1000), np.int16)
    records = [Record(str(i), length=1000, scale=1.0 + 0.1 * (i == 2)) for i in range(7)]
    records[4] = Record("4", length=300)
    samples[4, 300:] = 0
    store = Clips(samples, tuple(records), 8000, tmp_path_factory.mktemp("store"))
    ids = [str(i) for i in range(1, 7)]
    return batches.make_part(store, ids, {name: str(int(name) % 3) for name in ids}, "012")


def read(clips, windows):
    return jax.jit(lambda w: resident.read(clips, w, WINDOW))(windows)


def test_train_windows_are_the_batches_of_the_host_bit_by_bit(part):
    clips = resident.put(part.clips, parallel.make_mesh(), field="data.on_device")
    assert clips[0].dtype == np.int16 and clips[0].sharding.is_fully_replicated
    steps = {"start_step": 1, "num_steps": 6}
    host = batches.train_batches(part, batch_size=4, window=WINDOW, seed=3, **steps)
    plan = resident.make_plan(part, batch_size=4, window=WINDOW, seed=3)
    with contextlib.closing(host), contextlib.closing(resident.train_windows(plan, **steps)) as own:
        for expected, windows in zip(host, own, strict=True):
            found = read(clips, windows)
            assert found.keys() == expected.keys()
            for name, value in expected.items():
                np.testing.assert_array_equal(found[name], value)


def test_train_windows_of_a_process_are_its_rows(part):
    plan = resident.make_plan(part, batch_size=4, window=WINDOW, seed=3)
    parts = [
        list(resident.train_windows(plan, start_step=0, num_steps=3, local=local))
        for local in (slice(0, 2), slice(2, 4))
    ]
    for step, pair in enumerate(zip(*parts, strict=True)):
        for name, value in plan(step).items():
            np.testing.assert_array_equal(np.concatenate([p[name] for p in pair]), value)


def test_judge_part_judges_what_the_host_judges(part):
    clips = resident.put(part.clips, parallel.make_mesh(), field="data.on_device")

    def score(waveform):
        sums = np.asarray(waveform)[:, :3]
        return sums - np.log(np.exp(sums).sum(1, keepdims=True))

    expected = tracks_lib.score_tracks(
        lambda batch: score(batch["waveform"]), part, batch_size=4, window=WINDOW
    )
    found = resident.score_tracks(
        lambda windows: score(read(clips, windows)["waveform"]), part, batch_size=4, window=WINDOW
    )
    np.testing.assert_array_equal(found, expected)


def test_put_refuses_clips_that_do_not_fit(part, monkeypatch):
    class Small:
        def memory_stats(self):
            return {"bytes_limit": 16_000}

    mesh = parallel.make_mesh()

    class Mesh:
        local_mesh = type("Local", (), {"devices": np.array([Small()])})

    with pytest.raises(UserError, match=r"data\.on_device: the clips take .* leave data"):
        resident.put(part.clips, Mesh(), field="data.on_device")
    assert mesh.size == 4


@pytest.mark.parametrize(
    ("section", "field", "value"), [("data", "name", "arrays"), ("model", "name", "svm")]
)
def test_on_device_is_refused_where_there_are_no_clips(section, field, value):
    config = config_lib.Config()
    config.data.on_device, config.data.root = True, "x"
    setattr(getattr(config, section), field, value)
    config.features.kind = "mfcc_stats" if value == "svm" else "spectrogram"
    with pytest.raises(UserError, match=r"^data\.on_device"):
        config_lib.validate(config)


def make_config(cache, **fields):
    """A small GRU on half a second of the band, on four devices."""
    config = config_lib.Config()
    config.data.clip_seconds, config.data.window_seconds = 1.0, 0.5
    config.data.num_grooves, config.data.clips_per_groove = 3, 1
    config.data.cache, config.data.num_workers = str(cache), 1
    config.features.sample_rate = 8000
    config.features.n_fft, config.features.hop_length = 256, 128
    config.features.n_mels = 16
    config.features.normalize = "bin"
    config.model.name, config.model.cell, config.model.hidden_size = "rnn", "gru", 4
    config.train.batch_size, config.train.num_epochs = 4, 2
    for name, value in fields.items():
        section, _, field = name.partition("__")
        setattr(getattr(config, section), field, value)
    return config


def train(config, folder):
    """Trains, in a workdir that may be there."""
    data = dataset_lib.open_dataset(config)
    run = workdir.create(str(folder), config, data.catalog, data.split)
    with contextlib.redirect_stdout(io.StringIO()):
        loop.train(config, data, run)


@pytest.fixture(name="cache", scope="module")
def _cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.mark.usefixtures("unoptimized")
def test_training_on_device_is_bitwise_that_by_the_host(cache, tmp_path):
    assert_same_on_device(cache, tmp_path, train__num_epochs=1)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["bbnn", "rnn"])
@pytest.mark.parametrize("parallelism", ["jit", "pmap"])
def test_training_on_device_is_bitwise_that_by_the_host_with_all_options(
    cache, tmp_path, parallelism, network
):
    assert_same_on_device(
        cache,
        tmp_path,
        train__parallelism=parallelism,
        train__mixup_alpha=0.4,
        model__name=network,
        model__width=2,
        model__num_modules=1,
    )


def assert_same_on_device(cache, folder, **fields):
    """Runs with and without `data.on_device`: the same last state and the same records."""
    for on in (True, False):
        train(make_config(cache, data__on_device=on, **fields), folder / str(on))
    ends.assert_same_end(folder / "True", folder / "False")


@pytest.mark.slow
def test_training_on_device_goes_on_by_the_host_and_back(cache, tmp_path, monkeypatch):
    """Stopped in the middle of an epoch: `data.on_device` changes no number, so it may change."""
    config = make_config(cache, train__num_epochs=4)
    train(config, tmp_path / "whole")
    stops = iter([3, 5])

    @contextlib.contextmanager
    def watch(_):
        stop = next(stops, None)
        yield lambda step: signal.SIGTERM if step == stop else None

    monkeypatch.setattr(preemption, "watch", watch)
    for config.data.on_device in (True, False):
        with pytest.raises(preemption.Interrupted):
            train(config, tmp_path / "run")
    config.data.on_device = True
    train(config, tmp_path / "run")
    ends.assert_same_end(tmp_path / "run", tmp_path / "whole")

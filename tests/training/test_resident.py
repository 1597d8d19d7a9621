"""The clip store on the devices: the same batches, scores and runs, to the last bit."""

import contextlib
import signal

import jax
import numpy as np
import pytest

from mgr_jax import config as config_lib
from mgr_jax import parallel
from mgr_jax.data import batches
from mgr_jax.data.clips import Clips
from mgr_jax.data.records import Record
from mgr_jax.errors import UserError
from mgr_jax.evaluation import tracks as tracks_lib
from mgr_jax.training import preemption, resident
from mgr_jax.training import steps as steps_lib
from tests.experiments import ends
from tests.training import tiny

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
    return jax.jit(lambda w: steps_lib.read_windows(clips, w, WINDOW))(windows)


def test_train_windows_are_the_batches_of_the_host_bit_by_bit(part):
    clips = resident.put(part.clips, parallel.make_mesh(), window=WINDOW, field="data.on_device")
    assert clips[0].dtype == np.int16 and clips[0].sharding.is_fully_replicated
    steps = {"start_step": 1, "num_steps": 6}
    host = batches.train_batches(part, batch_size=4, window=WINDOW, seed=3, **steps)
    plan = resident.make_plan(part, batch_size=4, window=WINDOW, seed=3)
    with contextlib.closing(host), contextlib.closing(resident.train_windows(plan, **steps)) as own:
        for expected, windows in zip(host, own, strict=True):
            batch = read(clips, windows)
            assert batch.keys() == expected.keys()
            for name, value in expected.items():
                np.testing.assert_array_equal(batch[name], value)


class Gpu:
    """A device with a memory of its own."""

    def __init__(self, memory):
        self.memory = memory

    def memory_stats(self):
        return {"bytes_limit": self.memory} if self.memory else None


def mesh_of(memory):
    return type("Mesh", (), {"local_mesh": type("", (), {"devices": np.array([Gpu(memory)])})})()


@pytest.mark.parametrize(
    ("on_device", "memory", "chosen"),
    [
        ("auto", 3 * 14_000, True),
        ("auto", 3 * 14_000 - 3, False),
        ("auto", None, False),  # A CPU, whose memory the store is in anyway.
        ("True", None, True),
        (True, 20_000, True),
        ("False", 10**9, False),
    ],
)
def test_chosen_store_goes_to_devices_with_three_times_its_memory(part, on_device, memory, chosen):
    assert part.clips.samples.nbytes == 14_000
    store = resident.chosen_store(on_device, part.clips, mesh_of(memory))
    assert store is (part.clips if chosen else None)


def test_chosen_store_is_never_one_of_shards_or_arrays(part):
    class Shards:
        samples = type("Samples", (), {"nbytes": 1, "dtype": np.dtype(np.int16)})()

    class Arrays:
        samples = np.zeros((2, 3, 4), np.float32)

    assert resident.chosen_store("auto", Shards(), mesh_of(10**9)) is None
    assert resident.chosen_store("auto", Arrays(), mesh_of(10**9)) is None


def test_train_windows_of_a_process_are_its_rows(part):
    plan = resident.make_plan(part, batch_size=4, window=WINDOW, seed=3)
    parts = [
        list(resident.train_windows(plan, start_step=0, num_steps=3, local=local))
        for local in (slice(0, 2), slice(2, 4))
    ]
    for step, pair in enumerate(zip(*parts, strict=True)):
        for name, value in plan(step).items():
            np.testing.assert_array_equal(np.concatenate([p[name] for p in pair]), value)


def test_score_tracks_gives_the_scores_of_the_host(part):
    clips = resident.put(part.clips, parallel.make_mesh(), window=WINDOW, field="data.on_device")

    def score(waveform):
        sums = np.asarray(waveform)[:, :3]
        return sums - np.log(np.exp(sums).sum(1, keepdims=True))

    expected = tracks_lib.score_tracks(
        lambda batch: score(batch["waveform"]), part, batch_size=4, window=WINDOW
    )
    actual = resident.score_tracks(
        lambda windows: score(read(clips, windows)["waveform"]), part, batch_size=4, window=WINDOW
    )
    np.testing.assert_array_equal(actual, expected)


def test_put_refuses_clips_that_do_not_fit(part, monkeypatch):
    class Small:
        def memory_stats(self):
            return {"bytes_limit": 16_000}

    mesh = parallel.make_mesh()

    class Mesh:
        local_mesh = type("Local", (), {"devices": np.array([Small()])})

    with pytest.raises(UserError, match=r"data\.on_device: the clips take .* leave data"):
        resident.put(part.clips, Mesh(), window=WINDOW, field="data.on_device")
    assert mesh.size == 4


@pytest.mark.parametrize(
    ("section", "field", "value"), [("data", "name", "arrays"), ("model", "name", "svm")]
)
def test_on_device_is_refused_where_there_are_no_clips(section, field, value):
    config = config_lib.Config()
    config.data.on_device, config.data.root = "True", "x"
    setattr(getattr(config, section), field, value)
    config.features.kind = "mfcc_stats" if value == "svm" else "spectrogram"
    with pytest.raises(UserError, match=r"^data\.on_device"):
        config_lib.validate(config)


@pytest.mark.e2e
def test_training_on_device_is_bitwise_that_by_the_host(tiny_config, tmp_path):
    assert_same_on_device(tiny_config, tmp_path, train__num_epochs=1)


@pytest.mark.parametrize(
    ("network", "parallelism"),
    [
        pytest.param("rnn", "jit", marks=pytest.mark.e2e),
        pytest.param("rnn", "pmap", marks=pytest.mark.slow),
        pytest.param("bbnn", "jit", marks=pytest.mark.slow),
        pytest.param("bbnn", "pmap", marks=pytest.mark.slow),
    ],
)
def test_training_on_device_is_bitwise_that_by_the_host_with_all_options(
    tiny_config, tmp_path, parallelism, network
):
    assert_same_on_device(
        tiny_config, tmp_path, network, train__parallelism=parallelism, train__mixup_alpha=0.4
    )


def assert_same_on_device(tiny_config, folder, network="simple", **fields):
    """Train with and without `data.on_device`; the last state and the records are the same."""
    for on_device in (True, False):
        config = tiny_config(
            network, features__normalize="bin", data__on_device=on_device, **fields
        )
        tiny.train(config, folder / str(on_device))
    ends.assert_same_end(folder / "True", folder / "False")


@pytest.mark.e2e
def test_training_on_device_resumes_on_the_host_and_back(tiny_config, tmp_path, monkeypatch):
    """Stopped within an epoch: `data.on_device` changes no number, so it may change."""
    config = tiny_config("rnn", features__normalize="bin", train__num_epochs=4)
    tiny.train(config, tmp_path / "whole")
    stops = iter([3, 5])

    @contextlib.contextmanager
    def watch(_):
        stop = next(stops, None)
        yield lambda step: signal.SIGTERM if step == stop else None

    monkeypatch.setattr(preemption, "watch", watch)
    for config.data.on_device in (True, False):
        with pytest.raises(preemption.Interrupted):
            tiny.train(config, tmp_path / "run")
    config.data.on_device = True
    tiny.train(config, tmp_path / "run")
    ends.assert_same_end(tmp_path / "run", tmp_path / "whole")

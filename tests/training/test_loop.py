"""The loop in one process: early stopping, normalisers, weights; `tests/experiments` kills it."""

import contextlib
import copy
import dataclasses
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mgr_jax import config as config_lib
from mgr_jax import parallel, workdir
from mgr_jax.config import Optim
from mgr_jax.data import dataset as dataset_lib
from mgr_jax.errors import UserError
from mgr_jax.features.frontend import fit_normalizer
from mgr_jax.training import checkpoint, loop, stopping
from mgr_jax.training import network as network_lib
from mgr_jax.workdir import read_metrics


@pytest.fixture(name="config")
def _config(tmp_path):
    """A BBNN of one module on a second of the band, for four devices."""
    config = config_lib.Config()
    config.data.clip_seconds, config.data.window_seconds = 1.0, 0.5
    config.data.num_grooves, config.data.clips_per_groove = 3, 1
    config.data.cache, config.data.num_workers = str(tmp_path / "cache"), 1
    config.features.sample_rate = 8000
    config.features.n_fft, config.features.hop_length = 256, 128
    config.features.n_mels = 16
    config.model.width, config.model.num_modules = 2, 1
    config.train.batch_size, config.train.num_epochs = 4, 3
    return config


def train(config, folder):
    """Trains; returns what was printed, the run and its last state."""
    data = dataset_lib.open_dataset(config)
    run = workdir.create(str(folder), config, data.catalog, data.split)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        loop.train(config, data, run)
    network = network_lib.make_network(config, num_classes=10)
    abstract = parallel.abstract(jax.eval_shape(network.init), network.mesh)
    return out.getvalue(), data, checkpoint.restore(run.path, "latest", abstract)[1]


def keras_stops(losses, *, patience, min_delta):
    """Keras's EarlyStopping, from its documentation: the epoch after which it stops."""
    best, waited = np.inf, 0
    for epoch, loss in enumerate(losses, start=1):
        waited += 1
        if loss < best - min_delta:
            best, waited = loss, 0
        elif waited >= patience:
            return epoch
    return None


def test_early_stopping_follows_keras():
    random = np.random.default_rng(0)
    stopped = 0
    for patience in (1, 2, 4):
        optim = Optim(early_stop_patience=patience, early_stop_min_delta=0.05)
        for _ in range(20):
            losses = np.cumsum(random.normal(-0.01, 0.06, 30)) + 2
            progress, found = dict(stopping.START), None
            for epoch, loss in enumerate(losses, start=1):
                progress = stopping.after_epoch(optim, progress, loss)
                if stopping.stops(optim, progress):
                    found = epoch
                    break
            assert found == keras_stops(losses, patience=patience, min_delta=0.05)
            stopped += found is not None
    assert stopped > 10


def test_train_stops_early_and_stays_stopped(config, tmp_path):
    config.optim.early_stop_patience, config.optim.early_stop_min_delta = 1, 100.0
    out, _, state = train(config, tmp_path / "run")
    # The first loss is lower than infinity; the second not lower by 100.
    assert int(state.step) == 4
    assert "settled, after epoch 2" in out
    again, _, state = train(config, tmp_path / "run")
    assert int(state.step) == 4
    assert "epoch" not in again


@pytest.mark.slow
def test_train_fits_the_normaliser_on_the_training_part_alone(config, tmp_path):
    config.features.normalize, config.train.num_epochs = "bin", 1
    _, data, state = train(config, tmp_path / "run")
    part = data.parts["train"]
    windows = [part.clips.waveform(row, start, 4000) for row in part.rows for start in (0, 4000)]
    expected = fit_normalizer(config.features, [np.stack(windows)])
    for name in ("mean", "scale"):
        np.testing.assert_allclose(state.normalizer[name], expected[name], rtol=1e-4)
    other = fit_normalizer(config.features, [data.parts["test"].clips.waveform(0)[None]])
    assert not np.allclose(state.normalizer["mean"], other["mean"], rtol=1e-2)


@pytest.mark.slow
def test_train_with_every_option_of_the_loss_writes_whole_records(config, tmp_path):
    config.optim.label_smoothing, config.optim.ema_decay = 0.1, 0.9
    config.optim.class_weights, config.train.mixup_alpha = True, 0.2
    config.optim.schedule, config.train.num_epochs = "plateau", 2
    _, _, state = train(config, tmp_path / "run")
    records = read_metrics(tmp_path / "run")
    assert [record["epoch"] for record in records] == [1, 2]
    assert all(np.isfinite(value) for record in records for value in record.values())
    differs = jax.tree.map(lambda a, b: bool((a != b).any()), state.average, state.params)
    assert any(jax.tree.leaves(differs))


def test_train_refuses_a_batch_that_does_not_divide_over_the_devices(config, tmp_path):
    config.train.batch_size = 6
    with pytest.raises(UserError, match=r"train.batch_size is 6"):
        train(config, tmp_path / "run")


def test_describe_names_a_window_that_is_too_short(config):
    config.data.window_seconds = 0.01
    with pytest.raises(UserError, match=r"model.name 'bbnn': .*use a longer window"):
        network_lib.describe(config, num_classes=10)


def test_count_parameters_is_the_trainable_total():
    assert network_lib.count_parameters(config_lib.Config(), num_classes=10) == 185_642


@pytest.fixture(name="reads")
def _reads(monkeypatch):
    """Counts the arrays that are read back to the host.

    All ways (`float`, `np.asarray`, `jax.device_get`, ...) come by `_value` for an array on
    several devices; on CPU the transfer guard lets them pass.
    """
    array, counted = type(jnp.zeros(())), []
    value = array._value

    def read(self):
        counted.append(self.shape)
        return value.fget(self)

    monkeypatch.setattr(array, "_value", property(read))
    return counted


def test_reads_counts_every_way_to_the_host(reads):
    x = parallel.replicate(np.ones(3, np.float32), parallel.make_mesh())
    scalar = parallel.replicate(np.float32(1), parallel.make_mesh())
    for read in (np.asarray, np.array, jax.device_get):
        before = len(reads)
        read(x + 0)
        assert len(reads) > before, read
    for read in (float, int, bool, np.asarray, np.float32, str):
        before = len(reads)
        read(scalar + 0)
        assert len(reads) > before, read


@pytest.mark.usefixtures("unoptimized")
@pytest.mark.parametrize("parallelism", ["jit", "pmap"])
def test_train_reads_and_sends_nothing_between_the_steps_of_an_epoch(
    config, tmp_path, monkeypatch, reads, parallelism
):
    """But for batches, which are placed explicitly: anything else raises by the guard."""
    config.train.batch_size, config.train.num_epochs = 4, 2
    config.train.parallelism, config.data.num_grooves = parallelism, 4
    config.model.name, config.model.hidden_size = "rnn", 4
    make, counts, per_epoch = network_lib.make_network, [], 5

    def spied(*args, **kwargs):
        network = make(*args, **kwargs)

        def train_step(state, batch):
            counts.append(len(reads))
            # The first step compiles; the last of an epoch is followed by its metrics.
            within = 0 < (len(counts) - 1) % per_epoch < per_epoch - 1
            jax.config.update("jax_transfer_guard", "disallow" if within else "allow")
            return network.train_step(state, batch)

        return dataclasses.replace(network, train_step=train_step)

    monkeypatch.setattr(network_lib, "make_network", spied)
    try:
        state = train(config, tmp_path / "run")[2]
    finally:
        jax.config.update("jax_transfer_guard", "allow")
    assert int(state.step) == len(counts) == 2 * per_epoch
    in_epochs = np.array(counts).reshape(2, per_epoch)
    assert (in_epochs[:, 1] == in_epochs[:, -1]).all(), counts
    assert in_epochs[1, 0] > in_epochs[0, 0]  # The end of an epoch reads its metrics.


@pytest.mark.usefixtures("unoptimized")
def test_train_raises_on_an_implicit_transfer_in_a_step(config, tmp_path, monkeypatch):
    make = network_lib.make_network

    def leaky(*args, **kwargs):
        def train_step(state, batch):
            return state.replace(step=state.step + np.ones((), np.int32))

        return dataclasses.replace(make(*args, **kwargs), train_step=train_step)

    monkeypatch.setattr(network_lib, "make_network", leaky)
    config.model.name, config.model.hidden_size = "rnn", 4
    with pytest.raises(jax.errors.JaxRuntimeError, match="Disallowed host-to-device transfer"):
        train(config, tmp_path / "run")


@pytest.mark.usefixtures("unoptimized")
def test_train_saves_within_an_epoch_and_keeps_the_latest(config, tmp_path):
    config.model.name, config.model.hidden_size = "rnn", 4
    config.train.num_epochs = 3
    config.train.checkpoint_every_steps, config.train.keep_checkpoints = 1, 3
    train(config, tmp_path / "run")
    records = read_metrics(tmp_path / "run")
    last = records[-1]["step"]
    best = max(records, key=checkpoint.rank)["step"]
    kept = {int(path.name) for path in (tmp_path / "run" / "checkpoints").iterdir()}
    assert kept == {last - 2, last - 1, last, best}


@pytest.mark.usefixtures("unoptimized")
def test_train_that_diverges_keeps_the_last_good_checkpoint(config, tmp_path):
    config.model.name, config.model.hidden_size = "rnn", 4
    train(config, tmp_path / "run")  # Three good epochs.
    before = read_metrics(tmp_path / "run")
    good = {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}
    data = dataset_lib.open_dataset(config)
    run = workdir.load(str(tmp_path / "run"))
    longer = copy.deepcopy(config)
    longer.train.num_epochs, longer.optim.learning_rate = 6, 1e38
    longer.train.checkpoint_every_steps = 1
    with pytest.raises(UserError, match=r"step \d+: the .* is not finite any more"):
        loop.train(longer, data, run)
    assert (tmp_path / "run" / "STATUS").read_text() == "diverged\n"
    kept = {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}
    assert good & kept
    network = network_lib.make_network(config, num_classes=10)
    abstract = parallel.abstract(jax.eval_shape(network.init), network.mesh)
    state = checkpoint.restore(run.path, "latest", abstract)[1]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((state.params, state.metrics)))
    assert read_metrics(tmp_path / "run") == before

"""The loop in one process: early stopping, transfers, checkpoints; `tests/experiments` kills it."""

import dataclasses
import types

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
from mgr_jax.training import epoch as epoch_lib
from mgr_jax.training import network as network_lib
from mgr_jax.workdir import read_metrics
from tests.training import tiny


def last_state(config, folder):
    network = network_lib.make_network(config, num_classes=10)
    abstract = parallel.abstract(jax.eval_shape(network.init), network.mesh)
    return checkpoint.restore(folder, "latest", abstract)[1]


def keras_stops(losses, *, patience, min_delta):
    """Return the epoch after which Keras's EarlyStopping stops, by its documentation."""
    best, epochs_since = np.inf, 0
    for epoch, loss in enumerate(losses, start=1):
        epochs_since += 1
        if loss < best - min_delta:
            best, epochs_since = loss, 0
        elif epochs_since >= patience:
            return epoch
    return None


def test_early_stopping_follows_keras():
    random = np.random.default_rng(0)
    num_stopped = 0
    for patience in (1, 2, 4):
        optim = Optim(early_stop_patience=patience, early_stop_min_delta=0.05)
        for _ in range(20):
            losses = np.cumsum(random.normal(-0.01, 0.06, 30)) + 2
            progress, stopped_after = dict(stopping.START), None
            for epoch, loss in enumerate(losses, start=1):
                progress = stopping.after_epoch(optim, progress, loss)
                if stopping.stops(optim, progress):
                    stopped_after = epoch
                    break
            assert stopped_after == keras_stops(losses, patience=patience, min_delta=0.05)
            num_stopped += stopped_after is not None
    assert num_stopped > 10


@pytest.mark.e2e
def test_train_stops_early_and_stays_stopped(tiny_config, tmp_path):
    config = tiny_config(early_stop_patience=1, early_stop_min_delta=100.0)
    out = tiny.train(config, tmp_path)
    # The first loss is lower than infinity; the second not lower by 100.
    assert int(last_state(config, tmp_path).step) == 4
    assert "settled, after epoch 2" in out
    again = tiny.train(config, tmp_path)
    assert int(last_state(config, tmp_path).step) == 4
    assert "epoch" not in again


@pytest.mark.e2e
def test_train_fits_the_normaliser_on_the_training_part_alone(tiny_config, tmp_path):
    config = tiny_config("bbnn", features__normalize="bin", train__num_epochs=1)
    tiny.train(config, tmp_path)
    normalizer = last_state(config, tmp_path).normalizer
    parts = dataset_lib.open_dataset(config).parts
    part = parts["train"]
    windows = [part.clips.waveform(row, start, 4000) for row in part.rows for start in (0, 4000)]
    expected = fit_normalizer(config.features, [(np.stack(windows), None)])
    for name in ("mean", "scale"):
        np.testing.assert_allclose(normalizer[name], expected[name], rtol=1e-4)
    other = fit_normalizer(config.features, [(parts["test"].clips.waveform(0)[None], None)])
    assert not np.allclose(normalizer["mean"], other["mean"], rtol=1e-2)


@pytest.mark.e2e
def test_train_with_every_option_of_the_loss_writes_whole_records(tiny_config, tmp_path):
    config = tiny_config(
        "bbnn",
        label_smoothing=0.1,
        ema_decay=0.9,
        class_weights=True,
        schedule="plateau",
        train__mixup_alpha=0.2,
        train__num_epochs=2,
    )
    tiny.train(config, tmp_path)
    records = read_metrics(tmp_path)
    assert [record["epoch"] for record in records] == [1, 2]
    assert all(np.isfinite(value) for record in records for value in record.values())
    state = last_state(config, tmp_path)
    for name in ("params", "batch_stats"):
        latest, average = getattr(state, name), state.average[name]
        differs = jax.tree.map(lambda a, b: bool((a != b).any()), average, latest)
        assert any(jax.tree.leaves(differs))


def test_train_refuses_a_batch_that_does_not_divide_over_the_devices(tiny_config, tmp_path):
    with pytest.raises(UserError, match=r"train.batch_size is 6"):
        tiny.train(tiny_config(train__batch_size=6), tmp_path)


def test_describe_names_a_window_that_is_too_short():
    config = tiny.config("bbnn", data__window_seconds=0.01)
    with pytest.raises(UserError, match=r"model.name 'bbnn': .*use a longer window"):
        network_lib.describe(config, num_classes=10)


def test_momentum_warning_names_the_momentum_that_settles():
    config = config_lib.Config()
    config.model.batch_norm_momentum = 0.99
    line = network_lib.momentum_warning(config, num_steps=20)
    # 0.99 ** 20 is 0.818.
    assert "model.batch_norm_momentum is 0.99: after the 20 steps of this run, 82 % of" in line
    assert line.endswith("set it to 0, which chooses 0.5")
    assert "\n" not in line
    assert not network_lib.momentum_warning(config, num_steps=1000)
    for name, momentum in (("bbnn", 0.0), ("cnn", 0.99), ("rnn", 0.5)):
        config.model.name, config.model.batch_norm_momentum = name, momentum
        assert not network_lib.momentum_warning(config, num_steps=20)


def test_count_parameters_is_the_trainable_total():
    assert network_lib.count_parameters(config_lib.Config(), num_classes=10) == 185_642


@pytest.fixture(name="reads")
def _reads(monkeypatch):
    """Counts the arrays that are read back to the host.

    For an array on several devices, `float`, `np.asarray`, `jax.device_get` and the like all call
    `_value`; on CPU the transfer guard does not see them.
    """
    array, counted = type(jnp.zeros(())), []
    value = array._value

    def read(self):
        counted.append(self.shape)
        return value.fget(self)

    monkeypatch.setattr(array, "_value", property(read))
    return counted


def test_reads_counts_every_kind_of_read(reads):
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


@pytest.mark.e2e
@pytest.mark.parametrize("parallelism", ["jit", "pmap"])
def test_train_reads_and_sends_nothing_between_the_steps_of_an_epoch(
    tiny_config, tmp_path, monkeypatch, reads, parallelism
):
    """Except for batches, which are placed explicitly: anything else makes the guard raise."""
    config = tiny_config(data__num_grooves=4, train__parallelism=parallelism, train__num_epochs=2)
    make, counts, per_epoch = network_lib.make_network, [], 5

    def spied(*args, **kwargs):
        network = make(*args, **kwargs)

        def train_step(state, batch):
            counts.append(len(reads))
            # The last step of an epoch is followed by its metrics.
            within = 0 < (len(counts) - 1) % per_epoch < per_epoch - 1
            jax.config.update("jax_transfer_guard", "disallow" if within else "allow")
            return network.train_step(state, batch)

        return dataclasses.replace(network, train_step=train_step)

    monkeypatch.setattr(network_lib, "make_network", spied)
    try:
        tiny.train(config, tmp_path)
    finally:
        jax.config.update("jax_transfer_guard", "allow")
    monkeypatch.undo()
    assert int(last_state(config, tmp_path).step) == len(counts) == 2 * per_epoch
    in_epochs = np.array(counts).reshape(2, per_epoch)
    assert (in_epochs[:, 1] == in_epochs[:, -1]).all(), counts
    assert in_epochs[1, 0] > in_epochs[0, 0]  # The end of an epoch reads its metrics.


def test_train_raises_on_an_implicit_transfer_in_a_step(tiny_config, tmp_path, monkeypatch):
    make = network_lib.make_network

    def leaky(*args, **kwargs):
        def train_step(state, batch):
            return state.replace(step=state.step + np.ones((), np.int32))

        return dataclasses.replace(make(*args, **kwargs), train_step=train_step)

    monkeypatch.setattr(network_lib, "make_network", leaky)
    with pytest.raises(jax.errors.JaxRuntimeError, match="Disallowed host-to-device transfer"):
        tiny.train(tiny_config(), tmp_path)


def test_train_saves_within_an_epoch_and_keeps_the_latest(tiny_config, tmp_path):
    config = tiny_config(train__checkpoint_every_steps=1, train__keep_checkpoints=3)
    tiny.train(config, tmp_path)
    records = read_metrics(tmp_path)
    last = records[-1]["step"]
    best = max(records, key=checkpoint.rank)["step"]
    kept = {int(path.name) for path in (tmp_path / "checkpoints").iterdir()}
    assert kept == {last - 2, last - 1, last, best}


def test_make_record_refuses_a_validation_loss_that_is_no_number():
    written = []
    job = types.SimpleNamespace(set_status=written.append)
    scores = np.array([[-0.1, -2.4], [np.nan, np.nan]])
    with pytest.raises(UserError, match="step 7: the validation loss is not a number; lower"):
        epoch_lib.make_record(job, types.SimpleNamespace(step=7), scores, num_steps=1, seconds=1.0)
    assert written == ["diverged"]


def test_train_that_diverges_keeps_the_last_good_checkpoint(tiny_config, tmp_path):
    config = tiny_config()
    tiny.train(config, tmp_path)  # Three good epochs.
    before = read_metrics(tmp_path)
    good = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    longer = tiny_config(learning_rate=1e38, train__num_epochs=6, train__checkpoint_every_steps=1)
    with pytest.raises(UserError, match=r"step \d+: the .* is not finite any more"):
        loop.train(longer, dataset_lib.open_dataset(config), workdir.load(str(tmp_path)))
    assert (tmp_path / "STATUS").read_text() == "diverged\n"
    kept = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert good & kept
    state = last_state(config, tmp_path)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((state.params, state.metrics)))
    assert read_metrics(tmp_path) == before

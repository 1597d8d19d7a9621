"""Folds trained as one program: each ends as if trained alone, also after an interruption."""

import contextlib
import copy
import functools
import io
import signal

import jax
import numpy as np
import pytest

from mgr_jax import config as config_lib
from mgr_jax import parallel, workdir
from mgr_jax.data import batches
from mgr_jax.data import dataset as dataset_lib
from mgr_jax.errors import UserError
from mgr_jax.training import checkpoint, diagnosis, loop, network, preemption, resident
from mgr_jax.training.folds import loop as folds
from mgr_jax.workdir import read_metrics
from tests.config_with import config_with


@pytest.fixture(name="make_config", scope="module")
def _make_config(tiny_config):
    return functools.partial(
        tiny_config,
        name="sgd",
        learning_rate=0.05,
        data__num_grooves=5,
        data__protocol="artist_kfold",
        data__num_folds=3,
        train__num_epochs=2,
    )


def open_folds(config, path, num_folds=3, num_seeds=1):
    """Return name, config, data set and workdir of each fold, as `cross_validate` makes them."""
    catalog, store = dataset_lib.open_catalog(config)
    opened = []
    for seed in range(num_seeds):
        for fold in reversed(range(3 - num_folds, 3)):
            own = copy.deepcopy(config)
            own.data.fold, own.data.repeat, own.train.seed = fold, seed, config.train.seed + seed
            data = dataset_lib.split_dataset(own, catalog, store)
            name = f"seed{seed}/fold{fold}"
            run = workdir.create(str(path / name), own, catalog, data.split)
            opened.append((name, own, data, run))
    return opened


def train_together(config, path, **counts):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        opened = open_folds(config, path, **counts)
        folds.train(opened, at_once=len(opened))
    return opened, out.getvalue()


@pytest.fixture(name="one_device")
def _one_device(monkeypatch):
    """`loop.train` on one device. On four its sums are in another order, and where that changes
    which value is the maximum, parameters of the BBNN differ by more than rounding."""
    make_mesh = parallel.make_mesh
    monkeypatch.setattr(
        parallel, "make_mesh", lambda devices=None: make_mesh(devices or jax.devices()[:1])
    )


def train_alone(opened, path):
    """Train the same folds by `loop.train`, in workdirs of their own."""
    alone = []
    for name, config, data, _ in opened:
        run = workdir.create(str(path / name), config, data.catalog, data.split)
        with contextlib.redirect_stdout(io.StringIO()):
            loop.train(config, data, run)
        alone.append((name, config, data, run))
    return alone


def state_of(fold, which="latest"):
    _, config, data, run = fold
    made = network.make_network(config, num_classes=len(data.catalog.labels))
    abstract = parallel.abstract(jax.eval_shape(made.init), made.mesh)
    return jax.device_get(checkpoint.restore(run.path, which, abstract))


def assert_same(together, alone, *, tolerance):
    for left, right in zip(together, alone, strict=True):
        for which in ("latest", "best"):
            (step, ours), (expected_step, theirs) = state_of(left, which), state_of(right, which)
            assert step == expected_step
            for name in ("params", "batch_stats", "average", "normalizer", "metrics"):
                jax.tree.map(
                    lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance),
                    getattr(ours, name),
                    getattr(theirs, name),
                )
        assert_same_records(left, right, tolerance)
        assert (left[3].path / "STATUS").read_text() == "done\n"


def assert_same_records(left, right, tolerance):
    ours, theirs = read_metrics(left[3].path), read_metrics(right[3].path)
    assert [record["step"] for record in ours] == [record["step"] for record in theirs]
    for record, expected in zip(ours, theirs, strict=True):
        for name in ("train_loss", "train_accuracy", "valid_loss", "learning_rate"):
            assert record[name] == pytest.approx(expected[name], abs=tolerance, rel=tolerance)


RNN = {"network": "simple", "model__dropout": 0.5, "features__normalize": "bin"}


@pytest.fixture(name="together", scope="module")
def _together(make_config, tmp_path_factory):
    """Two folds of two epochs, of a recurrent network with dropout; the output, their config."""
    config = make_config(**RNN)
    return *train_together(config, tmp_path_factory.mktemp("together"), num_folds=2), config


@pytest.mark.slow
def test_folds_print_the_warning_of_the_first_that_fails(make_config, tmp_path, monkeypatch):
    monkeypatch.setattr(diagnosis, "warning", lambda job: f"seed {job.config.train.seed} fails")
    _, out = train_together(make_config("simple"), tmp_path, num_folds=2)
    assert out.count("fails") == 1 and "seed0/fold2: seed 0 fails" in out


@pytest.mark.e2e
def test_train_ends_every_fold_of_an_rnn_as_if_alone(together, tmp_path):
    opened, out, _ = together
    assert out.count(" correct ") == 4
    assert_same(opened, train_alone(opened, tmp_path), tolerance=1e-5)


@pytest.mark.e2e
def test_train_interrupted_within_an_epoch_resumes_bitwise(together, tmp_path, monkeypatch):
    opened, _, config = together
    # Epochs have 5 and 6 steps: the first fold has finished one, the other has not.
    monkeypatch.setattr(preemption, "watch", lambda reached: stop_after(5))
    with pytest.raises(preemption.Interrupted):
        train_together(config, tmp_path, num_folds=2)
    monkeypatch.undo()
    assert [len(read_metrics(tmp_path / fold[0])) for fold in opened] == [1, 0]
    assert (tmp_path / opened[1][0] / "STATUS").read_text() == "preempted\n"
    resumed, out = train_together(config, tmp_path, num_folds=2)
    assert out.count("resume from step 5 of ") == 2
    assert_same(resumed, opened, tolerance=0)


@contextlib.contextmanager
def stop_after(calls):
    """A stand-in for `preemption.watch`: SIGTERM comes after so many steps."""
    left = iter([None] * (calls - 1) + [signal.SIGTERM])
    yield lambda step: next(left)


@pytest.mark.e2e
def test_train_of_folds_that_are_done_does_nothing_more(together):
    opened, _, _ = together
    before = [read_metrics(fold[3].path) for fold in opened]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        folds.train(opened, at_once=2)
    assert " correct " not in out.getvalue()
    assert [read_metrics(fold[3].path) for fold in opened] == before


SLOW_CASES = {
    "bbnn": {"network": "bbnn"},
    "gru": RNN | {"model__cell": "gru"},
    "cosine and all of the loss": RNN
    | {
        "schedule": "cosine",
        "warmup_epochs": 0.5,
        "momentum": 0.9,
        "ema_decay": 0.9,
        "class_weights": True,
        "label_smoothing": 0.1,
        "train__mixup_alpha": 0.3,
    },
    "plateau and accumulation": RNN
    | {
        "schedule": "plateau",
        "plateau_patience": 1,
        "accumulate_steps": 2,
        "learning_rate": 2.0,
        "train__num_epochs": 4,
    },
    "early stopping": RNN
    | {
        "early_stop_patience": 1,
        "early_stop_min_delta": 0.08,
        "train__num_epochs": 6,
    },
}


@pytest.mark.slow
@pytest.mark.usefixtures("one_device")
@pytest.mark.parametrize("case", SLOW_CASES)
def test_train_ends_every_fold_as_if_alone(make_config, tmp_path, case):
    config = make_config(**SLOW_CASES[case])
    counts = {"num_folds": 3, "num_seeds": 2}  # More than devices: they take turns.
    opened, _ = train_together(config, tmp_path / "together", **counts)
    alone = train_alone(opened, tmp_path / "alone")
    assert_same(opened, alone, tolerance=1e-5)
    if case == "early stopping":
        assert len({len(read_metrics(fold[3].path)) for fold in opened}) > 1


@pytest.mark.slow
@pytest.mark.usefixtures("one_device")
@pytest.mark.parametrize("network", ["bbnn", "simple"])
def test_train_by_adam_gives_the_losses_of_each_fold_alone(make_config, tmp_path, network):
    config = make_config(network, name="adam", learning_rate=1e-3)
    opened, _ = train_together(config, tmp_path / "together")
    for left, right in zip(opened, train_alone(opened, tmp_path / "alone"), strict=True):
        assert_same_records(left, right, 1e-3)


@pytest.mark.e2e
def test_make_plan_names_the_windows_of_train_batches(together):
    _, config, data, _ = together[0][0]
    part, window = data.parts["train"], config_lib.window_length(config)
    plan = resident.make_plan(part, batch_size=4, window=window, seed=3)
    batch = batches.train_batches(
        part, batch_size=4, window=window, seed=3, start_step=2, num_steps=9
    )
    for step, expected in enumerate(batch, start=2):
        windows = plan(step)
        waveform = [
            data.clips.waveform(clip, start, window)
            for clip, start in zip(windows["clip"], windows["start"], strict=True)
        ]
        np.testing.assert_array_equal(np.stack(waveform), expected["waveform"])
        for name in ("num_samples", "label", "row"):
            np.testing.assert_array_equal(windows[name], expected[name])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"model.name": "svm"}, "'svm' is no network"),
        ({"data.name": "arrays"}, "reads audio"),
        ({"train.parallelism": "pmap"}, "needs train.parallelism 'jit'"),
    ],
)
def test_check_names_what_cannot_be_trained_together(fields, words):
    config = config_with(**{"train.folds_at_once": 2}, **fields)
    with pytest.raises(UserError, match=words):
        folds.check(config)

"""The first records of a training say whether it fails."""

import json
import math
import types
from typing import Any

import numpy as np
import pytest

from experiments.configs import bbnn, cnn, quickstart, rnn
from mgr_jax.config import Optim
from mgr_jax.data import batches
from mgr_jax.data.records import Record
from mgr_jax.training import diagnosis
from tests.config_with import config_with
from tests.training import tiny

LABELS = np.arange(40) % 10
GUESS = diagnosis.guess_scores(Optim(), LABELS, LABELS, num_classes=10)

# Training loss, validation loss, validation accuracy in percent of the first epochs, as measured.
HEALTHY = {
    "bbnn": "2.17 16.19 15, 1.82 2.13 28, 1.68 2.67 23, 1.56 1.68 42, 1.50 1.93 28",
    "quickstart": "2.18 2.40 20, 1.88 1.76 38, 1.74 1.85 45, 1.68 1.54 47",
    "rnn": "2.44 2.08 23, 1.94 1.92 35, 1.76 1.85 38, 1.57 1.91 38",
    "overfitted": "2.00 1.90 30, 1.20 2.10 40, 0.40 4.50 40, 0.10 4.60 40",
    "cnn_fast": "2.31 2.30 10, 2.30 2.30 7, 2.30 2.29 10, 2.28 2.23 7, 2.26 2.25 25, 2.2 2.18 12",
    "cnn_on_arrays": "2.29 2.26 15, 2.17 2.43 26, 2.09 2.35 23, 1.99 2.33 32, 1.78 2.26 38",
    "cnn_lstm_along_time": "2.29 2.29 10, 2.21 2.20 10, 1.99 2.53 10, 1.93 2.20 20, 1.73 1.98 28",
}


def records_of(scores, *, steps_per_epoch=17):
    names = ("train_loss", "valid_loss", "valid_accuracy")
    return [
        {"step": steps_per_epoch * epoch, "epoch": epoch} | dict(zip(names, values, strict=False))
        for epoch, values in enumerate(scores, start=1)
    ]


def first_symptom(config, scores, *, guess=GUESS, **kwargs):
    """Return the first symptom, and the epoch that it is of."""
    records = records_of(scores, **kwargs)
    for n in range(1, len(records) + 1):
        if name := diagnosis.symptom(config, records[:n], guess):
            return name, n
    return "", 0


@pytest.mark.parametrize("name", HEALTHY)
def test_symptom_is_none_of_a_healthy_run(name):
    rows = [map(float, row.split()) for row in HEALTHY[name].split(",")]
    scores = [(train, valid, percent / 100) for train, valid, percent in rows]
    assert first_symptom(config_with(**{"train.num_epochs": 60}), scores) == ("", 0)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        # As measured: SGD at a rate of 100; running averages that keep their initial values.
        ([(40.3, 38.7, 0.1), (63.0, 50.3, 0.1)], ("diverges", 2)),
        ([(2.2, 16.2, 0.15), (1.9, 12.4, 0.1), (1.8, 9.4, 0.1)], ("explodes", 3)),
        ([(2.2, 2.1, 0.15), (1.9, 2.1, 0.1), (1.8, 9.0, 0.1), (1.8, 9.0, 0.1)], ("explodes", 4)),
        # Shuffled labels: the training part is learned by heart.
        ([(2.3, 2.35, 0.1), *[(1.9, 2.4, 0.1)] * 3, *[(1.2, 2.9, 0.15)] * 3], ("chance", 6)),
        # The CNN-LSTM on arrays.
        ([(2.3, 2.3, 0.1)] * 8, ("flat", 6)),
        ([(2.31,)] * 8, ("flat", 6)),
    ],
)
def test_symptom_names_the_failure_at_its_first_clear_epoch(scores, expected):
    config = config_with(**{"train.num_epochs": 60, "model.batch_norm_momentum": 0.9})
    assert first_symptom(config, scores) == expected


def test_symptom_flat_is_seen_at_the_end_of_a_short_run_and_after_the_warm_up():
    plateau = [(2.3, 2.3, 0.1)] * 12
    assert first_symptom(config_with(**{"train.num_epochs": 3}), plateau[:3]) == ("flat", 3)
    assert first_symptom(config_with(**{"train.num_epochs": 1}), plateau[:1]) == ("", 0)
    warm = config_with(**{"train.num_epochs": 60, "optim.warmup_epochs": 5.0})
    assert first_symptom(warm, plateau) == ("flat", 10)


def test_symptom_ignores_validation_scores_before_averages_settle_in_time():
    bad = [(2.2, 16.2, 0.15), (1.9, 12.4, 0.1), (1.8, 9.0, 0.1), (1.7, 6.0, 0.1)]
    for momentum, num_epochs, expected in (
        (0.0, 40, ("", 0)),  # Chosen for the run: 0.985, settled after epoch 10.
        (0.0, 10, ("explodes", 4)),  # 0.94, after epoch 3.
        (0.9, 40, ("explodes", 3)),  # After epoch 2.
        (0.99, 60, ("", 0)),  # After epoch 14.
        (0.99, 30, ("explodes", 2)),  # Too late.
    ):
        fields = {"train.num_epochs": num_epochs, "model.batch_norm_momentum": momentum}
        assert first_symptom(config_with(**fields), bad) == expected
    # Without batch normalisation nothing has to settle.
    fields = {"train.num_epochs": 40, "model.name": "cnn"}
    assert first_symptom(config_with(**fields), bad) == ("explodes", 2)


def test_guess_scores_are_those_of_the_shares_of_the_classes():
    assert GUESS.train_loss == pytest.approx(math.log(10))
    assert GUESS.valid_loss == pytest.approx(math.log(10))
    assert GUESS.valid_accuracy == pytest.approx(0.1 + 2 * math.sqrt(0.09 / 40))
    rare = np.array([0] * 90 + [1] * 10)
    guess = diagnosis.guess_scores(Optim(), rare, rare, num_classes=2)
    entropy = -0.9 * math.log(0.9) - 0.1 * math.log(0.1)
    assert guess.train_loss == pytest.approx(entropy) == pytest.approx(guess.valid_loss)
    # A network that always says the frequent class has not learned anything.
    config = config_with(**{"train.num_epochs": 60})
    assert first_symptom(config, [(entropy, entropy, 0.9)] * 6, guess=guess) == ("flat", 6)
    even = diagnosis.guess_scores(Optim(class_weights=True), rare, rare, num_classes=2)
    assert even.train_loss == pytest.approx(math.log(2)) == pytest.approx(even.valid_loss)
    smooth = diagnosis.guess_scores(Optim(label_smoothing=0.2), rare, rare[:0], num_classes=2)
    assert smooth.train_loss == pytest.approx(-0.82 * math.log(0.82) - 0.18 * math.log(0.18))
    assert math.isnan(smooth.valid_loss)


def reasons(config, name, **kwargs):
    return list(
        diagnosis.usual_reasons(config, name, **{"step": 10, "steps_per_epoch": 5} | kwargs)
    )


def test_usual_reasons_name_values_and_flags_of_the_config():
    config = bbnn.get_config()
    config.model.batch_norm_momentum = 0.99
    norm, rate, window = reasons(config, "explodes")
    assert "90 % of their initial values left after 10 steps at a momentum of 0.99" in norm
    assert "--config.model.batch_norm_momentum=0 chooses 0.98" in norm
    assert rate == "the learning rate 0.01 (--config.optim.learning_rate=0.003)"
    assert window == "the same 30 s of a track in each epoch (--config.data.window_seconds=3)"
    config.model.batch_norm_momentum = 0.0  # Already chosen: it takes its time.
    assert "(settled after epoch 23)" in reasons(config, "explodes")[0]
    # Settled averages and short windows are no reasons.
    assert len(reasons(quickstart.get_config(), "explodes", step=102, steps_per_epoch=17)) == 1
    pairs = quickstart.get_config()
    pairs.train.batch_size = 2
    (pair, _) = reasons(pairs, "explodes", step=102, steps_per_epoch=17)
    assert pair == "batch normalisation over 2 windows (--config.train.batch_size=8)"


def test_usual_reasons_are_those_of_the_symptom():
    rate, gradients = reasons(rnn.get_config(), "diverges")
    assert rate.startswith("the learning rate 0.001 ") and gradients.endswith("clip_norm=1)")
    slow = cnn.get_config()
    slow.train.num_epochs = 20
    flat = reasons(slow, "flat", step=100, silent_share=0.5)
    assert flat[0].endswith("learning_rate=0.0003 or --config.optim.learning_rate=0.003)")
    assert flat[1] == "no batch normalisation (--config.model.batch_norm=True)"
    assert flat[2] == "only 100 steps in the whole run (--config.train.num_epochs=80)"
    assert flat[3] == "silence in 50 % of the training windows"
    for *_, last in (flat, reasons(quickstart.get_config(), "chance")):
        assert "--config=logistic" in last


def make_job(config, folder, scores, *, loudness=1.0) -> Any:
    """Return what `warning` reads of a job: 40 tracks of a second of noise, and their records."""
    noise = loudness * np.random.default_rng(0).normal(size=(40, 8000)).astype(np.float32)
    clips: Any = types.SimpleNamespace(
        samples=noise,
        records=[Record(f"{i}", length=8000) for i in range(40)],
        waveform=lambda row, start, length: noise[row, start : start + length],
    )
    part = batches.Part(clips, tuple("x" * 40), np.arange(40), LABELS)
    catalog = types.SimpleNamespace(labels=[f"genre {i}" for i in range(10)])
    dataset = types.SimpleNamespace(parts={"train": part, "valid": part}, catalog=catalog)
    lines = "".join(json.dumps(record) + "\n" for record in records_of(scores))
    (folder / "metrics.jsonl").write_text(lines)
    run = types.SimpleNamespace(path=folder)
    return types.SimpleNamespace(
        config=config, dataset=dataset, run=run, steps_per_epoch=17, window=4000
    )


def test_warning_is_one_line_at_one_epoch_of_a_run(tmp_path):
    config = quickstart.get_config()
    bad = [(2.2, 16.2, 0.15), (1.9, 12.4, 0.1), (1.8, 12.0, 0.1)]
    line = diagnosis.warning(make_job(config, tmp_path, bad))
    assert line.startswith(
        "warning   after epoch 3 the validation loss is 12.00; guessing has 2.30; usual reasons: "
    )
    assert "\n" not in line
    for scores in (bad[:2], [*bad, (1.8, 12.0, 0.1)], [*bad, (2.3, 2.3, 0.1), *bad]):
        assert not diagnosis.warning(make_job(config, tmp_path, scores))
    late = [(1.5, 1.6, 0.5)] * 20 + bad
    assert not diagnosis.warning(make_job(config, tmp_path, late))


def test_warning_hears_silence_in_the_training_windows(tmp_path):
    plateau = [(2.3, 2.3, 0.1)] * 6
    for loudness, expected in ((0.0, True), (1.0, False)):
        job = make_job(quickstart.get_config(), tmp_path, plateau, loudness=loudness)
        assert ("silence in 100 % of the training windows" in diagnosis.warning(job)) == expected


@pytest.mark.e2e
def test_train_prints_the_warning_once(tmp_path, monkeypatch):
    monkeypatch.setattr(
        diagnosis, "symptom", lambda _, records, guess: "flat" * (len(records) == 2)
    )
    out = tiny.train(tiny.config(), tmp_path)
    assert out.count("; usual reasons: the learning rate 0.001 (") == 1
    assert out.index("epoch   2/3") < out.index("usual reasons") < out.index("epoch   3/3")

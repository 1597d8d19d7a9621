"""Explanations of tracks add up to the score, for every kind of system."""

import dataclasses

import jax
import numpy as np
import pytest

from mgr_jax import config as config_lib
from mgr_jax import hearing, named_configs
from mgr_jax import system as system_lib
from mgr_jax.classical import logistic, scoring, svm
from mgr_jax.config import Features
from mgr_jax.errors import UserError
from mgr_jax.evaluation.prediction import Prediction
from mgr_jax.explain import deletion, linear, track
from mgr_jax.explain.cells import Cells
from mgr_jax.models import make_model

RATE = 8000
LABELS = ("blues", "jazz", "pop")


def _config(name, kind):
    config = config_lib.Config()
    config.data.clip_seconds = 1.0
    config.model.name, config.features.kind = name, kind
    config.features.sample_rate, config.features.n_fft = RATE, 256
    config.features.hop_length, config.features.n_mels, config.features.n_mfcc = 128, 16, 4
    config.model.width, config.model.num_modules = 4, 1
    return config


def _system(name="logistic", kind="mfcc_stats", temperature=2.0):
    config, rng = _config(name, kind), np.random.default_rng(0)
    if name == "logistic":
        shape = (14, len(LABELS))
        variables = {"mean": rng.normal(size=14), "scale": np.full(14, 30.0)}
        variables |= {"kernel": rng.normal(size=shape), "bias": rng.normal(size=len(LABELS))}
    else:
        inputs = np.zeros((1, 63, 16), np.float32)
        model = make_model(config.model, num_classes=len(LABELS))
        variables = dict(model.init(jax.random.key(0), inputs)) | {"normalizer": None}
    facts = {"protocol": "listed"}
    fields = {"step": 0, "facts": facts, "report": None, "temperature": temperature, "run": None}
    return system_lib.System("", config, LABELS, variables=variables, **fields)


def _explainer(system):
    predict = system_lib.compiled(system)
    return track.Explainer(
        system, hearing.make_score(system.config, predict, system.variables), batch_size=4
    )


def _prediction(label="jazz"):
    nothing = np.zeros((1, 3))
    fields = dict.fromkeys(Prediction.__dataclass_fields__, nothing)
    fields |= {"label": label, "probabilities": dict.fromkeys(LABELS, 1 / 3)}
    return Prediction(**fields)


def _song(seconds, seed=0):
    return np.random.default_rng(seed).normal(size=round(seconds * RATE)).astype(np.float32) * 0.1


def test_decision_values_are_not_divided_by_the_temperature():
    rng, labels = np.random.default_rng(0), np.arange(60) % 3
    x = rng.normal(size=(60, 14)) + labels[:, None]
    params = svm.fit(x, labels, x, labels, num_classes=3, kernel="linear", num_components=9)
    systems = [_system(temperature=temperature) for temperature in (1.0, 2.0)]
    changes = []
    for system in systems:
        system.config.model.name = "svm"
        own = _explainer(dataclasses.replace(system, variables=params))
        changes.append(own.explain(_song(1), _prediction(), method="linear").change)
    assert changes[0] == pytest.approx(changes[1])


def test_choose_method_is_exact_where_it_can_be():
    system = _system()
    assert track.choose_method(system) == "linear"
    assert track.choose_method(system, "occlusion") == "occlusion"
    with pytest.raises(UserError, match="explained by linear or integrated_gradients or occlusion"):
        track.choose_method(system, "shap")
    system.config.model.name, system.variables["kernel"] = "svm", np.asarray("rbf")
    assert track.choose_method(system) == "occlusion"
    with pytest.raises(UserError, match="method linear: svm on mfcc_stats"):
        track.choose_method(system, "linear")
    system.config.model.name = "rnn"
    assert track.choose_method(system) == "integrated_gradients"


@pytest.mark.e2e
@pytest.mark.parametrize("seconds", [0.6, 1.0, 2.5])
def test_explain_of_a_linear_system_sums_to_its_closed_form(seconds):
    system, song = _system(), _song(seconds)
    explanation = _explainer(system).explain(song, _prediction(), label="pop")
    window = RATE
    starts = (
        [0] if len(song) <= window else [*range(0, len(song) - window, window), len(song) - window]
    )
    model = linear.make_linear("logistic", system.variables, 2)
    extract, changes = scoring.make_features(system.config), []
    for start in starts:
        piece = np.resize(song[start : start + window], window)
        count = min(window, len(song))
        batch = {"waveform": np.repeat(piece[None], 4, 0), "num_samples": np.full(4, count)}
        logits = np.asarray(logistic.logits(system.variables, extract(batch)[:1]))[0]
        changes.append(logits[2] - logits[:2].mean() - model.offset)
    # Divided by the temperature; the mean over the windows.
    assert explanation.attributions.sum() == pytest.approx(np.mean(changes) / 2, rel=1e-3)
    assert explanation.method == "linear" and explanation.completeness_error < 1e-4
    assert explanation.seconds[-1] == pytest.approx(seconds)
    assert sum(explanation.features.values()) == pytest.approx(explanation.change, rel=1e-3)


@pytest.mark.e2e
def test_explain_by_integrated_gradients_agrees_with_the_exact_contributions():
    explainer = _explainer(_system(temperature=None))
    exact = explainer.explain(_song(1), _prediction())
    result = explainer.explain(_song(1), _prediction(), method="integrated_gradients")
    assert result.completeness_error < 0.05
    for name, value in exact.features.items():
        assert result.features[name] == pytest.approx(value, rel=1e-3, abs=1e-5)


@pytest.mark.e2e
@pytest.mark.parametrize("name", ["rnn", "bbnn"])
def test_explain_of_a_network_is_complete(name):
    explainer = _explainer(_system(name, "logmel"))
    explanation = explainer.explain(_song(1.5), _prediction(), label="blues")
    assert explanation.completeness_error < 0.05 and explanation.change != 0
    assert explanation.score == "logit of blues minus the mean logit of the other labels"
    assert explanation.attributions.shape == (len(explanation.seconds) - 1, 16)


@pytest.mark.slow
def test_explain_of_a_linear_system_goes_through_musicnn():
    config, rng = named_configs.musicnn(), np.random.default_rng(1)
    config.data.clip_seconds = 5.0
    variables = {"mean": rng.normal(size=400) * 0.1, "scale": np.full(400, 2.0)}
    variables |= {"kernel": rng.normal(size=(400, 3)), "bias": np.zeros(3)}
    system = dataclasses.replace(_system(temperature=None), config=config, variables=variables)
    song = np.random.default_rng(2).normal(size=5 * 16000).astype(np.float32) * 0.05
    explain = _explainer(system).explain
    explanation = explain(song, _prediction(), method="integrated_gradients")
    assert explanation.baseline == "silence"
    # Noise and random weights leave a large error, which is reported.
    assert 0 <= explanation.completeness_error < 0.5 and len(explanation.features) == 20
    assert explanation.attributions.shape[1] == 96


@pytest.mark.slow
def test_explain_of_a_system_on_arrays_goes_through_its_windows():
    config = _config("rnn", "spectrogram")
    config.data.name, config.features.num_bins = "arrays", 128
    config.data.clip_samples, config.data.window_seconds = 496, 0.0
    config.features.sample_rate, config.features.n_fft = 22050, 256
    config.data.window_seconds = 248 / 22050
    model = make_model(config.model, num_classes=3)
    inputs = np.zeros((1, 248, 128), np.float32)
    variables = dict(model.init(jax.random.key(0), inputs)) | {"normalizer": None}
    system = dataclasses.replace(_system("rnn", "logmel"), config=config, variables=variables)
    song = np.random.default_rng(3).normal(size=30 * 22050).astype(np.float32) * 0.05
    explanation = _explainer(system).explain(song, _prediction())
    assert explanation.completeness_error < 0.1 and explanation.attributions.shape == (496, 128)


@pytest.mark.e2e
def test_explain_by_occlusion_and_delete():
    explainer, song = _explainer(_system()), _song(2.5)
    explanation = explainer.explain(song, _prediction(), method="occlusion")
    assert explanation.change is explanation.completeness_error is None
    assert explanation.attributions.any() and not explanation.features
    curves = explainer.delete(song, explanation)
    assert curves.attributed[0] == curves.random[0] > curves.attributed.min()
    assert len(curves.random) == len(deletion.FRACTIONS)
    with pytest.raises(UserError, match="label 'rock': it must be one of blues, jazz, pop"):
        explainer.explain(song, _prediction(), label="rock")


def test_assemble_joins_windows_and_adds_up_what_they_share():
    cells = Cells(np.ones((4, 2)), np.linspace(0, 1, 5), np.array([0.0, 1000.0, 4000.0]))
    parts = [track.Part(start, track.gradients.Attribution(cells, 8.0)) for start in (0.0, 0.5)]
    explanation = track.assemble(
        _song(1.5),
        Features(sample_rate=RATE),
        parts,
        scale=2.0,
        window=RATE,
        label="jazz",
        probability=0.5,
        method="integrated_gradients",
        score="s",
        baseline="b",
    )
    np.testing.assert_allclose(explanation.attributions[:, 0], [0.5, 0.5, 1, 1, 0.5, 0.5])
    assert explanation.change == 8 and explanation.completeness_error == pytest.approx(0)


def test_explain_leaves_integrated_gradients_that_miss_the_score(monkeypatch):
    cells = Cells(np.ones((4, 2)), np.linspace(0, 1, 5), np.array([0.0, 1000.0, 4000.0]))
    poor = track.gradients.Attribution(cells, 80.0)  # They sum to 8.
    monkeypatch.setattr(track.gradients, "make_attribute", lambda system: lambda *_: poor)
    monkeypatch.setattr(
        track.Explainer, "_score_tracks", lambda _, tracks: np.zeros((len(tracks), 3))
    )
    explainer = _explainer(_system("rnn", "logmel"))
    explanation = explainer.explain(_song(1), _prediction())
    assert (explanation.method, explanation.completeness_error) == ("occlusion", None)
    assert explanation.to_json()["remark"] == "integrated gradients miss 90 % of the score"
    asked = explainer.explain(_song(1), _prediction(), method="integrated_gradients")
    assert asked.completeness_error == pytest.approx(0.9) and not asked.remark

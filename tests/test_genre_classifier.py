"""`GenreClassifier` against the conventions of scikit-learn, on files instead of rows."""

import os
import pathlib
import warnings

import numpy as np
import pytest
import soundfile
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import ParameterGrid, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks

import mgr_jax
from mgr_jax import config as config_lib
from mgr_jax.errors import UserError
from mgr_jax.genre_classifier import GenreClassifier

RATE = 8000
PITCHES = {"high": 1800.0, "low": 300.0}


def tiny_config(**model):
    """Logistic regression on quarters of a second at 8 kHz."""
    config = config_lib.Config()
    config.data.clip_seconds, config.data.window_seconds = 1.0, 0.25
    config.data.num_workers = 1
    config.features.kind, config.features.sample_rate = "mfcc_stats", RATE
    config.features.n_fft, config.features.hop_length, config.features.n_mels = 256, 128, 24
    config.model.name = "logistic"
    config.model.l2 = (1e-3, 1e-2)
    config.train.batch_size = 4
    for name, value in model.items():
        setattr(config.model, name, value)
    return config


@pytest.fixture(name="songs", scope="module")
def _songs(tmp_path_factory):
    """Paths and labels of six high and six low tones in noise."""
    folder, random = tmp_path_factory.mktemp("songs"), np.random.default_rng(0)
    paths, labels = [], []
    for number in range(12):
        label = ("low", "high")[number % 2]
        pitch = PITCHES[label] * random.uniform(0.9, 1.1)
        tone = 0.3 * np.sin(2 * np.pi * pitch * np.arange(RATE) / RATE)
        soundfile.write(folder / f"{number}.wav", tone + random.normal(size=RATE) * 0.05, RATE)
        paths.append(str(folder / f"{number}.wav"))
        labels.append(label)
    return paths, labels


@pytest.fixture(name="fitted", scope="module")
def _fitted(songs):
    return GenreClassifier(tiny_config()).fit(*songs)


def test_fit_predicts_what_it_learned(fitted, songs):
    paths, labels = songs
    assert fitted.classes_.tolist() == ["high", "low"]
    assert fitted.predict(paths).tolist() == labels
    assert fitted.score(paths, labels) == 1.0


def test_predict_proba_is_the_predictors_in_the_order_of_classes(fitted, songs):
    paths, _ = songs
    actual = fitted.predict_proba([paths[3], paths[0]])
    assert actual.shape == (2, 2)
    np.testing.assert_allclose(actual.sum(axis=1), 1, atol=1e-9)
    again = mgr_jax.load(fitted.workdir_).predict(paths[3]).probabilities
    np.testing.assert_allclose(actual[0], [again["high"], again["low"]], atol=1e-9)
    one = fitted.predict_proba(np.array(paths[:1])[:, None])  # A column, as in a data frame.
    np.testing.assert_allclose(one, fitted.predict_proba(paths[:1]), atol=1e-12)


def test_fit_holds_back_a_share_of_each_class_drawn_by_random_state(fitted, songs):
    split = fitted.predictor_.run.split
    label_of = dict(zip(*songs, strict=True))
    assert sorted(label_of[name] for name in split.valid) == ["high", "low"]
    assert sorted(split.train + split.valid) == sorted(songs[0]) and not split.test


def test_classes_keep_their_type_and_order(songs):
    paths, labels = songs
    years = [{"low": 9, "high": 10}[label] for label in labels]  # As text, 10 comes before 9.
    model = GenreClassifier(tiny_config()).fit([*paths, paths[0]], np.array([*years, years[0]]))
    assert model.classes_.tolist() == [9, 10] and model.predict(paths).tolist() == years


@pytest.mark.slow
def test_classifier_cross_validates_within_a_pipeline_and_leaves_nothing_behind(
    songs, tmp_path, monkeypatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    paths, labels = songs
    add_suffix = FunctionTransformer(lambda names: [f"{name}.wav" for name in names])
    pipeline = make_pipeline(add_suffix, GenreClassifier(tiny_config()))
    names = [path.removesuffix(".wav") for path in paths]
    scores = cross_val_score(pipeline, names, labels, cv=2, error_score="raise")
    assert scores.min() >= 5 / 6
    del pipeline
    assert not list(tmp_path.glob("mgr_jax_*"))


def test_clone_is_not_fitted_and_has_the_same_parameters(fitted):
    copied = clone(fitted)
    assert copied.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        copied.predict(["song.wav"])


def test_fitted_classifier_is_not_serialised(fitted):
    with pytest.raises(TypeError, match="give it a workdir"):
        fitted.__reduce_ex__(4)
    clone(fitted).__reduce_ex__(4)  # As joblib needs it for several processes.


def test_fit_names_files_that_cannot_be_read(songs, tmp_path):
    (tmp_path / "letter.wav").write_text("no audio")
    paths, labels = [*songs[0], str(tmp_path / "letter.wav")], [*songs[1], "low"]
    with pytest.warns(UserWarning, match=r"1 file\(s\) left out: .*letter.wav cannot be decoded"):
        model = GenreClassifier(tiny_config()).fit(paths, labels)
    with pytest.raises(ValueError, match=r"letter.wav.* cannot be decoded .*; leave it out"):
        model.predict(paths)


def test_fit_in_a_workdir_goes_on_there_and_refuses_other_files(songs, tmp_path):
    paths, labels = songs
    folder = tmp_path / "run"
    config = tiny_config()
    config.data.cache = str(tmp_path / "cache")
    first = GenreClassifier(config, workdir=folder).fit(paths, labels)
    stamp = os.stat(folder / "model" / "params.npz").st_mtime_ns
    second = GenreClassifier(config, workdir=folder).fit(paths, labels)
    assert os.stat(folder / "model" / "params.npz").st_mtime_ns == stamp
    np.testing.assert_array_equal(first.predict_proba(paths), second.predict_proba(paths))
    with pytest.raises(UserError, match="fitted on other files or labels"):
        GenreClassifier(config, workdir=folder).fit(paths[:6], labels[:6])
    with pytest.raises(UserError, match=r"features\.n_mels"):
        config.features.n_mels = 20
        GenreClassifier(config, workdir=folder).fit(paths, labels)


@pytest.mark.slow
def test_classifier_trains_a_network(songs):
    config = tiny_config(name="bbnn", width=2, num_modules=1)
    config.features.kind = "logmel"
    config.train.num_epochs = 2
    model = GenreClassifier(config).fit(*songs)
    assert model.predictor_.config.model.name == "bbnn" and model.predictor_.step > 0
    best = model.predict_proba(songs[0]).argmax(axis=1)
    assert model.predict(songs[0]).tolist() == model.classes_[best].tolist()


@pytest.mark.parametrize(
    ("paths", "labels", "message"),
    [
        (np.zeros((4, 2)), [0, 0, 1, 1], "X must be a list of paths"),
        ("song.wav", ["a"], "X must be a list of paths"),
        ([], [], "X has 0 files"),
        (["a.wav", "b.wav"], ["x"], "inconsistent numbers of samples"),
        (["a.wav", "b.wav"], ["x", "x"], "y has 1 class"),
        (["a.wav", "b.wav", "c.wav"], ["x", "x", "y"], "class 'y' has 1 different file"),
        (["a.wav", "a.wav"], ["x", "y"], "stands twice"),
        (["a.wav", "b.wav"], [0.5, 0.7], "Unknown label type"),
    ],
)
def test_fit_refuses_bad_arguments(paths, labels, message):
    with pytest.raises(ValueError, match=message):
        GenreClassifier(tiny_config()).fit(paths, labels)


def test_fit_refuses_bad_parameters(songs):
    with pytest.raises(ValueError, match=r"validation_fraction is 1\.5"):
        GenreClassifier(tiny_config(), validation_fraction=1.5).fit(*songs)
    with pytest.raises(TypeError, match="config is a int"):
        GenreClassifier(3).fit(*songs)
    with pytest.raises(ValueError, match="config 'mert' is unknown; give a Config or logistic,"):
        GenreClassifier("mert").fit(*songs)
    with pytest.raises(ValueError, match=r"'logstic' is unknown \(did you mean 'logistic'\?\)"):
        GenreClassifier("logstic").fit(*songs)
    with pytest.raises(ValueError, match=r"from experiments.configs import bbnn; bbnn.get_config"):
        GenreClassifier("bbnn").fit(*songs)


@pytest.mark.e2e
def test_fit_takes_the_name_of_a_config(songs):
    named = GenreClassifier("musicnn").fit(*songs)
    assert named.predictor_.config.features.kind == "musicnn"
    assert (named.predict(songs[0]) == songs[1]).all()
    assert GenreClassifier(named.config).get_params() == clone(named).get_params()


def test_fields_of_the_config_are_parameters():
    classifier = GenreClassifier(model="svm", optim__learning_rate=0.5)
    assert classifier.get_params()["optim__learning_rate"] == 0.5
    assert clone(classifier).get_params() == classifier.get_params()
    classifier.set_params(train__seed=np.int64(3), model="logistic", verbose=True)
    config = classifier._config(pathlib.Path("folder"))
    assert (config.train.seed, config.optim.learning_rate, config.model.name) == (
        3,
        0.5,
        "logistic",
    )
    assert classifier.verbose and "train__seed=" in repr(classifier)
    grid = list(ParameterGrid({"model": ["svm", "logistic"], "features__n_mfcc": [10, 20]}))
    assert len({clone(classifier).set_params(**point).features__n_mfcc for point in grid}) == 2


@pytest.mark.parametrize("name", ["model__nothing", "n_mfcc", "other__name"])
def test_unknown_parameters_are_refused(name):
    for classifier in (GenreClassifier(**{name: 1}), GenreClassifier().set_params(**{name: 1})):
        with pytest.raises(ValueError, match=f"no parameter '{name}'"):
            classifier._config(pathlib.Path("folder"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"config": "svm", "model": "logistic"}, "two names"),
        ({"config": tiny_config(), "model": "svm"}, "give one of them"),
        ({"model": "mert"}, "config 'mert' is unknown"),
        ({"train__seed": "x"}, "train.seed"),
        ({"features__n_mfcc": -1}, "features.n_mfcc is -1"),
    ],
)
def test_fit_refuses_contradictions_and_wrong_fields(songs, arguments, words):
    with pytest.raises((ValueError, UserError), match=words):
        GenreClassifier(**arguments).fit(*songs)


# The checks of scikit-learn that need no table of numbers. `check_estimator` itself skips all
# estimators whose tags exclude two-dimensional arrays.
@pytest.mark.parametrize(
    "name",
    [
        "check_do_not_raise_errors_in_init_or_set_params",
        "check_estimator_cloneable",
        "check_estimator_repr",
        "check_estimator_tags_renamed",
        "check_estimators_unfitted",
        "check_get_params_invariance",
        "check_mixin_order",
        "check_no_attributes_set_in_init",
        "check_parameters_default_constructible",
        "check_set_params",
        "check_valid_tag_types",
    ],
)
def test_classifier_passes_scikit_learns_check(name):
    getattr(estimator_checks, name)("GenreClassifier", GenreClassifier())


class OfRows(GenreClassifier):
    """A `GenreClassifier` whose X is a table, for scikit-learn's checks: rows become files."""

    folder = ""

    def fit(self, X, y):
        return super().fit(self._files(X), y)

    def predict_proba(self, X):
        return super().predict_proba(self._files(X))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array, tags.input_tags.two_d_array = False, True
        tags.input_tags.string = False
        return tags

    def _files(self, X):
        if not isinstance(X, np.ndarray) or X.ndim != 2:
            return X
        paths = []
        for row in X:
            # Each column is a note, whose level is its value; the file is named by the values.
            values = np.asarray(row, float)
            # Large values have different levels as well: equal files may not have two labels.
            levels = 0.1 / (1 + np.exp(-values)) + 1e-5 * values
            time = np.arange(RATE // 2) / RATE
            notes = np.sin(2 * np.pi * 300 * 1.5 ** np.arange(len(row))[:, None] * time)
            name = "_".join(f"{value:.6g}" for value in row[:4])
            paths.append(os.path.join(self.folder, f"{name}.wav"))
            soundfile.write(paths[-1], levels @ notes + 1e-3, RATE, subtype="FLOAT")
        return paths


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "check_dict_unchanged",
        "check_dont_overwrite_parameters",
        "check_estimators_fit_returns_self",
        "check_estimators_overwrite_params",
        "check_fit_check_is_fitted",
        "check_fit_idempotent",
        "check_fit_score_takes_y",
        "check_methods_sample_order_invariance",
        "check_methods_subset_invariance",
        "check_classifiers_classes",
        "check_classifiers_regression_target",
        "check_pipeline_consistency",
        "check_requires_y_none",
    ],
)
def test_classifier_passes_scikit_learns_check_on_rows_played_as_tones(name, tmp_path):
    OfRows.folder = str(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Rows may be equal.
        getattr(estimator_checks, name)("OfRows", OfRows(tiny_config()))

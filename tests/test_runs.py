"""The commands as functions: the same results as the commands, on data of one's own."""

import inspect
import json
import pathlib
import runpy
import sys

import pytest

import mgr_jax
from mgr_jax import config as config_lib
from mgr_jax import runs
from mgr_jax.errors import UserError
from tests.config_with import config_with
from tests.test_genre_classifier import PITCHES, RATE, tiny_config


@pytest.mark.parametrize(
    ("before", "data", "name"),
    [
        ("band", "songs", "folder"),
        ("band", "songs.CSV", "manifest"),
        ("arrays", "x.npz", "arrays"),
        ("gtzan", "genres", "gtzan"),
    ],
)
def test_with_data_chooses_the_kind_of_data(before, data, name):
    config = config_with(**{"data.name": before})
    chosen = runs.with_data(config, data).data
    assert (chosen.name, chosen.root) == (name, data)
    assert (config.data.name, config.data.root) == (before, "")


def test_with_data_of_none_is_a_copy():
    config = config_lib.Config()
    copied = runs.with_data(config, None)
    assert copied == config and copied.data is not config.data


def test_with_data_takes_the_name_of_a_config():
    config = runs.with_data("svm", "songs")
    assert (config.model.name, config.data.root) == ("svm", "songs")
    with pytest.raises(ValueError, match="'none' is unknown"):
        runs.with_data("none", None)


def test_report_is_its_values_in_words(tmp_path):
    report = runs.Report({"accuracy": 0.5}, "50 % <b>")
    assert report["accuracy"] == 0.5 and json.dumps(report) == '{"accuracy": 0.5}'
    assert repr(report) == "50 % <b>" and report._repr_html_() == "<pre>50 % &lt;b&gt;</pre>"
    page = tmp_path / "report.html"
    page.write_text('<p class="x">')
    shown = runs.Report({}, "", page)._repr_html_()
    assert shown.startswith('<iframe srcdoc="&lt;p class=&quot;x&quot;&gt;"')
    page.unlink()
    assert runs.Report({}, "50 %", page)._repr_html_() == "<pre>50 %</pre>"


def test_the_package_shows_what_there_is():
    assert set(dir(mgr_jax)) == {*mgr_jax.__all__, "__version__"}
    assert mgr_jax.train is runs.train and mgr_jax.Config is config_lib.Config
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        mgr_jax.nothing  # noqa: B018
    assert mgr_jax.tagger.load and mgr_jax.features and mgr_jax.UserError is UserError


def test_pages_of_the_package_have_its_functions(monkeypatch):
    monkeypatch.setitem(sys.modules, "pdoc", sys)
    assert mgr_jax.__file__
    values = runpy.run_path(mgr_jax.__file__)
    assert values.keys() >= set(mgr_jax.__all__) and values["train"] is runs.train


def test_compare_of_one_is_refused():
    with pytest.raises(UserError, match=r"^workdirs: give two or more"):
        runs.compare(["one"])
    for wrong in ("one", pathlib.Path("one"), [], None):
        with pytest.raises(UserError, match=r"^workdirs: give two or more"):
            runs.compare(wrong)


def test_evaluate_and_compare_refuse_an_unknown_part_and_names_too_few():
    for call in (runs.evaluate, lambda *args: runs.compare([args[0], "b"], args[1])):
        with pytest.raises(UserError, match="part 'hash' is unknown; give train, valid, test"):
            call("a", "hash")
    with pytest.raises(UserError, match="1 for 2 systems"):
        runs.compare(["a", "b"], names=["a"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"protocols": "holdout"}, "protocols: 'holdout' has no folds"),
        ({"protocols": []}, "protocols is empty"),
        ({"protocols": ["kfold", "kfold"]}, "protocols names one protocol twice"),
        ({"protocols": "kfold", "seeds": 0}, "seeds is 0"),
        ({"protocols": "kfold", "seeds": 1.5}, "seeds is 1.5; it must be a whole number"),
        ({"protocols": "kfold", "seeds": "5"}, "seeds is '5'"),
    ],
)
def test_cross_validate_refuses_wrong_arguments(tmp_path, arguments, words):
    with pytest.raises(UserError, match=f"^{words}"):
        mgr_jax.cross_validate("logistic", tmp_path, **arguments)


def test_a_folder_without_a_name_is_refused_before_anything_is_trained():
    for call in (mgr_jax.train, mgr_jax.cross_validate):
        with pytest.raises(UserError, match=r"^workdir is empty"):
            call("logistic", "")


def test_arguments_have_the_names_of_the_flags():
    for call in (mgr_jax.train, mgr_jax.evaluate, mgr_jax.cross_validate):
        assert "workdir" in inspect.signature(call).parameters
    assert "workdirs" in inspect.signature(mgr_jax.compare).parameters


@pytest.mark.parametrize("config", [None, {"model": "svm"}])
def test_train_refuses_what_is_no_config(tmp_path, config):
    with pytest.raises(TypeError, match=r"^config is a .*; give a Config or a name"):
        mgr_jax.train(config, tmp_path / "run")


def test_errors_name_arguments_rather_than_flags(tmp_path):
    for call in (mgr_jax.evaluate, mgr_jax.load):
        with pytest.raises(UserError, match=r"\S: no (config.json|such folder)") as caught:
            call(str(tmp_path / "none"))
        assert "--" not in str(caught.value)
    with pytest.raises(UserError, match=r"first$") as caught:
        mgr_jax.compare([tmp_path, tmp_path / "b"])
    assert f"(in Python: mgr_jax.evaluate('{tmp_path}', 'test'))" in str(caught.value)


@pytest.mark.e2e
def test_own_songs_are_trained_evaluated_compared_and_cross_validated(tmp_path, capsys):
    import numpy as np
    import soundfile

    random, time = np.random.default_rng(0), np.arange(RATE) / RATE
    for label, pitch in PITCHES.items():
        for i in range(10):
            path = tmp_path / "songs" / label / f"{i}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            tone = np.sin(2 * np.pi * pitch * random.uniform(0.9, 1.1) * time)
            soundfile.write(path, 0.3 * tone + 0.02 * random.normal(size=RATE), RATE)
    config, songs = tiny_config(), tmp_path / "songs"
    config.data.cache, config.data.num_folds = str(tmp_path / "cache"), 2
    run = mgr_jax.train(config, tmp_path / "run", data=songs)
    assert run.split.protocol == "kfold" and config.data.name == "band"
    report = mgr_jax.evaluate(tmp_path / "run")
    assert report == json.loads((tmp_path / "run/eval/test/report.json").read_text())
    assert f"n = {report['n']}" in repr(report) and "<iframe" in report._repr_html_()
    mgr_jax.train(config, tmp_path / "run", data=songs)  # Nothing is left to do.
    config.data.seed = 1
    with pytest.raises(UserError, match=r"data\.seed"):
        mgr_jax.train(config, tmp_path / "run", data=songs)
    config.data.seed = 0
    pooled = mgr_jax.cross_validate(
        config, tmp_path / "folds", data=songs, protocols=["kfold"], seeds=1
    )
    assert pooled["protocols"]["kfold"]["n"] == 20
    assert pooled.path == tmp_path / "folds/report.html" and "<iframe" in pooled._repr_html_()
    seed = tmp_path / "folds/kfold/seed0"
    compared = mgr_jax.compare([seed, seed], names=["a", "b"])
    assert "not distinguishable" in repr(compared) or "no difference" in repr(compared)
    assert "devices" in capsys.readouterr().out

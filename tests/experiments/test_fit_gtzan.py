"""Fitting the GTZAN model and evaluating it on files, with noise in place of music."""

import csv
import json

import numpy as np
import pytest

from mgr_jax.classical import fusion, library, tag_head, views
from mgr_jax.data import gtzan as gtzan_data
from mgr_jax.errors import UserError
from mgr_jax.pretrained import gtzan
from tests.experiments import commands

pytestmark = pytest.mark.e2e

GENRES = ("classical", "metal")
# Of each part, the first tracks by different artists.
PARTS = {"train": 6, "valid": 2, "test": 3}


def _tracks(part):
    artists = {}
    for name, fact in sorted(gtzan_data.facts().items()):
        label = name.split(".")[0]
        if fact.part == part and label in GENRES:
            artists.setdefault(label, {}).setdefault(fact.artist, name)
    return [name for label in GENRES for name in list(artists[label].values())[: PARTS[part]]]


def _save(folder, names, tagged):
    random = np.random.default_rng(len(names))
    is_metal = np.array([name.startswith("metal") for name in names])
    noise = random.normal(size=(len(names), 496, 128)) * (20 + 40 * is_metal[:, None, None])
    np.savez(
        folder / "arrays.npz",
        spectrogram=np.clip(noise + 128, 0, 255).astype(np.uint8),
        track_id=np.array(names),
        label=np.array([name.split(".")[0] for name in names]),
        scale=np.float32(0.01),
        offset=np.float32(-1.3),
    )
    taggram = random.uniform(size=(len(tagged), 4, 50)) / 4
    taggram[[name.startswith("metal") for name in tagged], :, :25] += 0.5
    np.savez(
        folder / "tags.npz",
        taggram=taggram.reshape(-1, 50).astype(np.float32),
        track_id=np.repeat(tagged, 4),
        window=np.tile(np.arange(4), len(tagged)),
    )
    return f"--arrays={folder / 'arrays.npz'}", f"--taggrams={folder / 'tags.npz'}"


@pytest.fixture(scope="module")
def fitted(cache, tmp_path_factory):
    """The folder of a model on 16 tracks, the command's arguments and its output."""
    folder = tmp_path_factory.mktemp("fit")
    train = _tracks("train")
    files = _save(folder, [*train, *_tracks("valid"), *_tracks("test")], train[1:])
    arguments = (*files, f"--out={folder / 'model'}", "--seeds=1")
    small = {"texture": views.View("texture", n_bands=20)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "VIEWS", small)
        patch.setattr(library, "LINEAR", (("texture", "lda"),))
        patch.setattr(library, "LISTED", (("texture", "lda"), ("texture", "svm")))
        out, _ = commands.run(cache, "fit_gtzan", *arguments, f"--table={folder / 'table.md'}")
        yield folder, arguments, out


def test_fit_gtzan_writes_a_model_that_load_reads(fitted):
    folder, _, out = fitted
    assert "data      16 tracks, 11 of them with tags" in out
    model = gtzan.load(folder / "model")
    assert model.labels == GENRES
    assert model.trained_on == tuple(sorted([*_tracks("train"), *_tracks("valid")]))
    assert model.facts["n"] == 11 and model.facts["protocol"] == "artist_kfold"
    x = np.zeros((2, 496, 128), np.float32)
    tags = tag_head.summarize([np.full((3, 50), 0.1), np.full((1, 50), 0.9)])
    log_p = fusion.log_probabilities(model.params, x, tags)
    np.testing.assert_allclose(np.exp(log_p).sum(axis=1), 1, rtol=1e-6)
    assert fusion.relative_distances(model.params, tags).shape == (2,)


def test_fit_gtzan_prints_the_cross_validation(fitted):
    folder, _, out = fitted
    table = (folder / "table.md").read_text()
    assert table in out
    facts = gtzan.load(folder / "model").facts
    assert f"{100 * facts['num_correct'] / 11:.1f} % [" in table
    assert "(n = 11, artist_kfold)" in table and "McNemar p = " in table
    assert "(n = 11, artist_kfold)" in (folder / "model" / "README.md").read_text()


def test_fit_gtzan_writes_the_same_bytes_again(cache, fitted):
    folder, arguments, _ = fitted
    names = ("weights.safetensors", "model.json", "README.md")
    before = [(folder / "model" / name).read_bytes() for name in names]
    commands.run(cache, "fit_gtzan", *arguments)
    assert [(folder / "model" / name).read_bytes() for name in names] == before


def test_fit_gtzan_names_files_that_do_not_fit(cache, fitted, tmp_path):
    _, arguments, _ = fitted
    _, tags = _save(tmp_path, _tracks("train"), ["other.00000"])
    line = commands.fails(cache, "fit_gtzan", arguments[0], tags, f"--out={tmp_path}")
    assert f"--taggrams {tmp_path / 'tags.npz'}: has no track of" in line


def _evaluate_flags(files, model):
    arrays, tags = (flag.partition("=")[2] for flag in files)
    return f"--model={model}", f"--config.data.root={arrays}", f"--config.data.taggrams={tags}"


def test_evaluate_model_scores_what_both_files_have(cache, fitted, tmp_path):
    folder, _, _ = fitted
    test = _tracks("test")
    flags = _evaluate_flags(_save(tmp_path, test, test[1:]), folder / "model")
    out, _ = commands.run(cache, "evaluate", *flags, f"--workdir={tmp_path / 'run'}")
    report = json.loads((tmp_path / "run/eval/test/report.json").read_text())
    assert (report["n"], report["protocol"]) == (5, "fault_filtered")
    assert "(n = 5, fault_filtered)" in out and f"missing from the data: {test[0]}" in out
    assert report["shared_artists"] == [] and report["accuracy"] >= 0.6
    with open(tmp_path / "run/eval/test/predictions.csv", encoding="utf-8") as file:
        assert [row["track_id"] for row in csv.DictReader(file)] == test[1:]
    before = sorted(tmp_path.rglob("*"))
    alone, _ = commands.run(cache, "evaluate", *flags, "--split=test")
    assert "(n = 5, fault_filtered)" in alone and "report.html" in out
    assert "report.html" not in alone and sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("part", ["train", "valid"])
def test_evaluate_model_refuses_tracks_that_were_trained_on(cache, fitted, part):
    folder, arguments, _ = fitted
    flags = _evaluate_flags(arguments[:2], folder / "model")
    line = commands.fails(cache, "evaluate", *flags, f"--split={part}")
    assert "the model was trained on" in line and _tracks(part)[0] in line


def test_evaluate_model_names_classes_tags_and_flags_that_do_not_fit(cache, fitted, tmp_path):
    model = fitted[0] / "model"
    flags = _evaluate_flags(
        _save(tmp_path, ["jazz.00073", *_tracks("test")], ["jazz.00073"]), model
    )
    assert "'jazz' is unknown" in commands.fails(cache, "evaluate", *flags)
    flags = _evaluate_flags(_save(tmp_path, _tracks("test"), ["other.00000"]), model)
    assert "has no track of part" in commands.fails(cache, "evaluate", *flags)
    line = commands.fails(cache, "evaluate", *flags[:2])
    assert "--config.data.taggrams is missing" in line
    line = commands.fails(cache, "evaluate", *flags, "--config.data.fold=1")
    assert "--config.data.fold: does not apply" in line
    assert "--checkpoint" in commands.fails(cache, "evaluate", *flags, "--checkpoint=latest")
    line = commands.fails(cache, "evaluate", *flags, "--split=valid")
    assert "has no track of part 'valid'; set --split" in line
    assert "--workdir is missing" in commands.fails(cache, "evaluate")


def test_load_names_a_folder_that_is_damaged(fitted, tmp_path):
    folder, _, _ = fitted
    with pytest.raises(UserError, match="is not a folder of"):
        gtzan.load(tmp_path)
    for name in ("weights.safetensors", "model.json"):
        (tmp_path / name).write_bytes((folder / "model" / name).read_bytes()[:-40])
    with pytest.raises(UserError, match="fit it again"):
        gtzan.load(tmp_path)

"""Training, evaluation and cross-validation on an array file, through the command line."""

import json

import numpy as np
import pytest

from tests.experiments import commands

arrays = commands.load("arrays")
CONFIG = "--config=experiments/configs/gtzan_arrays.py"
TUNED = ("bbnn_tuned", "cnn_tuned", "cnn_lstm_tuned", "rnn_tuned")


def save(path, *, names, parts, artists=None, num_frames=496, seed=0):
    """Spectrograms of ten classes, each with more energy in bins of its own."""
    random = np.random.default_rng(seed)
    labels = np.arange(len(names)) % 10
    spectrogram = random.normal(size=(len(names), num_frames, 128)).astype(np.float16)
    for row, label in enumerate(labels):
        spectrogram[row, :, 12 * label : 12 * label + 12] += 2
    np.savez(
        path,
        spectrogram=spectrogram,
        label=np.array([f"genre {label}" for label in labels]),
        track_id=np.array(names),
        split=np.array(parts),
        artist=np.array(
            [(artists or {}).get(i, f"artist of {name}") for i, name in enumerate(names)]
        ),
    )
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    parts = ["train"] * 40 + ["valid"] * 10 + ["test"] * 10
    path = tmp_path_factory.mktemp("arrays") / "arrays.npz"
    return save(path, names=[f"track {i}" for i in range(60)], parts=parts)


def test_plant_tone_refuses_arrays(cache, file, tmp_path):
    arguments = (f"{CONFIG}:logistic", f"--config.data.root={file}", f"--out={tmp_path / 'horse'}")
    _, err = commands.run(cache, "plant_tone", *arguments, code=1)
    assert "holds no audio; give data with audio" in err and not (tmp_path / "horse").exists()


def test_to_table_names_the_best_baseline_and_tests_against_it_and_logistic_regression():
    ids = [f"{i}" for i in range(40)]
    groups = {name: name for name in ids}
    correct = {
        "": dict.fromkeys(ids, True),
        "lda": {name: int(name) < 20 for name in ids},
        "logistic": {name: int(name) < 10 for name in ids},
    }
    first, second, third = (
        [cell.strip() for cell in line.split("|")]
        for line in arrays.to_table(correct, groups).splitlines()[2:5]
    )
    assert first[1:4] == ["recipe (ensemble)", first[2], "0.0"] and first[2].startswith("100.0 %")
    # Two to the power of minus the discordant tracks, both sides.
    assert first[4].startswith("+50.0 points [+33.3, +66.7], McNemar p = 1.9e-06, by artist")
    assert first[5].startswith("+75.0 points [+61.1, +88.9], McNemar p = 1.9e-09, by artist")
    assert second[1] == "LDA, shrunk" and second[4] == "the best baseline"
    assert second[5].startswith("+25.0 points [+11.1, +38.9], McNemar p = 0.002")
    assert third[4].startswith("-25.0 points [-38.9, -11.1], ") and not third[5]


def test_to_table_decides_by_artist_after_holm_over_the_rivals():
    """Nine artists: 2 / 2**9 = 0.0039 for the LDA; SVM: 6 of 6 artists, 0.031, twice that."""
    ids = [f"{artist}/{take}" for artist in range(9) for take in range(5)]
    correct = {
        "logistic": dict.fromkeys(ids, False),
        "svm": {name: int(name[0]) < 6 for name in ids},
        "lda": dict.fromkeys(ids, True),
        "rnn": dict.fromkeys(ids, False),
    }
    *rows, _, methods = arrays.to_table(correct, {name: name[0] for name in ids}).splitlines()[2:]
    cells = {row.split(" | ")[0].strip("| "): row.split(" | ")[-1].strip("| ") for row in rows}
    assert cells["LDA, shrunk"].endswith("by artist 0.0039, after Holm 0.012: better")
    assert cells["SVM on PCA"].endswith("by artist 0.031, after Holm 0.062: not distinguishable")
    assert cells["RNN (GRU)"].endswith("by artist 1, after Holm 1: not distinguishable")
    assert "by artist (n = 45, 9 artists, artist_kfold" in rows[1]
    assert "over 9 artists" in methods and methods.endswith("Holm's correction over 3 systems.")


def test_expand_takes_the_recipe_and_the_tuned_networks_by_name():
    assert arrays.expand([]) == list(arrays.SYSTEMS)
    assert arrays.expand(["logistic", "recipe", "networks"]) == ["logistic", "", *arrays.NETWORKS]


def test_to_table_compares_the_recipe_with_and_without_networks():
    ids = [f"{i}" for i in range(20)]
    correct = {
        "": {name: int(name) < 10 for name in ids},
        "rnn_tuned": {name: int(name) < 8 for name in ids},
        "rnn_last": {name: int(name) < 7 for name in ids},
        "member": {name: int(name) < 15 for name in ids},
    }
    lines = arrays.to_table(correct, {name: name for name in ids}).splitlines()
    assert lines[2].startswith("| recipe with the mean of the tuned networks as a member | 75.0 %")
    assert any(line.startswith("| GRU, tuned, its last state | 35.0 %") for line in lines)
    # Five tracks to none: 2 / 2**5.
    assert lines[-1].startswith("The networks as a member of the recipe: +25.0 points [")
    assert lines[-1].endswith("McNemar p = 0.062, by artist 0.062.")


@pytest.mark.slow
def test_a_workdir_scores_a_file_that_it_has_never_seen_and_refuses_one_that_it_has(
    cache, file, tmp_path
):
    workdir = tmp_path / "run"
    options = (f"{CONFIG}:lda", f"--config.data.root={file}", f"--workdir={workdir}")
    commands.run_process(cache, "train", *options)
    names = [f"new {i}" for i in range(20)]
    new = save(tmp_path / "new.npz", names=names, parts=["test"] * 20, seed=1)
    root = f"--config.data.root={new}"
    out, _ = commands.run_process(cache, "evaluate", f"--workdir={workdir}", root)
    assert "(n = 20, listed)" in out
    report = json.loads((workdir / "eval" / "test" / "report.json").read_text())
    assert report["accuracy"] > 0.9
    assert report["shared_artists"] == [] and report["artists_known"] == 20
    shared = save(
        tmp_path / "shared.npz", names=names, parts=["test"] * 20, artists={4: "ARTIST of track 3"}
    )
    out, _ = commands.run_process(
        cache, "evaluate", f"--workdir={workdir}", f"--config.data.root={shared}"
    )
    assert "this split leaks: 1 artist and" in out
    names[4] = "track 3"
    new = save(tmp_path / "leak.npz", names=names, parts=["test"] * 20, seed=1)
    line = commands.fails(cache, "evaluate", f"--workdir={workdir}", f"--config.data.root={new}")
    assert "trained on track 3" in line


@pytest.mark.slow
@pytest.mark.parametrize(
    "variant",
    ["bbnn", "cnn", "cnn_lstm", "rnn", "logistic", "svm", *TUNED],
)
def test_every_system_trains_and_is_evaluated_on_arrays(cache, file, tmp_path, variant):
    options = (f"--config.data.root={file}", "--config.train.num_epochs=1")
    workdir = f"--workdir={tmp_path}"
    commands.run_process(cache, "train", f"{CONFIG}:{variant}", workdir, *options)
    out, _ = commands.run_process(cache, "evaluate", workdir)
    assert "(n = 10, listed)" in out


@pytest.mark.slow
def test_a_network_refits_and_keeps_its_last_state(cache, file, tmp_path):
    options = (f"--config.data.root={file}", "--config.train.num_epochs=2")
    workdir = f"--workdir={tmp_path}"
    commands.run_process(
        cache, "train", f"{CONFIG}:rnn", workdir, *options, "--config.train.refit=True"
    )
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert "valid_accuracy" not in json.loads(lines[-1])
    commands.run_process(cache, "evaluate", workdir)
    report = json.loads((tmp_path / "eval" / "test" / "report.json").read_text())
    assert report["checkpoint_step"] == json.loads(lines[-1])["step"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [13, 78])
def test_the_recipe_learns_and_says_what_it_weighs(cache, file, tmp_path, number):
    workdir = f"--workdir={tmp_path}"
    variant = "" if number == 13 else ":chosen"
    out, _ = commands.run_process(
        cache, "train", CONFIG + variant, workdir, f"--config.data.root={file}"
    )
    assert f"of {number}; share, and how many of " in out
    (record,) = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert len(record["accuracy"]) == number and set(record["weights"]) <= set(record["accuracy"])
    assert sum(record["weights"].values()) == pytest.approx(1)
    commands.run_process(cache, "evaluate", workdir)
    report = json.loads((tmp_path / "eval" / "test" / "report.json").read_text())
    assert report["accuracy"] > 0.8

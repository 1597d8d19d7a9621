"""The numbers of systems for a paper are those of their reports, and of cross-validations."""

import csv
import dataclasses
import io

import numpy as np
import pytest

from mgr_jax.errors import UserError
from mgr_jax.evaluation import cross_validation, pooled, results
from mgr_jax.evaluation.reports import published
from tests.evaluation import test_compare, test_pooled
from tests.evaluation.reports import evaluated, systems

pytestmark = pytest.mark.usefixtures("quick_figures")


def test_measure_gives_the_numbers_of_the_report(run, data):
    report, _ = evaluated.write(run, data)
    (system,) = published.read([str(run.path)], "test")
    values = published.measure(system)
    for field in ("accuracy", "ci95", "n", "num_correct", "num_groups", "grouped_by"):
        assert values[field] == report[field]
    assert values["confusion_matrix"].tolist() == report["confusion_matrix"]
    for name, row in values["classes"].items():
        assert row["f1_ci95"] == report["f1_ci95"][name]
        for field in ("precision", "recall", "f1"):
            assert row[field] == pytest.approx(report["per_class"][name][field])
    assert values["classes"]["macro avg"]["accuracy"] == report["accuracy"]
    assert system.name == "run" and system.config["model"]["name"] == "bbnn"


def test_measure_of_a_class_is_its_recall_with_an_interval_by_artist():
    system = systems.system(n=36)
    values = published.measure(system)
    first = system.seeds[0]
    own = np.array([label == systems.LABELS[1] for label in first.labels])
    counted = results.count(first.correct[own], np.array(first.groups)[own])
    row = values["classes"][systems.LABELS[1]]
    assert {name: row[name] for name in counted if name != "ci95_wilson"} == {
        name: value for name, value in counted.items() if name != "ci95_wilson"
    }
    assert row["accuracy"] == pytest.approx(row["recall"])
    assert row["interval"] == "wilson_at_effective_n_by_artist"


def test_measure_of_several_trainings_is_that_of_the_cross_validation(tmp_path):
    answers = test_compare._two(n=24)
    artists = [f"{i // 2}" for i in range(24)]
    for seed, correct in enumerate(answers):
        folder = tmp_path / "artist_kfold" / f"seed{seed}"
        test_pooled._write_folds(folder, correct.tolist(), groups=artists)
    (system,) = published.read([str(tmp_path)], "test")
    assert system.name == f"{tmp_path.name}, artist_kfold"
    values = published.measure(system)
    folds = [
        cross_validation.read_fold(
            tmp_path / "artist_kfold" / f"seed{seed}" / f"fold{fold}",
            protocol="artist_kfold", seed=seed, fold=fold,
        )
        for seed in range(2) for fold in range(2)
    ]  # fmt: skip
    tracks = [pooled.Track(f"t{i:03}", "", "ab"[i // 2 % 2], artist=artists[i]) for i in range(24)]
    report = cross_validation.make_report(folds, tracks, system="bbnn", data="band")
    expected = report["protocols"]["artist_kfold"]
    for field in ("accuracy", "ci95", "n", "num_groups"):
        assert values[field] == expected[field]
    assert values["interval"] == "wilson_by_artist_and_seed"
    assert values["num_correct"] is None and values["num_seeds"] == 2
    assert values["confusion_matrix"].sum() == 48


def test_measure_of_tracks_without_artists_is_by_track():
    values = published.measure(systems.system(per_artist=1))
    assert values["grouped_by"] == "track" and values["interval"] == "wilson"
    several = published.measure(systems.system(per_artist=1, seeds=(0, 1)))
    assert several["interval"] == "wilson_by_track_and_seed"
    alone = published.measure(systems.system(per_artist=30))
    assert alone["ci95"] is None and alone["interval"] == ""


def test_measure_names_an_unknown_class():
    evaluation = dataclasses.replace(systems.evaluation(), predicted=("x",) * 30)
    with pytest.raises(UserError, match="predicted class 'x' is none of its labels"):
        published.measure(published.System("a", (evaluation,)))


def test_sections_keep_test_sets_trainings_and_protocols_of_folds_apart():
    folded = {"checkpoint_step": None}
    chosen = [
        systems.system("worse", share=0.2),
        systems.system("better", share=0.9),
        systems.system("other", n=33),
        systems.system("seeds", seeds=(0, 1)),
        systems.system("kfold", protocol="kfold", **folded),
        systems.system("artists", protocol="artist_kfold", **folded),
    ]
    names = [[system.name for system in group] for group in published.sections(chosen)]
    assert names == [["better", "worse"], ["other"], ["seeds"], ["kfold"], ["artists"]]


def test_to_csv_has_a_row_for_each_system_and_class():
    chosen = [systems.system("=a, b"), systems.system("c", seeds=(0, 1))]
    measured = list(map(published.measure, chosen))
    text = published.to_csv(chosen, measured)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["class"] for row in rows] == ["", *systems.LABELS] * 2
    assert rows[0]["run"] == "'=a, b"
    for row, values in ((rows[0], measured[0]), (rows[4], measured[1])):
        assert float(row["accuracy"]) == pytest.approx(values["accuracy"], abs=1e-6)
        ends = float(row["accuracy_low"]), float(row["accuracy_high"])
        assert ends == pytest.approx(values["ci95"], abs=1e-6)
        assert row["accuracy_interval"] == values["interval"]
        assert (row["n"], row["num_groups"], row["grouped_by"]) == ("30", "10", "artist")
        assert row["protocol"] == "listed" and row["git_commit"] == "ab"
        assert len(row["config_hash"]) == 64 and row["version_jax"] == "0.10"
        assert float(row["f1"]) == pytest.approx(values["classes"]["macro avg"]["f1"], abs=1e-6)
    assert rows[4]["num_seeds"] == "2" and rows[4]["f1_low"] == rows[4]["num_correct"] == ""
    assert text == published.to_csv(chosen, measured)

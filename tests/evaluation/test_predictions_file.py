"""Predictions of somebody else in a comparison: what is read, and what is refused."""

import numpy as np
import pytest

from mgr_jax.errors import UserError
from mgr_jax.evaluation import compare, predictions_file, stats

IDS = ("jazz/a.wav", "jazz/b.wav", "pop/c.wav", "rock/d.wav")
LABELS = ("jazz", "jazz", "pop", "rock")


@pytest.fixture(name="run")
def _run():
    report = {
        "data": "folder", "part": "test", "system": "svm", "protocol": "holdout", "n": 4,
        "accuracy": 0.5, "num_correct": 2, "ci95": [0.15, 0.85], "checkpoint_step": 0,
        "labels": ["jazz", "pop", "rock"], "split_hash": "00", "per_class": {},
        "shared_artists": [], "shared_recordings": [],
    }  # fmt: skip
    groups = ("x", "x", "y", "z")
    correct = np.array([True, False, True, False])
    return compare.Evaluation("w", report, IDS, LABELS, correct, groups)


@pytest.mark.parametrize(
    "text",
    [
        "track_id,label,predicted\n{0},jazz,jazz\n{1},jazz,pop\n{2},pop,pop\n{3},rock,rock\n",
        "predicted,track_id\nJazz,{0}\npop,{1}\nrock,{3}\npop,{2}\n",
        "\ufefffile;y_true;y_pred\na.mp3;jazz;jazz\nb;jazz;pop\n/x/pop/c.wav;pop;pop\nd;rock;rock\n",
        "track_id\tjazz\tpop\trock\n{0}\t.5\t.4\t.1\n{1}\t.1\t.9\t0\n{2}\t0\t1\t0\n{3}\t-2\t-3\t-1\n",
        "sep=;\nSong;Rock;Pop;Jazz\n{0};0,1;0,4;0,5\n{1};0;0,9;0,1\n{2};0;1;0\n{3};1,5;0;0\n",
    ],
)
def test_read_takes_truth_and_groups_from_the_run(tmp_path, run, text):
    path = tmp_path / "theirs.csv"
    path.write_text(text.format(*IDS), "utf-8")
    theirs = predictions_file.read(str(path), "svm", run)
    assert theirs.correct.tolist() == [True, False, True, True]
    assert (theirs.ids, theirs.labels, theirs.groups) == (IDS, LABELS, run.groups)
    result = compare.compare([run, theirs], ["svm", "theirs"])
    (pair,) = result["pairs"]
    assert (pair["only_first"], pair["only_second"], pair["difference"]) == (0, 1, 0.25)
    assert pair["artist_p"] == stats.sign_flip_test(run.correct, theirs.correct, run.groups)
    assert result["notes"] == ["what theirs learned from is unknown, and may be these tracks"]
    assert result["systems"][1]["ci95_wilson"] == list(stats.wilson_interval(3, 4))


GOOD = "track_id,predicted\n" + "".join(f"{name},jazz\n" for name in IDS)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "it has no rows"),
        ("track_id,predicted\na,b,c\n", "line 2 has 3 cells, the header 2"),
        (
            GOOD.replace("track_id", "number"),
            "'track_id' is missing; its columns, separated by commas, are 'number', 'predicted'",
        ),
        (GOOD.replace("predicted", "guess"), "no column 'predicted', and none for class 'jazz'"),
        (GOOD.rpartition("rock")[0], r"lacks 1 of the 4 tracks of svm \('rock/d.wav'\) and has 0"),
        (GOOD + "pop/e.wav,pop\npop/f.wav,pop\n", "lacks 0 of the 4 tracks of svm and has 2 other"),
        (GOOD + "rock/d.wav,pop\n", "'rock/d.wav' is there twice"),
        (GOOD.replace(",jazz", ",hip-hop"), r"4 predictions are no class of svm \('hip-hop'\)"),
        (
            GOOD.replace("predicted", "predicted,label").replace(",jazz", ",jazz,jazz"),
            r"other labels for 2 of 4 tracks \('pop/c.wav' is 'jazz' there and 'pop' in svm\)",
        ),
        ("track_id,jazz,pop,rock\n" + "".join(f"{n},1,x,0\n" for n in IDS), "is no number"),
        ("track_id,jazz,pop,rock\n" + "".join(f"{n},1,nan,0\n" for n in IDS), "is not finite"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path, run, text, word):
    path = tmp_path / "theirs.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=word) as error:
        predictions_file.read(str(path), "svm", run)
    assert "\n" not in str(error.value) and "theirs.csv" in str(error.value)


def test_read_all_needs_a_workdir_and_its_files(tmp_path, run, monkeypatch):
    path = tmp_path / "theirs.csv"
    path.write_text(GOOD)
    with pytest.raises(UserError, match="only files; give a workdir too"):
        predictions_file.read_all([str(path)] * 2, ["a", "b"], "test")
    monkeypatch.setattr(compare, "read", lambda workdir, part: run)
    both = predictions_file.read_all([str(path), "w"], ["theirs", "w"], "test")
    assert both[1] is run and both[0].workdir == str(path)
    with pytest.raises(UserError, match=r"none\.csv cannot be read \(No such file"):
        predictions_file.read_all(["w", "none.csv"], ["w", "none"], "test")

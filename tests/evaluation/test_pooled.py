"""The folds of a cross-validation as one evaluation."""

import json

import pytest

from mgr_jax.errors import UserError
from mgr_jax.evaluation import compare, pooled
from tests.evaluation import test_compare


def test_read_folds_takes_the_folds_together(tmp_path):
    answers = test_compare._two(n=6)[0]
    whole = compare.read(test_compare._write(tmp_path / "whole", answers, groups="aabbcc"), "test")
    folds = tmp_path / "seed0"
    for fold in range(2):
        test_compare._write(
            folds / f"fold{fold}", answers[fold::2], groups="abc", shared_artists=[str(fold)]
        )
    assert pooled.has_folds(str(folds)) and not pooled.has_folds(str(tmp_path / "whole"))
    with pytest.raises(UserError, match="in two folds"):
        pooled.read_folds(str(folds), "test")
    for fold in range(2):  # Tracks 0, 2, 4 and 1, 3, 5.
        for name in ("predictions", "tracks"):
            path = folds / f"fold{fold}" / "eval" / "test" / f"{name}.csv"
            lines = path.read_text().splitlines()
            rows = [f"t{2 * int(line[1:4]) + fold:03}{line[4:]}" for line in lines[1:]]
            path.write_text("\n".join([lines[0], *rows]) + "\n")
    folded = pooled.read_folds(str(folds), "test")
    assert folded.ids == whole.ids and folded.labels == whole.labels
    assert folded.groups == whole.groups and folded.correct.tolist() == whole.correct.tolist()
    assert folded.report["n"] == 6 and folded.count() == whole.count()
    assert folded.report["shared_artists"] == ["0", "1"]
    assert compare.compare([whole, folded], ["whole", "folds"])["pairs"][0]["difference"] == 0


def _write_folds(folder, answers, *, groups=None, num_folds=2):
    """Write `answers` [N] as folds, track i in fold i % num_folds; tracks have `groups` as artists.

    The true classes are `a` and `b` in turn.
    """
    for fold in range(num_folds):
        ids = range(fold, len(answers), num_folds)
        path = folder / f"fold{fold}" / "eval" / "test"
        path.mkdir(parents=True)
        matrix = [[0, 0], [0, 0]]
        lines, tracks = ["track_id,label,predicted,a,b"], ["track_id,group,artist,recording"]
        for i in ids:
            label = "ab"[i // 2 % 2]
            predicted = label if answers[i] else "ba"["ab".index(label)]
            matrix["ab".index(label)]["ab".index(predicted)] += 1
            lines.append(f"t{i:03},{label},{predicted},0.5,0.5")
            artist = groups[i] if groups else ""
            first = next(j for j in ids if groups and groups[j] == artist) if artist else i
            tracks.append(f"t{i:03},t{first:03},{artist},")
        own = [answers[i] for i in ids]
        report = test_compare._report(own, confusion_matrix=matrix, protocol=folder.parent.name)
        (path / "report.json").write_text(json.dumps(report))
        (path / "predictions.csv").write_text("\n".join(lines) + "\n")
        (path / "tracks.csv").write_text("\n".join(tracks) + "\n")


def test_read_folds_joins_the_tracks_of_an_artist_in_several_folds(tmp_path):
    answers = test_compare._two(n=12)[0]
    _write_folds(tmp_path / "seed0", answers, groups="aabbccddeeff")
    folded = pooled.read_folds(str(tmp_path / "seed0"), "test")
    assert len(set(folded.groups)) == 6
    assert folded.groups[:4] == ("t000", "t000", "t002", "t002")
    assert folded.report["confusion_matrix"][0][0] == answers[[0, 1, 4, 5, 8, 9]].sum()
    assert sum(map(sum, folded.report["confusion_matrix"])) == 12
    assert folded.report["per_class"]["a"]["support"] == 6
    right = [p == t for p, t in zip(folded.predicted, folded.labels, strict=True)]
    assert right == folded.correct.tolist()


def test_read_takes_every_level_of_a_cross_validation(tmp_path):
    first, second = test_compare._two(n=12)
    for protocol in ("kfold", "artist_kfold"):
        for seed, answers in ((0, first), (2, first), (10, second)):
            _write_folds(tmp_path / protocol / f"seed{seed}", answers)
    read = pooled.read(str(tmp_path), "test")
    assert list(read) == ["kfold", "artist_kfold"]
    assert [e.correct.tolist() for e in read["kfold"]] == [
        first.tolist(), first.tolist(), second.tolist()
    ]  # fmt: skip
    assert read["kfold"][0].report["protocol"] == "kfold"
    (seeds,) = pooled.read(str(tmp_path / "kfold"), "test").values()
    assert len(seeds) == 3
    (seeds,) = pooled.read(str(tmp_path / "kfold" / "seed2"), "test").values()
    assert len(seeds) == 1
    fold = tmp_path / "kfold" / "seed2" / "fold1"
    assert len(pooled.read(str(fold), "test")[""][0].ids) == 6
    with pytest.raises(UserError, match=r"has no report\.json"):
        pooled.read(str(tmp_path / "none"), "test")

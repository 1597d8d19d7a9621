"""Which folder of a path is the class."""

import itertools
import pathlib

import pytest

from mgr_jax.data import layouts


def _classes(*names):
    return layouts.classes([pathlib.PurePosixPath(name) for name in names])


def test_classes_are_the_first_folders():
    names = ("rock/a.wav", "rock/live/b.wav", "train/c.wav", "jazz/test/d.wav")
    assert _classes(*names) == [("rock", ""), ("rock", ""), ("train", ""), ("jazz", "")]


@pytest.mark.parametrize(
    "parts", [("train", "test"), ("Training", "VAL", "testing"), ("train_set", "test_set")]
)
def test_classes_below_parts_are_the_second_folders(parts):
    names = [f"{p}/{c}/deep/a.wav" for p, c in itertools.product(parts, ("rock", "folk"))]
    placed = _classes(*names)
    assert [label for label, _ in placed] == ["rock", "folk"] * len(parts)
    assert placed[0][1] == "train" and placed[-1][1] == "test"


def test_parts_below_classes_are_the_split():
    names = ("rock/train/a.wav", "rock/test/b.wav", "folk/train/c.wav", "folk/dev/d.wav")
    assert _classes(*names) == [
        ("rock", "train"), ("rock", "test"), ("folk", "train"), ("folk", "valid")
    ]  # fmt: skip


def test_classes_may_be_numbers_and_hold_the_same_folders():
    names = ("1/a.wav", "2/live/b.wav", "rock/live/c.wav", "rock/studio/d.wav")
    assert [label for label, _ in _classes(*names)] == ["1", "2", "rock", "rock"]


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("train/r/a.wav", "holdout/r/b.wav"), "'train' names a part of a split and holds r, as"),
        (("train_1/r/a.wav", "train_2/r/b.wav"), "'train_1' names a part of a split"),
        (("mp3/r/a.mp3", "wav/r/a.wav", "mp3/f/b.mp3", "wav/f/b.wav"), "(mp3, wav) hold the same"),
        (("r/train/a.wav", "r/test/b.wav", "f/c.wav"), "divided in test, train, but 'f/c.wav' is"),
        (("fold_A/r/a.wav", "fold_B/r/b.wav"), "are folds, not classes"),
        (("train/a.wav", "test/b.wav"), "(test, train) are parts of a split, not classes, and 'a"),
        (("train/rock/a.wav", "test/b.wav"), "'b.wav' in test is in no class folder"),
        (("train/rock/a.wav", "train/folk/b.wav"), "(train) are one part of a split"),
        (("train/r/a.wav", "test/r/b.wav", "rock/c.wav"), "'rock' is none"),
        (("train/r/a.wav", "test_set/r/b.wav", "rock/c.wav"), "'rock' is none"),
        (("fold1/a.wav", "fold2/b.wav"), "(fold1, fold2) are folds, not classes"),
        (("CV 1/rock/a.wav", "cv_2/rock/b.wav"), "are folds, not classes"),
    ],
)
def test_other_layouts_of_parts_are_refused_by_name(names, reason):
    with pytest.raises(ValueError) as caught:
        _classes(*names)
    assert reason in str(caught.value)

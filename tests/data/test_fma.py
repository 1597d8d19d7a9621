"""FMA, from a tiny tree of its layout."""

import csv

import pytest

from mgr_jax import config as config_lib
from mgr_jax.data import fma, sources, splits
from mgr_jax.errors import UserError

GROUPS = ["", "album", "artist", "artist", "set", "set", "track", "track"]
FIELDS = ["", "title", "bio", "id", "split", "subset", "genre_top", "title"]
ROWS = [
    [2, "a", "x" * 200_000, 1, "training", "small", "Hip-Hop", "one"],
    [3, "a", "", 1, "training", "medium", "Hip-Hop", "two"],
    [5, "a", "", 2, "validation", "small", "Rock", "three"],
    [10, "b", "", 3, "test", "small", "Rock", "line\nbreak"],
    [20, "b", "", 4, "training", "large", "", "five"],
    [26, "b", "", 5, "training", "large", "Pop", "six"],
    [99134, "b", "", 6, "training", "small", "Rock", "seven"],
    [133297, "b", "", 7, "training", "small", "Rock", "eight"],
]


INDEX = ["track_id", *[""] * 7]


def _write(root, rows=ROWS, fields=FIELDS, subset="small", index=INDEX, encoding="utf-8", **form):
    (root / "fma_metadata").mkdir(parents=True)
    (root / f"fma_{subset}").mkdir()
    with open(root / "fma_metadata" / "tracks.csv", "w", newline="", encoding=encoding) as file:
        writer = csv.writer(file, **form)
        writer.writerows([GROUPS, fields, index, *rows])
    return root


def _catalog(root, subset="small"):
    return sources.make_catalog(config_lib.Data(name="fma", root=str(root), subset=subset))


def test_fma_reads_a_subset_with_its_official_split(tmp_path):
    catalog = _catalog(_write(tmp_path))
    assert [(t.id, t.label, t.artist, t.part) for t in catalog.tracks] == [
        ("000002", "Hip-Hop", "artist 1", "train"),
        ("000005", "Rock", "artist 2", "valid"),
        ("000010", "Rock", "artist 3", "test"),
    ]
    assert catalog.tracks[0].path == str(tmp_path / "fma_small" / "000" / "000002.mp3")
    assert catalog.labels == ("Hip-Hop", "Rock")


def test_fma_names_the_clips_that_were_cut_wrongly(tmp_path):
    ((reason, count),) = _catalog(_write(tmp_path)).skipped
    assert count == 2 and "099134" in reason and "133297" in reason


def test_fma_subsets_contain_one_another(tmp_path):
    medium = _catalog(_write(tmp_path / "medium", subset="medium"), "medium")
    large = _catalog(_write(tmp_path / "large", subset="large"), "large")
    assert {t.id for t in medium.tracks} == {"000002", "000003", "000005", "000010"}
    assert {t.id for t in large.tracks} - {t.id for t in medium.tracks} == {"000026"}
    assert ("no top genre in tracks.csv", 1) in large.skipped


def test_fma_official_split_is_the_listed_protocol(tmp_path):
    rows = [*ROWS, [30, "b", "", 8, "training", "small", "Rock", "nine"]]
    split = splits.make_split(_catalog(_write(tmp_path, rows)), protocol="listed")
    assert split.train == ("000002", "000030") and split.test == ("000010",)


def test_fma_restores_the_limit_of_the_csv_module(tmp_path):
    before = csv.field_size_limit()
    _catalog(_write(tmp_path))
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(
    ("break_it", "named"),
    [
        (lambda root: (root / "fma_metadata" / "tracks.csv").unlink(), "fma_metadata.zip"),
        (lambda root: (root / "fma_small").rmdir(), "fma_small.zip"),
        (lambda root: (root / "fma_metadata" / "tracks.csv").write_bytes(b"\xff"), "restore"),
        (lambda root: (root / "fma_metadata" / "tracks.csv").write_text(""), "set/subset"),
    ],
)
def test_fma_damaged_tree_is_one_line(tmp_path, break_it, named):
    break_it(_write(tmp_path))
    with pytest.raises(UserError, match=named) as caught:
        _catalog(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", [["x", *ROWS[0][1:]], [2, "a"], [2, "a", "", 1, "dev", *[""] * 3]])
def test_fma_damaged_row_is_named(tmp_path, bad):
    with pytest.raises(UserError, match=r"line \d+ is damaged"):
        _catalog(_write(tmp_path, [*ROWS, bad]))


def test_fma_column_missing_is_named(tmp_path):
    shown = "track/genre_top is missing; its columns, separated by commas, are '', 'album/title'"
    with pytest.raises(UserError, match=shown):
        _catalog(_write(tmp_path, fields=[*FIELDS[:6], "genres", "title"]))


def test_fma_header_of_other_than_three_lines_is_refused(tmp_path):
    for folder, index in (("two", ROWS[0]), ("four", ["", *FIELDS[1:]])):
        _write(tmp_path / folder, index=index)
        with pytest.raises(UserError, match=r"its third line is .*, not 'track_id' alone"):
            _catalog(tmp_path / folder)


def test_fma_reads_a_table_that_a_spreadsheet_has_saved(tmp_path):
    expected = _catalog(_write(tmp_path / "a"))
    fields = [name.title() for name in FIELDS]
    actual = _catalog(_write(tmp_path / "b", fields=fields, encoding="utf-16", delimiter=";"))
    assert actual.hash() == expected.hash()


def test_fma_track_that_is_there_twice_is_named(tmp_path):
    with pytest.raises(UserError, match=r"line \d+ is damaged \(track 2 is there twice\)"):
        _catalog(_write(tmp_path, [*ROWS, ROWS[0]]))


def test_fma_without_a_track_of_the_subset_is_refused(tmp_path):
    with pytest.raises(UserError, match="no track of fma_small"):
        _catalog(_write(tmp_path, ROWS[1:2]))


def test_cut_wrongly_lists_the_21_of_the_issue():
    assert len(fma.CUT_WRONGLY) == 21

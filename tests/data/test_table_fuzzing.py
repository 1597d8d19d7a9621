"""Damaged tables and arrays: they are read, or refused in one printable line."""

import csv
import io

import numpy as np
import pytest

from mgr_jax import config as config_lib
from mgr_jax import escape
from mgr_jax.data import embeddings, gtzan, sources, split_file
from mgr_jax.errors import UserError
from mgr_jax.evaluation import compare, predictions_file
from tests.data import test_embeddings, test_fma
from tests.export.test_fuzzing import _mutated

_COUNTS = [30, pytest.param(2000, marks=pytest.mark.slow)]
_PIECES = (",", ";", "\t", '"', "'", "\n", "\r", "sep=|\n", "\ufeff", "\0", "=1+1", "\x1b[2J", "é",
           "nan", "path", "label", "train", "x" * 300, "-1", "1e999", "|")  # fmt: skip
_ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1")
_ROWS = [
    ["id", "path", "label", "artist", "split"],
    *(
        [f"{i}", f"a/{i}.wav", "ab"[i % 2], f"artist {i}", ("train", "val")[i % 2]]
        for i in range(6)
    ),
]


def _table(rows, generator):
    """Return a table as some program writes it, with pieces put in or taken out."""
    text = io.StringIO()
    delimiter = ",;\t|"[generator.integers(4)]
    csv.writer(text, delimiter=delimiter).writerows(rows)
    text = text.getvalue()
    for _ in range(generator.integers(4)):
        at = int(generator.integers(len(text)))
        piece = _PIECES[generator.integers(len(_PIECES))]
        text = text[:at] + piece + text[at + int(generator.integers(5)) :]
    content = text.encode(_ENCODINGS[generator.integers(5)], "replace")
    return content if generator.random() < 0.7 else _mutated(content, generator)


def _outcomes(path, rows, read, count, *, folder=""):
    """Return how many tables were read; the others must be refused in one line."""
    folder = folder or path
    generator, num_read = np.random.default_rng(0), 0
    for _ in range(count):
        path.write_bytes(_table(rows, generator))
        try:
            read(str(path))
            num_read += 1
        except UserError as error:
            # The commands make what is left printable, on one line.
            text = " ".join(str(error).split())
            assert 20 < len(escape.printable(text)) < 3000
            assert str(folder) in text
    return num_read


@pytest.mark.parametrize("count", _COUNTS)
def test_damaged_manifests_are_read_or_refused_in_one_line(tmp_path, count):
    def read(root):
        catalog = sources.make_catalog(config_lib.Data(name="manifest", root=root))
        for track in catalog.tracks:
            assert track.part in ("", "train", "valid", "test")
            for text in (track.id, track.label, track.artist):
                assert text == escape.printable(text)

    assert _outcomes(tmp_path / "tracks.csv", _ROWS, read, count) > count / 5


@pytest.mark.parametrize("count", _COUNTS)
def test_damaged_split_files_and_facts_are_read_or_refused_in_one_line(tmp_path, count):
    rows = [["track_id", "fold"], *([t.id, str(i % 3)] for i, t in enumerate(gtzan.tracks()[:9]))]

    def read(path):
        split_file.read_split_file(path, gtzan.tracks())

    assert _outcomes(tmp_path / "split.csv", rows, read, count) > count / 5
    assert _outcomes(tmp_path / "facts.csv", rows, gtzan.read_facts, count) > count / 5


@pytest.mark.parametrize("count", _COUNTS)
def test_damaged_predictions_are_read_or_refused_in_one_line(tmp_path, count):
    rows = [["track_id", "predicted"], *([f"{i}", "ab"[i % 2]] for i in range(6))]
    ids, labels = tuple("012345"), tuple("ababab")
    fields = ("data", "part", "split_hash")
    report = dict.fromkeys(fields, "x") | {"labels": ["a", "b"]}
    like = compare.Evaluation("w", report, ids, labels, np.ones(6, bool), ids)
    path = tmp_path / "theirs.csv"
    read = lambda name: predictions_file.read(name, "w", like)  # noqa: E731
    assert _outcomes(path, rows, read, count) > count / 10


@pytest.mark.parametrize("count", [30, pytest.param(500, marks=pytest.mark.slow)])
def test_damaged_tables_of_fma_are_read_or_refused_in_one_line(tmp_path, count):
    track = [2, "a", "short", 1, "training", "small", "Hip-Hop", "one"]
    rows = [test_fma.GROUPS, test_fma.FIELDS, test_fma.INDEX, track, *test_fma.ROWS[1:]]
    test_fma._write(tmp_path / "fma")
    data = config_lib.Data(name="fma", root=str(tmp_path / "fma"))
    path = tmp_path / "fma" / "fma_metadata" / "tracks.csv"
    read = lambda _: sources.make_catalog(data)  # noqa: E731
    assert _outcomes(path, rows, read, count, folder=tmp_path) > count / 10


@pytest.mark.parametrize("count", _COUNTS)
def test_damaged_arrays_are_read_or_refused_in_one_line(tmp_path, count):
    root = test_embeddings.save(tmp_path)
    with open(root, "rb") as file:
        content = file.read()
    generator = np.random.default_rng(0)
    for _ in range(count):
        with open(root, "wb") as file:
            file.write(_mutated(content, generator))
        try:
            embeddings.open_embeddings(root)
            embeddings.read_tracks(root)
        except UserError as error:
            assert "\n" not in str(error) and root in str(error)

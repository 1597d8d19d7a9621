"""Damaged tables and arrays: they are read, or refused in one printable line."""

import csv
import io
import json

import numpy as np
import pytest

from mgr_jax import config as config_lib
from mgr_jax import escape
from mgr_jax.data import (
    arrays,
    embeddings,
    gtzan,
    gtzan_copies,
    sources,
    split_file,
    taggrams,
)
from mgr_jax.errors import UserError
from mgr_jax.evaluation import compare, predictions_file
from tests import fuzzing
from tests.data import test_arrays, test_ballroom, test_embeddings, test_fma, test_taggrams

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
    return content if generator.random() < 0.7 else fuzzing.mutated(content, generator)


def _outcomes(path, rows, read, count, *, folder=""):
    """Return how many tables were read; the others must be refused in one line."""
    folder = folder or path
    generator, num_read = np.random.default_rng(0), 0
    for _ in range(count):
        path.write_bytes(_table(rows, generator))
        with fuzzing.bounds():
            try:
                read(str(path))
                num_read += 1
            except UserError as error:
                # The commands make what is left printable, on one line.
                text = " ".join(str(error).split())
                assert 20 < len(escape.printable(text)) < 3000
                assert str(folder) in text
    return num_read


@pytest.mark.parametrize("count", fuzzing.COUNTS)
def test_damaged_manifests_are_read_or_refused_in_one_line(tmp_path, count):
    def read(root):
        catalog = sources.make_catalog(config_lib.Data(name="manifest", root=root))
        for track in catalog.tracks:
            assert track.part in ("", "train", "valid", "test")
            for text in (track.id, track.label, track.artist):
                assert text == escape.printable(text)

    assert _outcomes(tmp_path / "tracks.csv", _ROWS, read, count) > count / 5


@pytest.mark.parametrize("count", fuzzing.COUNTS)
def test_damaged_split_files_and_facts_are_read_or_refused_in_one_line(tmp_path, count):
    rows = [["track_id", "fold"], *([t.id, str(i % 3)] for i, t in enumerate(gtzan.tracks()[:9]))]

    def read(path):
        split_file.read_split_file(path, gtzan.tracks())

    assert _outcomes(tmp_path / "split.csv", rows, read, count) > count / 5
    assert _outcomes(tmp_path / "facts.csv", rows, gtzan.read_facts, count) > count / 5


@pytest.mark.parametrize("count", fuzzing.COUNTS)
def test_damaged_predictions_are_read_or_refused_in_one_line(tmp_path, count):
    rows = [["track_id", "predicted"], *([f"{i}", "ab"[i % 2]] for i in range(6))]
    ids, labels = tuple("012345"), tuple("ababab")
    fields = ("data", "part", "split_hash")
    report = dict.fromkeys(fields, "x") | {"labels": ["a", "b"]}
    like = compare.Evaluation("w", report, ids, labels, np.ones(6, bool), ids)
    path = tmp_path / "theirs.csv"
    read = lambda name: predictions_file.read(name, "w", like)  # noqa: E731
    assert _outcomes(path, rows, read, count) > count / 10


@pytest.mark.parametrize("count", fuzzing.COUNTS)
def test_damaged_tables_of_fma_are_read_or_refused_in_one_line(tmp_path, count):
    track = [2, "a", "short", 1, "training", "small", "Hip-Hop", "one"]
    rows = [test_fma.GROUPS, test_fma.FIELDS, test_fma.INDEX, track, *test_fma.ROWS[1:]]
    test_fma._write(tmp_path / "fma")
    data = config_lib.Data(name="fma", root=str(tmp_path / "fma"))
    path = tmp_path / "fma" / "fma_metadata" / "tracks.csv"
    read = lambda _: sources.make_catalog(data)  # noqa: E731
    assert _outcomes(path, rows, read, count, folder=tmp_path) > count / 10


@pytest.mark.parametrize("count", fuzzing.COUNTS)
def test_damaged_split_files_of_json_are_read_or_refused_in_one_line(tmp_path, count):
    ids, generator = [track.id for track in gtzan.tracks()[:6]], np.random.default_rng(0)
    forms = (
        {"train": ids[:3], "valid": ids[3:4], "test": ids[4:], "protocol": "listed"},
        {"folds": [{"valid": [], "test": ids[i::3]} for i in range(3)], "num_folds": 3},
        {name: "train" if i % 2 else "test" for i, name in enumerate(ids)},
    )
    path = tmp_path / "split.json"
    for i in range(count):
        values = forms[i % 3]
        damaged = fuzzing.mutated_text(json.dumps(values).encode(), generator)
        if generator.random() < 0.5:
            damaged = json.dumps(fuzzing.edited(values, generator)).encode()
        path.write_bytes(damaged)
        with fuzzing.bounds():
            try:
                split_file.read_split_file(str(path), gtzan.tracks())
            except UserError as error:
                fuzzing.refused(error, path)


@pytest.mark.parametrize("count", fuzzing.COUNTS)
@pytest.mark.parametrize("name", ["GTZANGenre.train.jsonl", "gtzan_genre_index_1.0.json"])
def test_a_damaged_list_of_gtzan_is_read_or_refused_in_one_line(tmp_path, name, count):
    ids, path, generator = ("blues.00000", "rock.00001"), tmp_path / name, np.random.default_rng(0)
    for track in ids:
        (tmp_path / f"{track}.wav").touch()
    rows = [{"audio_path": f"{track}.wav", "label": track.partition(".")[0]} for track in ids]
    tracks = {track: {"audio": [f"{track}.wav", "checksum"]} for track in ids}
    values, is_list = (rows, True) if name.endswith("l") else ({"tracks": tracks}, False)

    def text(values):
        return "\n".join(map(json.dumps, values)) if is_list else json.dumps(values)

    for _ in range(count):
        damaged = fuzzing.mutated_text(text(values).encode(), generator)
        if generator.random() < 0.5:
            damaged = text(fuzzing.edited(values, generator)).encode()
        path.write_bytes(damaged)
        with fuzzing.bounds():
            try:
                gtzan_copies.listed_files(path, str(tmp_path))
            except UserError as error:
                fuzzing.refused(" ".join(str(error).split()), path)


@pytest.mark.parametrize("count", fuzzing.COUNTS)
def test_a_damaged_list_of_extended_ballroom_is_read_or_refused_in_one_line(tmp_path, count):
    path, generator = tmp_path / "extendedballroom_v1.1.xml", np.random.default_rng(0)
    pieces = (b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"&b;", b"</song>", b"<a>" * 20_000, b"id='../x' ")
    content = test_ballroom.XML.encode()
    for _ in range(count):
        at = int(generator.integers(len(content)))
        damaged = content[:at] + pieces[generator.integers(len(pieces))] + content[at:]
        if generator.random() < 0.5:
            damaged = fuzzing.mutated_text(content, generator)
        path.write_bytes(damaged)
        with fuzzing.bounds():
            try:
                test_ballroom._catalog("extended_ballroom", tmp_path)
            except UserError as error:
                fuzzing.refused(escape.printable(str(error)), tmp_path)


def _structured(content):
    """One row for each id of a `.npy` file."""
    count = len(content["track_id"])
    arrays = {name: value for name, value in content.items() if np.shape(value)[:1] == (count,)}
    rows = np.zeros(count, [(name, v.dtype, v.shape[1:]) for name, v in arrays.items()])
    for name, value in arrays.items():
        rows[name] = value
    return rows


def _save(folder, kind, form):
    """Write an array file; return its path and what reads it."""
    contents = {
        "arrays": test_arrays.CONTENT,
        "embeddings": test_embeddings.CONTENT,
        "taggrams": test_taggrams.CONTENT,
    }
    content, path = contents[kind], folder / f"file.{form}"
    if form == "npy":
        np.save(path, _structured(content))
    elif form == "parquet":
        pyarrow = pytest.importorskip("pyarrow")
        columns = {
            n: v.reshape(len(v), -1).tolist() if v.ndim > 1 else v for n, v in content.items()
        }
        pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table(columns), path)
    else:
        (np.savez_compressed if form == "compressed" else np.savez)(path, **content)
        path = path if path.exists() else path.with_name(f"{path.name}.npz")

    def read():
        if kind == "arrays":
            test_arrays.open_store(str(path))
            arrays.read_tracks(str(path))
        elif kind == "embeddings":
            embeddings.open_embeddings(str(path))
            embeddings.read_tracks(str(path))
        else:
            taggrams.read(str(path), num_tags=3)

    return path, read


@pytest.mark.parametrize("count", fuzzing.COUNTS)
@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("arrays", "npz"),
        ("arrays", "compressed"),
        ("arrays", "npy"),
        ("embeddings", "npz"),
        ("embeddings", "npy"),
        ("taggrams", "npz"),
    ],
)
def test_damaged_arrays_are_read_or_refused_in_one_line(tmp_path, kind, form, count):
    path, read = _save(tmp_path, kind, form)
    read()
    content, generator = path.read_bytes(), np.random.default_rng(0)
    for _ in range(count):
        path.write_bytes(fuzzing.mutated(content, generator))
        with fuzzing.bounds():
            try:
                read()
            except UserError as error:
                fuzzing.refused(error, path)


@pytest.mark.parametrize("count", fuzzing.LATE_COUNTS)
def test_damaged_parquet_files_are_read_or_refused_in_one_line(tmp_path, count):
    test_damaged_arrays_are_read_or_refused_in_one_line(tmp_path, "embeddings", "parquet", count)


@pytest.mark.parametrize("count", fuzzing.COUNTS)
def test_a_damaged_table_beside_embeddings_is_read_or_refused_in_one_line(tmp_path, count):
    root = test_embeddings.save(tmp_path, label=None, artist=None, split=None)
    rows = [
        ["track_id", "label", "artist"],
        ["a", "jazz", "A"],
        ["b", "rock", "B"],
        ["c", "jazz", ""],
    ]
    read = lambda _: embeddings.read_tracks(root)  # noqa: E731
    assert _outcomes(tmp_path / "file.csv", rows, read, count, folder=tmp_path) > count / 10

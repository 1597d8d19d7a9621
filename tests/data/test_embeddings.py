"""Embedding files: the same tracks and windows from every format, and one line for each mistake."""

import pathlib
import sys

import numpy as np
import pytest

from mgr_jax import config as config_lib
from mgr_jax.data import batches, dataset, embeddings, gtzan
from mgr_jax.errors import UserError

# Five windows of three tracks, of two layers of four values.
IDS = ["b", "a", "b", "c", "a"]
VECTORS = np.random.default_rng(0).normal(size=(5, 2, 4)).astype(np.float32)
CONTENT = {
    "embedding": VECTORS,
    "track_id": np.array(IDS),
    "label": np.array(["rock", "jazz", "rock", "jazz", "jazz"]),
    "artist": np.array(["B", "A", "B", "C", "A"]),
    "split": np.array(["test", "train", "test", "valid", "train"]),
}


def save(folder, name="file.npz", **changes):
    content = {k: v for k, v in (CONTENT | changes).items() if v is not None}
    np.savez(folder / name, **content)
    return str(folder / name)


def check(root):
    """The tracks and windows of `CONTENT`."""
    tracks = embeddings.read_tracks(root)
    fields = sorted((t.id, t.label, t.artist, t.part) for t in tracks)
    assert fields == [
        ("a", "jazz", "A", "train"),
        ("b", "rock", "B", "test"),
        ("c", "jazz", "C", "valid"),
    ]
    store = embeddings.open_embeddings(root)
    np.testing.assert_array_equal(store.waveform(store.row["b"]), VECTORS[[0, 2]])
    np.testing.assert_array_equal(store.waveform(store.row["a"], 1, 1), VECTORS[[4]])
    np.testing.assert_array_equal(store.waveform(store.row["c"], 0, 2)[1], np.zeros((2, 4)))
    assert [(r.id, r.length) for r in store.records] == [("a", 2), ("b", 2), ("c", 1)]
    assert store.describe() == " (5 windows) of 2 layers x 4 values"


def test_rows_of_a_track_id_are_windows_of_one_track(tmp_path):
    check(save(tmp_path))
    check(save(tmp_path, embedding=None, embeddings=VECTORS.astype(np.float64)))


def test_structured_npy_equals_npz(tmp_path):
    fields = [("embedding", "f4", (2, 4)), *((name, "U9") for name in list(CONTENT)[1:])]
    rows = np.zeros(5, fields)
    for name in CONTENT:
        rows[name] = CONTENT[name]
    np.save(tmp_path / "file.npy", rows)
    check(str(tmp_path / "file.npy"))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_bare_npy_takes_its_rows_from_the_csv_beside_it(tmp_path, delimiter):
    np.save(tmp_path / "file.npy", VECTORS)
    names = list(CONTENT)[1:]
    rows = [names, *zip(*(CONTENT[name] for name in names), strict=True)]
    text = "\n".join(delimiter.join(row) for row in rows)
    (tmp_path / "file.csv").write_text("\ufeff" + text.replace("artist", "Artist"), "utf-8")
    check(str(tmp_path / "file.npy"))
    (tmp_path / "file.csv").write_text(text.rpartition("\n")[0])
    with pytest.raises(UserError, match=r"'embedding' is \(5, 2, 4\) for 4 rows"):
        embeddings.open_embeddings(str(tmp_path / "file.npy"))


def test_a_csv_beside_the_file_gives_labels_by_track_id(tmp_path):
    root = save(tmp_path, label=None, artist=None, split=None)
    table = tmp_path / "file.csv"
    table.write_text(
        "track_id,label,artist,split\nc,jazz,C,valid\nb,rock,B,test\nx,pop,X,\na,jazz,A,train\n"
    )
    check(root)
    table.write_text("track_id,label\nc,jazz\n")
    with pytest.raises(UserError, match=r"file\.csv has no line for 2 of its tracks \('a'\)"):
        embeddings.read_tracks(root)
    table.write_text("track_id,label\nc\n")
    with pytest.raises(UserError, match="line 2 has 1 cells, the header 2"):
        embeddings.read_tracks(root)


def test_parquet_equals_npz(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {name: pyarrow.array(values) for name, values in list(CONTENT.items())[1:]}
    columns["label"] = columns["label"].dictionary_encode()
    for kind in (
        pyarrow.list_(pyarrow.list_(pyarrow.float32())),
        pyarrow.list_(pyarrow.list_(pyarrow.float64(), 4), 2),
    ):
        columns["embedding"] = pyarrow.array(VECTORS.tolist(), kind)
        parquet.write_table(pyarrow.table(columns), tmp_path / "file.parquet")
        check(str(tmp_path / "file.parquet"))
    columns["embedding"] = pyarrow.array([[1.0], [2.0], [3.0], [4.0], [5.0, 6.0]])
    parquet.write_table(pyarrow.table(columns), tmp_path / "file.parquet")
    with pytest.raises(UserError, match="different lengths"):
        embeddings.open_embeddings(str(tmp_path / "file.parquet"))
    (tmp_path / "file.parquet").write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot be read"):
        embeddings.read_tracks(str(tmp_path / "file.parquet"))


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "file.parquet").write_bytes(b"")
    with pytest.raises(UserError, match=r"needs pyarrow; pip install 'mgr_jax\[parquet\]'"):
        embeddings.read_tracks(str(tmp_path / "file.parquet"))


def test_integers_are_ids_and_labels(tmp_path):
    root = save(tmp_path, track_id=np.array([2, 1, 2, 3, 1]), label=np.array([0, 1, 0, 1, 1]))
    assert sorted((t.id, t.label) for t in embeddings.read_tracks(root)) == [
        ("1", "1"), ("2", "0"), ("3", "1")
    ]  # fmt: skip


def test_a_track_that_is_not_finite_is_skipped(tmp_path):
    vectors = VECTORS.astype(np.float64)
    vectors[2, 1, 3], vectors[3, 0, 0] = np.nan, 1e300  # No float32 is as large.
    store = embeddings.open_embeddings(save(tmp_path, embedding=vectors))
    assert store.errors() == dict.fromkeys("bc", "has values that are not finite")
    assert list(store.row) == ["a"]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"embedding": None}, "'embedding' is missing"),
        ({"track_id": None}, r"'track_id' is missing; add it, or file\.csv"),
        ({"label": None}, "'label' is missing"),
        ({"label": CONTENT["label"][:4]}, r"'label' is <U4 \(4,\)"),
        ({"label": np.array(["rock", "jazz", "pop", "jazz", "jazz"])}, "rows of track 'b' differ"),
        ({"split": np.array(["tset"] * 5)}, "split is not"),
        ({"embedding": VECTORS.astype(str)}, "'embedding' is <U32; it must be numbers"),
        ({"embedding": VECTORS[:4]}, r"\(4, 2, 4\) for 5 rows"),
        ({"embedding": VECTORS[:, 0, 0]}, r"\(5,\) for 5 rows; it must be \[N, D\]"),
        ({"embedding": VECTORS[:, :, :, None]}, r"\(5, 2, 4, 1\)"),
        ({"embedding": VECTORS[:, :, :0]}, r"\(5, 2, 0\)"),
        ({"track_id": np.array(IDS, object)}, "cannot be read"),
        ({name: CONTENT[name][:0] for name in CONTENT}, "the file has no track"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path, changes, word):
    root = save(tmp_path, **changes)
    with pytest.raises(UserError, match=word) as error:
        embeddings.read_tracks(root)
        embeddings.open_embeddings(root)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"no such file; data\.name 'embeddings' needs"):
        embeddings.read_tracks(str(tmp_path / "x.npz"))


def config(root, protocol="listed", **fields):
    values = config_lib.Config()
    values.data.name, values.data.root, values.data.protocol = "embeddings", root, protocol
    values.features.kind, values.model.name = "embedding", "logistic"
    for name, value in fields.items():
        section, _, field = name.partition("__")
        setattr(getattr(values, section), field, value)
    return config_lib.validate(values)


def test_batches_are_single_windows(tmp_path):
    root = save(tmp_path, split=np.array(["train", "train", "train", "valid", "train"]))
    opened = dataset.open_dataset(config(root))
    (batch,) = batches.eval_batches(opened.parts["train"], batch_size=6, window=1)
    np.testing.assert_array_equal(batch["waveform"][:4, 0], VECTORS[[1, 4, 0, 2]])
    np.testing.assert_array_equal(batch["row"][:4], [0, 0, 1, 1])
    np.testing.assert_array_equal(batch["mask"], [1, 1, 1, 1, 0, 0])
    assert "3 of 3 tracks (5 windows) of 2 layers x 4 values" in dataset.describe(opened)


def save_gtzan(folder, names, **changes):
    labels = np.array([name.split("/")[-1].split(".")[0] for name in names])
    vectors = np.zeros((len(names), 3), np.float32)
    content = {"embedding": vectors, "track_id": np.array(names), "label": labels} | changes
    np.savez(folder / "gtzan.npz", **content)
    return str(folder / "gtzan.npz")


def test_names_of_gtzan_files_bring_its_artists_and_its_published_split(tmp_path):
    facts = gtzan.facts()
    names = [f"genres/{name.split('.')[0]}/{name}.wav" for name in sorted(facts)]
    names.remove("genres/jazz/jazz.00054.wav")  # The file that is damaged in most copies.
    # Another split of the file does not matter to the published one.
    root = save_gtzan(tmp_path, names, split=np.array(["test"] * 999))
    split = dataset.open_dataset(config(root, "fault_filtered")).split
    for part in ("train", "valid", "test"):
        published = {name for name, fact in facts.items() if fact.part == part}
        assert set(getattr(split, part)) == published - {"jazz.00054"}
    assert not split.shared_artists
    folds = dataset.open_dataset(config(root, "artist_kfold")).split
    table = pathlib.Path(gtzan.__file__).parent / "gtzan_splits" / "artist_kfold.csv"
    lines = table.read_text("utf-8").splitlines()
    published = {line.removesuffix(",0") for line in lines if line.endswith(",0")}
    assert set(folds.test) == published - {"jazz.00054"}


def test_fault_filtered_refuses_other_tracks(tmp_path):
    with pytest.raises(UserError, match="is a split of GTZAN"):
        dataset.open_dataset(config(save(tmp_path), "fault_filtered"))


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"features__kind": "mfcc_stats"}, "features.kind=embedding"),
        ({"data__name": "band"}, "features.kind=embedding"),
        ({"model__name": "cnn"}, "cannot read"),
        ({"data__root": ""}, "data.root is empty"),
    ],
)
def test_validation_refuses(fields, word):
    with pytest.raises(UserError, match=word):
        config("x.npz", **fields)

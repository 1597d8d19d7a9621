"""Copies of GTZAN in the forms of others give the catalog of the folder."""

import json
import pathlib

import filelock
import pytest
import soundfile

from mgr_jax import config as config_lib
from mgr_jax.data import gtzan, gtzan_copies, sources
from mgr_jax.errors import UserError

NAMES = [f"{genre}/{genre}.0000{i}.wav" for genre in gtzan.GENRES for i in (0, 1)]


@pytest.fixture(name="genres")
def _genres(tmp_path):
    """A folder of genres with two tracks each."""
    folder = tmp_path / "original" / "genres"
    for i, name in enumerate(NAMES):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, [0.01 * i] * 100, 22_050)
    return folder


def _catalog(root, cache=""):
    return sources.make_catalog(config_lib.Data(name="gtzan", root=str(root), cache=str(cache)))


def _same(root, genres, cache=""):
    """The catalog at `root`, which must have the tracks and the audio of the folder."""
    catalog, original = _catalog(root, cache), _catalog(genres)
    assert catalog.hash() == original.hash()
    for track, other in zip(catalog.tracks, original.tracks, strict=True):
        assert pathlib.Path(track.path).read_bytes() == pathlib.Path(other.path).read_bytes()
    return catalog


def _refused(root, cache=""):
    with pytest.raises(UserError) as caught:
        _catalog(root, cache)
    assert "\n" not in str(caught.value) and str(caught.value).startswith("data.root ")
    return str(caught.value)


def _parquet(path, genres, names=NAMES, column="genre", labels=None, metadata=True, **changes):
    """A file as `datasets` writes it: the audio as bytes and path, the genre as a number."""
    import pyarrow
    from pyarrow import parquet

    rows = {
        "file": [f"/storage/{name}" for name in names],
        "audio": [{"bytes": (genres / n).read_bytes(), "path": n.split("/")[1]} for n in names],
        column: labels or [gtzan.GENRES.index(name.split("/")[0]) for name in names],
    } | changes
    table = pyarrow.table(rows)
    if metadata:
        features = {column: {"names": list(gtzan.GENRES), "_type": "ClassLabel"}}
        info = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": info})
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path)


def _jsonl(path, names, **changes):
    rows = [{"audio_path": f"data/GTZAN/genres/{n}", "label": n.split("/")[0]} for n in names]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row | changes) + "\n" for row in rows))


@pytest.mark.parametrize("base", ["gtzan_genre/genres", "a/b", "train", "data/genres"])
def test_genres_are_found_at_any_depth(tmp_path, genres, base):
    root = tmp_path / "copy"
    (root / base).parent.mkdir(parents=True)
    genres.rename(root / base)
    catalog = _catalog(root)
    assert [track.id for track in catalog.tracks] == [pathlib.Path(n).stem for n in NAMES]


@pytest.mark.parametrize("column", ["genre", "label"])
@pytest.mark.parametrize("as_text", [False, True])
def test_parquet_gives_the_catalog_of_the_folder(tmp_path, genres, column, as_text):
    labels = [name.split("/")[0] for name in NAMES] if as_text else None
    halves = {"train": NAMES[::2], "test": NAMES[1::2]}
    for part, names in halves.items():
        _parquet(
            tmp_path / f"hub/data/{part}-00000-of-00001.parquet",
            genres,
            names,
            column,
            labels and [name.split("/")[0] for name in names],
            metadata=not as_text,
        )
    first = _same(tmp_path / "hub", genres, tmp_path / "cache")
    again = _same(tmp_path / "hub", genres, tmp_path / "cache")
    assert [track.path for track in first.tracks] == [track.path for track in again.tracks]


def test_parquet_of_paths_alone_takes_the_name_from_the_file_column(tmp_path, genres):
    audio = [{"bytes": (genres / name).read_bytes(), "path": None} for name in NAMES]
    _parquet(tmp_path / "all.parquet", genres, audio=audio)
    _same(tmp_path / "all.parquet", genres, tmp_path / "cache")


@pytest.mark.parametrize("form", ["paths", "text", "bytes"])
def test_parquet_of_paths_or_bytes_alone(tmp_path, genres, form):
    """As `datasets` writes it without decoding: the paths of another machine, without the bytes."""
    paths = [f"/root/.cache/extracted/genres/{name}" for name in NAMES]
    audio = {
        "paths": [{"bytes": None, "path": path} for path in paths],
        "text": paths,
        "bytes": [(genres / name).read_bytes() for name in NAMES],
    }
    _parquet(tmp_path / "original" / "all.PARQUET", genres, audio=audio[form], file=paths)
    _same(tmp_path / "original" / "all.PARQUET", genres, tmp_path / "cache")


def test_arrow_files_of_datasets_give_the_catalog_of_the_folder(tmp_path, genres):
    import pyarrow
    from pyarrow import parquet

    _parquet(tmp_path / "all.parquet", genres)
    table = parquet.read_table(tmp_path / "all.parquet")
    (tmp_path / "disk" / "train").mkdir(parents=True)
    for i, rows in enumerate((table.slice(0, 12), table.slice(12))):
        path = tmp_path / f"disk/train/data-0000{i}-of-00002.arrow"
        with (
            pyarrow.OSFile(str(path), "wb") as sink,
            pyarrow.ipc.new_stream(sink, table.schema) as writer,
        ):
            writer.write_table(rows)
    (tmp_path / "disk/train/cache-1234.arrow").write_bytes(b"indices of a selection")
    (tmp_path / "disk/train/state.json").write_text("{}")
    _same(tmp_path / "disk", genres, tmp_path / "cache")
    _same(tmp_path / "disk", genres, tmp_path / "cache")
    path.write_bytes(b"damaged")
    assert "not a Parquet file" in _refused(path, tmp_path / "cache")


def test_parquet_goes_on_after_a_kill(tmp_path, genres, monkeypatch):
    _parquet(tmp_path / "all.parquet", genres)
    catalog = _same(tmp_path / "all.parquet", genres, tmp_path / "cache")
    first = pathlib.Path(catalog.tracks[0].path)
    (first.parents[1] / "files.json").unlink()
    first.write_bytes(b"half")
    kept = pathlib.Path(catalog.tracks[1].path)
    written = kept.stat().st_mtime_ns
    _same(tmp_path / "all.parquet", genres, tmp_path / "cache")
    assert kept.stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": [3] * len(NAMES)}, "'/storage/blues/blues.00000.wav' has the label 'disco'"),
        ({"labels": [99] * len(NAMES)}, "has the label '99'"),
        ({"names": [NAMES[0], NAMES[0]]}, "blues.00000.wav is there twice"),
        ({"audio": [{"bytes": b"", "path": "blues.00000.wav"}] * len(NAMES)}, "has no audio"),
        ({"audio": [{"bytes": b"x", "path": "song.wav"}] * len(NAMES), "file": [""] * len(NAMES)},
         "'song.wav' is no name of a track"),
        ({"audio": ["text"] * len(NAMES)}, "not a Parquet file of GTZAN"),
    ],
)  # fmt: skip
def test_parquet_refuses_a_wrong_row(tmp_path, genres, changes, words):
    _parquet(tmp_path / "all.parquet", genres, **changes)
    assert words.replace("/storage/blues/", "") in _refused(
        tmp_path / "all.parquet", tmp_path / "cache"
    ).replace("/storage/blues/", "")


def test_parquet_is_unpacked_again_where_the_cache_lacks_a_file(tmp_path, genres):
    _parquet(tmp_path / "all.parquet", genres)
    first = _same(tmp_path / "all.parquet", genres, tmp_path / "cache")
    pathlib.Path(first.tracks[3].path).unlink()
    _same(tmp_path / "all.parquet", genres, tmp_path / "cache")


def test_parquet_of_several_snapshots_and_hidden_files_is_read_once(tmp_path, genres):
    hub = tmp_path / "hub"
    _parquet(hub / "blobs" / "1234", genres)
    for snapshot in "ab":
        link = hub / "snapshots" / snapshot / "data" / "all.parquet"
        link.parent.mkdir(parents=True)
        link.symlink_to(hub / "blobs" / "1234")
    (hub / "._all.parquet").write_bytes(b"of macOS")
    (hub / "folder.parquet").mkdir()
    _same(hub, genres, tmp_path / "cache")


def test_two_processes_unpack_one_after_the_other(tmp_path, genres, monkeypatch):
    _parquet(tmp_path / "all.parquet", genres)
    write, held = gtzan_copies.write_whole, []

    def write_and_try(path, content):
        lock = next(p for p in path.parents if p.name.startswith("gtzan-")) / "lock"
        with pytest.raises(filelock.Timeout):
            filelock.FileLock(lock, timeout=0, is_singleton=False).acquire()
        held.append(path)
        write(path, content)

    monkeypatch.setattr(gtzan_copies, "write_whole", write_and_try)
    _same(tmp_path / "all.parquet", genres, tmp_path / "cache")
    assert len(held) == len(NAMES) + 1


def test_parquet_without_rows_is_refused(tmp_path, genres):
    _parquet(tmp_path / "all.parquet", genres, names=[], metadata=False)
    assert "has no rows" in _refused(tmp_path / "all.parquet", tmp_path / "cache")


def test_parquet_without_audio_or_damaged_is_refused(tmp_path):
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"genre": [1]}), tmp_path / "x.parquet")
    assert "no column 'audio'" in _refused(tmp_path / "x.parquet", tmp_path / "cache")
    (tmp_path / "y.parquet").write_bytes(b"PAR1 damaged")
    assert "not a Parquet file" in _refused(tmp_path / "y.parquet", tmp_path / "cache")


@pytest.mark.parametrize("as_folder", [False, True])
def test_marble_lists_give_the_catalog_of_the_folder(tmp_path, genres, as_folder):
    root = tmp_path / "marble" / "data" / "GTZAN"
    root.mkdir(parents=True)
    # The folder of the list holds the audio elsewhere, or genres would be read without the list.
    if as_folder:
        lists = tmp_path / "marble" / "lists"
        _jsonl(lists / "GTZANGenre.train.jsonl", NAMES[:12])
        _jsonl(lists / "GTZANGenre.test.jsonl", NAMES[12:])
        _jsonl(lists / "GTZANBeatTracking.test.jsonl", NAMES[12:])
    else:
        lists = root / "GTZANGenre.train.jsonl"
        _jsonl(lists, NAMES)
    (root / "genres").symlink_to(genres)
    _same(lists, genres)


@pytest.mark.parametrize(
    ("prefix", "label"),
    [
        ("data/GTZAN/genres/", ["blues"]),  # The copy has other folders above the genres.
        ("/home/other/GTZAN/genres/", None),
        ("data\\GTZAN\\genres\\", 0),
        ("genres/", [0.5, 1.25]),  # Beats.
    ],
)
def test_lists_of_other_machines_and_tasks(tmp_path, genres, prefix, label):
    path = tmp_path / "original" / "lists" / "GTZANBeatTracking.train.jsonl"
    names = [name.replace("/", "\\") if "\\" in prefix else name for name in NAMES]
    is_genre = label == ["blues"]
    rows = [
        {"audio_path": prefix + name, "label": [name.split("/")[0]] if is_genre else label}
        for name in names
    ]
    path.parent.mkdir()
    path.write_text("".join(json.dumps(row) + "\r\n" for row in rows))
    _same(path, genres)


@pytest.mark.parametrize("folder", ["", "train"])
def test_audio_folders_with_metadata_give_the_catalog_of_the_folder(tmp_path, genres, folder):
    root = tmp_path / "hub" / folder
    root.mkdir(parents=True)
    for name in NAMES:
        (root / name.split("/")[1]).write_bytes((genres / name).read_bytes())
    (root / "metadata.csv").write_text("file_name,label\nblues.00000.wav,0\n")
    _same(tmp_path / "hub", genres)
    rows = [{"file_name": name.split("/")[1], "genre": name.split("/")[0]} for name in NAMES]
    (root / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "hub" / "log.jsonl").write_text('{"loss": 1}\n')
    _same(tmp_path / "hub", genres)


def test_a_list_may_name_a_track_that_the_copy_lacks(tmp_path, genres):
    (tmp_path / "data" / "GTZAN").mkdir(parents=True)
    (tmp_path / "data" / "GTZAN" / "genres").symlink_to(genres)
    _jsonl(tmp_path / "list.jsonl", NAMES)
    (genres / NAMES[0]).unlink()
    assert len(_catalog(tmp_path / "list.jsonl").tracks) == len(NAMES)


def test_mirdata_index_gives_the_catalog_of_the_folder(tmp_path, genres):
    home = tmp_path / "mir_datasets" / "gtzan_genre"
    (home / "gtzan_genre").mkdir(parents=True)
    (home / "gtzan_genre" / "genres").symlink_to(genres)
    tracks = {pathlib.Path(n).stem: {"audio": [f"gtzan_genre/genres/{n}", "md5"]} for n in NAMES}
    index = home / "gtzan_genre_index_1.0.json"
    index.write_text(json.dumps({"version": "1.0", "tracks": tracks}))
    _same(index, genres)
    _same(home, genres)
    small = dict(list(tracks.items())[1:3]) | {"blues.00009": {"audio": [None, None]}}
    index.rename(home / "GTZAN_mini_index_1.0.json").write_text(json.dumps({"tracks": small}))
    assert len(_catalog(home / "GTZAN_mini_index_1.0.json").tracks) == 2
    index.write_text(json.dumps(tracks))  # As mirdata wrote it before version 0.3.
    _same(index, genres)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not a list of GTZAN's tracks"),
        ('{"path": "blues.00000.wav"}', "no 'audio_path'"),
        ("[1]", "not a list of GTZAN's tracks"),
        ('{"audio_path": "a/song.wav", "label": "blues"}', "'a/song.wav' is no name of a track"),
        ('{"audio_path": "blues.00000.wav", "label": "jazz"}', "has the label 'jazz'"),
        ('{"audio_path": "blues.00000.wav", "label": "blues"}', "neither beside it nor below"),
        ("", "lists no track"),
    ],
)
def test_lists_refuse_what_is_wrong(tmp_path, text, words):
    path = tmp_path / "list.jsonl"
    path.write_text(text)
    assert words in _refused(path)


def test_a_missing_root_names_the_sources(tmp_path):
    message = _refused(tmp_path / "nowhere")
    assert "Hugging Face" in message and "mirdata" in message and "prepare --verify" in message
    (tmp_path / "genres.tar.gz").touch()
    assert "unpack it first" in _refused(tmp_path / "genres.tar.gz")
    assert "genres.tar.gz is packed: unpack it first" in _refused(tmp_path)

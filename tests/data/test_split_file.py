"""Split files: every form that is read, and the published ones."""

import importlib.resources
import json

import pytest

from mgr_jax.data import gtzan, split_file, splits
from mgr_jax.data.catalog import Catalog, Track
from mgr_jax.errors import UserError

GTZAN = Catalog("gtzan_facts", gtzan.tracks(), gtzan.GENRES)
FOLDER = tuple(
    Track(f"{label}/{name}.wav", f"/data/{label}/{name}.wav", label)
    for label in ("blues", "rock")
    for name in ("one", "two", label)
)


def _read(tmp_path, text, tracks=GTZAN.tracks, name="split.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return split_file.read_split_file(str(path), tracks)


@pytest.mark.parametrize(
    "text",
    [
        "track_id,part\nblues.00000,train\nrock.00001,test\n",
        "\ufeffpart;file\r\nTrain;blues.00000.wav\r\nTEST;rock.00001.au\r\n",
        "blues/blues.00000.au,training\nrock/rock.00001.au,eval\n",
        "blues.00000 train\nrock.00001 test\n",
        "./blues.00000.wav,train\n././x/../rock.00001.wav,test\n",
        ".\\blues.00000.wav train\n./rock/rock.00001.wav test\n",
        "# a comment\n/any/where/Data/blues/blues.00000.wav\ttr\nC:\\x\\rock.00001.WAV\ttest\n\n",
        "which one,for what\nblues.00000,train\nrock.00001,test\n",
        "id,label,split\nblues.00000.npy,blues,train\nrock.00001,rock,test\njazz.00002,jazz,\n",
        "sep=;\nTrack_ID; Part\nblues.00000; TRAINING\nrock.00001; eval\n",
        "track_id,part\nblues.00000,Train set\nrock.00001,te\u200bst\njazz.00002,-\n",
    ],
)
def test_read_split_file_takes_any_spelling(tmp_path, text):
    assignment = _read(tmp_path, text)
    assert assignment.parts == {"train": ("blues.00000",), "test": ("rock.00001",)}
    assert not assignment.has_folds
    assert assignment.unknown == ()


@pytest.mark.parametrize(
    "text",
    [
        "track_id,fold\nblues.00000,1\nblues.00001,2\nblues.00002,10\n",
        "blues.00000,1.0\nblues.00001,2.0\nblues.00002,10.0\n",
        "track_id;fold\nblues.00000;1,0\nblues.00001;2,0\nblues.00002;10,0\n",
    ],
)
def test_read_split_file_takes_folds_in_order_of_their_numbers(tmp_path, text):
    assignment = _read(tmp_path, text)
    assert assignment.has_folds
    assert list(assignment.parts) == ["1", "2", "10"]
    assert assignment.parts["10"] == ("blues.00002",)


@pytest.mark.parametrize(
    "values",
    [
        {"train": ["blues.00000"], "test": ["rock.00001"], "protocol": "listed", "left_out": []},
        {"blues.00000": "train", "rock.00001.wav": "test"},
    ],
)
def test_read_split_file_takes_json(tmp_path, values):
    assignment = _read(tmp_path, json.dumps(values), name="split.json")
    assert assignment.parts == {"train": ("blues.00000",), "test": ("rock.00001",)}


def test_read_split_file_keeps_a_track_of_two_parts_and_names_the_unknown(tmp_path):
    assignment = _read(tmp_path, "blues.00000,train\nblues.00000,test\nfunk.00000,test\n")
    assert assignment.parts == {"train": ("blues.00000",), "test": ("blues.00000",)}
    assert assignment.unknown == ("funk.00000",)
    assignment = _read(tmp_path, "blues.00000,train\nblues.00001,test\na\x1b[2J,test\n")
    assert assignment.unknown == (r"a\x1b[2J",)


def test_read_split_file_takes_no_name_for_one_that_it_is_not(tmp_path):
    """`one` is ambiguous, and `jazz/blues` is not `blues/blues`."""
    text = "one,test\n.,test\n./one.wav,test\njazz/blues.wav,test\nblues/two,train\nrock,test\n"
    text += "old/rock/one.mp3,test\n"
    assignment = _read(tmp_path, text, FOLDER)
    assert assignment.parts == {
        "train": ("blues/two.wav",),
        "test": ("rock/one.wav", "rock/rock.wav"),
    }
    assert assignment.unknown == ("one", ".", "./one.wav", "jazz/blues.wav")


def test_read_split_file_matches_names_in_another_unicode_form(tmp_path):
    tracks = (Track("\u00e9.wav", "", "x"), Track("b.wav", "", "y"))
    assignment = _read(tmp_path, "e\u0301.wav,train\nb,test\n", tracks)
    assert assignment.parts == {"train": ("\u00e9.wav",), "test": ("b.wav",)}


def test_read_split_file_finds_the_files_of_a_manifest(tmp_path):
    tracks = (Track("1", "/data/a.wav", "x"), Track("2", "/data/b.wav", "y"))
    assignment = _read(tmp_path, "data/a.wav,train\nb,test\n", tracks)
    assert assignment.parts == {"train": ("1",), "test": ("2",)}


@pytest.mark.parametrize(
    ("text", "name", "reason"),
    [
        ("", "split.csv", "cannot be read (it is empty)"),
        ("blues.00000\n", "split.csv", "line 'blues.00000' has no part"),
        ("{", "split.json", "cannot be read"),
        ("[1]", "split.json", "it is no JSON object"),
        ('{"folds": [{"valid": []}]}', "split.json", "cannot be read ('test')"),
        ('{"train": ["a"], "train": ["b"]}', "split.json", "'train' is there twice"),
        ('{"a": {"b": 1}}', "split.json", "is neither a name nor a number"),
        ('{"train": [["a"]]}', "split.json", "is neither a name nor a number"),
        ("[" * 100_000, "split.json", "maximum recursion depth"),
        ("id,label\nblues.00000,blues\nrock.00000,rock\n", "split.csv", "is a label, and no part"),
        ("blues.00000,train\nblues.00001,other\n", "split.csv", "'other' is no part"),
        ("a,train\nb,test\n", "split.csv", "none of its 2 line(s) names a track"),
        ("blues.00000,test\nblues.00001,test\n", "split.csv", "only one part ('test')"),
        ("a;b;c\nblues.00000;x;train\n", "split.csv", "separated by semicolons, are 'a', 'b', 'c'"),
        ("track_id,fold\na, b.wav,1\n", "split.csv", "line 'a,b.wav,1' has 3 cells, the first 2"),
    ],
)
def test_read_split_file_refuses_in_one_line(tmp_path, text, name, reason):
    with pytest.raises(UserError) as caught:
        _read(tmp_path, text, name=name)
    assert str(caught.value).startswith(f"--split_file {tmp_path / name}: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_read_split_file_refuses_json_that_would_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(split_file, "_MOST_JSON", 1000)
    with pytest.raises(UserError, match="it has 1000 characters or more; it is no split"):
        _read(tmp_path, '{"folds": [' + "[]," * 1000 + "[]]}", name="split.json")


def test_read_split_file_reads_utf_16(tmp_path):
    for name, text in (
        ("split.csv", "track_id\tfold\nblues.00000\t1\nblues.00001\t2\n"),
        ("split.json", '{"blues.00000": "1", "blues.00001": "2"}'),
    ):
        (tmp_path / name).write_text(text, encoding="utf-16")
        assignment = split_file.read_split_file(str(tmp_path / name), GTZAN.tracks)
        assert assignment.parts == {"1": ("blues.00000",), "2": ("blues.00001",)}


def test_read_split_file_refuses_what_is_no_text(tmp_path):
    (tmp_path / "split.csv").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "split.csv", tmp_path / "none.csv", tmp_path):
        with pytest.raises(UserError, match="cannot be read"):
            split_file.read_split_file(str(path), GTZAN.tracks)


@pytest.mark.parametrize("protocol", ["artist_kfold", "fault_filtered"])
@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_published_files_are_what_the_protocols_give(protocol, suffix):
    path = importlib.resources.files("mgr_jax.data") / "gtzan_splits" / f"{protocol}{suffix}"
    text = split_file.to_text(GTZAN, path=suffix, protocol=protocol, num_folds=5, seed=0)
    assert path.read_text(encoding="utf-8") == text
    assignment = split_file.read_split_file(str(path), GTZAN.tracks)
    if protocol == "artist_kfold":
        assigned = splits.make_folds(GTZAN, protocol=protocol)
        assert assignment.has_folds
        assert {name: int(f) for f, ids in assignment.parts.items() for name in ids} == assigned
    else:
        assert assignment == split_file.of_split(splits.make_split(GTZAN, protocol=protocol))


def test_folds_json_has_the_parts_of_every_fold():
    values = split_file.folds_json(GTZAN, protocol="artist_kfold", num_folds=3, seed=2)
    assert values["left_out"] == ["metal.00058", "rock.00016"]
    for fold, parts in enumerate(values["folds"]):
        split = splits.make_split(GTZAN, protocol="artist_kfold", num_folds=3, seed=2, fold=fold)
        assert (tuple(parts["valid"]), tuple(parts["test"])) == (split.valid, split.test)

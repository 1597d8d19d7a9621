"""Catalogs of folders, GTZAN copies and manifests, tidy and untidy. No file is opened for these."""

import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pytest

from mgr_jax import config as config_lib
from mgr_jax.data import gtzan, sources
from mgr_jax.errors import UserError

LAYOUTS = ["", "genres", "genres_original", "Data/genres_original"]


def _touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def _make(root, name="folder"):
    return sources.make_catalog(config_lib.Data(name=name, root=str(root)))


def _refused(root, name="folder"):
    with pytest.raises(UserError) as caught:
        _make(root, name)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("data.root ")
    return message


def _manifest(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "tracks.csv"
    path.write_text(text, encoding=encoding)
    return path


def _ids(catalog):
    return [track.id for track in catalog.tracks]


# GTZAN


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("suffix", ["wav", "au", "WAV", "mp3"])
def test_gtzan_reads_every_layout(tmp_path, layout, suffix):
    names = [f"{genre}/{genre}.0000{i}.{suffix}" for genre in gtzan.GENRES for i in (0, 1)]
    _touch(tmp_path / layout, *names)
    catalog = _make(tmp_path, "gtzan")
    assert catalog.labels == gtzan.GENRES
    assert _ids(catalog) == [f"{genre}.0000{i}" for genre in gtzan.GENRES for i in (0, 1)]
    for track in catalog.tracks:
        fact = gtzan.facts()[track.id]
        assert (track.artist, track.recording, track.part) == fact
        assert track.path == str(tmp_path / layout / track.label / f"{track.id}.{suffix}")
    assert catalog.skipped == ()


def test_gtzan_skips_and_counts_other_files(tmp_path):
    for genre in gtzan.GENRES:
        _touch(tmp_path, f"{genre}/{genre}.00000.au", f"{genre}/._{genre}.00000.au")
    _touch(tmp_path, "blues/.DS_Store", "blues/notes.txt", "blues/README", "blues/jazz.00001.au")
    _touch(tmp_path, "blues/blues.00100.au", "blues/my song.wav", "filelist.csv")
    catalog = _make(tmp_path, "gtzan")
    assert len(catalog.tracks) == 10
    assert dict(catalog.skipped) == {
        "hidden file (._*, .DS_Store, ...)": 11,
        "not a GTZAN track name": 3,
        "not audio (.txt)": 1,
        "not audio (no suffix)": 1,
    }


def test_gtzan_names_the_genres_that_are_missing(tmp_path):
    _touch(tmp_path, "blues/blues.00000.au", "rock/rock.00000.au")
    (tmp_path / "jazz").mkdir()
    catalog = _make(tmp_path, "gtzan")
    assert catalog.labels == ("blues", "rock")
    reasons = [reason for reason, _ in catalog.skipped]
    for genre in set(gtzan.GENRES) - {"blues", "rock"}:
        assert f"folder without audio ({genre})" in reasons


def test_gtzan_refuses_two_files_of_one_track(tmp_path):
    for genre in gtzan.GENRES:
        _touch(tmp_path, f"{genre}/{genre}.00000.au")
    _touch(tmp_path, "jazz/jazz.00000.wav")
    message = _refused(tmp_path, "gtzan")
    assert "jazz.00000.au and jazz.00000.wav are one track" in message


def test_gtzan_refuses_a_folder_of_something_else(tmp_path):
    assert "no genre folder" in _refused(tmp_path, "gtzan")
    _touch(tmp_path, "rock/a.wav", "jazz/b.wav")
    assert "use data.name=folder" in _refused(tmp_path, "gtzan")


# Folders


def test_folder_reads_every_suffix_at_any_depth(tmp_path):
    _touch(tmp_path, "b/x.wav", "b/cd 1/y.FLAC", "a/z.mp3", "a/deep/er/w.ogg", "a/v.Au")
    catalog = _make(tmp_path)
    assert catalog.labels == ("a", "b")
    assert _ids(catalog) == ["a/deep/er/w.ogg", "a/v.Au", "a/z.mp3", "b/cd 1/y.FLAC", "b/x.wav"]
    assert [track.label for track in catalog.tracks] == ["a", "a", "a", "b", "b"]
    assert {(t.artist, t.recording, t.part) for t in catalog.tracks} == {("", "", "")}


def test_folder_is_the_same_in_any_order_of_creation_and_place(tmp_path):
    names = [f"{label}/{i}.wav" for label in "cab" for i in range(5)]
    _touch(tmp_path / "one", *names)
    _touch(tmp_path / "two", *reversed(names))
    one, two = _make(tmp_path / "one"), _make(tmp_path / "two")
    assert _ids(one) == _ids(two) == sorted(names)
    assert one.hash() == two.hash()
    relabelled = dataclasses.replace(one.tracks[0], label="z")
    assert dataclasses.replace(one, tracks=(relabelled, *one.tracks[1:])).hash() != one.hash()


def test_folder_takes_what_ffmpeg_reads_and_names_what_it_leaves_out(tmp_path):
    _touch(tmp_path, "a/1.m4a", "a/2.MP2", "b/1.webm", "b/2.wma", "b/3.aac", "b/4.doc", "b/5.raw")
    catalog = _make(tmp_path)
    assert _ids(catalog) == ["a/1.m4a", "a/2.MP2", "b/1.webm", "b/2.wma", "b/3.aac"]
    assert dict(catalog.skipped) == {"not audio (.doc)": 1, "not audio (.raw)": 1}


def test_folder_skips_and_counts_other_files(tmp_path):
    _touch(tmp_path, "a/1.wav", "b/1.wav", "a/._1.wav", "a/cover.jpg", "loose.wav", "readme.txt")
    _touch(tmp_path, ".hidden/1.wav", "a/.trash/2.wav", "a/x.wav.part")
    (tmp_path / "empty").mkdir()
    catalog = _make(tmp_path)
    assert _ids(catalog) == ["a/1.wav", "b/1.wav"]
    assert dict(catalog.skipped) == {
        "audio outside of a class folder": 1,
        "folder without audio (empty)": 1,
        "hidden file (._*, .DS_Store, ...)": 1,
        "not audio (.jpg)": 1,
        "not audio (.part)": 1,
    }


def test_folder_takes_files_that_differ_in_suffix_for_one_recording(tmp_path):
    _touch(tmp_path, "a/1.wav", "a/1.mp3", "a/2.wav", "b/1.wav")
    recordings = {track.id: track.recording for track in _make(tmp_path).tracks}
    assert recordings == {"a/1.wav": "a/1", "a/1.mp3": "a/1", "a/2.wav": "", "b/1.wav": ""}


def test_folder_of_parts_is_a_split_of_the_classes_below(tmp_path):
    _touch(tmp_path, *(f"{p}/{c}/{i}.wav" for p in ("train", "test") for c in "ab" for i in (0, 1)))
    catalog = _make(tmp_path)
    assert catalog.labels == ("a", "b")
    assert {(t.id.partition("/")[0], t.part) for t in catalog.tracks} == {
        ("train", "train"), ("test", "test")
    }  # fmt: skip
    _touch(tmp_path, "folk/1.wav")
    assert "'folk' is none" in _refused(tmp_path)


def test_folder_leaves_out_a_file_that_links_put_in_two_classes(tmp_path):
    _touch(tmp_path, "a/1.wav", "a/2.wav", "b/3.wav")
    (tmp_path / "b" / "link.wav").symlink_to("../a/1.wav")
    os.link(tmp_path / "a" / "2.wav", tmp_path / "a" / "hard.wav")
    catalog = _make(tmp_path)
    assert _ids(catalog) == ["a/2.wav", "a/hard.wav", "b/3.wav"]
    assert catalog.skipped == (("the same file under two labels (a/1.wav = b/link.wav)", 2),)
    # In one class, both are one recording.
    assert len({track.recording for track in catalog.tracks[:2]} - {""}) == 1


def test_folder_takes_any_name(tmp_path):
    _touch(tmp_path, "drum, bass/ä: 音.wav", 'rock "n" roll/a\nb.wav')
    raw = os.path.join(os.fsencode(tmp_path), b"drum, bass", b"\xe9t\xe9.wav")
    with open(raw, "w"):
        pass
    catalog = _make(tmp_path)
    assert catalog.labels == ("drum, bass", 'rock "n" roll')
    assert _ids(catalog) == [
        "drum, bass/\\udce9t\\udce9.wav",
        "drum, bass/ä: 音.wav",
        'rock "n" roll/a\\nb.wav',
    ]
    assert all(os.path.exists(track.path) for track in catalog.tracks)
    "".join(_ids(catalog)).encode("utf-8")


def test_folder_survives_loops_broken_links_and_pipes(tmp_path):
    root = tmp_path / "root"
    _touch(root, "a/1.wav", "b/1.wav")
    (root / "a" / "up").symlink_to(root)
    (root / "again").symlink_to(root)
    (root / "b" / "me.wav").symlink_to(root / "b" / "me.wav")
    (root / "b" / "gone.wav").symlink_to(root / "nowhere.wav")
    (root / "b" / "folder.wav").mkdir()
    os.mkfifo(root / "b" / "pipe.wav")
    (tmp_path / "elsewhere").mkdir()
    _touch(tmp_path / "elsewhere", "2.wav")
    (root / "c").symlink_to(tmp_path / "elsewhere")
    catalog = _make(root)
    # What cannot be read stays in the catalog, for the decoder to name.
    assert _ids(catalog) == [
        "a/1.wav",
        "b/1.wav",
        "b/gone.wav",
        "b/me.wav",
        "b/pipe.wav",
        "c/2.wav",
    ]
    assert dict(catalog.skipped) == {"link back to the root": 1, "link to a folder": 1}


@pytest.mark.parametrize("name", ["folder", "gtzan"])
def test_a_missing_root_is_named(tmp_path, name):
    message = _refused(tmp_path / "none", name)
    assert message.startswith(f"data.root {tmp_path / 'none'}: no such folder")
    _touch(tmp_path, "file")
    words = "no such folder" if name == "folder" else "neither a folder nor a Parquet file"
    assert words in _refused(tmp_path / "file", name)
    assert "no such folder" in _refused("~nobody-of-this-name/x", name)


def test_folder_refuses_an_empty_root_and_a_single_class(tmp_path):
    assert "no audio file in 0 class folder(s)" in _refused(tmp_path)
    _touch(tmp_path, "metadata.csv")
    words = "; if metadata.csv lists them, give data.name=manifest and its path"
    assert _refused(tmp_path).endswith(words)
    _touch(tmp_path, "rock/notes.txt")
    assert "no audio file in 1 class folder(s)" in _refused(tmp_path)
    _touch(tmp_path, "rock/1.wav")
    assert "only one class (rock)" in _refused(tmp_path)


_AS_NOBODY = """
import os, sys
from mgr_jax.config import Data
from mgr_jax.data.sources import make_catalog
from mgr_jax.errors import UserError
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
for root in sys.argv[1:]:
    try:
        catalog = make_catalog(Data(name="folder", root=root))
        print([t.id for t in catalog.tracks], catalog.skipped)
    except UserError as error:
        print(error)
"""


def test_folder_names_what_it_may_not_read():
    """Run in a process without the rights of root, who may read everything."""
    # Not pytest's folder: the ones above it are closed to others.
    root = pathlib.Path(tempfile.mkdtemp())
    root.chmod(0o755)
    _touch(root, "a/1.wav", "b/1.wav", "c/1.wav")
    (root / "c").chmod(0o000)

    try:
        command = [sys.executable, "-c", _AS_NOBODY, str(root), str(root / "c")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        whole, closed = done.stdout.splitlines()
        assert whole.startswith("['a/1.wav', 'b/1.wav']")
        assert f"folder that cannot be read ({root / 'c'}: Permission denied)" in whole
        assert closed.endswith("permission denied; make the folder readable")
    finally:
        (root / "c").chmod(0o755)
        shutil.rmtree(root)


# Manifests


def test_manifest_reads_all_columns(tmp_path):
    path = _manifest(
        tmp_path,
        "\ufeffid,path,label,artist,recording,split,mood\n"
        "one,audio/1.wav,rock,The Band,r1,train,sad\n"
        "two,/abs/2.wav,jazz,,,test,\n",
    )
    catalog = _make(path, "manifest")
    assert catalog.labels == ("jazz", "rock")
    assert catalog.tracks == (
        sources.Track("one", str(tmp_path / "audio/1.wav"), "rock", "The Band", "r1", part="train"),
        sources.Track("two", "/abs/2.wav", "jazz", part="test"),
    )


def test_manifest_needs_two_columns_only(tmp_path):
    path = _manifest(tmp_path, 'path,label\n" b, c.wav ", rock \na.wav,jazz,\n')
    catalog = _make(path, "manifest")
    assert [(t.id, t.label) for t in catalog.tracks] == [("a.wav", "jazz"), ("b, c.wav", "rock")]
    # Which cell is the label?
    path = _manifest(tmp_path, "path,label\na, b.wav,rock\nc.wav,jazz\n")
    assert "line 2 has 3 cells, the header 2" in _refused(path, "manifest")


@pytest.mark.parametrize("head", ["file_name,genre", "Filename,Label", "file_name,label,genre"])
def test_manifest_reads_the_metadata_of_an_audio_folder(tmp_path, head):
    rest = ",x" if head.endswith("label,genre") else ""
    path = _manifest(tmp_path, f"{head}\nrock/a.wav,rock{rest}\nb.wav,jazz{rest}\n")
    catalog = _make(path, "manifest")
    assert [(t.id, t.label) for t in catalog.tracks] == [("b.wav", "jazz"), ("rock/a.wav", "rock")]


def test_manifest_lists_every_wrong_row(tmp_path):
    path = _manifest(
        tmp_path,
        "path,label,split\na.wav,rock,\na.wav,jazz,\n,rock,\n  ,rock,\nb.wav\nc.wav,rock,tset\n",
    )
    message = _refused(path, "manifest")
    for fault in (
        "line 3 repeats id 'a.wav'",
        "line 4 has no path or no label",
        "line 5 has no path or no label",
        "line 6 has no path or no label",
        "; and ",
    ):
        assert fault in message
    path = _manifest(tmp_path, "path,label,split\na.wav,rock,practice\nb\0.wav,jazz,\n")
    message = _refused(path, "manifest")
    assert "line 2 has split 'practice' (give train, valid, test or nothing); line 3 has" in message
    assert "line 3 has a path with a null character" in message


def test_manifest_refuses_one_file_under_two_ids(tmp_path):
    path = _manifest(tmp_path, "id,path,label\n1,a.wav,rock\n2,a.wav,rock\n3,b.wav,jazz\n")
    assert "line 3 repeats path 'a.wav'" in _refused(path, "manifest")


@pytest.mark.parametrize("other", ["./a.wav", "sub/../a.wav", "link.wav", "hard.wav", "ABSOLUTE"])
def test_manifest_refuses_one_file_however_its_path_is_spelled(tmp_path, other):
    _touch(tmp_path, "a.wav", "b.wav", "sub/c.wav")
    (tmp_path / "link.wav").symlink_to("a.wav")
    os.link(tmp_path / "a.wav", tmp_path / "hard.wav")
    other = other.replace("ABSOLUTE", str(tmp_path / "a.wav"))
    path = _manifest(tmp_path, f"path,label\na.wav,rock\nb.wav,jazz\n{other},jazz\n")
    assert f"line 4 repeats path {other!r} of line 2" in _refused(path, "manifest")
    # Whether or not there is a file.
    path = _manifest(tmp_path, "path,label\nx/y.wav,rock\nx/./y.wav,jazz\n")
    assert "line 3 repeats path 'x/./y.wav' of line 2" in _refused(path, "manifest")


@pytest.mark.parametrize("column", ["split", "Part"])
def test_manifest_takes_the_usual_names_of_the_parts(tmp_path, column):
    names = ("train", "TRAINING", "val", "dev", "validation", "Test", "eval", "", "nan")
    rows = "".join(f"{i}.wav;{'ab'[i % 2]};{name}\n" for i, name in enumerate(names))
    catalog = _make(_manifest(tmp_path, f"path;label;{column}\n{rows}"), "manifest")
    assert [track.part for track in catalog.tracks] == [
        "train", "train", "valid", "valid", "valid", "test", "test", "", ""
    ]  # fmt: skip
    path = _manifest(tmp_path, "path,label,split,part\na,x,train,test\n")
    assert "columns 'split' and 'part' say the same" in _refused(path, "manifest")


def test_manifest_takes_a_subset_for_the_split_if_it_names_parts_alone(tmp_path):
    for words, parts in (
        (("Train set", "test_set"), ["train", "test"]),
        (("small", "test"), ["", ""]),
    ):
        rows = "a.wav,x,{}\nb.wav,y,{}\n".format(*words)
        catalog = _make(_manifest(tmp_path, f"path,label,Subset\n{rows}"), "manifest")
        assert [track.part for track in catalog.tracks] == parts


def test_manifest_finds_files_that_another_system_has_named(tmp_path):
    _touch(tmp_path, "x/1.wav", "x/\u00e9.wav", "x/a\\b.wav")
    path = _manifest(tmp_path, "path,label\nx\\1.wav,rock\nx/e\u0301.wav,jazz\nx/a\\b.wav,jazz\n")
    found = {pathlib.Path(track.path).name for track in _make(path, "manifest").tracks}
    assert found == {"1.wav", "\u00e9.wav", "a\\b.wav"}
    path = _manifest(tmp_path, "path,label\nx/1.wav,rock\nx\\1.wav,jazz\n")
    assert "line 3 repeats path 'x\\\\1.wav' of line 2" in _refused(path, "manifest")


def test_manifest_labels_in_another_unicode_form_or_with_spaces_are_one_class(tmp_path):
    rows = "a,Mu\u0308sik\nb,M\u00fcsik\nc, M\u00fcsik\u00a0\nd,rock  'n'  roll\ne,rock 'n' roll\n"
    catalog = _make(_manifest(tmp_path, f"path,label\n{rows}"), "manifest")
    assert catalog.labels == ("M\u00fcsik", "rock 'n' roll")
    path = _manifest(tmp_path, "path,label\na,ro\u200bck\ufeff\nb,rock\nc,\u202ejazz\n")
    assert _make(path, "manifest").labels == ("jazz", "rock")


@pytest.mark.parametrize(
    "other", ["rock", "ROCK", "\uff32ock", "ro\u034fck", "rock\ufe0f", "rock\u3164", "rock\u200d"]
)
def test_labels_that_differ_in_case_alone_are_refused(tmp_path, other):
    path = _manifest(tmp_path, f"path,label\na,Rock\nb,{other}\nc,jazz\n")
    assert "differ in case or in the form of their letters alone" in _refused(path, "manifest")
    _touch(tmp_path / "root", "Rock/a.wav", f"{other}/b.wav")
    assert "differ in case" in _refused(tmp_path / "root")


def test_labels_that_differ_in_dashes_or_apostrophes_alone_are_refused(tmp_path):
    for pair in ("hip-hop", "hip\u2010hop"), ("r'n'b", "R\u2019n\u2019B"):
        path = _manifest(tmp_path, "path,label\na,{}\nb,{}\nc,jazz\n".format(*pair))
        assert "differ in case or in the form of their letters alone" in _refused(path, "manifest")


@pytest.mark.parametrize(
    "label",
    ["nan", "NaN", "None", "N/A", "null", "<NA>", "#REF!", "-", "?", "-NaN", "(null)", "\u3164"],
)
def test_labels_that_are_missing_values_are_refused(tmp_path, label):
    path = _manifest(tmp_path, f"path,label\na,{label}\nb,rock\n")
    assert f"label {label!r} is a missing value" in _refused(path, "manifest")


def test_artists_that_are_missing_values_are_unknown(tmp_path):
    rows = "a,x,nan,None\nb,y,Ann,NaN\n"
    catalog = _make(_manifest(tmp_path, f"path,label,artist,recording\n{rows}"), "manifest")
    assert [(t.artist, t.recording) for t in catalog.tracks] == [("", ""), ("Ann", "")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "column 'label' is missing"),
        ("file,label\n", "column 'path' is missing"),
        ("path,label\n", "the CSV has no rows"),
        ("path,label\na.wav,rock\n", "only one class (rock)"),
        ('path,label\n"' + "a" * 200_000, "not a readable CSV"),
    ],
)
def test_manifest_names_what_is_wrong_with_the_file(tmp_path, text, reason):
    path = _manifest(tmp_path, text)
    assert _refused(path, "manifest").startswith(f"data.root {path}: {reason}")


def test_manifest_refuses_what_is_not_a_text_file(tmp_path):
    path = _manifest(tmp_path, "path,label\né.wav,rock\n", encoding="latin-1")
    assert "not a readable CSV" in _refused(path, "manifest")
    assert "no such file" in _refused(tmp_path, "manifest")
    assert "no such file" in _refused(tmp_path / "none.csv", "manifest")


def test_catalog_hash_sees_every_fact_but_not_the_place(tmp_path):
    text = "id,path,label,artist,recording,split\n1,a,rock,x,r,train\n2,b,jazz,y,s,test\n"
    first = _make(_manifest(tmp_path, text), "manifest").hash()
    assert first == _make(_manifest(tmp_path, text.replace(",a,", ",c,")), "manifest").hash()
    for old, new in (("1,", "3,"), ("rock", "pop"), (",x,", ",z,"), (",r,", ",t,"), ("train", "")):
        changed = _make(_manifest(tmp_path, text.replace(old, new, 1)), "manifest")
        assert changed.hash() != first

"""The data set as a whole: catalog, clips, split and parts are consistent; its description."""

import shutil

import numpy as np
import pytest
import soundfile

from mgr_jax import config as config_lib
from mgr_jax.data import dataset as dataset_lib
from mgr_jax.errors import UserError


def _write(root, classes=("a", "b"), tracks=4):
    for number, label in enumerate(classes):
        (root / label).mkdir(parents=True, exist_ok=True)
        for i in range(tracks):
            tone = 0.3 * np.sin(np.arange(4000) * (0.1 + 0.1 * number + 0.01 * i))
            soundfile.write(root / label / f"{i}.wav", tone, 8000)


def _config(tmp_path, **data):
    fields = {"name": "folder", "root": str(tmp_path / "root"), "clip_seconds": 0.5}
    fields |= {"cache": str(tmp_path / "cache"), "num_workers": 1, "protocol": "holdout"}
    config = config_lib.Config(data=config_lib.Data(**(fields | data)))
    config.features.sample_rate = 8000
    return config_lib.validate(config)


def _manifest(tmp_path, rows):
    path = tmp_path / "tracks.csv"
    path.write_text("\n".join(["path,label,artist,split", *rows]))
    return {"name": "manifest", "root": str(path), "protocol": "listed"}


def test_catalog_hash_is_that_of_the_content_wherever_it_lies(tmp_path):
    _write(tmp_path / "root")
    catalog, _ = dataset_lib.open_catalog(_config(tmp_path))
    shutil.copytree(tmp_path / "root", tmp_path / "copy")
    moved, _ = dataset_lib.open_catalog(_config(tmp_path, root=str(tmp_path / "copy")))
    assert moved.hash() == catalog.hash()
    shutil.copy(tmp_path / "copy" / "a" / "1.wav", tmp_path / "copy" / "a" / "2.wav")
    other, _ = dataset_lib.open_catalog(_config(tmp_path, root=str(tmp_path / "copy")))
    assert other.hash() != catalog.hash()
    assert [name for name in other.content if other.content[name] != catalog.content[name]] == [
        "a/2.wav"
    ]


def test_open_dataset_follows_the_split(tmp_path):
    _write(tmp_path / "root")
    dataset = dataset_lib.open_dataset(_config(tmp_path))
    assert dataset.catalog.labels == ("a", "b")
    for part in ("train", "valid", "test"):
        tracks = dataset.parts[part]
        assert tracks.ids == getattr(dataset.split, part)
        for name, row, label in zip(tracks.ids, tracks.rows, tracks.labels, strict=True):
            assert dataset.clips.records[row].id == name
            assert dataset.catalog.labels[label] == name.split("/")[0]


@pytest.mark.parametrize("protocol", ["holdout", "kfold"])
def test_open_dataset_leaves_the_same_file_under_two_labels_out_of_every_part(tmp_path, protocol):
    root = tmp_path / "root"
    _write(root)
    shutil.copy(root / "a" / "0.wav", root / "b" / "copy.wav")
    shutil.copy(root / "a" / "1.wav", root / "a" / "copy.wav")
    dataset = dataset_lib.open_dataset(_config(tmp_path, protocol=protocol, num_folds=2))
    used = {name for part in dataset.parts.values() for name in part.ids}
    everything = {track.id for track in dataset.catalog.tracks}
    assert everything - used == {"a/0.wav", "b/copy.wav"}
    line = "2 in no part that is drawn: the same file under two labels: a/0.wav = b/copy.wav"
    assert line in dataset_lib.describe(dataset)


def test_split_dataset_keeps_the_published_split_of_gtzan_whole(tmp_path, monkeypatch):
    """It lists one of the two tracks that are the same file under two labels."""
    _write(tmp_path / "root")
    shutil.copy(tmp_path / "root" / "a" / "0.wav", tmp_path / "root" / "b" / "copy.wav")
    drawn = {}
    monkeypatch.setattr(
        dataset_lib.splits,
        "make_split",
        lambda catalog, **_: drawn.update(catalog=catalog) or 1 / 0,
    )
    for protocol, num_tracks in (("fault_filtered", 9), ("holdout", 7)):
        config = _config(tmp_path, protocol=protocol)
        opened = dataset_lib.open_catalog(config)
        with pytest.raises(ZeroDivisionError):
            dataset_lib.split_dataset(config, *opened)
        assert len(drawn["catalog"].tracks) == num_tracks


def test_open_dataset_refuses_files_that_are_all_under_two_labels(tmp_path):
    _write(tmp_path / "root", classes=("a",), tracks=2)
    shutil.copytree(tmp_path / "root" / "a", tmp_path / "root" / "b")
    with pytest.raises(UserError, match=r"every file is there under two labels, such as a/"):
        dataset_lib.open_dataset(_config(tmp_path))


def test_open_dataset_skips_what_cannot_be_read(tmp_path):
    _write(tmp_path / "root")
    (tmp_path / "root" / "a" / "bad.wav").write_text("text")
    (tmp_path / "root" / "b" / "cover.jpg").touch()
    soundfile.write(tmp_path / "root" / "b" / "short.wav", np.full(400, 0.5), 8000)
    dataset = dataset_lib.open_dataset(_config(tmp_path))
    split = dataset.split
    assert "a/bad.wav" not in {*split.train, *split.valid, *split.test}
    assert len(dataset.catalog.tracks) == 10
    lines = dataset_lib.describe(dataset).splitlines()
    assert lines == [
        "data      folder: 9 of 10 tracks of 0.5 s, 2 classes",
        "          1 left aside: not audio (.jpg)",
        "          1 track(s) skipped:",
        "            a/bad.wav: cannot be decoded (Format not recognised)",
        "          1 track(s) used although odd:",
        "            b/short.wav: short: 0.05 s, padded to 0.5 s",
        "split     holdout: 5 train, 2 valid, 2 test",
    ]


def test_describe_has_one_line_for_tracks_of_the_same_note(tmp_path):
    _write(tmp_path / "root")
    dataset = dataset_lib.open_dataset(_config(tmp_path, clip_seconds=1.0))
    lines = dataset_lib.describe(dataset).splitlines()
    files = ", ".join([f"a/{i}.wav" for i in range(4)] + ["b/0.wav"])
    assert lines[2] == f"            {files} and 3 more: short: 0.50 s, padded to 1 s"
    assert lines[3].startswith("split ")


def test_auto_chooses_by_the_tracks_that_can_be_read(tmp_path):
    _write(tmp_path / "root")
    rows = [f"root/{label}/{i}.wav,{label},{label}{i}," for label in "ab" for i in range(4)]
    for label in "ab":
        (tmp_path / "root" / label / "3.wav").write_text("text")
    data = _manifest(tmp_path, rows) | {"protocol": "auto", "num_folds": 4}
    assert dataset_lib.open_dataset(_config(tmp_path, **data)).split.protocol == "holdout"


def test_describe_reports_leaks_and_tracks_left_out(tmp_path):
    _write(tmp_path)
    rows = [f"{label}/0.wav,{label},X,train" for label in "ab"]
    rows += ["a/1.wav,a,Y,valid", "b/1.wav,b,X,test", "a/2.wav,a,Z,"]
    dataset = dataset_lib.open_dataset(_config(tmp_path, **_manifest(tmp_path, rows)))
    assert dataset_lib.describe(dataset).splitlines()[-1] == (
        "split     listed: 2 train, 1 valid, 1 test, 1 left out;"
        " LEAKS: 1 artist(s) and 0 recording(s) on both sides of test"
    )


def test_open_dataset_names_a_class_without_a_readable_track(tmp_path):
    _write(tmp_path / "root")
    (tmp_path / "root" / "c").mkdir()
    (tmp_path / "root" / "c" / "1.wav").write_text("text")
    with pytest.raises(UserError, match="class 'c' has 0 readable track"):
        dataset_lib.open_dataset(_config(tmp_path))


def test_open_dataset_refuses_a_root_of_which_nothing_can_be_read(tmp_path):
    for label in "ab":
        (tmp_path / "root" / label).mkdir(parents=True)
        (tmp_path / "root" / label / "1.wav").write_text("text")
    with pytest.raises(UserError) as caught:
        dataset_lib.open_dataset(_config(tmp_path))
    assert str(caught.value) == (
        f"data.root {tmp_path / 'root'}: none of 2 files can be read"
        " (a/1.wav: cannot be decoded (Format not recognised)); check the folder"
    )


def test_open_part_takes_the_part_of_an_earlier_split(tmp_path):
    _write(tmp_path / "root")
    config = _config(tmp_path)
    first = dataset_lib.open_dataset(config)
    (tmp_path / "root" / first.split.test[0]).unlink()
    (tmp_path / "root" / "a" / "new.wav").write_bytes(
        (tmp_path / "root" / first.split.train[0]).read_bytes()
    )
    again = dataset_lib.open_part(config, first.split, "test")
    assert again.split == first.split
    assert set(again.parts) == {"test"}
    assert again.parts["test"].ids == first.split.test[1:]


def test_open_part_refuses_data_without_any_of_its_tracks(tmp_path):
    _write(tmp_path / "root")
    split = dataset_lib.open_dataset(_config(tmp_path)).split
    _write(tmp_path / "other", classes=("x", "y"))
    with pytest.raises(UserError, match="it has no track of part 'test' of this workdir"):
        dataset_lib.open_part(_config(tmp_path, root=str(tmp_path / "other")), split, "test")

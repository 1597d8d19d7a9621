"""Files that are whole or not there."""

import pathlib

import numpy as np
import pytest

from mgr_jax import files


def test_write_whole_takes_text_and_bytes_and_leaves_nothing_beside(tmp_path):
    files.write_whole(tmp_path / "text", "ä\n")
    files.write_whole(str(tmp_path / "bytes"), b"\0\1")
    assert (tmp_path / "text").read_text(encoding="utf-8") == "ä\n"
    assert (tmp_path / "bytes").read_bytes() == b"\0\1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bytes", "text"]


def test_write_arrays_is_read_again_by_name(tmp_path):
    arrays = {"a": np.arange(3), "b": np.eye(2, dtype=np.float32)}
    files.write_arrays(tmp_path / "arrays.npz", arrays)
    with np.load(tmp_path / "arrays.npz") as values:
        assert {*values} == {"a", "b"}
        assert all(np.array_equal(values[name], arrays[name]) for name in arrays)
    assert [path.name for path in tmp_path.iterdir()] == ["arrays.npz"]


def test_write_whole_keeps_the_old_file_if_it_fails_on_the_way(tmp_path, monkeypatch):
    path = tmp_path / "file"
    files.write_whole(path, "old")

    def fail(*_):
        raise OSError("no space")

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        files.write_whole(path, "new")
    assert path.read_text() == "old"


@pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="needs /dev/full")
def test_write_whole_names_the_file_on_a_full_disk_and_leaves_no_part(tmp_path):
    path = tmp_path / "file"
    files.write_whole(path, "old")
    (tmp_path / "file.partial").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as error:
        files.write_whole(path, "new")
    assert error.value.filename == str(path)
    assert path.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_read_csv_inverts_csv_text(tmp_path):
    rows = [["=a", "x,y", '"q"', -1.5], ["'=b", " @c", "line\nbreak", "-2"]]
    path = tmp_path / "own.csv"
    # A class may have the name of a column.
    path.write_text(files.csv_text(["id", "label", "=t", "label"], rows), "utf-8")
    assert files.read_csv(path) == [
        {"id": "=a", "label": "x,y", "=t": '"q"'},
        {"id": "'=b", "label": " @c", "=t": "line\nbreak"},
    ]
    assert files.csv_line(["=1+1", "-1", -1]) == "'=1+1,-1,-1"


@pytest.mark.parametrize("text", ["", 'a,b\n"x', "a,b\n1,2,3\n", b"a,b\n\xff,1\n"])
def test_read_csv_refuses_what_is_damaged(tmp_path, text):
    path = tmp_path / "own.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=r"empty|unexpected end|zip|utf-8"):
        files.read_csv(path)


def test_records_survive_a_line_that_was_cut_or_damaged(tmp_path):
    path = tmp_path / "rows.jsonl"
    assert files.read_records(path) == []
    files.append_record(path, {"row": 1})
    assert path.read_bytes() == b'{"row": 1}\n'
    with path.open("ab") as file:
        file.write(b'[3]\n\xff\n"4"\n' + b"[" * 100_000 + b'\n{"row": 2}\n{"row"')
    files.append_record(path, {"row": "ä"})
    files.append_record(path, {"row": None})
    assert files.read_records(path) == [{"row": 1}, {"row": 2}, {"row": "ä"}, {"row": None}]


def test_append_record_names_the_file_that_it_cannot_write(tmp_path):
    with pytest.raises(OSError, match=r"absent.*rows\.jsonl"):
        files.append_record(tmp_path / "absent" / "rows.jsonl", {})

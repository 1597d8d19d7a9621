"""Files that are whole or not there."""

import pytest

from mgr_jax import files


def test_write_whole_takes_text_and_bytes_and_leaves_nothing_beside(tmp_path):
    files.write_whole(tmp_path / "text", "ä\n")
    files.write_whole(str(tmp_path / "bytes"), b"\0\1")
    assert (tmp_path / "text").read_text(encoding="utf-8") == "ä\n"
    assert (tmp_path / "bytes").read_bytes() == b"\0\1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bytes", "text"]


def test_write_whole_keeps_the_old_file_if_it_fails_on_the_way(tmp_path, monkeypatch):
    path = tmp_path / "file"
    files.write_whole(path, "old")

    def fail(*_):
        raise OSError("no space")

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        files.write_whole(path, "new")
    assert path.read_text() == "old"

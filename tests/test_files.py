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


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_read_csv_takes_the_delimiter_of_the_header(tmp_path, delimiter):
    path = tmp_path / "table.csv"
    path.write_text(f'\ufeff A{delimiter}b\n"x{delimiter}y"{delimiter} 1 \n\n', "utf-8")
    assert files.read_csv(path) == [{"a": f"x{delimiter}y", "b": "1"}]


@pytest.mark.parametrize("text", ["", "a,b\n", 'a,b\n"x', "a,b\n1,2,3\n", b"a,b\n\xff,1\n"])
def test_read_csv_refuses_what_is_no_table(tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=r"rows|unexpected end|cells|utf-8"):
        files.read_csv(path)

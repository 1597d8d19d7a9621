"""Array files of others: what is read, and what the headers alone refuse."""

import io
import sys
import zipfile

import numpy as np
import pytest

from mgr_jax import array_file


def _header(shape, dtype="<f4"):
    header = io.BytesIO()
    fields = {"shape": shape, "fortran_order": False, "descr": dtype}
    np.lib.format.write_array_header_1_0(header, fields)
    return header.getvalue()


def _archive(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_read_gives_all_arrays_or_those_that_are_named(tmp_path):
    arrays = {"a": np.arange(3), "b": np.array(["x", "é"]), "c": np.float32(2)}
    np.savez_compressed(tmp_path / "x.npz", **arrays)
    for names in (None, ("a", "c"), ("none",)):
        loaded = array_file.read(tmp_path / "x.npz", names)
        assert list(loaded) == [name for name in arrays if names is None or name in names]
        for name, value in loaded.items():
            np.testing.assert_array_equal(value, arrays[name])
    np.save(tmp_path / "x.npy", arrays["b"])
    np.testing.assert_array_equal(array_file.read(tmp_path / "x.npy")[""], arrays["b"])


def test_read_takes_large_arrays_that_are_compressed_as_usual(tmp_path, monkeypatch):
    monkeypatch.setattr(array_file, "_LARGE", 1000)
    np.savez_compressed(tmp_path / "x.npz", a=np.arange(10_000) // 100)
    assert array_file.read(tmp_path / "x.npz")["a"].size == 10_000


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"a.npy": _header((2**40,))}, r"'a' of \(1099511627776,\) needs 4398046511104 bytes"),
        ({"a.npy": _header((4,)) + bytes(15)}, "needs 16 bytes, the file has 15"),
        ({"a.npy": _header((2**40,), "<U0")}, "needs 1099511627776 bytes, the file has 0"),
        ({"a.npy": _header((-1,)) + bytes(8)}, "needs -4 bytes"),
        ({"a.npy": b"text"}, "'a' is no array"),
        ({"a": b"text"}, "'a' is no array"),
        ({"a.npy": _header((1,), "|O")}, "'a' holds Python objects"),
        ({"a.npy": b"\x93NUMPY\x09\x00"}, "."),
    ],
)
def test_read_refuses_what_headers_promise(tmp_path, members, reason):
    path = _archive(tmp_path / "x.npz", members)
    with pytest.raises(ValueError, match=reason) as caught:
        array_file.read(path)
    assert "\n" not in str(caught.value)
    (tmp_path / "x.npy").write_bytes(next(iter(members.values())))
    with pytest.raises(ValueError, match=reason.replace("'a'", "'x.npy'")):
        array_file.read(tmp_path / "x.npy")


@pytest.mark.parametrize("order", "<>")
def test_read_refuses_text_that_has_no_such_character(tmp_path, order):
    texts = np.array(["ab", "\U0010ffff"], f"{order}U2")
    np.save(tmp_path / "x.npy", texts)
    np.testing.assert_array_equal(array_file.read(tmp_path / "x.npy")[""], texts)
    rows = np.zeros(2, [("a", "f4"), ("b", texts.dtype)])
    rows["b"] = texts
    for values in (texts, rows):
        np.save(tmp_path / "x.npy", values)
        content = (tmp_path / "x.npy").read_bytes()
        largest = np.array(sys.maxunicode, f"{order}u4").tobytes()
        damaged = content.replace(largest, np.array(sys.maxunicode + 1, f"{order}u4").tobytes())
        (tmp_path / "x.npy").write_bytes(damaged)
        with pytest.raises(ValueError, match="holds text that is damaged"):
            array_file.read(tmp_path / "x.npy")


def test_read_refuses_a_bomb_from_its_directory(tmp_path, monkeypatch):
    monkeypatch.setattr(array_file, "_LARGE", 1 << 20)
    path = _archive(tmp_path / "x.npz", {"a.npy": _header((1 << 20,)) + bytes(4 << 20)})
    monkeypatch.setattr(np, "load", None)
    with pytest.raises(ValueError, match=r"array .a. would unpack 0\.0 MB to 0\.0 GB; save it"):
        array_file.read(path, ("a",))
    # Of many small members, if all are read.
    members = {f"{i}.npy": _header((1 << 17,)) + bytes(1 << 19) for i in range(5)}
    with pytest.raises(ValueError, match="the file would unpack"):
        array_file.read(_archive(path, members))


def test_read_refuses_members_that_overlap(tmp_path):
    path = _archive(tmp_path / "x.npz", {"a.npy": _header((1,)) + bytes(4)})
    content = path.read_bytes()
    directory = content.index(b"PK\x01\x02")
    # The size of the compressed member in the directory, beyond the end of the file.
    broken = content[: directory + 20] + b"\xff\xff\0\0" + content[directory + 24 :]
    path.write_bytes(broken)
    with pytest.raises(ValueError, match="overlap"):
        array_file.read(path)


def test_read_names_damage_in_one_line(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", a=np.random.default_rng(0).normal(size=1000))
    content = (tmp_path / "x.npz").read_bytes()
    random = np.random.default_rng(1)
    for _ in range(40):
        damaged = bytearray(content[: random.integers(1, len(content) + 1)])
        damaged[random.integers(len(damaged))] ^= 1 << random.integers(8)
        (tmp_path / "y.npz").write_bytes(damaged)
        try:
            array_file.read(tmp_path / "y.npz")
        except ValueError as error:
            assert 0 < len(str(error)) <= 200 and "\n" not in str(error)

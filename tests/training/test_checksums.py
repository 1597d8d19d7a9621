"""Checksums of a folder: every changed bit and every missing or exchanged file is noticed."""

import json
import random

import pytest

from mgr_jax.training import checksums


@pytest.fixture(name="folder")
def _folder(tmp_path):
    folder = tmp_path / "12"
    for name in ("a", "b/c", "b/d/e", "skipped", ".nfs0001"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.Random(name).randbytes(100))
    checksums.write(folder, "12", ignored=("skipped"))
    return folder


def flip(path, bit):
    """Invert one bit of a file."""
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def flip_any(folder, generator, ignored=()):
    """Invert one bit of one file below `folder`; return the file and the bit."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.stat().st_size]
    path = generator.choice([p for p in files if p.name not in ignored])
    bit = generator.randrange(8 * path.stat().st_size)
    flip(path, bit)
    return path, bit


def test_verify_accepts_what_was_written(folder):
    (folder / "skipped").write_bytes(b"changed")
    (folder / ".nfs0001").unlink()
    (folder / "new").touch()
    assert checksums.verify(folder)


def test_verify_notices_each_of_200_flipped_bits(folder):
    generator = random.Random(0)
    for _ in range(200):
        path, bit = flip_any(folder, generator, ignored=("skipped", ".nfs0001"))
        with pytest.raises(ValueError, match=r"^12"):
            checksums.verify(folder)
        flip(path, bit)
    assert checksums.verify(folder)


@pytest.mark.parametrize("damage", ["cut", "emptied", "removed", "exchanged", "folder", "renamed"])
def test_verify_names_the_damaged_file(folder, damage):
    path, other = folder / "b/c", folder / "b/d/e"
    expected = "12/b/c has other bytes than were saved"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "emptied":
        path.write_bytes(b"")
    elif damage == "exchanged":
        content = path.read_bytes()
        path.write_bytes(other.read_bytes())
        other.write_bytes(content)
    elif damage == "renamed":
        folder, expected = folder.rename(folder.with_name("13")), "13 is a copy of 12"
    else:
        path.unlink()
        expected = "12/b/c is missing"
        if damage == "folder":
            path.mkdir()
    with pytest.raises(ValueError, match=f"^{expected}$"):
        checksums.verify(folder)


def test_verify_can_be_limited_to_a_part(folder):
    (folder / "a").write_bytes(b"")
    assert checksums.verify(folder, under="b/")


def test_verify_returns_false_without_checksums(folder):
    (folder / checksums.NAME).unlink()
    assert not checksums.verify(folder)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"name": "12"}', '{"name": 1, "sha256": 2}'])
def test_verify_refuses_damaged_checksums(folder, content):
    (folder / checksums.NAME).write_text(content)
    with pytest.raises(ValueError, match=r"12/checksums\.json is damaged"):
        checksums.verify(folder)


def test_write_ignores_what_it_is_told(folder):
    files = json.loads((folder / checksums.NAME).read_text())["sha256"]
    assert sorted(files) == ["a", "b/c", "b/d/e"]

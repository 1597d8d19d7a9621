"""Disks of many sizes that fill up: one line that names a file, and the same command goes on later.

On file systems in memory, which only root can mount.
"""

import shutil
import subprocess

import pytest

from tests.experiments import commands, ends

pytestmark = pytest.mark.slow


@pytest.fixture(name="disk")
def _disk(tmp_path):
    """A function that makes an empty disk of some KiB, or resizes the one that is there."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(kilobytes, *options):
        arguments = ("-t", "tmpfs", "-o", ",".join([*options, f"size={kilobytes}k"]), "tmpfs")
        return subprocess.run(["mount", *arguments, folder], capture_output=True).returncode == 0

    if not mount(4):
        pytest.skip("cannot mount a file system")
    yield folder, lambda kilobytes: mount(kilobytes, "remount")
    subprocess.run(["umount", folder], check=True)


def is_one_line(error):
    lines = [line for line in error.splitlines() if not line.startswith("devices ")]
    return len(lines) == 1 and lines[0].startswith("error: ") and "No space left" in lines[0]


# Orbax drops the writes that wait behind the one that fails; when they are collected is chance.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kilobytes", [12, 28, 60, 100, 150, 200, 240, 300, 400])
def test_train_on_a_full_disk_is_one_line_and_goes_on(cache, trained, disk, kilobytes):
    folder, resize = disk
    arguments = [*commands.TINY, f"--workdir={folder / 'run'}"]
    resize(kilobytes)
    _, error = commands.run(cache, "train", *arguments, code=1)
    assert is_one_line(error), error
    assert str(folder) in error
    saved = [p for p in (folder / "run" / "checkpoints").glob("*") if p.name.isdecimal()]
    resize(10_000)
    out, _ = commands.run(cache, "train", *arguments)
    assert "damaged" not in out
    assert ("resume" in out) == bool(saved)
    ends.assert_same_end(folder / "run", trained)


def test_evaluate_on_a_full_disk_is_one_line_and_counts_once(cache, trained, disk):
    folder, resize = disk
    resize(10_000)
    shutil.copytree(trained, folder / "run", ignore=shutil.ignore_patterns("eval"))
    used = sum(p.stat().st_blocks for p in folder.rglob("*") if p.is_file()) // 2
    for more in (0, 8, 30, 80, 150):
        resize(used + more)
        _, error = commands.run(cache, "evaluate", f"--workdir={folder / 'run'}", code=1)
        assert is_one_line(error), error
    resize(10_000)
    commands.run(cache, "evaluate", f"--workdir={folder / 'run'}")
    assert '"times_evaluated": 1' in (folder / "run/eval/test/report.json").read_text()


def test_decoding_on_a_full_disk_is_one_line_and_goes_on(disk, tmp_path):
    folder, resize = disk
    arguments = [*commands.TINY, f"--config.data.cache={folder / 'cache'}"]
    for kilobytes in (8, 100, 300):
        resize(kilobytes)
        _, error = commands.run(tmp_path, "prepare", *arguments, code=1)
        assert is_one_line(error), error
        assert "data.cache" in error
    resize(10_000)
    out, _ = commands.run(tmp_path, "prepare", *arguments)
    assert "30 of 30 tracks" in out

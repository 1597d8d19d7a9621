"""Random damage of a file of a checkpoint: one line, or the intact one, never another result."""

import json
import random
import shutil

import pytest

from tests.experiments import commands, ends
from tests.training.test_checksums import flip

pytestmark = pytest.mark.slow


def damage(folder, generator):
    """Damage a random file below `folder` in a random way; return both."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.stat().st_size]
    path, kind = generator.choice(files), generator.choice(["cut", "garble", "empty", "delete"])
    kind = generator.choice([kind, "flip", "exchange"])
    content = path.read_bytes()
    if kind == "cut":
        path.write_bytes(content[: generator.randrange(len(content))])
    elif kind == "garble":
        start = generator.randrange(len(content))
        noise = generator.randbytes(min(64, len(content) - start))
        path.write_bytes(content[:start] + noise + content[start + len(noise) :])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "delete":
        path.unlink()
    elif kind == "flip":
        flip(path, generator.randrange(8 * len(content)))
    else:
        other = generator.choice(files)
        path.write_bytes(other.read_bytes())
        other.write_bytes(content)
    return f"{kind} {path.relative_to(folder)}"


@pytest.mark.parametrize("seed", range(24))
def test_a_damaged_checkpoint_changes_no_result(cache, trained, tmp_path, seed):
    run, name = tmp_path / "run", f"--workdir={tmp_path / 'run'}"
    shutil.copytree(trained, run, ignore=shutil.ignore_patterns("eval"))
    commands.run(cache, "evaluate", name)
    report = run / "eval/test/report.json"
    expected = json.loads(report.read_text())
    what = damage(run / "checkpoints", random.Random(seed))
    for command in ("evaluate", "export"):
        more = ["--format=bundle", f"--output={tmp_path / 'bundle'}"] if command == "export" else []
        try:
            commands.run(cache, command, name, *more)
        except AssertionError:
            line = commands.fails(cache, command, name, *more)
            assert "cannot be read" in line or "no checkpoint in it" in line, (what, line)
    values = json.loads(report.read_text())
    for field in ("checkpoint_step", "accuracy", "confusion_matrix"):
        assert values[field] == expected[field], what
    commands.run(cache, "train", *commands.TINY, name)
    ends.assert_same_end(run, trained)

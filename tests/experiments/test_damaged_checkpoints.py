"""114 damages of checkpoints: the same results, or one line with a remedy that works.

Each is tried with `evaluate`, `predict`, `export`, and then with `train`, after which the run has
to end as an undamaged one.
"""

import json
import random
import re
import shutil

import numpy as np
import pytest
import soundfile

from mgr_jax.evaluation.reports import report
from mgr_jax.export import bundle
from tests.experiments import commands, ends
from tests.training.test_checksums import flip

pytestmark = pytest.mark.slow

FILES = (
    "checksums.json", "_CHECKPOINT_METADATA", "commit_success.txt", "metrics/metrics",
    "progress/metadata", "state/_METADATA", "state/_sharding", "state/manifest.ocdbt", "state/d/*",
    "state/array_metadatas/process_0", "state/ocdbt.process_0/manifest.ocdbt",
    "state/ocdbt.process_0/d/*",
)  # fmt: skip
KINDS = ("cut", "garble", "empty", "delete", "flip", "exchange", "zero", "append", "folder")
WHOLES = ("state", "metrics", "progress", "checkpoint", "all checkpoints", "number")


def damage_file(checkpoint, pattern, kind, generator):
    """Damage one file of a checkpoint."""
    path = generator.choice(sorted(checkpoint.glob(pattern)))
    content = path.read_bytes()
    start = generator.randrange(len(content))
    noise = generator.randbytes(min(64, len(content) - start))
    if kind == "cut":
        path.write_bytes(content[:start])
    elif kind == "garble":
        path.write_bytes(content[:start] + noise + content[start + len(noise) :])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "delete":
        path.unlink()
    elif kind == "flip":
        flip(path, generator.randrange(8 * len(content)))
    elif kind == "exchange":
        others = [p for p in checkpoint.parent.rglob("*") if p.is_file() and p != path]
        other = generator.choice(sorted(others))
        path.write_bytes(other.read_bytes())
        other.write_bytes(content)
    elif kind == "zero":
        path.write_bytes(bytes(len(content)))
    elif kind == "append":
        path.write_bytes(content + noise)
    else:
        path.unlink()
        path.mkdir()


def damage_whole(checkpoint, what):
    """Remove a part of a checkpoint, or all, or give it another number."""
    if what == "number":
        checkpoint.rename(checkpoint.with_name("7"))
    elif what == "all checkpoints":
        shutil.rmtree(checkpoint.parent)
    else:
        shutil.rmtree(checkpoint if what == "checkpoint" else checkpoint / what)


class Sweep:
    """The trained run, what the commands make of its two checkpoints, and a copy to damage."""

    def __init__(self, cache, trained, folder):
        self.cache, self.trained, self.folder = cache, trained, folder
        self.run, self.song = folder / "run", folder / "song.wav"
        noise = np.random.default_rng(0).normal(size=8000)
        soundfile.write(self.song, 0.1 * noise, 8000)
        self.copy()
        self.steps = sorted(int(path.name) for path in (self.run / "checkpoints").iterdir())
        assert len(self.steps) == 2  # The best, and the latest.
        self.expected = {
            (command, str(step)): self.result(command, str(step))
            for step in self.steps
            for command in ("evaluate", "predict", "export")
        }

    def copy(self):
        shutil.rmtree(self.run, ignore_errors=True)
        shutil.copytree(self.trained, self.run, ignore=shutil.ignore_patterns("eval"))

    def result(self, command, which):
        """Return what a command makes of a checkpoint."""
        flags = [f"--workdir={self.run}", f"--checkpoint={which}"]
        if command == "evaluate":
            commands.run(self.cache, command, *flags)
            values = json.loads((self.run / "eval/test/report.json").read_text())
            predictions = (self.run / "eval/test/predictions.csv").read_text()
            return values["checkpoint_step"], values["accuracy"], predictions
        if command == "predict":
            return commands.run(self.cache, command, self.song, "--format=json", *flags)[0]
        output = self.folder / "bundle"
        commands.run(self.cache, command, "--format=bundle", f"--output={output}", *flags)
        system = bundle.read(output)
        return system.step, json.dumps(system.variables, default=np.ndarray.tolist)

    def attempt(self, command, which, what):
        """Run a command on the damaged copy: the result is the same, or its line names a remedy."""
        step = str(self.steps[which == "latest"])
        try:
            result = self.result(command, which)
        except AssertionError as error:
            lines = [line for line in str(error).splitlines() if line.startswith("error: ")]
            assert len(lines) == 1 and "Traceback" not in str(error), (what, error)
            self.check_remedy(lines[0], command, what)
        else:
            assert result == self.expected[command, step], (what, command, which)

    def check_remedy(self, line, command, what):
        intact = re.findall(r"--checkpoint=(\d+)", line)
        for step in intact:
            if step in map(str, self.steps):
                assert self.result(command, step) == self.expected[command, step], (what, step)
        assert (
            intact
            or "run the training again, which begins anew" in line
            or "no checkpoint in it yet; train first" in line
        ), (what, line)

    def check(self, what, generator):
        """Run all commands on the damaged copy."""
        for command in ("evaluate", "predict", "export"):
            self.attempt(command, generator.choice(["best", "latest"]), what)
        commands.run(self.cache, "train", *commands.TINY, f"--workdir={self.run}")
        ends.assert_same_end(self.run, self.trained)
        self.attempt("predict", "latest", what)
        self.attempt("evaluate", "best", what)


@pytest.fixture(name="sweep", scope="module")
def _sweep(cache, trained, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        # Figures would take most of the time.
        patch.setattr(report, "_draw", lambda folder, values, records: {})
        yield Sweep(cache, trained, tmp_path_factory.mktemp("sweep"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_of_a_checkpoint_changes_no_result(sweep, kind):
    generator = random.Random(kind)
    for pattern in FILES:
        sweep.copy()
        step = generator.choice(sweep.steps)
        damage_file(sweep.run / "checkpoints" / str(step), pattern, kind, generator)
        sweep.check(f"{kind} {step}/{pattern}", generator)


@pytest.mark.parametrize("what", WHOLES)
def test_missing_parts_of_a_checkpoint_change_no_result(sweep, what):
    generator = random.Random(what)
    sweep.copy()
    step = generator.choice(sweep.steps)
    damage_whole(sweep.run / "checkpoints" / str(step), what)
    sweep.check(f"{what} of {step}", generator)

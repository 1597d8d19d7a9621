"""Kill -9 at random times, from start-up on: the same command ends in the same numbers."""

import random
import re
import shutil
import signal
import time

import pytest

from tests.experiments import commands, ends, recordings

# Uses every part of a checkpoint, which is saved every second step and after each epoch.
LAST = 240
MORE = (
    "--config.train.num_epochs=60",
    "--config.train.checkpoint_every_steps=2",
    "--config.train.keep_checkpoints=2",
    "--config.train.mixup_alpha=0.4",
    "--config.optim.name=adam",
    "--config.optim.schedule=plateau",
    "--config.optim.ema_decay=0.9",
    "--config.optim.early_stop_patience=100",
)


@pytest.mark.slow
def test_train_killed_at_twenty_random_times_ends_bitwise_the_same(tmp_path):
    arguments = [*recordings.make_arguments(tmp_path / "recordings"), *MORE]
    for name in (
        "whole",
        "again",
    ):  # The second one has compiled programs in the cache, as those below.
        began = time.monotonic()
        flags = (*arguments, f"--workdir={tmp_path / name}")
        commands.run_process(tmp_path / f"cache_{name}", "train", *flags)
        seconds = time.monotonic() - began
    ends.assert_same_end(tmp_path / "again", tmp_path / "whole")
    killed, resumed = 0, []
    while killed < 20:
        # With a new cache of clips, so that decoding is killed too.
        cache, workdir = tmp_path / "cache", tmp_path / "run"
        flags = (*arguments, f"--workdir={workdir}")
        process = commands.start(cache, "train", *flags)
        time.sleep(random.uniform(0.02, 1.0) * seconds)
        process.kill()
        process.communicate()
        if process.returncode == -signal.SIGKILL:
            killed += 1
            out, _ = commands.run_process(cache, "train", *flags)
            resumed += re.findall(r"resume    from step (\d+)", out)
            assert "damaged" not in out, out
            ends.assert_same_end(workdir, tmp_path / "whole")
        shutil.rmtree(cache, ignore_errors=True)
        shutil.rmtree(workdir, ignore_errors=True)
    print(f"20 kills; resumed from steps {', '.join(resumed)} of {LAST}, else from the start")
    # Enough kills have to fall into the training to test the saves.
    assert sum(0 < int(step) < LAST for step in resumed) >= 5

"""Kill -9 at random times, from start-up on: the same command ends in the same numbers."""

import random
import time

import pytest

from tests.experiments import commands, ends, recordings

# All that a checkpoint has to hold, saved every second step as well as after each epoch.
MORE = (
    "--config.train.num_epochs=25",
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
    began = time.monotonic()
    commands.run(tmp_path / "cache", "train", *arguments, f"--workdir={tmp_path / 'whole'}")
    seconds = time.monotonic() - began
    resumed = []
    for number in range(20):
        # A cache of its own: decoding is killed too.
        cache, workdir = tmp_path / f"cache_{number}", tmp_path / f"run_{number}"
        flags = (*arguments, f"--workdir={workdir}")
        process = commands.start(cache, "train", *flags)
        time.sleep(random.uniform(0.05, 0.95) * seconds)
        process.kill()
        process.communicate()
        out, _ = commands.run(cache, "train", *flags)
        resumed += [line for line in out.splitlines() if line.startswith("resume")]
        assert "damaged" not in out, out
        ends.assert_same_end(workdir, tmp_path / "whole")
    assert len(resumed) >= 3, resumed  # Else the kills came too early to say anything of saves.
    print(f"killed 20 times; {resumed}")

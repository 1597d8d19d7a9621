"""Twenty recordings of a second, and flags of a small network for them."""

import numpy as np
import soundfile

RATE = 8000
# An RNN of four units on the log-mel of a second; four steps an epoch.
TINY = (
    "--config=experiments/configs/rnn.py",
    "--config.data.name=folder",
    "--config.data.protocol=holdout",
    "--config.data.clip_seconds=1",
    "--config.data.num_workers=1",
    f"--config.features.sample_rate={RATE}",
    "--config.features.n_fft=256",
    "--config.features.hop_length=128",
    "--config.features.kind=logmel",
    "--config.features.n_mels=16",
    "--config.model.hidden_size=4",
    "--config.train.batch_size=4",
    "--config.optim.name=sgd",
    "--config.optim.learning_rate=0.05",
)


def make_arguments(root):
    """Write tones of two classes to the folder `root`; return a run's flags without its workdir."""
    random, time = np.random.default_rng(0), np.arange(RATE) / RATE
    for label, pitch in (("high", 1200), ("low", 200)):
        (root / label).mkdir(parents=True)
        for number in range(10):
            tone = 0.3 * np.sin(2 * np.pi * pitch * (1 + 0.02 * number) * time)
            noise = 0.05 * random.normal(size=RATE)
            soundfile.write(root / label / f"{number}.wav", tone + noise, RATE)
    return [*TINY, f"--config.data.root={root}"]

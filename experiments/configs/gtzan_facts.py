"""The 1000 published tracks of GTZAN without their audio: what leaks in a split of them.

    python -m experiments.audit --config=experiments/configs/gtzan_facts.py --seeds=100

For another protocol `--config.data.protocol=artist_kfold`; for a split that somebody else made
`--split_file=FILE.csv`. Training needs the audio: `--config.data.name=gtzan`.
"""

from mgr_jax.config import Config


def get_config() -> Config:
    """A random 80/10/10, as most accuracies on GTZAN are measured."""
    config = Config()
    config.data.name = "gtzan_facts"
    config.data.protocol = "holdout"
    return config

"""The 1000 published tracks of GTZAN without their audio, to audit splits of them.

    python -m experiments.audit --config=experiments/configs/gtzan_facts.py --seeds=100

Another protocol: `--config.data.protocol=artist_kfold`; a split that somebody else made:
`--split_file=FILE.csv`. Training needs the audio: `--config.data.name=gtzan`.
"""

from mgr_jax.config import Config


def get_config() -> Config:
    """Return the config of a random 80/10/10 split, on which most accuracies are measured."""
    config = Config()
    config.data.name = "gtzan_facts"
    config.data.protocol = "holdout"
    return config

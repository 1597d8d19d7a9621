"""Evaluations made by hand, for the tests of what a paper takes."""

import numpy as np

from mgr_jax import config as config_lib
from mgr_jax.evaluation import compare
from mgr_jax.evaluation.reports import published

LABELS = ("R&B_soul", "50% ^ {x} $a$ #1 ~\\", "音楽 é")


def evaluation(seed=0, *, n=30, per_artist=3, labels=LABELS, share=0.7, config=None, **changes):
    """An evaluation of n tracks, `per_artist` by each artist, of which about `share` are right."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) // 3 % len(labels)
    predicted = np.where(rng.random(n) < share, truth, rng.integers(0, len(labels), n))
    report = {
        "system": "logistic",
        "data": "band",
        "part": "test",
        "protocol": "listed",
        "labels": list(labels),
        "n": n,
        "num_correct": int((truth == predicted).sum()),
        "checkpoint_step": 3,
        "split_hash": "00",
        "data_hash": "11",
        "shared_artists": [],
        "shared_recordings": [],
        "artists_known": n,
        "provenance": {
            "config": config_lib.to_json(config or config_lib.Config()),
            "trained_with": {"versions": {"mgr_jax": "0.1.0", "jax": "0.10"}, "git_commit": "ab"},
        },
    }
    return compare.Evaluation(
        "w",
        report | changes,
        tuple(f"t{i:03}" for i in range(n)),
        tuple(labels[i] for i in truth),
        truth == predicted,
        tuple(f"t{i // per_artist * per_artist:03}" for i in range(n)),
        predicted=tuple(labels[i] for i in predicted),
    )


def system(name="a", seeds=(0,), **kwargs):
    return published.System(name, tuple(evaluation(seed, **kwargs) for seed in seeds))

"""Systems with random weights, for tests of exports."""

import jax
import numpy as np

from mgr_jax import config as config_lib
from mgr_jax.system import System, abstract_variables

LABELS = ("blues", "jazz", "rock")


def make_system(name: str = "bbnn", *, seed: int = 0, **fields) -> System:
    """Return a small system for windows of half a second at 8 kHz.

    Args:
      name: `model.name`.
      seed: seed of the weights.
      fields: config fields, such as `features_normalize="bin"`.
    """
    config = config_lib.Config()
    config.data.clip_seconds, config.data.window_seconds = 1.0, 0.5
    features, model = config.features, config.model
    features.sample_rate, features.n_fft, features.hop_length, features.n_mels = 8000, 256, 128, 16
    model.name, model.width, model.num_modules, model.hidden_size = name, 4, 1, 4
    if name == "logistic":
        features.kind = "mfcc_stats"
    for field, value in fields.items():
        section, _, field = field.partition("_")
        setattr(getattr(config, section), field, value)
    return System(
        path="",
        config=config,
        labels=LABELS,
        step=7,
        variables=_variables(config, np.random.default_rng(seed)),
        facts={"protocol": "listed", "data_hash": "d", "split_hash": "s", "git_commit": ""},
        report={
            "checkpoint_step": 7,
            "num_correct": 4,
            "n": 6,
            "protocol": "listed",
            "per_class": {"blues": {"precision": 0.5, "recall": 1.0, "f1": 2 / 3, "support": 2}},
            "skipped": {"/home/me/secret.wav": "is silent"},
            "cross_validation": "cross_validate --config=workdir:/home/me/run",
        },
        temperature=1.5,
        run=None,
    )


def noise(num_samples: int, *, seed: int = 0) -> np.ndarray:
    """Return a tone in noise [T]."""
    generator = np.random.default_rng(seed)
    tone = np.sin(np.arange(num_samples) * generator.uniform(0.05, 1.5))
    return (0.2 * tone + 0.1 * generator.normal(size=num_samples)).astype(np.float32)


def _variables(config: config_lib.Config, generator: np.random.Generator) -> dict:
    if config.model.name == "logistic":
        dim = config.features.n_mfcc * (config.features.n_mfcc + 3) // 2
        return {
            "mean": generator.normal(size=dim).astype(np.float32),
            "scale": generator.uniform(5, 100, dim).astype(np.float32),
            "kernel": 0.1 * generator.normal(size=(dim, len(LABELS))).astype(np.float32),
            "bias": generator.normal(size=len(LABELS)).astype(np.float32),
            "l2": np.float32(0.1),
        }
    abstract = abstract_variables(config, num_classes=len(LABELS))

    def draw(path, x):
        if path[-1].key in ("scale", "var", "bias"):  # Positive, so that not all ReLUs are 0.
            return generator.uniform(0.5, 1.5, x.shape).astype(x.dtype)
        # Small enough that no probability is 0 or 1.
        return (0.1 * generator.normal(size=x.shape)).astype(x.dtype)

    return jax.tree.map_with_path(draw, abstract)

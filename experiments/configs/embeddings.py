"""Logistic regression on embeddings of any encoder, `[N, D]` or `[N, layers, D]` in one file.

    python -m experiments.train --config=experiments/configs/embeddings.py \\
        --config.data.root=FILE.npz --workdir=runs/embeddings

`mgr_jax/data/README.md` describes the file. `:svm` and `:lda` are the other systems. If there are
several layers, one is chosen within the training part. Artists, where known, stay on one side of
the split (`artist_kfold`, fold 0); `--config.data.protocol=listed` takes the split of the file.
"""

from mgr_jax.config import Config
from mgr_jax.errors import UserError


def get_config(variant: str = "logistic") -> Config:
    """Return the config of `logistic`, `svm` or `lda`; `data.root` must be set."""
    if variant not in ("logistic", "svm", "lda"):
        raise UserError(f"variant {variant!r} is unknown; use logistic, svm or lda")
    config = Config()
    config.data.name = "embeddings"
    config.data.protocol = "artist_kfold"
    config.features.kind = "embedding"
    config.model.name = variant
    config.model.l2 = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
    config.train.batch_size = 256
    return config

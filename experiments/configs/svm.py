"""Support vector machine: standardise, 100 principal components, SVC with an RBF kernel.

On mean and covariance of 14 MFCCs (119 values); `svm.py:flattened` on the picture of the mel
spectrogram as one vector (121 800 values), as the console output in the presentation shows. C and
gamma are chosen on the validation part.

    python -m experiments.train --config=experiments/configs/svm.py --workdir=runs/svm

Measured on 2 CPU cores: 73.3 % [55.2, 86.0] by artist (n = 60, listed) on the band; see
`experiments/results/systems.md`. Both variants: `experiments/results/presentation.md`.
"""

from mgr_jax.config import Config
from mgr_jax.errors import UserError


def get_config(variant: str = "") -> Config:
    """Return the config on the embedded band; `--config.data.*` selects another data set."""
    config = Config()
    config.features.kind = "mfcc_stats"
    config.features.hop_length = 256
    config.model.name = "svm"
    config.model.kernel = "rbf"
    if variant == "flattened":
        config.features.kind = "flattened"
        config.features.hop_length = 512
    elif variant:
        raise UserError(f"variant {variant!r} is unknown; use 'flattened' or none")
    return config

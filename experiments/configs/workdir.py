"""The config of a workdir, for another training: `--config=workdir:DIR`.

python -m experiments.cross_validate --config=workdir:runs/mine --workdir=runs/mine-folds
"""

from mgr_jax import workdir
from mgr_jax.config import Config
from mgr_jax.errors import UserError


def get_config(path: str = "") -> Config:
    """Return the config of the workdir `path`; `--config.*` overrides it."""
    if not path:
        raise UserError("config workdir: name the folder of a training, workdir:DIR")
    return workdir.load(path).config

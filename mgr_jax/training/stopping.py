"""Early stopping: what it remembers from epoch to epoch, saved beside the state."""

import math

from mgr_jax.config import Optim

START = {"lowest_loss": math.inf, "epochs_since": 0}


def after_epoch(optim: Optim, progress: dict[str, float], loss: float) -> dict[str, float]:
    """Keras's EarlyStopping: a loss counts as lower only if by more than the minimum."""
    if loss < progress["lowest_loss"] - optim.early_stop_min_delta:
        return {"lowest_loss": loss, "epochs_since": 0}
    return progress | {"epochs_since": progress["epochs_since"] + 1}


def stops(optim: Optim, progress: dict[str, float]) -> bool:
    """Whether training ends here, as the config has it."""
    return 0 < optim.early_stop_patience <= progress["epochs_since"]

"""Early stopping on the training or validation loss; its progress is saved beside the state."""

import math

from mgr_jax.config import Optim

START = {"lowest_loss": math.inf, "epochs_since": 0}
# Value of `optim.early_stop_metric` -> what it is called on the terminal.
NAMES = {"train_loss": "training loss", "valid_loss": "validation loss"}


def after_epoch(optim: Optim, progress: dict[str, float], loss: float) -> dict[str, float]:
    """Return the progress after an epoch with `loss`, as Keras's EarlyStopping counts.

    A loss counts as lower only if it is lower by more than `early_stop_min_delta`.
    """
    if loss < progress["lowest_loss"] - optim.early_stop_min_delta:
        return {"lowest_loss": loss, "epochs_since": 0}
    return progress | {"epochs_since": progress["epochs_since"] + 1}


def stops(optim: Optim, progress: dict[str, float]) -> bool:
    """Return whether the loss has not become lower for `early_stop_patience` epochs (0: never)."""
    return 0 < optim.early_stop_patience <= progress["epochs_since"]

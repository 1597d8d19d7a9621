"""The choice of the layer of an encoder, on tracks that the models of the layers have not seen."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mgr_jax import progress
from mgr_jax.evaluation import metrics
from mgr_jax.evaluation import tracks as tracks_lib

Params = Mapping[str, np.ndarray]
Records = list[dict[str, Any]]


def choose(
    fit_layer: Callable[[int], tuple[Params, Records, np.ndarray]],
    num_layers: int,
    y: np.ndarray,
    tracks: np.ndarray,
    *,
    what: str,
) -> tuple[dict[str, np.ndarray], Records]:
    """Return the parameters of the best layer, as `layer` among them, and records for all layers.

    Highest accuracy of the held-out tracks wins, then lower cross entropy, then the lower layer.

    Args:
      fit_layer: layer -> parameters, records of their fit, and log-probabilities [W, C] of the
        held-out windows.
      num_layers: number of layers.
      y: classes of the held-out windows [W]. tracks: track of each window [W].
      what: name of the held-out tracks, to print.
    """
    _, first, track_of = np.unique(tracks, return_index=True, return_inverse=True)
    truth, best, best_rank = y[first], (0, {}, []), (-1.0, 0.0)
    records: Records = []
    with progress.Progress("fit", total=num_layers, unit="layer") as bar:
        for layer in range(num_layers):
            params, own, log_p = fit_layer(layer)
            scores = tracks_lib.pool_windows(np.asarray(log_p), track_of)
            accuracy = float((scores.argmax(axis=1) == truth).mean())
            loss = metrics.log_loss(scores, truth)
            record = {"step": layer, "layer": layer, "held_out_accuracy": accuracy}
            records.append(record | {"held_out_loss": loss if np.isfinite(loss) else None})
            if (accuracy, -loss) > best_rank:
                best, best_rank = (layer, params, own), (accuracy, -loss)
            bar.update()
    layer, params, own = best
    hits = [round(record["held_out_accuracy"] * len(truth)) for record in records]
    others = sorted(hits[:layer] + hits[layer + 1 :])
    print(
        f"layer     {layer} of 0 to {num_layers - 1}: recognises {hits[layer]} of {len(truth)}"
        f" {what}" + (f", the others {others[0]} to {others[-1]}" if others else "")
    )
    records = [record | {"chosen": record["layer"] == layer} for record in records]
    own = [record | {"step": num_layers + record["step"]} for record in own]
    return {**params, "layer": np.asarray(layer)}, records + own

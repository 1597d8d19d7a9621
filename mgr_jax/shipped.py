"""The GTZAN model of the package as a system that takes audio.

It takes 30 s at a time, as a spectrogram and as MusiCNN's tags over time (`classical.fusion`).
"""

import os
from typing import Any

import jax
import numpy as np
import soxr

from mgr_jax import config as config_lib
from mgr_jax import hearing, pretrained
from mgr_jax.classical import fusion, tag_head
from mgr_jax.data import windows
from mgr_jax.errors import UserError
from mgr_jax.evaluation import conformal
from mgr_jax.features import array_spectrogram, musicnn
from mgr_jax.pretrained import gtzan
from mgr_jax.system import System


def load_gtzan(folder: str | os.PathLike | None = None) -> tuple[System, hearing.Score]:
    """Return the model as a system, and the function that scores batches of windows of audio.

    `folder` is one of `experiments.fit_gtzan`, by default that of the package. The report is that
    of the nested cross-validation over the tracks that it was fitted to.
    """
    model = gtzan.load(folder or gtzan.FOLDER)
    config = config_lib.Config()
    config.data.name = "arrays"
    config.data.protocol = model.facts["protocol"]
    config.features.kind = "spectrogram"
    config.features.n_fft = array_spectrogram.N_FFT
    # Samples from one column of the picture to the next.
    hop_length = round(array_spectrogram.NUM_SAMPLES / array_spectrogram.NUM_FRAMES)
    config.features.hop_length = hop_length
    config.model.name = "ensemble"
    report = {name: model.facts[name] for name in ("num_correct", "n", "num_groups", "protocol")}
    by = "artist" if report["num_groups"] < report["n"] else "track"
    report |= {"ci95": model.facts["ci95_by_artist"], "grouped_by": by}
    system = System(
        path=str(folder or "gtzan"),
        config=config,
        labels=model.labels,
        step=0,
        variables=dict(model.params),
        facts={"protocol": model.facts["protocol"]},
        report=report | {"checkpoint_step": 0},
        temperature=1.0,  # The weights of the fusion are those of least log loss already.
        run=None,
        title="GTZAN model, from spectrograms and MusiCNN's tags",
        calibration=calibration_of(model),
    )
    return system, _make_score(model)


def calibration_of(model: gtzan.GtzanModel) -> conformal.Calibration | None:
    """Return the tracks that calibrate sets of genres; None if the model's folder has none.

    Raises:
      UserError: if they are damaged.
    """
    if model.calibration is None:
        return None
    try:
        return conformal.from_json(model.calibration, num_classes=len(model.labels))
    except ValueError as error:
        raise UserError(f"calibration.json of the GTZAN model: {error}; fit it again") from error


def _make_score(model: gtzan.GtzanModel) -> hearing.Score:
    network, variables, _ = pretrained.load_musicnn()

    @jax.jit
    def tag(waveform: jax.Array) -> jax.Array:
        """Return the probabilities [W, K] of the tags of a waveform [T] at 16 kHz."""
        outputs: Any = network.apply(variables, musicnn.windows(waveform))
        return jax.nn.sigmoid(outputs.logits)

    def score(batch: dict[str, np.ndarray]) -> hearing.Scores:
        count = len(batch["waveform"])
        real = np.flatnonzero(batch["num_samples"])
        pieces = [
            windows.repeat(batch["waveform"][i], batch["num_samples"][i], tolerance=0) for i in real
        ]
        frames = np.stack([array_spectrogram.array_spectrogram(piece) for piece in pieces])
        tags = tag_head.summarize([np.asarray(tag(_resample(piece))) for piece in pieces])
        log_probabilities = np.zeros((count, len(model.labels)))
        log_probabilities[real] = fusion.log_probabilities(model.params, frames, tags)
        strangeness = np.zeros(count)
        seconds = batch["num_samples"][real] / array_spectrogram.SAMPLE_RATE
        measures = fusion.strangeness(model.params, frames, tags, seconds)
        strangeness[real] = np.max([*measures.values()], axis=0)
        return hearing.Scores(log_probabilities, strangeness)

    return score


def _resample(waveform: np.ndarray) -> np.ndarray:
    rates = (array_spectrogram.SAMPLE_RATE, musicnn.SAMPLE_RATE)
    return soxr.resample(waveform.astype(np.float32), *rates, quality="HQ")

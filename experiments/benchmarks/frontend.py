"""Speed of the front end: log-mel and MFCC of 30 s clips beside librosa, PyTorch and essentia.

Ours and a peer run in turns in one process. Ours is one compiled function of the batch on all
cores; librosa and essentia compute clip by clip in one thread, as they come, and PyTorch the batch
by `torch.stft` in eager mode on all cores. A peer that is not installed is left out. Before
anything is timed its result is compared with ours; essentia's mel bands have another scale, so that
there the difference says nothing.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.benchmarks import contest, machine

SAMPLE_RATE = 22050
QUICK = {"clips": 4, "turns": 3}
CASES = {
    "log-mel 2048/1024/128": {"kind": "logmel", "hop_length": 1024},
    "log-mel 2048/512/128": {"kind": "logmel", "hop_length": 512},
    "MFCC 14, hop 256": {"kind": "mfcc", "hop_length": 256},
}


def run(*, clips: int = 16, samples: int = 661_794, turns: int = 7) -> list[dict]:
    """Return a row for each case and installed peer: seconds for `clips` clips, and their ratio."""
    import jax

    from mgr_jax.config import Features
    from mgr_jax.features.frontend import make_frontend

    batch = (0.1 * np.random.default_rng(0).normal(size=(clips, samples))).astype(np.float32)
    rows = []
    for case, fields in CASES.items():
        frontend = jax.jit(make_frontend(Features(**fields)))

        def ours(frontend=frontend):
            return np.asarray(frontend(batch))

        for name, make in PEERS.items():
            try:
                peer = functools.partial(make(**fields), batch)
            except ImportError:
                continue
            difference = float(np.max(np.abs(ours() - peer())))
            rows.append({"case": case, "peer": name, **contest.compare(ours, peer, turns=turns)})
            rows[-1] |= {"clips": clips, "max_difference": difference}
    return rows


def table(rows: list[dict]) -> list[str]:
    """Return the rows as Markdown, in clips of 30 s per second."""
    columns = {
        "case": "{case}",
        "peer": "{peer}",
        "ours, clips/s": "{ours:.0f}",
        "peer, clips/s": "{theirs:.0f}",
        "ratio": "{ratio:.2f}",
        "spread": "{spread:.2f}",
        "largest difference": "{max_difference:.1e}",
    }
    rates = (
        row | {"ours": row["clips"] / row["ours_s"], "theirs": row["clips"] / row["peer_s"]}
        for row in rows
    )
    return machine.table(columns, rates)


def _librosa(*, kind: str, hop_length: int) -> Callable:
    import librosa

    def clip(y):
        mel = librosa.feature.melspectrogram(y=y, sr=SAMPLE_RATE, hop_length=hop_length)
        decibels = librosa.power_to_db(mel)
        return librosa.feature.mfcc(S=decibels, n_mfcc=14).T if kind == "mfcc" else decibels.T

    return lambda batch: np.stack([clip(y) for y in batch])


def _torch(*, kind: str, hop_length: int) -> Callable:
    import torch

    features = torch_features(kind=kind, hop_length=hop_length)

    @torch.inference_mode()
    def compute(batch):
        return features(torch.from_numpy(batch)).numpy()

    return compute


def torch_features(*, kind: str, hop_length: int, device: str = "cpu") -> Callable[[Any], Any]:
    """Return log-mel or MFCC [B, F, M] of tensors [B, T] by `torch.stft`."""
    import torch

    from mgr_jax.features import filters

    bank = filters.mel_filter_bank(sample_rate=SAMPLE_RATE, n_fft=2048)
    bank = torch.from_numpy(bank.copy()).to(device)
    basis = torch.from_numpy(filters.dct_basis(n_mels=128, n_mfcc=14).copy()).to(device)
    window = torch.hann_window(2048, device=device)
    options = {"window": window, "pad_mode": "constant", "return_complex": True}

    def compute(waveform):
        spectrum = torch.stft(waveform, 2048, hop_length, **options)
        mel = bank @ (spectrum.real.square() + spectrum.imag.square())
        decibels = 10 * torch.log10(mel.clamp_min(1e-10))
        # At most 80 below the largest of each clip.
        decibels = torch.maximum(decibels, decibels.amax(dim=(-2, -1), keepdim=True) - 80)
        return (basis @ decibels if kind == "mfcc" else decibels).transpose(-1, -2)

    return compute


def _essentia(*, kind: str, hop_length: int) -> Callable:
    import essentia
    import essentia.standard as es
    import librosa

    from mgr_jax.features import filters

    essentia.log.infoActive = essentia.log.warningActive = False
    # zeroPhase only rotates the frame: it does not matter to the power.
    window = es.Windowing(type="hann", size=2048, normalized=False, zeroPhase=False)
    spectrum = es.PowerSpectrum(size=2048)
    bands = es.MelBands(
        numberBands=128,
        sampleRate=SAMPLE_RATE,
        highFrequencyBound=SAMPLE_RATE / 2,
        warpingFormula="slaneyMel",
        normalize="unit_tri",
    )
    basis = filters.dct_basis(n_mels=128, n_mfcc=14)

    def clip(y):
        # Centred as in librosa: its own centring would make one frame more or less.
        frames = librosa.util.frame(
            np.pad(y, 1024), frame_length=2048, hop_length=hop_length, axis=0
        )
        decibels = librosa.power_to_db(np.stack([bands(spectrum(window(x))) for x in frames]))
        return decibels @ basis.T if kind == "mfcc" else decibels

    return lambda batch: np.stack([clip(y) for y in batch])


PEERS = {"librosa": _librosa, "torch": _torch, "essentia": _essentia}

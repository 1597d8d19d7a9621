"""Speed of the front end: log-mel and MFCC of 30 s clips beside librosa, torch and essentia.

Ours and a peer run in turns in one process, so that both meet the same machine; a time is the
median over the turns, and the spread is that of their ratio between the turns. A peer that is not
installed is left out. Before anything is timed its result is compared with ours; essentia's mel
bands have another scale, so that there the difference says nothing.
"""

import functools
import time
from collections.abc import Callable

import numpy as np

SAMPLE_RATE = 22050
CASES = {
    "log-mel 2048/1024/128": {"kind": "logmel", "hop_length": 1024},
    "log-mel 2048/512/128": {"kind": "logmel", "hop_length": 512},
    "MFCC 14, hop 256": {"kind": "mfcc", "hop_length": 256},
}


def run(*, clips: int = 16, samples: int = 661_794, turns: int = 7) -> list[dict]:
    """One row for each case and installed peer: seconds for `clips` clips, and their ratio."""
    import jax

    from mgr_jax.config import Features
    from mgr_jax.features.frontend import make_frontend

    rng = np.random.default_rng(0)
    batch = (0.1 * rng.normal(size=(clips, samples))).astype(np.float32)
    rows = []
    for case, fields in CASES.items():
        frontend = jax.jit(make_frontend(Features(**fields)))

        def ours(frontend=frontend):
            return np.asarray(frontend(batch))

        for name, make in PEERS.items():
            peer = make(**fields)
            if peer is None:
                continue
            peer = functools.partial(peer, batch)
            difference = float(np.max(np.abs(ours() - peer())))
            pairs = [(_seconds(ours), _seconds(peer)) for _ in range(turns)]
            ratios = [theirs / mine for mine, theirs in pairs]
            ours_s, peer_s = np.median(np.asarray(pairs), axis=0)
            rows.append(
                {
                    "case": case,
                    "peer": name,
                    "ours_s": float(ours_s),
                    "peer_s": float(peer_s),
                    "ratio": float(np.median(ratios)),
                    "spread": float(np.ptp(np.quantile(ratios, (0.25, 0.75)))),
                    "clips": clips,
                    "max_difference": difference,
                }
            )
    return rows


def table(rows: list[dict]) -> list[str]:
    """The rows as Markdown, in clips of 30 s per second."""
    lines = [
        "| case | peer | ours, clips/s | peer, clips/s | ratio | spread | largest difference |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        lines.append(
            f"| {row['case']} | {row['peer']} | {row['clips'] / row['ours_s']:.0f}"
            f" | {row['clips'] / row['peer_s']:.0f} | {row['ratio']:.2f} | {row['spread']:.2f}"
            f" | {row['max_difference']:.1e} |"
        )
    return lines


def _seconds(function: Callable) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _librosa(*, kind: str, hop_length: int) -> Callable:
    import librosa

    def clip(y):
        mel = librosa.feature.melspectrogram(y=y, sr=SAMPLE_RATE, hop_length=hop_length)
        decibels = librosa.power_to_db(mel)
        return librosa.feature.mfcc(S=decibels, n_mfcc=14).T if kind == "mfcc" else decibels.T

    return lambda batch: np.stack([clip(y) for y in batch])


def _torch(*, kind: str, hop_length: int) -> Callable | None:
    try:
        import torch
    except ImportError:
        return None
    from mgr_jax.features import filters

    bank = filters.mel_filter_bank(sample_rate=SAMPLE_RATE, n_fft=2048)
    bank = torch.from_numpy(bank.copy())
    basis = torch.from_numpy(filters.dct_basis(n_mels=128, n_mfcc=14).copy())
    window = torch.hann_window(2048)

    def compute(batch):
        with torch.inference_mode():
            spectrum = torch.stft(
                torch.from_numpy(batch),
                2048,
                hop_length,
                window=window,
                pad_mode="constant",
                return_complex=True,
            )
            mel = bank @ (spectrum.real.square() + spectrum.imag.square())
            decibels = 10 * torch.log10(mel.clamp_min(1e-10))
            floor = decibels.amax(dim=(-2, -1), keepdim=True) - 80
            decibels = torch.maximum(decibels, floor)
            out = basis @ decibels if kind == "mfcc" else decibels
            return out.transpose(-1, -2).numpy()

    return compute


def _essentia(*, kind: str, hop_length: int) -> Callable | None:
    try:
        import essentia
        import essentia.standard as es
    except ImportError:
        return None
    essentia.log.infoActive = False
    essentia.log.warningActive = False
    from mgr_jax.features import filters

    # zeroPhase only rotates the frame: it does not matter to the power.
    window = es.Windowing(type="hann", size=2048, normalized=False, zeroPhase=False)
    spectrum = es.PowerSpectrum(size=2048)
    bands = es.MelBands(
        inputSize=1025,
        numberBands=128,
        sampleRate=SAMPLE_RATE,
        highFrequencyBound=SAMPLE_RATE / 2,
        warpingFormula="slaneyMel",
        normalize="unit_tri",
        type="power",
        log=False,
    )
    basis = filters.dct_basis(n_mels=128, n_mfcc=14)

    def clip(y):
        # Centred as in librosa: its own centring would make one frame more or less.
        padded = np.pad(y, 1024)
        frames = 1 + (len(padded) - 2048) // hop_length
        starts = np.arange(frames) * hop_length
        mel = np.stack([bands(spectrum(window(padded[i : i + 2048]))) for i in starts])
        decibels = 10 * np.log10(np.maximum(mel, 1e-10))
        decibels = np.maximum(decibels, decibels.max() - 80)
        return decibels @ basis.T if kind == "mfcc" else decibels

    return lambda batch: np.stack([clip(y) for y in batch])


PEERS = {"librosa": _librosa, "torch": _torch, "essentia": _essentia}

"""Parity of the front end with librosa: the measured error of every function and option.

librosa is called clip by clip, since its decibels are relative to the whole array that it gets.
"""

import os
import pathlib
import warnings
from typing import TYPE_CHECKING

import numpy as np

from mgr_jax.evaluation.reports import markdown

if TYPE_CHECKING:
    from experiments.benchmarks.parity_cases import Case

SAMPLE_RATE = 22050
QUICK = {"samples": 22_050}
TOLERANCE = {"relative": 1e-5, "dB": 1e-3}

# (function, signal) -> (bound, reason), where float32 or a step decides, not a formula. The bounds
# are on the same error; the signals are those of `signals`, or `track` for recordings.
EXCEPTIONS = {
    ("spectral_bandwidth", "sine"): (
        5e-2,
        "far from a pure tone the bins hold the rounding of the FFT (float32 here, double in"
        " librosa), which the powers of the distance weigh up",
    ),
    ("spectral_centroid", "sine"): (1e-4, "the same, weighed by the distance"),
    ("spectral_flatness", "sine"): (
        1e-3,
        "the geometric mean of a pure tone is one of rounding errors of the FFT",
    ),
    ("spectral_flatness", "track"): (
        1e-2,
        "the same in recordings with no energy at the top; 1e-5 with an `amin` of 1e-6",
    ),
    ("spectral_rolloff", "track"): (
        5e-3,
        "a step function: a frame that reaches the threshold within rounding of a bin comes out one"
        " bin (10.8 Hz) beside librosa's",
    ),
    ("estimate_tuning", "impulse"): (
        10.0,
        "the winner of a vote without a candidate: the spectrum of an impulse is flat",
    ),
    ("chroma_stft", "impulse"): (0.1, "follows the estimated tuning (`tuning=None` only)"),
}


def signals(samples: int, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Return test signals [samples]: silence, impulse, sine, noise, and chords in noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(samples) / SAMPLE_RATE
    impulse = np.zeros(samples)
    impulse[samples // 3] = 1
    chord = sum(np.sin(2 * np.pi * f * time) / n for n, f in enumerate((220, 277.2, 329.6, 880), 1))
    made = {
        "silence": np.zeros(samples),
        "impulse": impulse,
        "sine": 0.5 * np.sin(2 * np.pi * 440 * time),
        "noise": 0.1 * rng.normal(size=samples),
        "chords": 0.2 * chord * np.exp(-3 * (time % 0.25)) + 0.01 * rng.normal(size=samples),
    }
    return {name: signal.astype(np.float32) for name, signal in made.items()}


def tracks(count: int, samples: int) -> dict[str, np.ndarray]:
    """Return `count` clips of `$MGR_JAX_SHARED/data/gtzan_mini`, cut; {} where it is unset."""
    import soundfile

    folder = os.environ.get("MGR_JAX_SHARED")
    if not folder:
        return {}
    paths = sorted(pathlib.Path(folder, "data", "gtzan_mini").glob("*/*.wav"))
    chosen = paths[:: max(1, len(paths) // count)][:count]
    read = {path.stem: soundfile.read(path, dtype="float32")[0] for path in chosen}
    return {name: audio[:samples] for name, audio in read.items()}


def errors(case: "Case", clips: dict[str, np.ndarray]) -> dict[str, float]:
    """Return the error of each clip: in dB, or as a share of the largest reference value.

    Raises:
      ValueError: a result has another shape than librosa's.
    """
    with warnings.catch_warnings():
        # librosa warns about short and silent clips.
        warnings.simplefilter("ignore")
        ours = np.asarray(case.ours(np.stack(list(clips.values()))))
        references = [np.asarray(case.reference(clip)) for clip in clips.values()]
    largest = {}
    for name, value, reference in zip(clips, ours, references, strict=True):
        if value.shape != reference.shape:
            raise ValueError(f"{case.name}: shape {value.shape}, in librosa {reference.shape}")
        difference = float(np.max(np.abs(value - reference), initial=0.0))
        scale = float(np.max(np.abs(reference), initial=0.0)) if case.unit == "relative" else 1.0
        largest[name] = difference / scale if scale else difference
    return largest


def bound(case: "Case", signal: str) -> float:
    """Return the largest error allowed: the tolerance of the unit, or a named exception's."""
    exception = EXCEPTIONS.get((case.function, _kind(signal)))
    if exception and (case.function != "chroma_stft" or case.options["tuning"] is None):
        return exception[0]
    return TOLERANCE[case.unit]


def _kind(signal: str) -> str:
    """Return the name of a synthetic signal, `track` for that of a recording."""
    return "track" if "." in signal else signal


def run(*, samples: int = 110_250) -> list[dict]:
    """Return every case on the synthetic signals and, if there are any, on four recordings."""
    from experiments.benchmarks import parity_cases

    clips = {**signals(samples), **tracks(4, samples)}
    return [
        {
            "case": case.name,
            "function": case.function,
            "librosa": case.librosa,
            "signal": signal,
            "error": error,
            "bound": bound(case, signal),
            "unit": case.unit,
        }
        for case in parity_cases.cases()
        for signal, error in errors(case, clips).items()
    ]


def table(rows: list[dict]) -> list[str]:
    """Return the largest error of every case, then of every exception, as Markdown."""
    regular, special = {}, {}
    for row in rows:
        if row["bound"] == TOLERANCE[row["unit"]]:
            errors, key = regular, (row["case"].replace("()", ""), row["librosa"], row["unit"])
        else:
            errors, key = special, (row["function"], _kind(row["signal"]))
        errors[key] = max(errors.get(key, 0.0), row["error"])
    names = ", ".join(dict.fromkeys(row["signal"] for row in rows))
    cases = (
        (f"`{case}`", f"`{name}`", f"{error:.1e}", unit)
        for (case, name, unit), error in regular.items()
    )
    exceptions = (
        (f"`{key[0]}`", key[1], f"{special[key]:.1e}", reason)
        for key, (_, reason) in EXCEPTIONS.items()
        if key in special
    )
    return [
        f"On {names}:",
        "",
        *markdown.table(("function", "librosa", "largest error", "unit"), cases),
        "",
        "Left out above, since a step or rounding decides:",
        "",
        *markdown.table(("function", "signal", "largest error", "why"), exceptions),
    ]

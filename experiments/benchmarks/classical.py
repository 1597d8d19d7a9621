"""Speed of the classical systems: a regularisation path, and features of 1000 clips.

The path is 20 penalties times 10 folds of logistic regression on vectors of the size of
`experiments.configs.logistic`, in one compiled call, beside loops over scikit-learn's
`LogisticRegression` in the fastest of their settings, at its default tolerance. The features are
the 119 values of that config for clips of 30 s, read from a clip store as training does, beside
librosa in one process a core. Both sides run in turns in one process.
"""

import functools
import pathlib
import tempfile
from typing import Any

import numpy as np
from scipy import special

from experiments.benchmarks import contest, machine, pipeline
from mgr_jax import cores

TARGET = 2.0
QUICK = {"clips": 20, "penalties": 5, "turns": 1}
TOLERANCE = 1e-4  # Of the gradient: scikit-learn's default.
_LOOPS = {
    "loop": {},
    "loop, warm start": {"warm": True},
    "loop, warm start, one thread": {"warm": True, "threads": 1},
    "loop, newton-cholesky": {"solver": "newton-cholesky"},
    "loop, warm start, a process per core": {"warm": True, "jobs": cores.count()},
}


def run(
    *, clips: int = 1000, samples: int = 661_794, penalties: int = 20, turns: int = 3
) -> list[dict]:
    """Return one row for the path and one for the features."""
    # A turn of the path takes seconds, one of the features half a minute.
    first = path(turns=3 * turns, penalties=penalties)
    return [first, features(clips=clips, samples=samples, turns=turns)]


def path(*, turns: int, rows: int = 1000, columns: int = 119, penalties: int = 20) -> dict:
    """Return the row of the penalties in 10 folds; losses are compared in float64."""
    import jax

    from mgr_jax.classical import logistic

    x, y = _vectors(rows, columns)
    weight = (np.arange(10)[:, None] != np.arange(rows)[None] % 10).astype(np.float32)
    # The range of scikit-learn's LogisticRegressionCV, for folds of nine tenths.
    c = np.logspace(-4, 4, penalties)
    l2 = tuple(1 / (c * weight[0].sum()))

    options = {"num_classes": 10, "l2": l2, "sample_weight": weight, "tolerance": TOLERANCE}

    def ours() -> dict[str, np.ndarray]:
        return jax.device_get(logistic.fit_folds(x, y, **options))

    def loops(name: str, weight: np.ndarray = weight) -> tuple[list, list]:
        return _loop(x, y, weight, c, **_LOOPS[name])

    first = contest.seconds_of(ours)
    trials = {
        name: contest.seconds_of(functools.partial(loops, name, weight[:2])) for name in _LOOPS
    }
    best = min(trials, key=lambda name: trials[name])
    fitted = ours()
    our_losses = _losses(x, y, weight, fitted["kernel"], fitted["bias"], l2)
    peer_losses = _losses(x, y, weight, *loops(best), l2)
    measured = contest.compare(ours, lambda: loops(best), turns=turns)
    return {
        "case": f"logistic regression, {penalties} penalties x 10 folds, {rows} x {columns}",
        "peer": f"scikit-learn, {best}",
        **measured,
        "target": TARGET,
        "met": measured["ratio"] >= TARGET,
        "first_call_s": first,
        "ours_loss": float(our_losses.mean()),
        "peer_loss": float(peer_losses.mean()),
        "largest_excess": float((our_losses - peer_losses).max()),
        "trials_of_2_folds": trials,
    }


def features(*, clips: int, samples: int, turns: int) -> dict:
    """Return the row of the mean and covariance of 14 MFCCs of every clip of a store."""
    import joblib

    from experiments.configs import logistic as config_lib
    from mgr_jax.classical import fitting

    config = config_lib.get_config()
    config.data.clip_samples = samples
    with tempfile.TemporaryDirectory() as folder:
        part = pipeline.make_part(pathlib.Path(folder), clips, samples)
        shape, path = part.clips.samples.shape, part.clips.samples.filename
        blocks = np.array_split(np.arange(clips), min(clips, 50))
        with joblib.Parallel(n_jobs=cores.count()) as workers:

            def ours() -> np.ndarray:
                return fitting.extract(config, part)[0]

            def librosas() -> np.ndarray:
                tasks = (joblib.delayed(_librosa)(path, shape, block) for block in blocks)
                return np.concatenate([block for block in workers(tasks) if block is not None])

            # The first calls compile, and start the processes.
            actual, expected = ours(), librosas()
            difference = float(np.max(np.abs(actual - expected)) / np.max(np.abs(expected)))
            measured = contest.compare(ours, librosas, turns=turns)
    return {
        "case": f"features of {clips} clips of {samples} samples",
        "peer": f"librosa, joblib on {cores.count()} cores",
        **measured,
        "target": TARGET,
        "met": measured["ratio"] >= TARGET,
        "max_difference": difference,
    }


def table(rows: list[dict]) -> list[str]:
    """Return the rows as Markdown, with losses, differences and trials below."""
    columns = {
        "work": "{case}",
        "peer": "{peer}",
        "ours, s": "{ours_s:.2f}",
        "peer, s": "{peer_s:.2f}",
        "ratio": "{ratio:.2f}",
        "spread": "{spread:.2f}",
        "target": "{target:g}",
        "": "{verdict}",
    }
    losses = (
        "Mean loss at the end {ours_loss:.6f}, scikit-learn's {peer_loss:.6f}; largest excess of"
        " ours {largest_excess:.1e}. Our first call, which compiles: {first_call_s:.1f} s. Trials"
        " of two folds, seconds: {trials}."
    )
    difference = "Largest relative difference of a feature {max_difference:.1e}."
    lines = machine.table(columns, rows)
    for row in rows:
        trials = row.get("trials_of_2_folds", {})
        text = ", ".join(f"{name} {seconds:.2f}" for name, seconds in trials.items())
        lines += ["", (losses if trials else difference).format(**row, trials=text)]
    return lines


def _vectors(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Return correlated features [N, D] of ten overlapping classes, in the scales of MFCCs."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, rows)
    axes = rng.normal(size=(columns, columns)) * np.exp(-np.arange(columns) / 20)[:, None]
    centres = 0.5 * rng.normal(size=(10, columns))
    x = (centres[y] + rng.normal(size=(rows, columns))) @ axes
    return (x * 10.0 ** rng.uniform(-1, 2, columns) + 100).astype(np.float32), y


def _loop(
    x: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    c: np.ndarray,
    *,
    warm: bool = False,
    solver: str = "lbfgs",
    jobs: int = 1,
    threads: int | None = None,
) -> tuple[list, list]:
    """Return scikit-learn's kernels [K][P][D, C] and biases, each fold standardised by itself."""
    import joblib
    import threadpoolctl

    tasks = (joblib.delayed(_fold)(x[w > 0], y[w > 0], c, warm, solver) for w in weight)
    # Threads of BLAS and OpenMP wait for each other at every product, however small.
    with threadpoolctl.threadpool_limits(threads):
        folds: Any = joblib.Parallel(n_jobs=jobs)(tasks)
    return [kernels for kernels, _ in folds], [biases for _, biases in folds]


def _fold(x: np.ndarray, y: np.ndarray, c: np.ndarray, warm: bool, solver: str) -> tuple:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    x = StandardScaler().fit_transform(x)
    model = LogisticRegression(max_iter=10_000, solver=solver, warm_start=warm, tol=TOLERANCE)
    kernels, biases = [], []
    for value in c:
        model.set_params(C=value).fit(x, y)
        kernels.append(model.coef_.T.copy())
        biases.append(np.array(model.intercept_))
    return kernels, biases


def _losses(x, y, weight, kernels, biases, l2) -> np.ndarray:
    """Return the objective [K, P] of every fold and penalty in float64."""
    losses = []
    for rows, kernel, bias in zip(weight > 0, kernels, biases, strict=True):
        inputs, labels = x[rows].astype(np.float64), y[rows]
        inputs = (inputs - inputs.mean(0)) / inputs.std(0)
        logits = inputs @ np.asarray(kernel, np.float64) + np.asarray(bias)[:, None]
        log_p = special.log_softmax(logits, axis=-1)[:, np.arange(len(labels)), labels]
        penalty = np.asarray(l2) / 2 * np.square(kernel, dtype=np.float64).sum((1, 2))
        losses.append(penalty - log_p.mean(1))
    return np.array(losses)


def _librosa(path: str, shape: tuple[int, int], rows: np.ndarray) -> np.ndarray:
    """Return features [rows, 119] of clips of the store at `path`."""
    import librosa

    clips = np.memmap(path, dtype=np.int16, mode="r", shape=shape)
    out = []
    for row in rows:
        y = clips[row].astype(np.float32) / 32768
        frames = librosa.feature.mfcc(y=y, sr=22050, n_mfcc=14, n_fft=2048, hop_length=256)
        upper = np.cov(frames)[np.triu_indices(len(frames))]
        out.append(np.concatenate([frames.mean(1), upper]))
    return np.stack(out)

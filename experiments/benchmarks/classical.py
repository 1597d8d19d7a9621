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
    "loop, warm start, a process per core": {"warm": True, "jobs": True},
}


def run(
    *, clips: int = 1000, samples: int = 661_794, penalties: int = 20, turns: int = 3
) -> list[dict]:
    """Return one row for the path and one for the features."""
    # A turn of the path takes seconds, one of the features half a minute.
    return [
        path(turns=3 * turns, penalties=penalties),
        features(clips=clips, samples=samples, turns=turns),
    ]


def path(*, turns: int, rows: int = 1000, columns: int = 119, penalties: int = 20) -> dict:
    """Return the row of the penalties in 10 folds; losses are compared in float64."""
    import jax

    from mgr_jax.classical import logistic

    x, y = _vectors(rows, columns)
    weight = (np.arange(10)[:, None] != np.arange(rows)[None] % 10).astype(np.float32)
    # The range of scikit-learn's LogisticRegressionCV, for folds of nine tenths.
    c = np.logspace(-4, 4, penalties)
    l2 = tuple(1 / (c * weight[0].sum()))

    def ours() -> dict[str, np.ndarray]:
        return jax.device_get(
            logistic.fit_folds(
                x, y, num_classes=10, l2=l2, sample_weight=weight, tolerance=TOLERANCE
            )
        )

    first = contest.seconds_of(ours)
    trials = {
        name: contest.seconds_of(lambda options=options: _loop(x, y, weight[:2], c, **options))
        for name, options in _LOOPS.items()
    }
    best = min(trials, key=lambda name: trials[name])
    fitted, theirs = ours(), _loop(x, y, weight, c, **_LOOPS[best])
    losses = np.array(
        [
            [
                [
                    _loss(x, y, weight[k], kernel[k][i], bias[k][i], l2[i])
                    for kernel, bias in ((fitted["kernel"], fitted["bias"]), theirs)
                ]
                for i in range(penalties)
            ]
            for k in range(len(weight))
        ]
    )
    timers = (
        functools.partial(contest.seconds_of, side)
        for side in (ours, lambda: _loop(x, y, weight, c, **_LOOPS[best]))
    )
    pairs = list(contest.in_turns(*timers, turns=turns))
    return {
        "case": f"logistic regression, {penalties} penalties x 10 folds, {rows} x {columns}",
        "peer": f"scikit-learn, {best}",
        **contest.statistics(pairs),
        "target": TARGET,
        "first_call_s": first,
        "ours_loss": float(losses[..., 0].mean()),
        "peer_loss": float(losses[..., 1].mean()),
        "largest_excess": float((losses[..., 0] - losses[..., 1]).max()),
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
            timers = (functools.partial(contest.seconds_of, side) for side in (ours, librosas))
            pairs = list(contest.in_turns(*timers, turns=turns))
    return {
        "case": f"features of {clips} clips of {samples} samples",
        "peer": f"librosa, joblib on {cores.count()} cores",
        **contest.statistics(pairs),
        "target": TARGET,
        "max_difference": difference,
    }


def table(rows: list[dict]) -> list[str]:
    """Return the rows as Markdown, with losses, differences and trials below."""
    lines = machine.table(
        ("work", "peer", "ours, s", "peer, s", "ratio", "spread", "target", ""),
        (
            (
                row["case"],
                row["peer"],
                f"{row['ours_s']:.2f}",
                f"{row['peer_s']:.2f}",
                f"{row['ratio']:.2f}",
                f"{row['spread']:.2f}",
                f"{row['target']:g}",
                machine.verdict(row["ratio"] >= row["target"]),
            )
            for row in rows
        ),
    )
    for row in rows:
        if "trials_of_2_folds" in row:
            trials = (f"{name} {value:.2f}" for name, value in row["trials_of_2_folds"].items())
            lines += [
                "",
                f"Mean loss at the end {row['ours_loss']:.6f}, scikit-learn's"
                f" {row['peer_loss']:.6f}; largest excess of ours {row['largest_excess']:.1e}. Our"
                f" first call, which compiles: {row['first_call_s']:.1f} s. Trials of two folds,"
                f" seconds: {', '.join(trials)}.",
            ]
        else:
            lines += ["", f"Largest relative difference of a feature {row['max_difference']:.1e}."]
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
    jobs: bool = False,
    threads: int | None = None,
) -> tuple[list, list]:
    """Return scikit-learn's kernels [K][P][D, C] and biases, each fold standardised by itself."""
    import joblib
    import threadpoolctl

    tasks = (joblib.delayed(_fold)(x[w > 0], y[w > 0], c, warm, solver) for w in weight)
    # Threads of BLAS and OpenMP wait for each other at every product, however small.
    with threadpoolctl.threadpool_limits(threads):
        folds: Any = joblib.Parallel(n_jobs=cores.count() if jobs else 1)(tasks)
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


def _loss(x, y, weight, kernel, bias, l2) -> float:
    """Return the objective of a fold in float64."""
    x, y = x[weight > 0].astype(np.float64), y[weight > 0]
    z = (x - x.mean(0)) / x.std(0) @ np.asarray(kernel, np.float64) + bias
    z -= z.max(1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
    return -log_p[np.arange(len(y)), y].mean() + l2 / 2 * np.square(kernel, dtype=np.float64).sum()


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

"""Speed of the networks: one train step and one predict step beside PyTorch and plain formulas.

Both sides run in turns, each in a process of its own on all cores, from the same weights; before
anything is timed they must have as many parameters and the same outputs. PyTorch runs in the
fastest of its settings (`torch_steps.settings`; with `compile` also by `torch.compile`), a
recurrent network of ours on one CPU device or one for each core. `reference` is the BBNN step
beside that by plain formulas (`model.implementation`), `frontend` what the front end adds to it.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from experiments.benchmarks import contest, machine
from mgr_jax import config as config_lib
from mgr_jax import cores
from mgr_jax.errors import UserError

BATCH_SIZE = 8
TOLERANCE = 1e-4
TARGETS = {"train": 1.2, "infer": 1.5}
FRONTEND_TARGET = 0.03  # Of a step.
MEMORY_TARGET = 0.6  # Of plain formulas.
QUICK = {"only": ("bbnn", "gru", "reference"), "turns": 3, "small": True}
OURS, PEER = "experiments.benchmarks.jax_steps.Steps", "experiments.benchmarks.torch_steps.Steps"
BOTH = "experiments.benchmarks.jax_steps.BothInputs"
EXTRAS = ("reference", "frontend")


def cases() -> dict[str, tuple[str, config_lib.Config]]:
    """Return the title and the config of every network by its short name."""
    from experiments.configs import bbnn, cnn, cnn_lstm, rnn

    image, gru, lstm = bbnn.get_config(), rnn.get_config(), rnn.get_config()
    image.features.kind = "mel_image"
    gru.model.cell, lstm.model.cell = "gru", "lstm"
    return {
        "bbnn": ("BBNN 647x128x1", bbnn.get_config()),
        "bbnn_image": ("BBNN 288x432x3", image),
        "cnn": ("CNN 480x640x3", cnn.get_config()),
        "cnn_lstm": ("CNN-LSTM 480x640x3", cnn_lstm.get_config()),
        "rnn": ("SimpleRNN 2584x14", rnn.get_config()),
        "gru": ("GRU 2584x14", gru),
        "lstm": ("LSTM 2584x14", lstm),
    }


def shrink(config: config_lib.Config) -> None:
    """Make the network and its inputs small: one second, narrow layers."""
    config.data.clip_samples = 22_050
    config.features.image_height, config.features.image_width = 96, 128
    config.model.width_multiplier = 0.25


def input_shape(config: config_lib.Config) -> tuple[int, ...]:
    """Return the shape of one example as the network reads it: [F, M], [H, W, 3] or [F, D]."""
    features = config.features
    frames = 1 + config_lib.window_length(config) // features.hop_length
    return {
        "logmel": (frames, features.n_mels),
        "mel_image": (features.image_height, features.image_width, 3),
        "mfcc": (frames, features.n_mfcc),
    }[features.kind]


def random_batch(shape: tuple[int, ...], batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs [B, *shape] of deviation 1, and labels [B]."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(batch_size, *shape)).astype(np.float32)
    return inputs, (np.arange(batch_size) % 10).astype(np.int32)


def batch_of(inputs: np.ndarray, labels: np.ndarray, num_samples: int) -> dict[str, np.ndarray]:
    """Return the batch of a train step; `num_samples` is the length of every example."""
    return {
        "waveform": inputs,
        "num_samples": np.full(len(inputs), num_samples, np.int32),
        "label": labels.astype(np.int32),
        "row": np.arange(len(inputs), dtype=np.int32),
    }


def run(
    *, only: Sequence[str] = (), compile: bool = False, turns: int = 5, small: bool = False
) -> list[dict]:
    """Return the rows of every case and extra, or of those named in `only`.

    Raises:
      UserError: an unknown name, or PyTorch is not installed.
      ValueError: the sides do not compute the same.
    """
    networks = cases()
    chosen = contest.choose(only, (*networks, *EXTRAS))
    if set(chosen) - set(EXTRAS):
        try:
            import torch  # noqa: F401
        except ImportError as error:
            raise UserError("the suite needs PyTorch: pip install -e '.[bench]'") from error
    rows = []
    for name in chosen:
        title, config = networks["bbnn" if name in EXTRAS else name]
        if small:
            shrink(config)
        if name == "reference":
            rows.append(beside_reference(title, config, turns=min(turns, 3)))
        elif name == "frontend":
            rows.append(frontend_share(title, config, turns=2 * turns))
        else:
            for mode in TARGETS:
                rows.append(beside_torch(title, config, mode, compile=compile, turns=turns))
    return rows


def beside_torch(
    title: str, config: config_lib.Config, mode: str, *, turns: int, compile: bool = False
) -> dict:
    """Return the row of our step beside PyTorch's, each in its fastest setting."""
    from experiments.benchmarks import torch_steps

    data = random_batch(input_shape(config), BATCH_SIZE)
    devices, our_trials = _fastest_devices(config, data, mode)
    with contest.Side(OURS, config, *data, mode=mode, devices=devices) as ours:
        variables, expected = ours.call("variables"), ours.call("log_probabilities")
        start = functools.partial(contest.Side, PEER, config, variables, *data, mode=mode)
        trials, differences = {}, []
        for setting in torch_steps.settings(config, compile=compile):
            with start(setting=setting) as peer:
                if setting != "nn.GRU":  # Its arithmetic differs.
                    differences.append(_check(f"{title}, {setting}", ours, peer, expected))
                trials[setting] = peer.warm()
        best = min(trials, key=lambda setting: trials[setting])
        with start(setting=best) as peer:
            measured = _alternate(ours, peer, turns=turns)
        return {
            "case": f"{title}, {mode}",
            "peer": f"PyTorch, {best}",
            **measured,
            "target": TARGETS[mode],
            "met": measured["ratio"] >= TARGETS[mode],
            "batch_size": BATCH_SIZE,
            "parameters": ours.call("parameters"),
            "max_difference": max(differences),
            "devices": devices,
            "our_trials": our_trials,
            "trials": trials,
        }


def _fastest_devices(
    config: config_lib.Config, data: tuple[np.ndarray, np.ndarray], mode: str
) -> tuple[int, dict[int, float]]:
    """Return the fastest number of CPU devices, and the seconds of a step by those tried.

    A recurrent step is a chain of small products, which one device leaves to one core.
    """
    most = next(n for n in range(cores.count(), 0, -1) if BATCH_SIZE % n == 0)
    if config.model.name != "rnn" or most == 1:
        return 1, {}
    trials = {}
    for devices in (1, most):
        with contest.Side(OURS, config, *data, mode=mode, devices=devices) as side:
            trials[devices] = side.warm()
    return min(trials, key=lambda devices: trials[devices]), trials


def frontend_share(title: str, config: config_lib.Config, *, turns: int) -> dict:
    """Return the row of the train step from the waveform (`peer`) beside that from features."""
    features, labels = random_batch(input_shape(config), BATCH_SIZE)
    waveform = 0.1 * random_batch((config_lib.window_length(config),), BATCH_SIZE)[0]
    with contest.Side(BOTH, config, features, waveform, labels) as both:
        measured = contest.statistics(both.call("seconds_in_turns", turns))
    share = measured["ratio"] - 1
    return {
        "case": f"{title}, train",
        "peer": "the same from the waveform",
        **measured,
        "share": share,
        "target": FRONTEND_TARGET,
        "met": share < FRONTEND_TARGET,
    }


def beside_reference(title: str, config: config_lib.Config, *, turns: int) -> dict:
    """Return the row of memory and time of our train step beside that by plain formulas."""
    plain = dataclasses.replace(config.model, implementation="reference")
    reference = dataclasses.replace(config, model=plain)
    data = random_batch(input_shape(config), BATCH_SIZE)
    ours, peer = (contest.Side(OURS, c, *data, mode="train") for c in (config, reference))
    with ours, peer:
        expected = ours.call("log_probabilities")
        difference = _check(f"{title}, plain formulas", ours, peer, expected)
        measured = _alternate(ours, peer, turns=turns)
        return {
            "case": f"{title}, train",
            "peer": "plain formulas",
            **measured,
            "peer_temporaries_mb": peer.call("temporaries") / 1e6,
            "max_difference": difference,
            "target": MEMORY_TARGET,
            "met": measured["ours_rss_mb"] <= MEMORY_TARGET * measured["peer_rss_mb"],
        }


def _alternate(ours: contest.Side, peer: contest.Side, *, turns: int) -> dict:
    """Return the times of both sides in turns, and their memory."""
    return contest.alternate(ours, peer, turns=turns) | {
        "ours_rss_mb": ours.peak_memory(),
        "peer_rss_mb": peer.peak_memory(),
        "temporaries_mb": ours.call("temporaries") / 1e6,
    }


def _check(what: str, ours: contest.Side, peer: contest.Side, expected: np.ndarray) -> float:
    """Return the largest difference of the peer's log-probabilities from ours, `expected`."""
    counts = [side.call("parameters") for side in (ours, peer)]
    if counts[0] != counts[1]:
        raise ValueError(f"{what}: {counts[1]} parameters, ours {counts[0]}")
    difference = float(np.max(np.abs(peer.call("log_probabilities") - expected)))
    if not difference <= TOLERANCE:
        raise ValueError(f"{what}: outputs differ by {difference:.1e}, more than {TOLERANCE}")
    return difference


def table(rows: list[dict]) -> list[str]:
    """Return the rows as Markdown: speed, trials, then memory and the share of the front end."""
    columns = {
        "step": "{case}",
        "devices": "{devices}",
        "peer": "{peer}",
        "ours, s": "{ours_s:.3f}",
        "peer, s": "{peer_s:.3f}",
        "ratio": "{ratio:.2f}",
        "spread": "{spread:.2f}",
        "turns": "{turns}",
        "target": "{target:g}",
        "": "{verdict}",
        "RSS, MB": "{ours_rss_mb:.0f}",
        "peer, MB": "{peer_rss_mb:.0f}",
        "difference": "{max_difference:.0e}",
    }
    contests = [row for row in rows if "trials" in row]
    lines = machine.table(columns, contests)
    lines += ["", "Seconds of a step in the trials of the settings:", ""]
    for row in contests:
        trials = [
            f"ours on {n} device{'s' * (n > 1)} {seconds:.3f}"
            for n, seconds in row["our_trials"].items()
        ]
        trials += [f"PyTorch {name} {seconds:.3f}" for name, seconds in row["trials"].items()]
        lines.append(f"- {row['case']}: {', '.join(trials)}")
    lines.append("")
    speed = "- {case}, {ours_s:.3f} s; beside {peer}: "
    share = "the front end adds {share:.1%} (spread {spread:.1%}, target < {target:.0%}) {verdict}."
    memory = (
        "{ours_rss_mb:.0f} of {peer_rss_mb:.0f} MB of RSS, {temporaries_mb:.0f} of"
        " {peer_temporaries_mb:.0f} MB of temporaries, ratio {ratio:.2f}, spread {spread:.2f},"
        " target <= {target:.0%} of RSS {verdict}."
    )
    for row in rows:
        for field, text in (("share", share), ("peer_temporaries_mb", memory)):
            if field in row:
                lines.append((speed + text).format(**row, verdict=machine.verdict(row["met"])))
    return lines

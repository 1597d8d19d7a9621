"""Speed of the networks: one train step and one predict step beside PyTorch and plain Flax.

Both sides run in turns, each in a process of its own on all cores. Before anything is timed they
are given the same weights, and must have as many parameters and the same outputs. Both run in the
fastest of their settings, by the fastest of three steps of each: PyTorch's are
`torch_steps.settings`, ours one CPU device or one for each core (`JAX_NUM_CPU_DEVICES` for the
commands). Other rows of the suite: what the front end adds to a step, and the memory of the BBNN
step beside that of plain Flax.
"""

from collections.abc import Sequence

import numpy as np

from experiments.benchmarks import contest, machine
from mgr_jax import config as config_lib
from mgr_jax import cores
from mgr_jax.errors import UserError

BATCH_SIZE = 8
TOLERANCE = 1e-4
TARGETS = {"train": 1.2, "infer": 1.5}
FRONTEND_TARGET = 0.03  # of a step
MEMORY_TARGET = 0.6  # of plain Flax
OURS, PEER = "experiments.benchmarks.jax_steps", "experiments.benchmarks.torch_steps"
BOTH = "experiments.benchmarks.frontend_steps"


def cases() -> dict[str, tuple[str, config_lib.Config]]:
    """Short name -> what is measured, and its config."""
    from experiments.configs import bbnn, cnn, cnn_lstm, rnn

    image = bbnn.get_config()
    image.features.kind = "mel_image"
    found = {
        "bbnn": ("BBNN 647x128x1", bbnn.get_config()),
        "bbnn_image": ("BBNN 288x432x3", image),
        "cnn": ("CNN 480x640x3", cnn.get_config()),
        "cnn_lstm": ("CNN-LSTM 480x640x3", cnn_lstm.get_config()),
        "rnn": ("SimpleRNN 2584x14", rnn.get_config()),
        "gru": ("GRU 2584x14", rnn.get_config()),
        "lstm": ("LSTM 2584x14", rnn.get_config()),
    }
    for name in ("gru", "lstm"):
        found[name][1].model.cell = name
    return found


def input_shape(config: config_lib.Config) -> tuple[int, ...]:
    """Shape of one example as the network reads it: [F, M], [H, W, 3] or [F, D]."""
    features = config.features
    frames = 1 + config_lib.window_length(config) // features.hop_length
    return {
        "logmel": (frames, features.n_mels),
        "mel_image": (features.image_height, features.image_width, 3),
        "mfcc": (frames, features.n_mfcc),
    }[features.kind]


def run(*, only: Sequence[str] = (), eager: bool = False, turns: int = 9) -> list[dict]:
    """Rows of every case, or of those named in `only`; `eager` tries no `torch.compile`.

    Raises:
      UserError: an unknown name, or PyTorch is not installed.
      ValueError: the sides do not compute the same.
    """
    found = cases()
    for name in only:
        if name not in found:
            raise UserError(f"--only has {name!r}; it may have {', '.join(found)}")
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise UserError("the suite needs PyTorch: pip install -e '.[bench]'") from error
    rows = []
    for name, (title, config) in found.items():
        if only and name not in only:
            continue
        for mode in TARGETS:
            rows.append(beside_torch(title, config, mode, eager=eager, turns=turns))
        if name.startswith("bbnn"):
            rows.append(frontend_share(title, config, turns=2 * turns))
            rows.append(beside_plain(title, config, turns=min(turns, 3)))
    return rows


def beside_torch(
    title: str,
    config: config_lib.Config,
    mode: str,
    *,
    turns: int,
    eager: bool = False,
    batch_size: int = BATCH_SIZE,
) -> dict:
    """One row: our step beside PyTorch's, each in its fastest setting, on equal weights."""
    from experiments.benchmarks import torch_steps

    data = _data(input_shape(config), batch_size)
    devices, our_trials = _fastest_devices(config, data, mode)
    ours = contest.Side(OURS, config, *data, mode=mode, devices=devices)
    with contest.sides(ours):
        variables = ours.call("variables")
        trials, checked = {}, {}
        for setting in torch_steps.settings(config):
            if eager and "compile" in setting:
                continue
            peer = contest.Side(PEER, config, variables, *data, mode=mode, setting=setting)
            with contest.sides(peer):
                checked[setting] = _check(f"{title}, {setting}", ours, peer, setting, mode)
                trials[setting] = contest.trial(peer)
        best = min(trials, key=lambda setting: trials[setting])
        peer = contest.Side(PEER, config, variables, *data, mode=mode, setting=best)
        with contest.sides(peer):
            measured = contest.alternate(ours, peer, turns=turns)
            memory = ours.peak_memory(), peer.peak_memory()
        target = TARGETS[mode]
        return {
            "case": f"{title}, {mode}",
            "peer": f"PyTorch, {best}",
            **measured,
            "target": target,
            "met": measured["ratio"] >= target,
            "ours_rss_mb": memory[0],
            "peer_rss_mb": memory[1],
            "temporaries_mb": ours.call("temporaries") / 1e6,
            "batch_size": batch_size,
            "parameters": ours.call("parameters"),
            "max_difference": max(value for value in checked.values() if value is not None),
            "devices": devices,
            "our_trials": our_trials,
            "trials": trials,
        }


def _fastest_devices(
    config: config_lib.Config, data: tuple[np.ndarray, np.ndarray], mode: str
) -> tuple[int, dict[int, float]]:
    """How many CPU devices are fastest, and seconds of a step of those tried: one, one a core."""
    most = next(n for n in range(cores.count(), 0, -1) if len(data[0]) % n == 0)
    trials = {}
    for devices in {1, most}:
        side = contest.Side(OURS, config, *data, mode=mode, devices=devices)
        with contest.sides(side):
            trials[devices] = contest.trial(side)
    return min(trials, key=lambda devices: trials[devices]), trials


def frontend_share(
    title: str, config: config_lib.Config, *, turns: int, batch_size: int = BATCH_SIZE
) -> dict:
    """One row: the train step from the waveform (`peer`) beside that from the features."""
    data = _data(input_shape(config), batch_size)
    waveform = 0.1 * _data((config_lib.window_length(config),), batch_size)[0]
    both = contest.Side(BOTH, config, data[0], waveform, data[1])
    with contest.sides(both):
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


def beside_plain(
    title: str, config: config_lib.Config, *, turns: int, batch_size: int = BATCH_SIZE
) -> dict:
    """One row: memory and time of our train step beside those of the network in plain Flax."""
    data = _data(input_shape(config), batch_size)
    ours = contest.Side(OURS, config, *data, mode="train")
    plain = contest.Side(OURS, config, *data, mode="train", plain=True)
    with contest.sides(ours, plain):
        plain.call("load", ours.call("variables"))
        difference = _check(f"{title}, plain Flax", ours, plain, "plain", "train")
        measured = contest.alternate(ours, plain, turns=turns)
        memory = ours.peak_memory(), plain.peak_memory()
        temporaries = [side.call("temporaries") / 1e6 for side in (ours, plain)]
    return {
        "case": f"{title}, train",
        "peer": "plain Flax",
        **measured,
        "ours_rss_mb": memory[0],
        "peer_rss_mb": memory[1],
        "temporaries_mb": temporaries[0],
        "peer_temporaries_mb": temporaries[1],
        "memory_share": memory[0] / memory[1],
        "max_difference": difference,
        "target": MEMORY_TARGET,
        "met": memory[0] <= MEMORY_TARGET * memory[1],
    }


def _turn(ours: float, peer: float, round_trip: float | None) -> str:
    near = "" if round_trip is None else f" ({round_trip:.0f} ns)"
    return f"{ours:.3f} / {peer:.3f}{near}"


def _data(shape: tuple[int, ...], batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs [B, *shape] of deviation 1 and labels [B]."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(batch_size, *shape)).astype(np.float32)
    return inputs, (np.arange(batch_size) % 10).astype(np.int32)


def _check(
    what: str, ours: contest.Side, peer: contest.Side, setting: str, mode: str
) -> float | None:
    """The largest difference of log-probabilities; None for a peer of other arithmetic."""
    counts = [side.call("parameters") for side in (ours, peer)]
    if setting == "nn.GRU":
        return None
    if counts[0] != counts[1]:
        raise ValueError(f"{what}: {counts[1]} parameters, ours {counts[0]}")
    found = [side.call("log_probabilities") for side in (ours, peer)]
    difference = float(np.max(np.abs(found[0] - found[1])))
    if not difference <= TOLERANCE:
        raise ValueError(f"{what}: outputs differ by {difference:.1e}, more than {TOLERANCE}")
    return difference


def table(rows: list[dict]) -> list[str]:
    """The rows as Markdown: speed, the share of the front end, memory."""
    lines = machine.table(
        (
            "step",
            "devices",
            "peer",
            "ours, s",
            "peer, s",
            "ratio",
            "spread",
            "target",
            "",
            "difference",
        ),
        (
            (
                row["case"],
                str(row["devices"]),
                row["peer"],
                f"{row['ours_s']:.3f}",
                f"{row['peer_s']:.3f}",
                f"{row['ratio']:.2f}",
                f"{row['spread']:.2f}",
                f"{row['target']:g}",
                machine.verdict(row["met"]),
                f"{row['max_difference']:.0e}",
            )
            for row in rows
            if "trials" in row
        ),
    )
    lines += ["", "Trials of the settings, seconds of the fastest of three steps:", ""]
    lines += [
        f"- {row['case']}: "
        + ", ".join(
            f"ours on {k} device{'s' * (k > 1)} {v:.3f}" for k, v in row["our_trials"].items()
        )
        + "; PyTorch "
        + ", ".join(f"{k} {v:.3f}" for k, v in row["trials"].items())
        for row in rows
        if "trials" in row
    ]
    lines += ["", "Turn by turn, ours / peer in seconds, and ns from core to core and back:", ""]
    lines += [
        f"- {row['case']}: " + ", ".join(_turn(*turn) for turn in row["by_turn"])
        for row in rows
        if "trials" in row
    ]
    lines += ["", "What the front end adds to a step:", ""]
    lines += machine.table(
        ("step", "from features, s", "from waveform, s", "share", "spread", "target", ""),
        (
            (
                row["case"],
                f"{row['ours_s']:.3f}",
                f"{row['peer_s']:.3f}",
                f"{row['share']:.1%}",
                f"{row['spread']:.1%}",
                f"< {row['target']:.0%}",
                machine.verdict(row["met"]),
            )
            for row in rows
            if "share" in row
        ),
    )
    lines += ["", "Memory (resident set at its peak, and XLA's temporaries) and time:", ""]
    lines += machine.table(
        (
            "step",
            "peer",
            "RSS, MB",
            "peer",
            "share",
            "temporaries, MB",
            "peer",
            "speed",
            "goal",
            "",
        ),
        (
            (
                row["case"],
                row["peer"],
                *(_number(row, name) for name in ("ours_rss_mb", "peer_rss_mb")),
                f"{row['ours_rss_mb'] / row['peer_rss_mb']:.0%}",
                *(_number(row, name) for name in ("temporaries_mb", "peer_temporaries_mb")),
                f"{row['ratio']:.2f} ± {row['spread']:.2f}",
                f"<= {row['target']:.0%}" if "memory_share" in row else "",
                machine.verdict(row["met"]) if "memory_share" in row else "",
            )
            for row in rows
            if "ours_rss_mb" in row
        ),
    )
    return lines


def _number(row: dict, name: str) -> str:
    return f"{row[name]:.0f}" if name in row else ""

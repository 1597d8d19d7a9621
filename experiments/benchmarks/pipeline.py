"""Time that the training of each network waits for data, and the memory that reading takes.

The clip store is synthetic and of GTZAN's size, 1000 x 661 794 samples, on disk in a temporary
folder; it was just written, so that it lies in the page cache as that of a second epoch does. A
network takes the steps of `experiments.train` without validation and checkpoints. Memory is that of
this process while it reads every clip once, whole: `anonymous` is what it owns, where a copy of the
store would show; the mapped file itself counts in the resident set, but the kernel takes those
pages back as soon as it needs them.
"""

import contextlib
import pathlib
import tempfile
from typing import Any

import numpy as np

from experiments.benchmarks import contest, machine
from mgr_jax import config as config_lib

LIMIT = 0.05
QUICK = {"clips": 100, "steps": 3, "turns": 1}
_LABELS = tuple(f"genre{i}" for i in range(10))
_WARMUP_STEPS = 3


def cases() -> dict[str, config_lib.Config]:
    """Return the configs of networks, at sizes that two CPU cores can train."""
    from experiments.configs import cnn, cnn_lstm, quickstart, rnn

    return {
        "BBNN, 3 s windows (quickstart)": quickstart.get_config(),
        "CNN (cnn.py:fast)": cnn.get_config("fast"),
        "CNN-LSTM (cnn_lstm.py:fast)": cnn_lstm.get_config("fast"),
        "RNN (rnn.py:fast)": rnn.get_config("fast"),
    }


def run(
    *, clips: int = 1000, samples: int = 661_794, steps: int = 20, turns: int = 3
) -> list[dict]:
    """Return a row for memory and one for each network, of `turns` times `steps` steps."""
    with tempfile.TemporaryDirectory() as folder:
        part = make_part(pathlib.Path(folder), clips, samples)
        rows = [_memory(part, samples)]
        for case, config in cases().items():
            rows.append({"case": case, **_wait(config, part, steps=steps, turns=turns)})
    return rows


def table(rows: list[dict]) -> list[str]:
    """Return the rows as Markdown: networks, then memory."""
    networks = {
        "network": "{case}",
        "batch": "{batch_size} x {window_seconds:g} s",
        "steps/s": "{steps_per_second:.2f}",
        "reader alone, batches/s": "{reader_steps_per_second:.0f}",
        "data_wait_fraction, median": "{data_wait_fraction:.4f}",
        "worst": "{worst:.4f}",
    }
    memory = {
        "memory, MB": "{case}",
        "clip store": "{store_mb:.0f}",
        "batch": "{batch_mb:.0f}",
        "own memory before": "{anonymous_before_mb:.0f}",
        "peak while reading": "{anonymous_peak_mb:.0f}",
        "growth": "{growth_mb:.0f}",
        "resident set at its peak": "{rss_peak_mb:.0f}",
    }
    return [
        *machine.table(networks, (row for row in rows if "data_wait_fraction" in row)),
        "",
        *machine.table(memory, (row for row in rows if "store_mb" in row)),
    ]


def make_part(folder: pathlib.Path, num_clips: int, num_samples: int) -> Any:
    """Return noise of `num_clips` clips in ten classes, mapped from `folder`."""
    from mgr_jax.data import batches, clips
    from mgr_jax.data.records import Record

    path, shape = folder / "clips.int16", (num_clips, num_samples)
    noise = np.random.default_rng(0).normal(0, 3000, num_samples).astype(np.int16)
    with open(path, "wb") as file:
        for row in range(num_clips):
            file.write(np.roll(noise, 997 * row).tobytes())
    records = tuple(Record(f"{row:04d}", length=num_samples) for row in range(num_clips))
    samples = np.memmap(path, dtype=np.int16, mode="r", shape=shape)
    store = clips.Clips(samples, records, 22050, folder)
    label_of = {record.id: _LABELS[i % len(_LABELS)] for i, record in enumerate(records)}
    return batches.make_part(store, tuple(label_of), label_of, _LABELS)


def read(part: Any, **settings: Any) -> contextlib.closing:
    """Return the train batches of a part from the first step on, for a `with` statement."""
    from mgr_jax.data import batches

    return contextlib.closing(batches.train_batches(part, seed=0, start_step=0, **settings))


def _memory(part: Any, samples: int, batch_size: int = 8) -> dict:
    """Return the memory that the process owns, before and while it reads each clip once."""
    import jax

    from mgr_jax.data import batches

    jax.device_put(np.zeros(1)).block_until_ready()  # Starts the backend.
    num_steps = batches.steps_per_epoch(part, batch_size)
    before, readings = _read_memory()[0], []
    with read(part, batch_size=batch_size, window=samples, num_steps=num_steps) as source:
        for batch in source:
            jax.device_put(batch["waveform"]).block_until_ready()
            readings.append(_read_memory())
    anonymous, resident = np.max(readings, axis=0).tolist()
    return {
        "case": f"{len(part.ids)} clips of {samples} samples",
        "store_mb": part.clips.samples.nbytes / 1e6,
        "batch_mb": 4 * batch_size * samples / 1e6,
        "anonymous_before_mb": before,
        "anonymous_peak_mb": anonymous,
        "growth_mb": anonymous - before,
        "rss_peak_mb": resident,
    }


def _read_memory() -> tuple[float, float]:
    """Return anonymous and resident memory of this process in MB, by Linux's `smaps_rollup`."""
    text = pathlib.Path("/proc/self/smaps_rollup").read_text(encoding="utf-8")
    fields = {line.split(":")[0]: line.split() for line in text.splitlines()[1:]}
    anonymous, resident = (int(fields[name][1]) * 1024 / 1e6 for name in ("Anonymous", "Rss"))
    return anonymous, resident


def _wait(config: config_lib.Config, part: Any, *, steps: int, turns: int) -> dict:
    """Return the share of its time that a network's training waits for batches."""
    import jax

    from mgr_jax import parallel
    from mgr_jax.training import network as network_lib
    from mgr_jax.training.feed import Feed

    batch_size, window = config.train.batch_size, config_lib.window_length(config)
    network = network_lib.make_network(config, num_classes=len(_LABELS))
    parallel.check_batch_size(batch_size, network.mesh)
    num_steps = _WARMUP_STEPS + turns * steps
    settings = {
        "batch_size": batch_size,
        "window": window,
        "num_steps": num_steps,
        "read_threads": config.data.read_threads,
        "read_processes": config.data.read_processes,
    }
    state = parallel.jit_init(network.init, network.mesh)
    fractions, seconds = [], []
    with read(part, **settings) as source:
        feed = Feed(source, network.shard)

        def advance(count: int) -> None:
            nonlocal state
            for _ in range(count):
                state = network.train_step(state, feed.next())
                feed.throttle(state.step)
            jax.block_until_ready(state)

        advance(_WARMUP_STEPS)
        for _ in range(turns):
            feed.take_wait_seconds()
            seconds.append(contest.seconds_of(lambda: advance(steps)))
            fractions.append(feed.take_wait_seconds() / seconds[-1])
    with read(part, **settings) as source:
        next(source)
        alone = contest.seconds_of(lambda: [next(source) for _ in range(num_steps - 1)])
    return {
        "batch_size": batch_size,
        "window_seconds": window / config.features.sample_rate,
        "steps": turns * steps,
        "steps_per_second": steps / float(np.median(seconds)),
        "reader_steps_per_second": (num_steps - 1) / alone,
        "data_wait_fraction": float(np.median(fractions)),
        "worst": max(fractions),
        "limit": LIMIT,
    }

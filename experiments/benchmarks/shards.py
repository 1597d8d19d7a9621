"""Large collections: preparing shards and starting to train from them, by number of tracks.

The collections are synthetic, of many short files: what grows with the number of tracks shows, and
100 000 of them fit on a disk. Each shard is written by a process of its own, one after the other,
as N machines would at once. Memory is the resident set: in preparing, the largest sum over the
command and the processes that decode for it; in training, that of the process itself.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import soundfile

from experiments.benchmarks import machine, pipeline
from mgr_jax import config as config_lib
from mgr_jax.errors import UserError

SIZES = ("1000", "10000", "100000")
SMALLEST = 160  # Every class in every part.
QUICK = {"only": ("160",), "num_shards": 2}
RATE = 8000
_LABELS = tuple(f"genre{i:02d}" for i in range(16))
_TRACKS_PER_ARTIST = 6
_PARTS = ("train",) * 8 + ("valid", "test")
_STEPS = 50


def run(*, only: Sequence[str] = SIZES, num_shards: int = 8, seconds: float = 1.0) -> list[dict]:
    """Return one row for each number of tracks in `only`.

    Raises:
      UserError: not numbers, or too small.
    """
    if not all(size.isdecimal() and int(size) >= SMALLEST for size in only):
        raise UserError(f"--only is {','.join(only)}; give numbers of {SMALLEST} tracks or more")
    rows = []
    for size in map(int, only):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(_measure(pathlib.Path(folder), size, num_shards, seconds))
    return rows


def table(rows: list[dict]) -> list[str]:
    """Return the rows as Markdown: preparing, then starting to train."""
    prepare = {
        "tracks": "{tracks}",
        "shards": "{shards}",
        "prepare, s": "{prepare_s:.1f}",
        "of the processor, s": "{processor_s:.1f}",
        "tracks/s": "{tracks_per_s:.0f}",
        "slowest shard, s": "{slowest_s:.1f}",
        "peak RSS with children, MB": "{prepare_rss_mb:.0f}",
        "a shard that is there, s": "{again_s:.1f}",
        "check of all, s": "{check_s:.1f}",
        "its RSS, MB": "{check_rss_mb:.0f}",
        "shards, MB": "{shards_mb:.0f}",
        "manifests, MB": "{manifests_mb:.1f}",
    }
    start = {
        "tracks": "{tracks}",
        "import, s": "{import_s:.1f}",
        "open and split, s": "{open_s:.2f}",
        "of the processor, s": "{open_processor_s:.2f}",
        "first batch, s": "{first_batch_s:.3f}",
        "first step, s": "{first_step_s:.2f}",
        "RSS after import, MB": "{import_mb:.0f}",
        "after open": "{open_mb:.0f}",
        "after first step": "{step_mb:.0f}",
        f"peak over {_STEPS} steps": "{peak_mb:.0f}",
    }
    rates = (row | {"tracks_per_s": row["tracks"] / row["prepare_s"]} for row in rows)
    return [*machine.table(prepare, rates), "", *machine.table(start, rows)]


def _config(root: str, seconds: float) -> config_lib.Config:
    """Return the config of a BBNN of one module that learns from half a second."""
    from experiments.configs import quickstart

    config = quickstart.get_config()
    config.data.name, config.data.root, config.data.protocol = "shards", root, "listed"
    config.data.clip_seconds, config.data.window_seconds = seconds, 0.5
    config.features.sample_rate, config.features.n_mels = RATE, 16
    config.features.n_fft, config.features.hop_length = 256, 128
    config.model.width, config.model.num_modules = 2, 1
    config.train.batch_size = 32
    return config


def write_collection(folder: pathlib.Path, num_tracks: int, num_samples: int) -> pathlib.Path:
    """Write files of noise, each its own; return their CSV for `data.name=manifest`."""
    noise = np.random.default_rng(0).normal(0, 3000, 4 * num_samples).astype(np.int16)
    lines = ["path,label,artist,split"]
    for i in range(num_tracks):
        name = f"audio/{i // 1000:03d}/{i:06d}.wav"
        if i % 1000 == 0:
            (folder / name).parent.mkdir(parents=True)
        start = i * 7919 % (3 * num_samples)
        samples = noise[start : start + num_samples].copy()
        samples[:2] = i % 32749, i // 32749
        soundfile.write(folder / name, samples, RATE)
        label = _LABELS[i % len(_LABELS)]
        part = _PARTS[i // len(_LABELS) % len(_PARTS)]
        lines.append(f"{name},{label},artist {i // _TRACKS_PER_ARTIST},{part}")
    path = folder / "tracks.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _measure(folder: pathlib.Path, size: int, num_shards: int, seconds: float) -> dict:
    root = write_collection(folder, size, round(seconds * RATE))
    shards = folder / "shards"
    config = {
        "data.name": "manifest",
        "data.root": root,
        "data.clip_seconds": seconds,
        "data.cache": folder / "cache",
        "data.window_seconds": 0.5,
        "features.sample_rate": RATE,
    }
    prepare = [sys.executable, "-m", "experiments.prepare", f"--shards={shards}"]
    prepare += [f"--config={pathlib.Path(__file__).parents[1]}/configs/quickstart.py"]
    prepare += [f"--config.{field}={value}" for field, value in config.items()]
    shares = [f"--shard={i}/{num_shards}" for i in range(num_shards)]
    runs = [machine.watch([*prepare, share]) for share in shares]
    again, check = machine.watch([*prepare, shares[0]]), machine.watch([*prepare, "--check"])
    start = [sys.executable, "-m", "experiments.benchmarks.shards", str(shards), str(seconds)]
    done = subprocess.run(start, check=True, capture_output=True, text=True)
    return {
        "case": f"{size} tracks of {seconds:g} s",
        "tracks": size,
        "shards": num_shards,
        "prepare_s": sum(run.seconds for run in runs),
        "processor_s": sum(run.processor_seconds for run in runs),
        "slowest_s": max(run.seconds for run in runs),
        "prepare_rss_mb": max(run.peak_mb for run in runs),
        "again_s": again.seconds,
        "check_s": check.seconds,
        "check_rss_mb": check.peak_mb,
        "shards_mb": sum(path.stat().st_size for path in shards.glob("*.array_record")) / 1e6,
        "manifests_mb": sum(path.stat().st_size for path in shards.glob("*.json")) / 1e6,
        **json.loads(done.stdout.splitlines()[-1]),
    }


def start(root: str, seconds: float) -> dict[str, Any]:
    """Open shards and train a few steps; return seconds and memory until each stage."""
    began, pid = time.perf_counter(), os.getpid()
    import jax

    from mgr_jax import parallel
    from mgr_jax.data import dataset as dataset_lib
    from mgr_jax.training import network as network_lib

    config = _config(root, seconds)
    jax.devices()
    stages = {"import_s": time.perf_counter() - began, "import_mb": machine.resident(pid)}
    began, used = time.perf_counter(), time.process_time()
    dataset = dataset_lib.open_dataset(config)
    stages |= {"open_s": time.perf_counter() - began, "open_mb": machine.resident(pid)}
    stages["open_processor_s"] = time.process_time() - used
    began = time.perf_counter()
    sizes = {"batch_size": config.train.batch_size, "window": config_lib.window_length(config)}
    with pipeline.read(dataset.parts["train"], num_steps=1 + _STEPS, **sizes) as source:
        batch = next(source)
        stages["first_batch_s"] = time.perf_counter() - began
        began = time.perf_counter()
        network = network_lib.make_network(config, num_classes=len(dataset.catalog.labels))
        state = parallel.jit_init(network.init, network.mesh)
        state = jax.block_until_ready(network.train_step(state, network.shard(batch)))
        stages |= {"first_step_s": time.perf_counter() - began, "step_mb": machine.resident(pid)}
        peak = 0.0
        for batch in source:
            state = jax.block_until_ready(network.train_step(state, network.shard(batch)))
            peak = max(peak, machine.resident(pid))
    return stages | {"peak_mb": peak}


if __name__ == "__main__":
    print(json.dumps(start(sys.argv[1], float(sys.argv[2]))))

"""Large collections: preparing shards and starting to train from them, by number of tracks.

The collections are synthetic, of many short files: what grows with the number of tracks shows, and
100 000 of them fit on a disk. Each shard is written by a process of its own, one after the other,
as N machines would at once. Memory is the resident set: in preparing, the largest sum over the
command and the processes that decode for it; in training, that of the process itself.
"""

import contextlib
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.benchmarks import machine
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
    prepared = [row | {"tracks_per_s": row["tracks"] / row["prepare_s"]} for row in rows]
    return [*_columns(_PREPARE, prepared), "", *_columns(_START, rows)]


def _columns(columns: dict[str, tuple[str, str]], rows: list[dict]) -> list[str]:
    head = [title for title, _ in columns.values()]
    return machine.table(
        head, ([format(row[name], f) for name, (_, f) in columns.items()] for row in rows)
    )


# Field of a row -> title and format of its column.
_PREPARE = {
    "tracks": ("tracks", "d"),
    "shards": ("shards", "d"),
    "prepare_s": ("prepare, s", ".1f"),
    "processor_s": ("of the processor, s", ".1f"),
    "tracks_per_s": ("tracks/s", ".0f"),
    "slowest_s": ("slowest shard, s", ".1f"),
    "prepare_rss_mb": ("peak RSS with children, MB", ".0f"),
    "again_s": ("a shard that is there, s", ".1f"),
    "check_s": ("check of all, s", ".1f"),
    "check_rss_mb": ("its RSS, MB", ".0f"),
    "shards_mb": ("shards, MB", ".0f"),
    "manifests_mb": ("manifests, MB", ".1f"),
}
_START = {
    "tracks": ("tracks", "d"),
    "import_s": ("import, s", ".1f"),
    "open_s": ("open and split, s", ".2f"),
    "open_processor_s": ("of the processor, s", ".2f"),
    "first_batch_s": ("first batch, s", ".3f"),
    "first_step_s": ("first step, s", ".2f"),
    "import_mb": ("RSS after import, MB", ".0f"),
    "open_mb": ("after open", ".0f"),
    "step_mb": ("after first step", ".0f"),
    "peak_mb": (f"peak over {_STEPS} steps", ".0f"),
}


def get_config(root: str) -> config_lib.Config:
    """Return the config of a BBNN of one module that learns from half a second."""
    from experiments.configs import quickstart

    config = quickstart.get_config()
    config.data.root, config.data.protocol = root, "listed"
    config.data.window_seconds = 0.5
    config.features.sample_rate, config.features.n_mels = RATE, 16
    config.features.n_fft, config.features.hop_length = 256, 128
    config.model.width, config.model.num_modules = 2, 1
    config.train.batch_size = 32
    return config


def write_collection(folder: pathlib.Path, num_tracks: int, num_samples: int) -> pathlib.Path:
    """Files of noise, each its own, and their CSV for `data.name=manifest`; returns the CSV."""
    noise = np.random.default_rng(0).normal(0, 3000, 4 * num_samples).astype("<i2")
    size = 2 * num_samples
    sizes = [np.array([n], "<u4").tobytes() for n in (36 + size, 16, RATE, 2 * RATE, size)]
    format_ = sizes[1] + b"\1\0\1\0" + sizes[2] + sizes[3] + b"\2\0\x10\0"
    header = b"RIFF" + sizes[0] + b"WAVEfmt " + format_ + b"data" + sizes[4]
    lines = ["path,label,artist,split"]
    for i in range(num_tracks):
        name = f"audio/{i // 1000:03d}/{i:06d}.wav"
        if i % 1000 == 0:
            (folder / name).parent.mkdir(parents=True)
        start = i * 7919 % (3 * num_samples)
        samples = noise[start : start + num_samples].copy()
        samples[:2] = i % 32749, i // 32749
        (folder / name).write_bytes(header + samples.tobytes())
        label = _LABELS[i % len(_LABELS)]
        part = _PARTS[i // len(_LABELS) % len(_PARTS)]
        lines.append(f"{name},{label},artist {i // _TRACKS_PER_ARTIST},{part}")
    path = folder / "tracks.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _measure(folder: pathlib.Path, size: int, num_shards: int, seconds: float) -> dict:
    root = write_collection(folder, size, round(seconds * RATE))
    shards = folder / "shards"
    prepare = [sys.executable, "-m", "experiments.prepare"]
    prepare += [f"--config={pathlib.Path(__file__).parents[1]}/configs/quickstart.py"]
    prepare += ["--config.data.name=manifest", f"--config.data.root={root}"]
    prepare += [f"--config.data.clip_seconds={seconds}", f"--config.data.cache={folder}/cache"]
    prepare += ["--config.data.window_seconds=0.5", f"--config.features.sample_rate={RATE}"]
    prepare += [f"--shards={shards}"]
    runs = [_watch([*prepare, f"--shard={i}/{num_shards}"]) for i in range(num_shards)]
    again, check = _watch([*prepare, f"--shard=0/{num_shards}"]), _watch([*prepare, "--check"])
    start = [sys.executable, "-m", "experiments.benchmarks.shards", str(shards), str(seconds)]
    done = subprocess.run(start, check=True, capture_output=True, text=True)
    return {
        "case": f"{size} tracks of {seconds:g} s",
        "tracks": size,
        "shards": num_shards,
        "prepare_s": sum(seconds for seconds, _, _ in runs),
        "processor_s": sum(used for _, used, _ in runs),
        "slowest_s": max(seconds for seconds, _, _ in runs),
        "prepare_rss_mb": max(peak for _, _, peak in runs),
        "again_s": again[0],
        "check_s": check[0],
        "check_rss_mb": check[2],
        "shards_mb": sum(path.stat().st_size for path in shards.glob("*.array_record")) / 1e6,
        "manifests_mb": sum(path.stat().st_size for path in shards.glob("*.json")) / 1e6,
        **json.loads(done.stdout.splitlines()[-1]),
    }


def _watch(command: list[str]) -> tuple[float, float, float]:
    """Run a command; return its seconds, processor seconds and peak resident set in MB.

    The last two include the processes that it starts.
    """
    began, used, peak = time.perf_counter(), _processor_seconds(), 0.0
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        while process.poll() is None:
            peak = max(peak, _resident(process.pid))
            time.sleep(0.02)
        took = time.perf_counter() - began
        if process.returncode:
            log.seek(0)
            raise RuntimeError(f"{' '.join(command)}: {log.read()}")
    return took, _processor_seconds() - used, peak


def _processor_seconds() -> float:
    """Return the processor seconds of all ended children of this process."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _resident(pid: int) -> float:
    """Return the resident set of a process and of those that it started, in MB."""
    total = 0.0
    with contextlib.suppress(OSError, ValueError):  # It may end meanwhile.
        pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
        total = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            total += sum(_resident(int(child)) for child in (task / "children").read_text().split())
    return total


def start(root: str, seconds: float) -> dict[str, Any]:
    """Open shards and train a few steps; return seconds and memory until each stage."""
    began, pid = time.perf_counter(), os.getpid()
    import jax

    from mgr_jax import parallel
    from mgr_jax.data import batches
    from mgr_jax.data import dataset as dataset_lib
    from mgr_jax.training import network as network_lib

    config = get_config(root)
    config.data.name, config.data.clip_seconds = "shards", seconds
    jax.devices()
    stages = {"import_s": time.perf_counter() - began, "import_mb": _resident(pid)}
    began, used = time.perf_counter(), time.process_time()
    dataset = dataset_lib.open_dataset(config)
    stages |= {"open_s": time.perf_counter() - began, "open_mb": _resident(pid)}
    stages["open_processor_s"] = time.process_time() - used
    began = time.perf_counter()
    source = batches.train_batches(
        dataset.parts["train"],
        batch_size=config.train.batch_size,
        window=config_lib.window_length(config),
        seed=0,
        start_step=0,
        num_steps=1 + _STEPS,
    )
    with contextlib.closing(source):
        batch = next(source)
        stages["first_batch_s"] = time.perf_counter() - began
        began = time.perf_counter()
        network = network_lib.make_network(config, num_classes=len(dataset.catalog.labels))
        state = parallel.jit_init(network.init, network.mesh)
        state = jax.block_until_ready(network.train_step(state, network.shard(batch)))
        stages |= {"first_step_s": time.perf_counter() - began, "step_mb": _resident(pid)}
        peak = 0.0
        for batch in source:
            state = jax.block_until_ready(network.train_step(state, network.shard(batch)))
            peak = max(peak, _resident(pid))
    return stages | {"peak_mb": peak}


if __name__ == "__main__":
    print(json.dumps(start(sys.argv[1], float(sys.argv[2]))))

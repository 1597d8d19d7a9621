"""Epochs of training in the GPU benchmark: clips on the device beside batches that the host sends.

The clips are noise, int16 like decoded ones, as many and as long as GTZAN's. The host's side is the
simplest that `data.on_device=False` could be: one thread cuts the next batch out of the clips and
sends it as int16 while a step runs (`training.feed`); training itself reads with more threads.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from experiments.benchmarks import gpu_rows, networks
from mgr_jax import config as config_lib

SIDES = ("on_device", "streaming")
CASES = ("bbnn", "quickstart")  # Windows of 30 s and of 3 s.
EPOCHS = 3


def epoch(args: argparse.Namespace, net: str, side: str) -> Iterator[None]:
    """Time `EPOCHS` epochs of train steps from waveforms, front end included."""
    jax, device = gpu_rows.start_jax(args)
    from experiments.benchmarks import jax_steps
    from mgr_jax import parallel
    from mgr_jax.features.frontend import make_frontend
    from mgr_jax.training.feed import Feed

    on_device, mesh, config = side == "on_device", parallel.make_mesh([device]), make_config(net)
    if args.tiny:
        networks.shrink(config)
        config.data.window_seconds /= 6  # 0.5 s of 1 s.
        config.features.hop_length = 256
        config.model.width, config.model.num_modules = 4, 1
    clips, window = make_clips(config, args), config_lib.window_length(config)
    init, train, _ = jax_steps.make_programs(
        config,
        networks.input_shape(config),
        mesh,
        frontend=make_frontend(config.features),
        window=window if on_device else 0,
    )
    state: Any = parallel.jit_init(init, mesh)
    yield
    with gpu_rows.reported(args, side=side, net=net, mode="epoch", precision="tf32") as row:
        began = time.time()
        stored = parallel.replicate(clips, mesh) if on_device else ()
        shared = (jax.block_until_ready(stored),) if on_device else ()
        put_seconds, seconds, shares = time.time() - began, [], []

        def batches(epoch: int) -> Feed:
            plan = windows(clips, window, args.batch, seed=epoch)
            source = plan if on_device else (cut(clips, w, window) for w in plan)
            return Feed(source, lambda batch: parallel.shard(batch, mesh))

        began = time.time()
        compiled = train.lower(state, batches(0).next(), *shared).compile()
        compile_seconds = time.time() - began
        num_steps = len(clips[0]) // args.batch
        for number in range(EPOCHS + 1):  # The first one warms up.
            feed, began = batches(number), time.perf_counter()
            for _ in range(num_steps):
                state = compiled(state, feed.next(), *shared)
                feed.throttle(state.step)
            jax.block_until_ready(state)
            seconds.append(time.perf_counter() - began)
            shares.append(feed.take_wait_seconds() / seconds[-1])
        milliseconds = [1e3 * value / num_steps for value in seconds[1:]]
        median = statistics.median(milliseconds)
        row(
            batch=args.batch,
            ms=round(median, 4),
            ms_min=round(min(milliseconds), 4),
            ms_max=round(max(milliseconds), 4),
            per_s=round(1e3 * args.batch / median, 1),
            steps=num_steps,
            epoch_s=round(statistics.median(seconds[1:]), 3),
            read_share=round(statistics.median(shares[1:]), 4),
            put_s=round(put_seconds, 2),
            loss=round(float(state.metrics["loss"] / state.metrics["count"]), 4),
            compile_s=round(compile_seconds, 1),
        )
    yield


def make_config(net: str) -> config_lib.Config:
    """Return the config of a case, with a front end that needs no fitting."""
    from experiments.configs import quickstart

    config = quickstart.get_config() if net == "quickstart" else networks.cases()[net][1]
    config.features.normalize = "none"
    return config


def make_clips(
    config: config_lib.Config, args: argparse.Namespace
) -> tuple[np.ndarray, np.ndarray]:
    """Return samples int16 [N, T] and their factors float32 [N]: 1000 clips, 4 batches if tiny."""
    length = config_lib.clip_length(config)
    noise = np.random.default_rng(0).integers(-(2**14), 2**14, (16, length), np.int16)
    count = 4 * args.batch if args.tiny else 1000
    return noise[np.arange(count) % len(noise)], np.full(count, 2.0**-15, np.float32)


def windows(
    clips: tuple[np.ndarray, np.ndarray], window: int, batch_size: int, *, seed: int
) -> Iterator[dict[str, np.ndarray]]:
    """Yield the windows of an epoch's steps, as `training.resident` does: integers [B]."""
    rng, (count, length) = np.random.default_rng(seed), clips[0].shape
    order = rng.permutation(count)
    for first in range(0, count - batch_size + 1, batch_size):
        fields = {
            "clip": order[first : first + batch_size],
            "start": rng.integers(0, length - window + 1, batch_size),
            "num_samples": np.full(batch_size, window),
            "label": order[first : first + batch_size] % 10,
            "row": np.arange(batch_size),
        }
        yield {name: value.astype(np.int32) for name, value in fields.items()}


def cut(
    clips: tuple[np.ndarray, np.ndarray], plan: dict[str, np.ndarray], window: int
) -> dict[str, np.ndarray]:
    """Return the batch of these windows: `waveform` int16 [B, window] and its `scale` [B]."""
    samples, scale = clips
    pieces = [samples[i, t : t + window] for i, t in zip(plan["clip"], plan["start"], strict=True)]
    rest = {name: plan[name] for name in ("num_samples", "label", "row")}
    return {"waveform": np.stack(pieces), "scale": scale[plan["clip"]], **rest}

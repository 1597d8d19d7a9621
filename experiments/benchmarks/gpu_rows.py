"""The rows of the GPU benchmark: what a process of `experiments.benchmarks.gpu` measures.

Every task is a generator: up to its first `yield` it prepares what needs little of the device.
"""

import argparse
import contextlib
import functools
import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from experiments.benchmarks import networks
from mgr_jax import config as config_lib

# Inference compiles in seconds, and leaves the others the time that they need.
STEPS = (("infer", "tf32"), ("train", "bf16"), ("train", "tf32"), ("infer", "bf16"))
FRONTEND = ("log-mel, hop 1024", "bbnn"), ("mel image, hop 512", "cnn"), ("MFCC, hop 256", "gru")


def emit(args: argparse.Namespace, **row: Any) -> None:
    line = json.dumps({"t": round(time.time() - args.began, 1), **row})
    print(line, flush=True)
    if args.out:
        with open(args.out, "a", encoding="utf-8") as file:
            file.write(line + "\n")


@contextlib.contextmanager
def reported(args: argparse.Namespace, **names: Any) -> Iterator[Callable[..., None]]:
    """Yield a function that emits a row with these names.

    An exception becomes a row, too, so that the rows after it are still measured.
    """
    write = functools.partial(emit, args, device=args.device, **names)
    try:
        yield write
    except Exception as error:
        write(error=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")


def measure(
    function: Callable[..., Any],
    wait: Callable[[Any], Any],
    *arguments: Any,
    size: int,
    blocks: int = 5,
) -> dict[str, float]:
    """Return the times of blocks of calls, each of which handles `size` examples.

    `wait(result)` returns when the result of a call, and all before it, are there.
    """

    def seconds_of(count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            result = function(*arguments)
        wait(result)
        return time.perf_counter() - began

    seconds_of(1)
    count = max(1, min(200, int(0.12 / max(seconds_of(1), 1e-6))))
    times = [1e3 * seconds_of(count) / count for _ in range(blocks)]
    median = statistics.median(times)
    ranges = {"ms": median, "ms_min": min(times), "ms_max": max(times)}
    rounded = {name: round(value, 4) for name, value in ranges.items()}
    return rounded | {"per_s": round(1e3 * size / median, 1), "steps_a_block": count}


def make_config(net: str, tiny: bool, *, side: str = "ours", precision: str = "") -> Any:
    config = networks.cases()[net][1]
    config.model.implementation = "reference" if side == "reference" else "auto"
    config.model.dtype = "bfloat16" if precision == "bf16" else "float32"
    if tiny:
        networks.shrink(config)
    return config


def make_batch(config: config_lib.Config, size: int) -> dict[str, np.ndarray]:
    inputs, labels = networks.random_batch(networks.input_shape(config), min(size, 16))
    copies = np.arange(size) % len(inputs)
    return networks.batch_of(inputs[copies], labels[copies], 10**6)


def start_jax(args: argparse.Namespace) -> tuple[Any, Any]:
    """Return JAX and the first device."""
    import jax

    if args.cache:
        jax.config.update("jax_compilation_cache_dir", args.cache)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    device = jax.devices()[0]
    args.device = f"{device.device_kind} (jax {jax.__version__})"
    return jax, device


def network(args: argparse.Namespace, side: str, net: str) -> Iterator[None]:
    """Time the steps of one network in JAX."""
    jax, device = start_jax(args)
    from experiments.benchmarks import jax_steps
    from mgr_jax import parallel

    mesh, programs = parallel.make_mesh([device]), {}
    for mode, precision in STEPS:
        config = make_config(net, args.tiny, side=side, precision=precision)
        batch = make_batch(config, args.batch)
        init, train, predict = jax_steps.make_programs(config, batch["waveform"].shape[1:], mesh)
        state = parallel.abstract(jax.eval_shape(init), mesh)
        if mode == "infer":
            batch = {key: batch[key] for key in ("waveform", "num_samples")}
            lowered = predict.lower(state.variables(), batch)
        else:
            lowered = train.lower(state, batch)
        programs[mode, precision] = batch, lowered
    with jax.default_device(jax.devices("cpu")[0]):
        start = jax.device_get(jax.jit(init)())
    yield
    took: dict[str, float] = {}
    for (mode, precision), (batch, lowered) in programs.items():
        began = time.time()
        with reported(args, side=side, net=net, mode=mode, precision=precision) as row:
            if args.deadline - began < took.get(mode, 0):
                row(skipped="the step before took longer than what is left")
                continue
            compiled = lowered.compile()
            seconds = round(time.time() - began, 1)
            data, state = parallel.shard(batch, mesh), parallel.replicate(start, mesh)
            measured = _measure_program(compiled, mode, state, data)
            row(batch=args.batch, **measured, compile_s=seconds)
        took[mode] = time.time() - began
        yield


def _measure_program(compiled: Any, mode: str, state: Any, batch: dict) -> dict[str, float]:
    """Return times, loss and memory of a compiled step."""
    import jax

    train, variables, last = mode == "train", state.variables(), state

    def step() -> Any:
        nonlocal last
        last = compiled(last if train else variables, batch)
        return last

    times = measure(step, jax.block_until_ready, size=len(batch["waveform"]))
    if train:
        times["loss"] = round(float(last.metrics["loss"] / last.metrics["count"]), 4)
    sizes = compiled.memory_analysis()
    peak = sizes.argument_size_in_bytes + sizes.output_size_in_bytes
    peak += sizes.temp_size_in_bytes - sizes.alias_size_in_bytes
    return times | {"peak_mb": round(peak / 2**20, 1)}


def _clips(args: argparse.Namespace) -> np.ndarray:
    """Return noise [B, 30 s]."""
    size = (2, 22_050) if args.tiny else (args.batch, 661_794)
    return (0.1 * np.random.default_rng(0).normal(size=size)).astype(np.float32)


def frontend(args: argparse.Namespace) -> Iterator[None]:
    """Time our front end, and the log-mel as one would write it first."""
    jax, _ = start_jax(args)
    import jax.numpy as jnp

    from mgr_jax.features import filters
    from mgr_jax.features.frontend import make_frontend

    clips = _clips(args)
    window = filters.window("hann", 2048).astype(np.float32)
    bank = filters.mel_filter_bank(sample_rate=22_050, n_fft=2048)

    def naive(x: Any) -> Any:
        x = jnp.pad(x, ((0, 0), (1024, 1024)))
        starts = 1024 * jnp.arange(1 + (x.shape[1] - 2048) // 1024)[:, None]
        spectrum = jnp.fft.rfft(x[:, starts + jnp.arange(2048)[None]] * window)
        power = jnp.square(spectrum.real) + jnp.square(spectrum.imag)
        mel = jnp.matmul(power, bank.T, precision="highest")
        decibels = 10 * jnp.log10(jnp.maximum(mel, 1e-10))
        return jnp.maximum(decibels, decibels.max((1, 2), keepdims=True) - 80)

    yield
    waveform = jnp.asarray(clips)
    cases: list[tuple[str, str, Callable[..., Any]]] = [("naive jnp", FRONTEND[0][0], naive)]
    for mode, net in FRONTEND:
        features = make_config(net, args.tiny).features
        features.normalize = "none"
        cases.append(("ours", mode, make_frontend(features)))
    for side, mode, function in cases:
        with reported(args, side=side, net="frontend", mode=mode) as row:
            size, wait = len(waveform), jax.block_until_ready
            row(batch=size, **measure(jax.jit(function), wait, waveform, size=size))
        yield


def h2d(args: argparse.Namespace) -> Iterator[None]:
    """Time the way of a batch of clips from the host to the device."""
    jax, device = start_jax(args)
    from mgr_jax import parallel

    mesh = parallel.make_mesh([device])
    yield
    for kind in ("float32", "int16"):
        clips = _clips(args).astype(kind)
        with reported(args, side="ours", net="h2d", mode=kind) as row:
            sizes = {"size": len(clips), "blocks": 20}
            times = measure(
                parallel.shard, jax.block_until_ready, {"waveform": clips}, mesh, **sizes
            )
            row(batch=len(clips), mb=round(clips.nbytes / 2**20, 1), **times)
        yield


def _torch(args: argparse.Namespace) -> tuple[Any, str, Callable[[Any], None]]:
    """Return PyTorch, the kind of device, and what waits for it."""
    import torch

    if torch.cuda.is_available():
        torch.backends.cudnn.benchmark = True
        args.device = f"{torch.cuda.get_device_name()} (torch {torch.__version__})"
        return torch, "cuda", lambda _: torch.cuda.synchronize()
    args.device = f"cpu (torch {torch.__version__})"
    return torch, "cpu", lambda _: None


def torch_networks(args: argparse.Namespace, nets: str, run: str = "eager") -> Iterator[None]:
    """Time the steps of networks in PyTorch: channels_last, TF32 or autocast, cuDNN's GRU."""
    torch, where, wait = _torch(args)
    from experiments.benchmarks import torch_networks as peers
    from experiments.benchmarks import torch_steps

    torch.set_float32_matmul_precision("high")
    torch.zeros(1, device=where)
    yield
    side = "torch" if run == "eager" else f"torch.{run}"
    for (mode, precision), net in itertools.product(STEPS, nets.split(",")):
        with reported(args, side=side, net=net, mode=mode, precision=precision) as row:
            config = make_config(net, args.tiny)
            batch = make_batch(config, args.batch)
            if where == "cuda":
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            steps = torch_steps.Steps(
                config,
                None,
                batch["waveform"],
                batch["label"],
                mode=mode,
                setting=peers.BUILT_IN_GRU if net == "gru" else f"{run}, channels_last",
                device=where,
                bfloat16=precision == "bf16",
            )
            began = time.time()
            wait(steps.step())
            seconds = time.time() - began
            times = measure(steps.step, wait, size=args.batch)
            if mode == "train":
                times["loss"] = round(float(steps.step()), 4)
            peak = torch.cuda.max_memory_allocated() if where == "cuda" else 0
            memory = {"peak_mb": round(peak / 2**20, 1), "compile_s": round(seconds, 1)}
            row(batch=args.batch, **times, **memory)
            del steps
        yield


def torch_frontend(args: argparse.Namespace) -> Iterator[None]:
    """Time the log-mel by `torch.stft`."""
    torch, where, wait = _torch(args)
    from experiments.benchmarks import frontend as frontend_suite

    clips = _clips(args)
    torch.zeros(1, device=where)
    yield
    waveform = torch.from_numpy(clips).to(where)
    with reported(args, side="torch.stft", net="frontend", mode=FRONTEND[0][0]) as row:
        features = frontend_suite.torch_features(kind="logmel", hop_length=1024, device=where)
        with torch.inference_mode():
            times = measure(features, wait, waveform, size=len(waveform))
        row(batch=len(waveform), **times)
    yield


TASKS: dict[str, Callable[..., Iterator[Any]]] = {
    "ours": lambda args, net: network(args, "ours", net),
    "reference": lambda args, net: network(args, "reference", net),
    "torch": torch_networks,
    "torch.compile": lambda args, net: torch_networks(args, net, "compile"),
    "frontend": frontend,
    "torch-frontend": torch_frontend,
    "h2d": h2d,
}

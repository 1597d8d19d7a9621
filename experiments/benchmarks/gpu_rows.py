"""The rows of the GPU benchmark: what a process of `experiments.benchmarks.gpu` measures.

Every task is a generator: up to its first `yield` it prepares what needs little of the device.
"""

import argparse
import concurrent.futures
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

STEPS = (("train", "tf32"), ("infer", "tf32"), ("train", "bf16"))
CLASSES = 10
BOUND = 1e-3  # Relative error by norm: max-pooling may choose another of two nearly equal values.
FRONTEND = ("log-mel, hop 1024", "bbnn"), ("mel image, hop 512", "cnn"), ("MFCC, hop 256", "gru")


def emit(args: argparse.Namespace, **row: Any) -> None:
    line = json.dumps({"t": round(time.time() - args.began, 1), **row})
    print(line, flush=True)
    if args.out:
        with open(args.out, "a", encoding="utf-8") as file:
            file.write(line + "\n")


@contextlib.contextmanager
def reported(args: argparse.Namespace, **names: Any) -> Iterator[None]:
    """Report an exception as a row, so that the rows after it are still measured."""
    try:
        yield
    except Exception as error:
        emit(args, **names, error=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")


def measure(
    step: Callable[[], Any], wait: Callable[[], Any], batch: int, *, blocks: int = 5
) -> dict[str, float]:
    """Time blocks of steps; `step()` starts one, `wait()` returns when all have ended."""
    step(), wait()
    began = time.perf_counter()
    step(), wait()
    count = max(1, min(200, int(0.12 / max(time.perf_counter() - began, 1e-6))))
    times = []
    for _ in range(blocks):
        began = time.perf_counter()
        for _ in range(count):
            step()
        wait()
        times.append(1e3 * (time.perf_counter() - began) / count)
    median = statistics.median(times)
    ranges = {"ms": median, "ms_min": min(times), "ms_max": max(times)}
    rounded = {name: round(value, 4) for name, value in ranges.items()}
    return {**rounded, "per_s": round(1e3 * batch / median, 1), "steps_a_block": count}


def make_config(net: str, tiny: bool, *, side: str = "ours", precision: str = "") -> Any:
    config = networks.cases()[net][1]
    config.model.implementation = "reference" if side == "reference" else "auto"
    config.model.dtype = "bfloat16" if precision == "bf16" else "float32"
    if tiny:
        networks.shrink(config)
    return config


def make_batch(config: config_lib.Config, size: int) -> dict[str, np.ndarray]:
    inputs, labels = networks.random_batch(networks.input_shape(config), min(size, 16))
    copies = -(-size // len(inputs))
    return {
        "waveform": np.concatenate([inputs] * copies)[:size],
        "num_samples": np.full(size, 10**6, np.int32),
        "label": np.concatenate([labels] * copies)[:size],
        "row": np.arange(size, dtype=np.int32),
    }


def _jax(args: argparse.Namespace) -> tuple[Any, Any, str]:
    """Return JAX, the first device and its name."""
    import jax

    if args.cache:
        jax.config.update("jax_compilation_cache_dir", args.cache)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    device = jax.devices()[0]
    return jax, device, f"{device.device_kind} (jax {jax.__version__})"


def network(args: argparse.Namespace, side: str, net: str) -> Iterator[None]:
    """Time the steps of one network in JAX."""
    jax, device, name = _jax(args)
    from experiments.benchmarks import jax_steps
    from mgr_jax import parallel

    mesh, programs = parallel.make_mesh([device]), {}
    for mode, precision in STEPS:
        config = make_config(net, args.tiny, side=side, precision=precision)
        batch = make_batch(config, args.batch)
        if mode == "infer":
            batch = {key: batch[key] for key in ("waveform", "num_samples")}
        init, train, predict = jax_steps.make_programs(config, batch["waveform"].shape[1:], mesh)
        state = parallel.abstract(jax.eval_shape(init), mesh)
        read = (train, state) if mode == "train" else (predict, state.variables())
        programs[mode, precision] = batch, read[0].lower(read[1], batch)
    with jax.default_device(jax.devices("cpu")[0]):
        start = jax.device_get(jax.jit(init)())
    yield
    took: dict[str, float] = {}
    for (mode, precision), (batch, lowered) in programs.items():
        names = {"device": name, "side": side, "net": net, "mode": mode, "precision": precision}
        if args.deadline - time.time() < took.get(mode, 0):
            emit(args, **names, skipped="the step before took longer than what is left")
            continue
        began = time.time()
        with reported(args, **names):
            compiled = lowered.compile()
            seconds = time.time() - began
            data, state = parallel.shard(batch, mesh), parallel.replicate(start, mesh)
            last = {"": state if mode == "train" else state.variables()}

            def step(compiled=compiled, data=data, last=last, mode=mode, state=state):
                last[""] = compiled(last[""] if mode == "train" else state.variables(), data)

            times = measure(step, lambda last=last: jax.block_until_ready(last[""]), args.batch)
            if mode == "train":
                sums = last[""].metrics
                times["loss"] = round(float(sums["loss"] / sums["count"]), 4)
            sizes = compiled.memory_analysis()
            peak = sizes.argument_size_in_bytes + sizes.output_size_in_bytes
            peak += sizes.temp_size_in_bytes - sizes.alias_size_in_bytes
            memory = {"peak_mb": round(peak / 2**20, 1), "compile_s": round(seconds, 1)}
            emit(args, **names, batch=args.batch, **times, **memory)
        took[mode] = time.time() - began
        yield


def check(args: argparse.Namespace) -> Iterator[bool | None]:
    """Compare ours with the plain formulas, and with ours on the CPU: small, in full float32."""
    jax, device, name = _jax(args)
    from experiments.benchmarks import jax_steps
    from mgr_jax.models import make_model
    from mgr_jax.training import objective

    cpu = jax.devices("cpu")[0]
    places = {"ours": ("ours", device), "reference": ("reference", device), "cpu": ("ours", cpu)}

    def evaluate(net: str, side: str, place: Any, variables: Any) -> dict[str, Any]:
        config = make_config(net, True, side=side)
        config.model.dropout = 0.0
        model, batch = make_model(config.model, num_classes=CLASSES), make_batch(config, 4)

        def outputs(variables: Any, inputs: Any, labels: Any) -> dict[str, Any]:
            def loss(params: Any) -> Any:
                changed = variables | {"params": params}
                logits, _ = model.apply(changed, inputs, train=True, mutable=["batch_stats"])
                targets = objective.make_targets(labels, num_classes=CLASSES)
                return objective.cross_entropy(logits, targets).mean()

            value, gradient = jax.value_and_grad(loss)(variables["params"])
            logits = model.apply(variables, inputs)
            return {"logits": logits, "loss": value, "gradient": gradient}

        read = (variables, batch["waveform"], batch["label"])
        with jax.default_matmul_precision("highest"):
            return jax.device_get(jax.jit(outputs)(*jax.device_put(read, place)))

    def initial(net: str) -> Any:
        config = make_config(net, True)
        model = make_model(config.model, num_classes=CLASSES)
        inputs = make_batch(config, 1)["waveform"]
        with jax.default_device(cpu):
            return jax_steps.vary(jax.jit(model.init)(jax.random.key(0), inputs))

    nets = args.nets.split(",")
    variables = {net: initial(net) for net in nets}
    yield
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        runs = {
            net: {to: pool.submit(evaluate, net, *at, variables[net]) for to, at in places.items()}
            for net in nets
        }
        for net, futures in runs.items():
            ok = False
            with reported(args, device=name, part="check", net=net):
                results = {to: future.result() for to, future in futures.items()}
                errors = {
                    f"{what}, {to}": _relative(results["ours"][what], results[to][what])
                    for to in ("reference", "cpu")
                    for what in results["ours"]
                }
                ok = max(errors.values()) < BOUND
                texts = {what: f"{error:.1e}" for what, error in errors.items()}
                emit(args, device=name, part="check", net=net, ok=ok, **texts)
            yield ok


def _relative(tree: Any, expected: Any) -> float:
    """Return the norm of the difference of two trees over the norm of the second."""
    import jax

    a, b = (np.concatenate([np.ravel(x) for x in jax.tree.leaves(t)]) for t in (tree, expected))
    return float(np.linalg.norm(a - b) / (np.linalg.norm(b) + 1e-30))


def _clips(args: argparse.Namespace) -> np.ndarray:
    """Return noise [B, 30 s]."""
    size = (2, 22_050) if args.tiny else (args.batch, 661_794)
    return (0.1 * np.random.default_rng(0).normal(size=size)).astype(np.float32)


def frontend(args: argparse.Namespace) -> Iterator[None]:
    """Time our front end, and the log-mel as one would write it first."""
    jax, _, name = _jax(args)
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
        names = {"device": name, "side": side, "net": "frontend", "mode": mode}
        with reported(args, **names):
            compiled, last = jax.jit(function).lower(waveform).compile(), {}

            def step(compiled=compiled, last=last):
                last[""] = compiled(waveform)

            times = measure(step, lambda last=last: jax.block_until_ready(last), len(waveform))
            emit(args, **names, batch=len(waveform), **times)
        yield


def h2d(args: argparse.Namespace) -> Iterator[None]:
    """Time the way of a batch of clips from the host to the device."""
    jax, device, name = _jax(args)
    from mgr_jax import parallel

    mesh, last = parallel.make_mesh([device]), {}
    yield
    for kind in ("float32", "int16"):
        batch = {"waveform": _clips(args).astype(kind)}

        def step(batch=batch):
            last[""] = parallel.shard(batch, mesh)

        size = len(batch["waveform"])
        times = measure(step, lambda: jax.block_until_ready(last), size, blocks=20)
        mb = round(batch["waveform"].nbytes / 2**20, 1)
        emit(args, device=name, side="ours", net="h2d", mode=kind, batch=size, mb=mb, **times)
        yield


def _torch() -> tuple[Any, str, Callable[[], None], str]:
    """Return PyTorch, the kind of device, what waits for it, and its name."""
    import torch

    if not torch.cuda.is_available():
        return torch, "cpu", lambda: None, f"cpu (torch {torch.__version__})"
    torch.backends.cudnn.benchmark = True
    name = f"{torch.cuda.get_device_name()} (torch {torch.__version__})"
    return torch, "cuda", torch.cuda.synchronize, name


def torch_networks(args: argparse.Namespace, nets: str, run: str = "eager") -> Iterator[None]:
    """Time the steps of networks in PyTorch: channels_last, TF32 or autocast, cuDNN's GRU."""
    torch, where, wait, name = _torch()
    from experiments.benchmarks import torch_networks as peers
    from experiments.benchmarks import torch_steps

    torch.set_float32_matmul_precision("high")
    torch.zeros(1, device=where)
    yield
    for (mode, precision), net in itertools.product(STEPS, nets.split(",")):
        side = "torch" if run == "eager" else f"torch.{run}"
        names = {"device": name, "side": side, "net": net, "mode": mode, "precision": precision}
        with reported(args, **names):
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
            steps.step(), wait()
            seconds = time.time() - began
            times = measure(steps.step, wait, args.batch)
            if mode == "train":
                times["loss"] = round(float(steps.step()), 4)
            peak = torch.cuda.max_memory_allocated() if where == "cuda" else 0
            memory = {"peak_mb": round(peak / 2**20, 1), "compile_s": round(seconds, 1)}
            emit(args, **names, batch=args.batch, **times, **memory)
            del steps
        yield


def torch_frontend(args: argparse.Namespace) -> Iterator[None]:
    """Time the log-mel by `torch.stft` and by torchaudio."""
    torch, where, wait, name = _torch()
    from experiments.benchmarks import frontend as frontend_suite

    clips = _clips(args)
    torch.zeros(1, device=where)

    def stft() -> Callable[..., Any]:
        return frontend_suite.torch_features(kind="logmel", hop_length=1024, device=where)

    def torchaudio() -> Callable[..., Any]:
        from torchaudio.transforms import MelSpectrogram

        settings = {"hop_length": 1024, "pad_mode": "constant", "n_mels": 128}
        slaney = {"norm": "slaney", "mel_scale": "slaney"}
        mel = MelSpectrogram(22_050, 2048, **settings, **slaney).to(where)
        return lambda waveform: frontend_suite.torch_decibels(mel(waveform))

    yield
    waveform = torch.from_numpy(clips).to(where)
    for side, make in (("torch.stft", stft), ("torchaudio", torchaudio)):
        names = {"device": name, "side": side, "net": "frontend", "mode": FRONTEND[0][0]}
        with reported(args, **names), torch.inference_mode():
            times = measure(functools.partial(make(), waveform), wait, len(waveform))
            emit(args, **names, batch=len(waveform), **times)
        yield


TASKS: dict[str, Callable[..., Iterator[Any]]] = {
    "check": check,
    "ours": lambda args, net: network(args, "ours", net),
    "reference": lambda args, net: network(args, "reference", net),
    "torch": torch_networks,
    "torch.compile": lambda args, net: torch_networks(args, net, "compile"),
    "frontend": frontend,
    "torch-frontend": torch_frontend,
    "h2d": h2d,
}

"""The check of the GPU benchmark: that the networks compute the same there as elsewhere.

All at small sizes. Errors are relative, by norm.
"""

import argparse
import concurrent.futures
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from experiments.benchmarks import gpu_rows
from mgr_jax import cores

CLASSES = 10
BOUND = 1e-3  # Max-pooling may choose another of two nearly equal values.
BF16_BOUND = 0.05  # Of logits and loss, whose products have 8 significant bits.


def check(args: argparse.Namespace) -> Iterator[bool | None]:
    """Write two rows for each network: its values and gradients, and its train step.

    The first compares ours with the plain formulas and with ours on the CPU, in full float32, and
    with ours in bfloat16. The second compares two train steps with those of a state that was
    written out and read between them (`resume`), and with those by `pmap`.
    """
    jax, device = gpu_rows.start_jax(args)
    from mgr_jax import parallel

    cpu = jax.devices("cpu")[0]
    variables = {net: _initial(net, cpu) for net in args.nets.split(",")}
    yield
    with concurrent.futures.ThreadPoolExecutor(min(12, cores.count())) as pool:
        submit: Callable[..., Any] = pool.submit
        runs = {
            net: (
                {
                    "ours": submit(_evaluate, net, values, device),
                    "reference": submit(_evaluate, net, values, device, side="reference"),
                    "cpu": submit(_evaluate, net, values, cpu),
                    "bf16": submit(_evaluate, net, values, device, precision="bf16"),
                },
                {kind: submit(_train, net, device, kind) for kind in parallel.ADAPTERS},
            )
            for net, values in variables.items()
        }
        for net, (values, states) in runs.items():
            for part, futures, compare in (
                ("check", values, _compare_values),
                ("check of the train step", states, _compare_states),
            ):
                ok = False
                with gpu_rows.reported(args, part=part, net=net) as row:
                    errors = compare({name: future.result() for name, future in futures.items()})
                    ok = all(error < bound for error, bound in errors.values())
                    row(ok=ok, **{name: f"{error:.1e}" for name, (error, _) in errors.items()})
                yield ok


def _initial(net: str, cpu: Any) -> Any:
    """Return variables of a network, none of them zero or one."""
    import jax

    from experiments.benchmarks import jax_steps
    from mgr_jax.models import make_model

    config = gpu_rows.make_config(net, True)
    model = make_model(config.model, num_classes=CLASSES)
    inputs = gpu_rows.make_batch(config, 1)["waveform"]
    with jax.default_device(cpu):
        return jax_steps.vary(jax.jit(model.init)(jax.random.key(0), inputs))


def _evaluate(
    net: str, variables: Any, device: Any, *, side: str = "ours", precision: str = ""
) -> dict[str, Any]:
    """Return `logits` of inference, and `loss` and `gradient` of training without dropout.

    Of bfloat16 without the gradient, whose convolutions take minutes on a CPU.
    """
    import jax
    import optax

    from mgr_jax.models import make_model

    config = gpu_rows.make_config(net, True, side=side, precision=precision)
    config.model.dropout = 0.0
    model, batch = make_model(config.model, num_classes=CLASSES), gpu_rows.make_batch(config, 4)

    def loss(params: Any, variables: Any, inputs: Any, labels: Any) -> Any:
        changed = variables | {"params": params}
        logits, _ = model.apply(changed, inputs, train=True, mutable=["batch_stats"])
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    def outputs(variables: Any, *batch: Any) -> dict[str, Any]:
        logits = model.apply(variables, batch[0])
        if precision == "bf16":
            return {"logits": logits, "loss": loss(variables["params"], variables, *batch)}
        value, gradient = jax.value_and_grad(loss)(variables["params"], variables, *batch)
        return {"logits": logits, "loss": value, "gradient": gradient}

    arguments = jax.device_put((variables, batch["waveform"], batch["label"]), device)
    with jax.default_matmul_precision("highest"):
        return jax.device_get(jax.jit(outputs)(*arguments))


def _train(net: str, device: Any, parallelism: str) -> dict[str, Any]:
    """Return by how much two train steps change the variables, and their loss.

    By `jit` also with a state that is written out and read after each step.
    """
    import flax.serialization
    import jax

    from experiments.benchmarks import jax_steps
    from mgr_jax import parallel

    config = gpu_rows.make_config(net, True)
    config.train.matmul_precision, config.train.parallelism = "highest", parallelism
    config.optim.name = "sgd"  # Adam would divide rounding errors by their own size.
    mesh, batch = parallel.make_mesh([device]), gpu_rows.make_batch(config, 4)
    init, train, _ = jax_steps.make_programs(config, batch["waveform"].shape[1:], mesh)
    with jax.default_device(jax.devices("cpu")[0]):
        start = jax.device_get(jax.jit(init)())
    data = parallel.ADAPTERS[parallelism].shard(batch, mesh)
    results = {}
    for way in {"jit": ("jit", "resume"), "pmap": ("pmap",)}[parallelism]:
        state: Any = start
        for _ in range(2):
            state = jax.device_get(train(parallel.replicate(state, mesh), data))
            if way == "resume":
                state = flax.serialization.from_bytes(start, flax.serialization.to_bytes(state))
        change = jax.tree.map(np.subtract, state.params, start.params)
        results[way] = change, state.batch_stats, state.metrics["loss"]
    return results


Errors = dict[str, tuple[float, float]]


def _compare_values(results: dict[str, dict[str, Any]]) -> Errors:
    """Return the error of each value, and what it must be below."""
    ours = results["ours"]
    errors = {
        f"{name}, {side}": (_relative(ours[name], results[side][name]), BOUND)
        for side in ("reference", "cpu")
        for name in ours
    }
    for name in ("logits", "loss"):
        errors[f"{name}, bf16"] = _relative(results["bf16"][name], ours[name]), BF16_BOUND
    return errors


def _compare_states(results: dict[str, dict[str, Any]]) -> Errors:
    """Return the error of each way to take two steps, and what it must be below."""
    ways = results["jit"] | results["pmap"]
    return {kind: (_relative(ways[kind], ways["jit"]), BOUND) for kind in ("resume", "pmap")}


def _relative(tree: Any, expected: Any) -> float:
    """Return the norm of the difference of two trees over the norm of the second."""
    import jax
    import optax

    difference = optax.global_norm(jax.tree.map(np.subtract, tree, expected))
    return float(difference / (optax.global_norm(expected) + 1e-30))

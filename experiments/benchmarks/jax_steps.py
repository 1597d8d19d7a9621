"""Our steps for the benchmark: those of `mgr_jax.training.network`."""

from typing import Any

import jax
import numpy as np

from experiments import command
from experiments.benchmarks import flax_networks
from mgr_jax import config as config_lib
from mgr_jax import parallel
from mgr_jax.models import make_model
from mgr_jax.training import network as network_lib
from mgr_jax.training import optimizer, steps
from mgr_jax.training.state import TrainState, create_state

NUM_CLASSES = 10


class Steps:
    """One network with its data, ready to take steps; made in a process of its own.

    Without the front end a step reads `inputs`, features; with it, waveforms. Either way it is the
    train step or the predict step of training, jitted by `parallel` with its state
    donated. `plain` is the network of `flax_networks` in place of ours, on one device. `devices`
    are those of the CPU, which share its cores.
    """

    def __init__(
        self,
        config: config_lib.Config,
        inputs: np.ndarray,
        labels: np.ndarray,
        *,
        mode: str,
        frontend: bool = False,
        plain: bool = False,
        devices: int = 1,
    ):
        jax.config.update("jax_num_cpu_devices", devices)
        jax.config.update("jax_compilation_cache_dir", None)
        command.work_in_this_thread()
        command.give_memory_back()
        if len(jax.devices()) != devices:
            raise ValueError(f"{len(jax.devices())} devices in place of {devices}; unset XLA_FLAGS")
        self.mesh = mesh = parallel.make_mesh()
        if frontend:
            network = network_lib.make_network(config, num_classes=NUM_CLASSES)
            init, train, predict = network.init, network.train_step, network.predict_step
        else:
            init, train, predict = _without_frontend(config, inputs, plain, mesh)
        self.state = _varied(parallel.jit_init(init, mesh), mesh)
        batch = {
            "waveform": inputs,
            "num_samples": np.full(len(inputs), config_lib.window_length(config), np.int32),
            "label": labels.astype(np.int32),
            "row": np.arange(len(inputs), dtype=np.int32),
        }
        self.batch = parallel.shard(batch, mesh)
        self.read = {name: self.batch[name] for name in ("waveform", "num_samples")}
        self.step = {"train": self.train, "infer": self.infer}[mode]
        programs = {"train": (train, self.batch), "infer": (predict, self.read)}
        program, read = programs[mode]
        state = self.state if mode == "train" else self.state.variables()
        self.run = program.lower(state, read).compile()
        self.predict = self.run if mode == "infer" else predict

    def temporaries(self) -> int:
        """Bytes that the step holds beside its arguments and results, by the compiler."""
        return self.run.memory_analysis().temp_size_in_bytes

    def parameters(self) -> int:
        """Trainable numbers."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.state.params))

    def variables(self) -> dict[str, Any]:
        """`params` and `batch_stats` as nested dicts of NumPy arrays."""
        tree = {"params": self.state.params, "batch_stats": self.state.batch_stats}
        return jax.tree.map(np.array, tree)

    def load(self, variables: dict[str, Any]) -> None:
        """Takes `params` and `batch_stats` of another side."""
        self.state = self.state.replace(**parallel.replicate(variables, self.mesh))

    def log_probabilities(self) -> np.ndarray:
        """Output [B, C] of the predict step."""
        return np.array(self.predict(self.state.variables(), self.read))

    def train(self) -> float:
        """One step; the loss summed over the batches so far."""
        self.state = jax.block_until_ready(self.run(self.state, self.batch))
        return float(self.state.metrics["loss"]) / len(self.batch["label"])

    def infer(self) -> jax.Array:
        """One predict step."""
        return jax.block_until_ready(self.run(self.state.variables(), self.read))


def _without_frontend(
    config: config_lib.Config, inputs: np.ndarray, plain: bool, mesh: jax.sharding.Mesh
) -> tuple:
    axis_name = parallel.ADAPTERS["jit"].axis_name(mesh)
    if plain:
        model = flax_networks.make_model(config.model, num_classes=NUM_CLASSES)
    else:
        model = make_model(config.model, num_classes=NUM_CLASSES, axis_name=axis_name)
    single = model if plain else make_model(config.model, num_classes=NUM_CLASSES)
    tx = optimizer.make_optimizer(config.optim, num_steps=100, steps_per_epoch=100)

    def frontend(features: jax.Array, normalizer: Any = None) -> jax.Array:
        del normalizer
        return features

    def init() -> TrainState:
        return create_state(jax.random.key(0), single, tx, inputs[:1])

    train = steps.make_train_step(
        config, frontend, model, tx, num_classes=NUM_CLASSES, axis_name=axis_name
    )
    predict = steps.make_predict_step(frontend, config.features, model)
    return init, parallel.jit_train_step(train, mesh), parallel.jit_predict_step(predict, mesh)


def _varied(state: TrainState, mesh: jax.sharding.Mesh) -> TrainState:
    """`state` with noise on what starts as zeros and ones, so that a mixed-up copy would show."""
    rng = np.random.default_rng(0)

    def vary(leaf: jax.Array) -> np.ndarray:
        value = np.array(leaf)
        noise = rng.uniform(-0.2, 0.2, value.shape).astype(value.dtype)
        return value + noise if value.ndim == 1 else value

    varied = {"params": state.params, "batch_stats": state.batch_stats}
    return state.replace(**parallel.replicate(jax.tree.map(vary, varied), mesh))

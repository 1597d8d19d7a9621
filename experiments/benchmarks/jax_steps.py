"""Our steps for the benchmarks: the train and predict steps of training, jitted by `parallel`."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import contest, networks
from mgr_jax import config as config_lib
from mgr_jax import parallel
from mgr_jax.features.frontend import Frontend
from mgr_jax.models import make_model
from mgr_jax.training import optimizer, steps
from mgr_jax.training.state import TrainState, create_state

NUM_CLASSES = 10


def make_programs(
    config: config_lib.Config,
    shape: tuple[int, ...],
    mesh: jax.sharding.Mesh,
    *,
    frontend: Frontend | None = None,
    window: int = 0,
) -> tuple[Callable[[], TrainState], Callable[..., TrainState], steps.PredictStep]:
    """Return `init`, the train step and the predict step that read features [B, *shape].

    With a front end both read waveforms. With `window`, in samples, the train step reads windows
    of clips on the devices, which are its last argument.
    """
    adapter = parallel.ADAPTERS[config.train.parallelism]
    axis_name = adapter.axis_name(mesh)
    model = make_model(config.model, num_classes=NUM_CLASSES, axis_name=axis_name)
    single = make_model(config.model, num_classes=NUM_CLASSES)
    tx = optimizer.make_optimizer(config.optim, num_steps=100, steps_per_epoch=100)

    def no_frontend(waveform: Any, normalizer: Any = None, num_samples: Any = None) -> jax.Array:
        del normalizer, num_samples
        return waveform

    frontend = frontend or no_frontend

    def init() -> TrainState:
        return create_state(jax.random.key(0), single, tx, jnp.zeros((1, *shape), jnp.float32))

    train = steps.make_train_step(
        config, frontend, model, tx, num_classes=NUM_CLASSES, axis_name=axis_name
    )
    predict = steps.make_predict_step(frontend, config.features, model)
    if window:
        train = adapter.train_step(steps.on_windows(train, window), mesh, num_shared=1)
    else:
        train = adapter.train_step(train, mesh)
    return init, train, adapter.predict_step(predict, mesh)


class Steps:
    """One network with its data, ready to take steps; made in a process of its own.

    `inputs` are features, or waveforms with `frontend`. `devices` CPU devices share the cores.
    """

    def __init__(
        self,
        config: config_lib.Config,
        inputs: np.ndarray,
        labels: np.ndarray,
        *,
        mode: str,
        frontend: bool = False,
        devices: int = 1,
    ):
        from experiments import jax_settings

        jax_settings.keep_freed_memory()
        jax.config.update("jax_num_cpu_devices", devices)
        jax.config.update("jax_compilation_cache_dir", None)
        if len(jax.devices()) != devices:
            raise ValueError(f"{len(jax.devices())} devices instead of {devices}; unset XLA_FLAGS")
        mesh = parallel.make_mesh()
        if frontend:
            from mgr_jax.training import network as network_lib

            network = network_lib.make_network(config, num_classes=NUM_CLASSES)
            init, train, predict = network.init, network.train_step, network.predict_step
        else:
            init, train, predict = make_programs(config, inputs.shape[1:], mesh)
        state = parallel.jit_init(init, mesh)
        varied = vary({"params": state.params, "batch_stats": state.batch_stats})
        self.state = state.replace(**parallel.replicate(varied, mesh))
        batch = networks.batch_of(inputs, labels, config_lib.window_length(config))
        self.batch = parallel.shard(batch, mesh)
        self.inputs = {name: self.batch[name] for name in ("waveform", "num_samples")}
        if mode == "train":
            self.step, self.run = self.train, train.lower(self.state, self.batch).compile()
        else:
            lowered = predict.lower(self.state.variables(), self.inputs)
            self.step, self.run = self.infer, lowered.compile()
        self.predict = predict if mode == "train" else self.run

    def temporaries(self) -> int:
        """Return the bytes that the step holds beside its arguments and results, by XLA."""
        return self.run.memory_analysis().temp_size_in_bytes

    def parameters(self) -> int:
        """Return the number of trainable parameters."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.state.params))

    def variables(self) -> dict[str, Any]:
        """Return `params` and `batch_stats` as nested dicts of NumPy arrays."""
        return jax.tree.map(np.array, self.state.variables())

    def log_probabilities(self) -> np.ndarray:
        """Return the output [B, C] of the predict step."""
        return np.array(self.predict(self.state.variables(), self.inputs))

    def train(self) -> None:
        """Take one train step."""
        self.state = jax.block_until_ready(self.run(self.state, self.batch))

    def infer(self) -> None:
        """Take one predict step."""
        jax.block_until_ready(self.run(self.state.variables(), self.inputs))


class BothInputs:
    """The train step from features and from the waveform, ready to take turns in one process.

    In two processes the sides would differ by more than the front end takes: by their pages.
    """

    def __init__(
        self,
        config: config_lib.Config,
        features: np.ndarray,
        waveform: np.ndarray,
        labels: np.ndarray,
    ):
        self.steps = [
            Steps(config, inputs, labels, mode="train", frontend=frontend)
            for inputs, frontend in ((features, False), (waveform, True))
        ]

    def seconds_in_turns(self, turns: int) -> list[tuple[float, float]]:
        """Return the seconds of the step from features and of that from the waveform, by turn."""
        timers = [functools.partial(contest.seconds_of_step, each.step) for each in self.steps]
        return list(contest.in_turns(*timers, turns=turns))


def vary(variables: Any) -> Any:
    """Add noise to what starts as zeros and ones, so that a mixed-up copy would show."""
    rng = np.random.default_rng(0)

    def add_noise(leaf: jax.Array) -> np.ndarray:
        value = np.array(leaf)
        noise = rng.uniform(-0.2, 0.2, value.shape).astype(value.dtype)
        return value + noise if value.ndim == 1 else value

    return jax.tree.map(add_noise, variables)

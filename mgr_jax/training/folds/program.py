"""One compiled program for several folds of a network, one on each device.

The folds of a cross-validation share the network, the shapes and the tracks; they differ in their
seed, in which tracks they learn from, and in how many steps make an epoch. All of that is data
here, so that one program trains them all: folds lie along the mesh axis `fold`, by `shard_map`,
and read their windows from one clip store that stays on every device.

Where there are more folds than devices they take turns: the same program runs for the next folds.
On CPU, `vmap` over five folds of a GRU took 1.7 (four devices) to 2.4 times (one) as long as turns;
over convolution kernels it makes grouped convolutions. Nor does a fold that waits skip its step by
`lax.cond`, in which the gradient of a convolution takes forty times as long on CPU: its result is
dropped.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from mgr_jax import config as config_lib
from mgr_jax import parallel
from mgr_jax.data.clips import Clips
from mgr_jax.features.frontend import make_frontend
from mgr_jax.models import make_model
from mgr_jax.training import network as network_lib
from mgr_jax.training import optimizer, resident, steps
from mgr_jax.training.state import TrainState

AXIS = "fold"

# Leaves `[L, ...]`: what a fold has of its own, by lane.
#   fold: seed uint32, steps_per_epoch int32, class_weights float32 [C] (if asked for)
#   windows: clip, start, num_samples, label, row int32 [B], and active bool (to train)
Tree = Mapping[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class FoldProgram:
    """The compiled functions for L folds at a time.

    Attributes:
      num_lanes: L, folds of one call: the devices that are used.
      init: seeds uint32 `[L]` -> states before the first step, leaves `[L, ...]`.
      train_step: (states, fold, windows) -> states, which are donated. A lane that is not active
        keeps its state.
      predict_step: (variables, windows) -> log-probabilities `[L, B, C]`.
      put: arrays `[L, ...]` -> the same on the devices, a lane beside its state.
    """

    num_lanes: int
    init: Callable[[np.ndarray], TrainState]
    train_step: Callable[[TrainState, Tree, Tree], TrainState]
    predict_step: Callable[[Any, Tree], jax.Array]
    put: Callable[[Any], Any]


def make_fold_program(
    config: config_lib.Config, store: Clips, *, num_classes: int, num_folds: int
) -> FoldProgram:
    """Puts the clip store on the devices, and builds the program for up to `num_folds` folds.

    The store is int16 as on disk: `N * T * 2` bytes on each device.

    Raises:
      UserError: if that is more than a device has, where it tells.
    """
    devices = jax.devices()
    turns = -(-num_folds // len(devices))
    num_devices = -(-num_folds // turns)  # As few as make no more turns.
    mesh = Mesh(np.array(devices[:num_devices]), (AXIS,), axis_types=(AxisType.Auto,))
    lanes = NamedSharding(mesh, PartitionSpec(AXIS))
    clips = resident.put(store, mesh, field="train.folds_at_once")
    train_one, predict_one = _one_fold(config, num_classes)

    def over_lanes(function: Callable[..., Any], num_shared: int) -> Callable[..., Any]:
        """`function` of one fold, for the lanes `[L, ...]`; its last arguments are shared."""

        def local(*args: Any) -> Any:
            own, shared = args[: len(args) - num_shared], args[len(args) - num_shared :]
            one = jax.tree.map(lambda x: x[0], own)
            return jax.tree.map(lambda x: x[None], function(*one, *shared))

        def mapped(*args: Any) -> Any:
            specs = [PartitionSpec(AXIS)] * (len(args) - num_shared)
            specs += [PartitionSpec()] * num_shared
            # Unchecked: scans start from zeros, which are the same on all devices.
            return jax.shard_map(
                local,
                mesh=mesh,
                in_specs=tuple(specs),
                out_specs=PartitionSpec(AXIS),
                check_vma=False,
            )(*args)

        return mapped

    def init_one(seed: jax.Array) -> TrainState:
        own = _with_seed(config, seed)
        return network_lib.make_network(own, num_classes=num_classes).init()

    init = jax.jit(over_lanes(init_one, 0), out_shardings=lanes)
    options = parallel.compiler_options(mesh)
    train_step = jax.jit(
        over_lanes(train_one, 1), out_shardings=lanes, donate_argnums=0, compiler_options=options
    )
    predict_step = jax.jit(
        over_lanes(predict_one, 1), out_shardings=lanes, compiler_options=options
    )

    def put(tree: Any) -> Any:
        return jax.device_put(tree, lanes)

    return FoldProgram(
        num_devices,
        lambda seeds: init(put(seeds)),
        lambda states, fold, windows: train_step(states, fold, windows, clips),
        lambda variables, windows: predict_step(variables, windows, clips),
        put,
    )


def _one_fold(
    config: config_lib.Config, num_classes: int
) -> tuple[Callable[..., TrainState], Callable[..., jax.Array]]:
    """Train step and predict step of one fold, from its windows in the clip store."""
    frontend = make_frontend(config.features)
    model = make_model(config.model, num_classes=num_classes)
    length = config_lib.window_length(config)
    predict_step = steps.make_predict_step(frontend, config.features, model)

    def train_one(state: TrainState, fold: Tree, windows: Tree, clips: Any) -> TrainState:
        tx = optimizer.make_optimizer(
            config.optim,
            num_steps=config.train.num_epochs * fold["steps_per_epoch"],
            steps_per_epoch=fold["steps_per_epoch"],
        )
        step = steps.make_train_step(
            _with_seed(config, fold["seed"]),
            frontend,
            model,
            tx,
            num_classes=num_classes,
            class_weights=fold.get("class_weights"),
        )
        stepped = step(state, resident.read(clips, windows, length))
        return jax.tree.map(lambda new, old: jnp.where(windows["active"], new, old), stepped, state)

    def predict_one(variables: Any, windows: Tree, clips: Any) -> jax.Array:
        return predict_step(variables, resident.read(clips, windows, length))

    return train_one, predict_one


def _with_seed(config: config_lib.Config, seed: jax.Array) -> config_lib.Config:
    """`config` with a seed that is data of the program."""
    return dataclasses.replace(config, train=dataclasses.replace(config.train, seed=seed))

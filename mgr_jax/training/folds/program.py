"""One compiled program for several folds of a network, one on each device.

The folds of a cross-validation share the network, the shapes and the tracks; they differ in their
seed, in the tracks that they train on, and in the number of steps of an epoch. Here these are
arguments of the program, so that one program trains all folds: they lie along the mesh axis `fold`,
by `shard_map`, and read their windows from one clip store on every device.

If there are more folds than devices, they take turns with the same program. `vmap` is slower: on
CPU, five folds of a GRU took 1.7 (four devices) to 2.4 times (one) as long as in turns, and over
the kernels of convolutions it makes grouped convolutions. A fold that waits for the others computes
a step whose result is dropped, since to skip it by `lax.cond` makes the gradient of a convolution
forty times slower on CPU.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from mgr_jax import config as config_lib
from mgr_jax import parallel
from mgr_jax.data.dataset import Store
from mgr_jax.features.frontend import make_frontend
from mgr_jax.models import make_model
from mgr_jax.training import network as network_lib
from mgr_jax.training import optimizer, resident, steps
from mgr_jax.training.state import TrainState

AXIS = "fold"

# Arguments with leaves [L, ...], one row per fold:
#   fold: seed uint32, steps_per_epoch int32, class_weights float32 [C] (with optim.class_weights)
#   windows: clip, start, num_samples, label, row int32 [B]; active bool, whether the fold steps
Tree = Mapping[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class FoldProgram:
    """The compiled functions for L folds at a time.

    Attributes:
      num_lanes: L, the folds of one call, each on a device of its own.
      init: seeds uint32 `[L]` -> states before the first step, leaves `[L, ...]`.
      train_step: (states, fold, windows) -> states; the given ones are donated. A lane that is not
        active keeps its state.
      predict_step: (variables, windows) -> log-probabilities `[L, B, C]`.
      put: arrays `[L, ...]` -> the same on the devices, each row on that of its lane.
    """

    num_lanes: int
    init: Callable[[np.ndarray], TrainState]
    train_step: Callable[[TrainState, Tree, Tree], TrainState]
    predict_step: Callable[[Any, Tree], jax.Array]
    put: Callable[[Any], Any]


def make_fold_program(
    config: config_lib.Config, store: Store, *, num_classes: int, num_folds: int
) -> FoldProgram:
    """Put the clip store on the devices, and return the program for up to `num_folds` folds.

    Raises:
      UserError: if the clips do not fit a device that reports its memory.
    """
    devices = jax.devices()
    turns = -(-num_folds // len(devices))
    num_devices = -(-num_folds // turns)  # The fewest that need no more turns.
    mesh = Mesh(np.array(devices[:num_devices]), (AXIS,), axis_types=(AxisType.Auto,))
    lanes = NamedSharding(mesh, PartitionSpec(AXIS))
    window = config_lib.window_length(config)
    clips = resident.put(store, mesh, window=window, field="train.folds_at_once")
    train_one, predict_one = _one_fold(config, num_classes)

    def over_lanes(function: Callable[..., Any], *shared: Any, **options: Any) -> Any:
        """Compile `function` of one fold for `[L, ...]`; its last arguments are `shared`."""

        def on_device(first: Any, rest: tuple[Any, ...], shared: tuple[Any, ...]) -> Any:
            one_fold = jax.tree.map(lambda x: x[0], (first, *rest))
            return jax.tree.map(lambda x: x[None], function(*one_fold, *shared))

        by_lane = PartitionSpec(AXIS)
        # Unchecked, since the check refuses a scan that starts from zeros.
        mapped = jax.shard_map(
            on_device,
            mesh=mesh,
            in_specs=(by_lane, by_lane, PartitionSpec()),
            out_specs=by_lane,
            check_vma=False,
        )
        compiled = jax.jit(mapped, out_shardings=lanes, **options)
        return lambda first, *rest: compiled(first, rest, shared)

    def init_one(seed: jax.Array) -> TrainState:
        seeded = _with_seed(config, seed)
        return network_lib.make_network(seeded, num_classes=num_classes).init()

    def put(tree: Any) -> Any:
        return jax.device_put(tree, lanes)

    init, options = over_lanes(init_one), {"compiler_options": parallel.compiler_options(mesh)}
    return FoldProgram(
        num_devices,
        lambda seeds: init(put(seeds)),
        over_lanes(train_one, clips, donate_argnums=0, **options),
        over_lanes(predict_one, clips, **options),
        put,
    )


def _one_fold(
    config: config_lib.Config, num_classes: int
) -> tuple[Callable[..., TrainState], Callable[..., jax.Array]]:
    """Return train step and predict step of one fold, which read its windows from the clips."""
    frontend = make_frontend(config.features)
    model = make_model(config.model, num_classes=num_classes)  # For evaluation.
    length = config_lib.window_length(config)
    predict_step = steps.make_predict_step(
        frontend, config.features, model, precision=config.train.matmul_precision
    )

    def train_one(state: TrainState, fold: Tree, windows: Tree, clips: Any) -> TrainState:
        num_steps = config.train.num_epochs * fold["steps_per_epoch"]
        tx = optimizer.make_optimizer(
            config.optim, num_steps=num_steps, steps_per_epoch=fold["steps_per_epoch"]
        )
        step = steps.make_train_step(
            _with_seed(config, fold["seed"]),
            frontend,
            make_model(config.model, num_classes=num_classes, num_steps=num_steps),
            tx,
            num_classes=num_classes,
            class_weights=fold.get("class_weights"),
        )
        stepped = step(state, steps.read_windows(clips, windows, length))
        return jax.tree.map(lambda new, old: jnp.where(windows["active"], new, old), stepped, state)

    def predict_one(variables: Any, windows: Tree, clips: Any) -> jax.Array:
        return predict_step(variables, steps.read_windows(clips, windows, length))

    return train_one, predict_one


def fill_lanes(by_lane: Mapping[int, resident.Windows], num_lanes: int) -> resident.Windows:
    """Stack the windows of the active lanes to `[L, B]`; the others get a copy of the first."""
    filler = next(iter(by_lane.values()))
    windows = stack_trees([by_lane.get(lane, filler) for lane in range(num_lanes)])
    return windows | {"active": np.array([lane in by_lane for lane in range(num_lanes)])}


def stack_trees(trees: Sequence[Any]) -> Any:
    """Stack trees of one fold each to a tree of arrays `[L, ...]`."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def _with_seed(config: config_lib.Config, seed: jax.Array) -> config_lib.Config:
    """Return `config` with a traced seed."""
    return dataclasses.replace(config, train=dataclasses.replace(config.train, seed=seed))

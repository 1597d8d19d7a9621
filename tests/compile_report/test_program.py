"""The compiler's counts of a step: collectives from the text, bounds from the peaks."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from mgr_jax import parallel
from mgr_jax.compile_report import program
from mgr_jax.compile_report.chips import CHIPS, Chip
from mgr_jax.training import network as network_lib
from tests.training import tiny

HLO = """
  %all-reduce.1 = f32[32,4]{1,0:T(8,128)} all-reduce(%x), channel_id=1, to_apply=%add
  %all-reduce.2 = (f32[32]{0}, bf16[64]{0}) all-reduce(%x, %y), channel_id=2
  %ars = f32[10]{0} all-reduce-start(%z), channel_id=3
  %ard = f32[10]{0} all-reduce-done(%ars)
  %ags = (f32[8]{0}, f32[32]{0}) all-gather-start(%w), dimensions={0}
  %agd = f32[32]{0} all-gather-done(%ags)
  %scalar = f32[] all-reduce(%s)
  %fusion = f32[32]{0} fusion(%all-reduce.1), calls=%all-reduce-fusion
"""


def test_collectives_counts_pairs_once_and_adds_up_bytes():
    assert program.collectives(HLO) == [
        ("all-reduce", 4 * 128),
        ("all-reduce", 4 * 32 + 2 * 64),
        ("all-reduce", 40),
        ("all-gather", 128),
        ("all-reduce", 4),
    ]


def test_describe_of_a_sharded_matrix_product():
    mesh = parallel.make_mesh()
    rows = NamedSharding(mesh, PartitionSpec(parallel.AXIS))
    whole = NamedSharding(mesh, PartitionSpec())

    def step(x, w):
        return jnp.mean(x @ w)

    x = jax.ShapeDtypeStruct((64, 32), jnp.float32, sharding=rows)
    w = jax.ShapeDtypeStruct((32, 16), jnp.float32, sharding=whole)
    step_program = program.describe(jax.jit(step, out_shardings=whole).lower(x, w).compile())
    assert step_program.collectives == {"all-reduce": 1} and step_program.collective_bytes == 4
    per_device = 2 * (64 // mesh.size) * 32 * 16
    assert per_device <= step_program.flops < 1.5 * per_device
    arguments = 4 * (64 // mesh.size * 32 + 32 * 16)
    assert step_program.peak_memory >= arguments
    assert step_program.num_loops == 0


def test_describe_says_that_loops_are_counted_once():
    def step(x):
        return jax.lax.fori_loop(0, x.shape[0], lambda i, y: jnp.sin(y) * x[i], x)

    text = jax.jit(step).lower(jnp.ones(5)).compile()
    assert program.describe(text).num_loops == 1


@pytest.mark.parametrize(
    ("flops", "traffic", "carried", "bound", "seconds"),
    [(2e12, 1e9, 1e6, "compute", 2.0), (1e11, 3e9, 1e6, "memory", 3.0), (0, 0, 4e9, "network", 7)],
)
def test_lower_bound_is_the_slowest_of_three(flops, traffic, carried, bound, seconds):
    chip = Chip("toy", flops=1e12, memory=1e9, bandwidth=1e9, network=1e9)
    step = program.Program(flops, 0, traffic, 0, {}, carried, 0)
    # 8 chips in a ring: each link carries 2 x 7/8 of the bytes.
    assert program.lower_bound(step, chip, 8) == (pytest.approx(seconds), bound)


@pytest.mark.parametrize(
    ("memory_of", "largest"),
    [(lambda n: 3 * n, 5), (lambda n: n * n, 4), (lambda n: 9 + n, 7), (lambda n: 16 + n, None)],
)
def test_largest_batch_is_the_most_clips_that_fit(memory_of, largest):
    """Memory in proportion to the clips, growing faster and slower, and too much for one."""
    tried = []

    def compile_one(clips):
        tried.append(clips)
        facts = {"clips_per_device": clips, "peak_memory": memory_of(clips), "memory": 16}
        return facts | ({"error": "does not fit"} if memory_of(clips) > 16 else {})

    facts = program.largest_batch(compile_one, 8, compile_one(8))
    assert (facts and facts["clips_per_device"]) == largest
    assert len(tried) == len(set(tried)) <= 5


def test_scaling_efficiency_is_own_work_over_work_and_network():
    chip = Chip("toy", flops=1e12, memory=1e9, bandwidth=1e9, network=1e9)
    step = program.Program(2e12, 0, 3e9, 0, {}, int(4e9), 0)
    assert program.scaling_efficiency(step, chip, 1) == 1
    assert program.scaling_efficiency(step, chip, 8) == pytest.approx(3 / (3 + 4 * 2 * 7 / 8))


def test_chips_are_named_as_in_a_topology():
    assert {chip.name for chip in CHIPS.values()} == {"v5e", "v5p", "v6e", "h100", "a100"}


def _collectives(network, **fields):
    """Return those of a step on four devices, and its numbers of parameters and averages."""
    made = network_lib.make_network(tiny.config(network, **fields), num_classes=3)
    state = parallel.abstract(jax.eval_shape(made.init), made.mesh)
    batch = {
        name: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(made.mesh, _ROWS))
        for name, x in tiny.batch(0).items()
    }
    num_params = sum(x.size for x in jax.tree.leaves(state.params))
    num_averages = sum(x.size for x in jax.tree.leaves(state.batch_stats))
    text = made.train_step.lower(state, batch).compile().as_text()
    return program.collectives(text), num_params, num_averages


_ROWS = PartitionSpec(parallel.AXIS)


@pytest.mark.e2e
def test_bbnn_step_exchanges_no_more_than_its_batch_normalisation_needs():
    assert_fewest_collectives(num_modules=1)


@pytest.mark.slow
@pytest.mark.parametrize("num_modules", [1, 3])
def test_bbnn_step_optimised_exchanges_no_more_than_its_batch_normalisation_needs(num_modules):
    assert_fewest_collectives(num_modules)


def assert_fewest_collectives(num_modules):
    """There are 19 with three modules; the dependencies between the layers allow no fewer."""
    collectives, num_params, _ = _collectives("bbnn", model__num_modules=num_modules)
    # Stem, the two of each module (its input and pooled input together; its 3x3 and 5x5 together),
    # transition, last layer; the same in the gradient; then gradients, loss and hits at once.
    assert len(collectives) == 2 * (3 + 2 * num_modules) + 1 == {1: 11, 3: 19}[num_modules]
    assert {kind for kind, _ in collectives} == {"all-reduce"}
    assert ("all-reduce", 4 * (num_params + 2)) in collectives


@pytest.mark.parametrize("network", ["simple", pytest.param("bbnn", marks=pytest.mark.e2e)])
def test_step_with_local_batch_norm_exchanges_once(network):
    collectives, num_params, num_averages = _collectives(network, model__local_batch_norm=True)
    assert collectives == [("all-reduce", 4 * (num_params + num_averages + 2))]

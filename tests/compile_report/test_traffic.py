"""Traffic with HBM, against counts by hand and against the arguments of a product."""

import jax
import jax.numpy as jnp

from mgr_jax.compile_report import traffic

# [4,128] of float32 is 2048 bytes, and a tile of (8,128) makes it 4096.
HLO = """
HloModule step

%sliced (param_0: f32[50,8,128], param_1: s32[]) -> f32[8,128] {
  %param_0 = STACK parameter(0)
  %param_1 = s32[]{:T(128)} parameter(1)
  %zero = s32[]{:T(128)} constant(0)
  %cut = f32[1,8,128]{2,1,0:T(8,128)} dynamic-slice(%param_0, %param_1, %zero, %zero)
  ROOT %flat = f32[8,128]{1,0:T(8,128)} bitcast(%cut)
}

%written (param_0: f32[50,8,128], param_1: f32[8,128], param_2: s32[]) -> f32[50,8,128] {
  %param_0 = STACK parameter(0)
  %param_1 = f32[8,128]{1,0:T(8,128)} parameter(1)
  %param_2 = s32[]{:T(128)} parameter(2)
  %zero = s32[]{:T(128)} constant(0)
  %row = f32[1,8,128]{2,1,0:T(8,128)} bitcast(%param_1)
  ROOT %put = STACK dynamic-update-slice(%param_0, %row, %param_2, %zero, %zero)
}

%body (carry: (s32[], f32[50,8,128], f32[50,8,128])) -> (s32[], f32[50,8,128], f32[50,8,128]) {
  %carry = (s32[]{:S(6)}, STACK, /*index=2*/STACK) parameter(0)
  %index = s32[]{:S(6)} get-tuple-element(%carry), index=0
  %rows = STACK get-tuple-element(%carry), index=1
  %whole = STACK get-tuple-element(%carry), index=2
  %one = f32[8,128]{1,0:T(8,128)S(1)} fusion(%rows, %index), kind=kLoop, calls=%sliced
  %put = STACK fusion(%whole, %one, %index), kind=kLoop, calls=%written
  ROOT %next = (s32[]{:S(6)}, STACK, STACK) tuple(%index, %rows, %put)
}

%condition (carry: (s32[], f32[50,8,128], f32[50,8,128])) -> pred[] {
  %carry = (s32[]{:S(6)}, STACK, STACK) parameter(0)
  ROOT %go = pred[]{:S(6)} constant(true)
}

ENTRY %main (x.1: f32[4,128], w.1: f32[50,8,128]) -> f32[4,128] {
  %x.1 = ROWS parameter(0)
  %w.1 = STACK parameter(1)
  %ahead = (f32[4,128]{1,0:T(8,128)S(1)}, ROWS, u32[]{:S(2)}) copy-start(%x.1)
  %here = f32[4,128]{1,0:T(8,128)S(1)} copy-done(%ahead)
  %new = STACK custom-call(), custom_call_target="AllocateBuffer"
  %start = s32[]{:S(6)} constant(0)
  %first = (s32[]{:S(6)}, STACK, STACK) tuple(%start, %w.1, %new)
  %loop = (s32[]{:S(6)}, STACK, STACK) while(%first), condition=%condition, body=%body
  %both = f32[4,128]{1,0:T(8,128)S(1)} add(%here, %here)
  ROOT %out = ROWS multiply(%both, %x.1)
}
""".replace("STACK", "f32[50,8,128]{2,1,0:T(8,128)}").replace("ROWS", "f32[4,128]{1,0:T(8,128)}")


def test_hbm_bytes_leave_the_chips_own_memory_out_and_count_slices():
    tile = 8 * 128 * 4
    ahead, out = tile, 2 * tile  # Read of x; read of x and the result.
    cut, put = tile, tile  # One row of each stack; the stack itself stays where it is.
    assert traffic.hbm_bytes(HLO) == ahead + out + cut + put


def test_launches_counts_a_loop_as_often_as_it_runs():
    tile = 8 * 128 * 4
    once = HLO.replace("condition=%condition, body=%body", "REST")
    for rounds, trips in ((1, ""), (50, ', backend_config={"known_trip_count":{"n":"50"}}')):
        text = once.replace("REST", f"condition=%condition, body=%body{trips}")
        # Outside: the copy ahead, the sum and the product. In the loop: two fusions.
        assert traffic.launches(text) == (3 + 2 * rounds, 3 * tile + 2 * rounds * tile)


def test_launches_of_a_scan_are_those_of_its_rounds():
    def last(x):
        return jax.lax.scan(lambda carry, row: (jnp.sin(carry + row), None), x[0], x)[0]

    kernels, moved = zip(
        *[
            traffic.launches(jax.jit(last).lower(jnp.ones((n, 512))).compile().as_text())
            for n in (10, 1010)
        ],
        strict=True,
    )
    assert kernels[1] - kernels[0] >= 1000 and moved[1] - moved[0] >= 1000 * 4 * 512


def test_hbm_bytes_of_a_product_are_its_operands_and_its_result():
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((64, 96), (96, 32))]
    text = jax.jit(jnp.matmul).lower(*shapes).compile().as_text()
    assert traffic.hbm_bytes(text) == 4 * (64 * 96 + 96 * 32 + 64 * 32)


def test_hbm_bytes_of_a_scan_count_its_body_once():
    def last(x):
        return jax.lax.scan(lambda carry, row: (jnp.sin(carry + row), None), x[0], x)[0]

    counts = [
        traffic.hbm_bytes(jax.jit(last).lower(jnp.ones((n, 512))).compile().as_text())
        for n in (10, 1000)
    ]
    assert counts[0] == counts[1] <= 16 * 4 * 512


def test_hbm_bytes_count_what_is_read_of_a_slice():
    """Of a chunk of eight rows, a fusion reads one: a loop that runs eight frames in a round."""
    text = """
%frame (param_0: f32[5,8,64], param_1: s32[]) -> f32[64] {
  %param_0 = f32[5,8,64]{2,1,0} parameter(0)
  %param_1 = s32[] parameter(1)
  %zero = s32[] constant(0)
  %chunk = f32[1,8,64]{2,1,0} dynamic-slice(%param_0, %param_1, %zero, %zero)
  %flat = f32[8,64]{1,0} bitcast(%chunk)
  %row = f32[1,64]{1,0} slice(%flat), slice={[3:4], [0:64]}
  ROOT %out = f32[64]{0} bitcast(%row)
}

ENTRY %main (x: f32[5,8,64], i: s32[]) -> f32[64] {
  %x = f32[5,8,64]{2,1,0} parameter(0)
  %i = s32[] parameter(1)
  ROOT %fused = f32[64]{0} fusion(%x, %i), kind=kLoop, calls=%frame
}
"""
    assert traffic.hbm_bytes(text) == 4 * (64 + 1 + 64)  # The row, the index and the result.

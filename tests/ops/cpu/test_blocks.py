"""Passes over blocks of rows: every row once, in order, sums as NumPy's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mgr_jax.ops.cpu import blocks


@pytest.mark.parametrize("num_rows", [1, 8, 20, 33])
@pytest.mark.parametrize("block_values", [1, 24, 1000])
def test_over_blocks_visits_every_row_once(monkeypatch, num_rows, block_values):
    monkeypatch.setattr(blocks, "BLOCK_VALUES", block_values)
    x = jnp.arange(num_rows * 3.0).reshape(num_rows, 3)

    def body(start, size, carry):
        seen, total = carry
        (block,) = blocks.read([x], start, size)
        (seen,) = blocks.write([seen], [2 * block], start)
        return seen, total + blocks.sum_rows(block)

    carry = jnp.zeros_like(x), jnp.zeros(3)
    seen, total = blocks.over_blocks(body, num_rows, 3, carry)
    np.testing.assert_array_equal(seen, 2 * x)
    np.testing.assert_allclose(total, np.asarray(x).sum(0))


def test_blocks_are_even_and_multiples_of_eight():
    size = blocks.block_size(100_003, 288)
    assert size % 8 == 0 and size * 288 <= blocks.BLOCK_VALUES + 8 * 288
    assert 100_003 % size > size // 2


@pytest.mark.parametrize("channels", [32, 160, 288, 416])
def test_blocks_of_the_bbnn_leave_nothing_over(channels):
    num_rows = 8 * 161 * 128
    size = blocks.block_size(num_rows, channels)
    assert size % 8 == 0 and num_rows % size == 0
    assert 0.5 < size * channels / blocks.BLOCK_VALUES <= 1.125


def test_rows_abreast_divide_the_rows():
    assert [blocks.rows_abreast(n) for n in (16, 12, 6, 7)] == [8, 4, 2, 1]


def test_materialized_vectors_are_the_same_to_the_last_bit():
    vectors = jnp.asarray(np.random.default_rng(0).normal(size=(2, 37)) * 1e6, jnp.float32)
    np.testing.assert_array_equal(jax.jit(blocks.materialized)(vectors), vectors)

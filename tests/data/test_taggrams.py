"""Tag activations over time: rows in order, and one error for each kind of damage."""

import numpy as np
import pytest

from mgr_jax.data import taggrams
from mgr_jax.errors import UserError

CONTENT = {
    "taggram": np.linspace(0, 1, 15, dtype=np.float32).reshape(5, 3),
    "track_id": np.array(["b", "a", "b", "a", "b"]),
    "window": np.array([2, 1, 0, 0, 1], np.int16),
}


def save(folder, **changes):
    path = folder / "tags.npz"
    np.savez(path, **{k: v for k, v in (CONTENT | changes).items() if v is not None})
    return str(path)


def test_read_returns_the_windows_of_each_track_in_order(tmp_path):
    tracks = taggrams.read(save(tmp_path), num_tags=3)
    assert list(tracks) == ["a", "b"]
    np.testing.assert_array_equal(tracks["a"], CONTENT["taggram"][[3, 1]])
    np.testing.assert_array_equal(tracks["b"], CONTENT["taggram"][[2, 4, 0]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window": None}, "array 'window' is missing"),
        ({"taggram": CONTENT["taggram"][:, :2]}, "it must be \\[R, 3\\]"),
        ({"window": np.zeros(4, int)}, "it must be \\[R, 3\\]"),
        ({"taggram": np.full((5, 3), np.nan, np.float32)}, "must be probabilities"),
        ({"taggram": np.full((5, 3), 1.5, np.float32)}, "must be probabilities"),
        ({"taggram": np.zeros((5, 3), int)}, "must be probabilities"),
        ({"window": np.zeros(5)}, "window whole numbers"),
        ({"track_id": np.arange(5)}, "track_id must be text"),
        ({"track_id": np.array(list("abcde"), object)}, "without objects"),
    ],
)
def test_read_names_what_is_wrong(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        taggrams.read(save(tmp_path, **changes), num_tags=3)


def test_read_refuses_files_that_are_absent_or_damaged(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        taggrams.read(str(tmp_path / "none.npz"), num_tags=3)
    path = tmp_path / "tags.npz"
    path.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(UserError, match="cannot be read"):
        taggrams.read(str(path), num_tags=3)

"""Checkpoints: exact, the best and the newest are kept, damaged ones are passed over."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mgr_jax import parallel
from mgr_jax.errors import UserError
from mgr_jax.training import checkpoint
from mgr_jax.training.state import create_state

# Orbax leaves the futures of a failed restore to the garbage collector.
failed_restore = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
PROGRESS = {"lowest_loss": 1.5, "epochs_since": 2}


@pytest.fixture(name="state", scope="module")
def _state():
    """The state of one dense layer, since Orbax spends its time per array."""
    state = create_state(jax.random.key(0), nn.Dense(3), optax.adam(0.1), jnp.zeros((1, 2)))
    return parallel.replicate(state, parallel.make_mesh())


def at_step(state, step):
    return state.replace(step=state.step + step)


def save_all(workdir, state, scores):
    """Save a checkpoint for each (step, accuracy, loss); return the abstract state."""
    with checkpoint.open_checkpoints(workdir, print) as manager:
        for step, accuracy, loss in scores:
            metrics = None
            if accuracy is not None:
                metrics = {"valid_accuracy": accuracy, "valid_loss": loss}
            checkpoint.save(manager, at_step(state, step), PROGRESS, metrics)
    return parallel.abstract(state, parallel.make_mesh())


def kept(workdir):
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir())


def latest(workdir, abstract):
    """Return what `restore_latest` returns, and its warnings."""
    warnings = []
    with checkpoint.open_checkpoints(workdir, warnings.append) as manager:
        return checkpoint.restore_latest(manager, workdir, abstract, warnings.append), warnings


def test_restore_latest_is_bitwise_what_was_saved(tmp_path, state):
    abstract = save_all(tmp_path, state, [(1, 0.1, 2.0), (2, 0.2, 2.0)])
    (restored, progress), warnings = latest(tmp_path, abstract)
    jax.tree.map(np.testing.assert_array_equal, restored, at_step(state, 2))
    assert progress == PROGRESS
    assert not warnings


def test_open_checkpoints_keeps_the_best_and_the_latest(tmp_path, state):
    save_all(tmp_path, state, [(1, 0.5, 1.0), (2, 0.7, 1.0), (3, 0.7, 0.9), (4, 0.6, 0.1)])
    assert kept(tmp_path) == [3, 4]


def test_open_checkpoints_drops_an_unranked_one_when_it_is_not_the_latest(tmp_path, state):
    save_all(tmp_path, state, [(1, 0.5, 1.0), (2, None, None), (3, 0.4, 1.0)])
    assert kept(tmp_path) == [1, 3]


def test_restore_finds_best_latest_and_a_step(tmp_path, state):
    abstract = save_all(tmp_path, state, [(1, 0.5, 1.0), (2, 0.7, 1.0), (3, 0.6, 1.0)])
    assert checkpoint.restore(tmp_path, "best", abstract)[0] == 2
    assert checkpoint.restore(tmp_path, "latest", abstract)[0] == 3
    assert checkpoint.restore(tmp_path, "2", abstract)[0] == 2
    with pytest.raises(UserError, match=r"--checkpoint 7: not there; .* 2, 3"):
        checkpoint.restore(tmp_path, "7", abstract)


def test_restore_latest_of_a_new_workdir_is_none(tmp_path, state):
    assert latest(tmp_path, parallel.abstract(state, parallel.make_mesh())) == (None, [])


def test_restore_without_checkpoints_says_so(tmp_path, state):
    with pytest.raises(UserError, match="no checkpoint in it yet"):
        checkpoint.restore(tmp_path, "best", parallel.abstract(state, parallel.make_mesh()))


@failed_restore
@pytest.mark.parametrize("damage", ["emptied", "cut", "no_state", "no_data"])
def test_restore_latest_passes_over_a_damaged_checkpoint(tmp_path, state, damage, capfd):
    abstract = save_all(tmp_path, state, [(1, 0.9, 1.0), (2, 0.2, 1.0)])
    newest = tmp_path / "checkpoints" / "2"
    for path in sorted(newest.rglob("*"), reverse=True):
        if damage == "emptied" and path.is_file():
            path.write_bytes(b"")
        if damage == "cut" and path.is_file() and "/d/" in str(path):
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        if damage == "no_data" and path.is_file() and "/d/" in str(path):
            path.unlink()
        if damage == "no_state" and "state" in path.parts and path.is_file():
            path.unlink()
    (restored, _), warnings = latest(tmp_path, abstract)
    assert int(restored.step) == 1
    assert len(warnings) == 1
    assert warnings[0].startswith("checkpoint 2 cannot be read")
    assert (tmp_path / "damaged" / "2").is_dir()
    assert kept(tmp_path) == [1]
    assert "Traceback" not in capfd.readouterr().err


@failed_restore
def test_restore_of_a_damaged_checkpoint_is_one_line(tmp_path, state):
    abstract = save_all(tmp_path, state, [(1, 0.9, 1.0)])
    for path in (tmp_path / "checkpoints" / "1").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    with pytest.raises(UserError, match="cannot be read") as error:
        checkpoint.restore(tmp_path, "1", abstract)
    assert "\n" not in str(error.value)


def test_open_checkpoints_clears_a_save_that_was_cut(tmp_path, state):
    abstract = save_all(tmp_path, state, [(1, 0.9, 1.0)])
    (tmp_path / "checkpoints" / "2.orbax-checkpoint-tmp").mkdir()
    (restored, _), warnings = latest(tmp_path, abstract)
    assert int(restored.step) == 1
    assert not warnings
    assert kept(tmp_path) == [1]

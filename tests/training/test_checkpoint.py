"""Checkpoints: exact, the best and the newest are kept, damaged ones are passed over."""

import errno
import json
import random
import shutil

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mgr_jax import parallel
from mgr_jax.errors import UserError
from mgr_jax.training import checkpoint, checksums
from mgr_jax.training.state import create_state
from tests.training.test_checksums import flip, flip_any

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
    with pytest.raises(UserError, match=r"checkpoint_name 7: not there; .* 2, 3"):
        checkpoint.restore(tmp_path, "7", abstract)


def test_restore_latest_of_a_new_workdir_is_none(tmp_path, state):
    assert latest(tmp_path, parallel.abstract(state, parallel.make_mesh())) == (None, [])


def test_restore_without_checkpoints_says_so(tmp_path, state):
    with pytest.raises(UserError, match="no checkpoint in it yet"):
        checkpoint.restore(tmp_path, "best", parallel.abstract(state, parallel.make_mesh()))


def make_old(folder):
    """Make a checkpoint one of a version without checksums."""
    (folder / checksums.NAME).unlink()
    path = folder / checkpoint._METADATA
    path.write_text(json.dumps(json.loads(path.read_text()) | {"custom_metadata": {}}))


def files_of(folder):
    return [path for path in sorted(folder.rglob("*"), reverse=True) if path.is_file()]


@failed_restore
@pytest.mark.parametrize("damage", ["emptied", "cut", "no_state", "no_data"])
@pytest.mark.parametrize("has_checksums", [True, pytest.param(False, marks=pytest.mark.e2e)])
def test_restore_latest_passes_over_a_damaged_checkpoint(
    tmp_path, state, damage, has_checksums, capfd
):
    abstract = save_all(tmp_path, state, [(1, 0.9, 1.0), (2, 0.2, 1.0)])
    newest = tmp_path / "checkpoints" / "2"
    if not has_checksums:
        make_old(newest)
    for path in files_of(newest):
        if damage == "emptied":
            path.write_bytes(b"")
        if damage == "cut" and "/d/" in str(path):
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        if damage == "no_data" and "/d/" in str(path):
            path.unlink()
        if damage == "no_state" and "state" in path.parts:
            path.unlink()
    (restored, _), warnings = latest(tmp_path, abstract)
    assert int(restored.step) == 1
    *others, last = warnings
    assert last.startswith("checkpoint 2 cannot be read")
    assert all("is of a version without checksums" in line for line in others)
    assert len(others) <= (not has_checksums)
    assert (tmp_path / "damaged" / "2").is_dir()
    assert kept(tmp_path) == [1]
    assert "Traceback" not in capfd.readouterr().err


@pytest.fixture(name="saved", scope="module")
def _saved(state, tmp_path_factory):
    """A workdir with two checkpoints, 1 the best and 2 the latest, and the abstract state."""
    workdir = tmp_path_factory.mktemp("saved")
    return workdir, save_all(workdir, state, [(1, 0.9, 1.0), (2, 0.2, 1.0)])


def test_save_writes_checksums_of_all_files_that_are_read(saved):
    workdir, _ = saved
    for step in (1, 2):
        assert checksums.verify(workdir / "checkpoints" / str(step))
        text = (workdir / "checkpoints" / str(step) / checksums.NAME).read_text()
        for name in ("state/manifest.ocdbt", "progress/metadata", "metrics/metrics"):
            assert f'"{name}"' in text


def test_restore_refuses_each_of_200_flipped_bits(saved):
    workdir, abstract = saved
    generator = random.Random(1)
    folder = workdir / "checkpoints" / "2"
    for number in range(200):
        path, bit = flip_any(folder, generator, ignored=checkpoint._NOT_CHECKED)
        with pytest.raises(ValueError, match=r"^2"):
            checksums.verify(folder)
        if number % 100 == 0:  # Opening takes longer than all the rest.
            with pytest.raises(UserError, match="checkpoint 2 cannot be read") as error:
                checkpoint.restore(workdir, "2", abstract)
            assert "\n" not in str(error.value)
        flip(path, bit)
    assert checkpoint.restore(workdir, "2", abstract)[0] == 2


def test_restore_best_does_not_trust_damaged_metrics(saved, tmp_path):
    workdir, abstract = saved
    shutil.copytree(workdir, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "checkpoints/2/metrics/metrics"
    path.write_text(path.read_text().replace("0.2", "0.99"))
    with pytest.raises(UserError, match=r"2/metrics/metrics has other bytes"):
        checkpoint.restore(tmp_path, "best", abstract)
    assert checkpoint.restore(tmp_path, "1", abstract)[0] == 1


def test_restore_best_needs_only_the_best_intact_and_no_checksums(saved, tmp_path):
    workdir, abstract = saved
    shutil.copytree(workdir, tmp_path, dirs_exist_ok=True)
    make_old(tmp_path / "checkpoints/1")
    (tmp_path / "checkpoints/2/state/manifest.ocdbt").write_bytes(b"")
    lines = []
    assert checkpoint.restore(tmp_path, "best", abstract, lines.append)[0] == 1
    assert lines == ["checkpoint 1 is of a version without checksums; it is not checked"]


@pytest.mark.parametrize("metadata", [None, b"", b"{}", b"[]", b'{"custom_metadata": 1}'])
def test_restore_notices_that_the_checksums_are_missing(saved, tmp_path, metadata):
    workdir, abstract = saved
    shutil.copytree(workdir, tmp_path, dirs_exist_ok=True)
    folder = tmp_path / "checkpoints/1"
    (folder / checksums.NAME).unlink()
    if metadata is not None:
        (folder / checkpoint._METADATA).write_bytes(metadata)
    for which in ("best", "1"):
        with pytest.raises(
            UserError, match=r"\(1/checksums.json is missing\); give checkpoint_name=2, which"
        ):
            checkpoint.restore(tmp_path, which, abstract)
    (_, _), warnings = latest(tmp_path, abstract)
    assert len(warnings) == 1 and "1/checksums.json is missing" in warnings[0]


def test_restore_best_never_takes_another_epoch(saved, tmp_path):
    workdir, abstract = saved
    shutil.copytree(workdir, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "checkpoints/1")
    records = [
        {"step": step, "valid_accuracy": accuracy, "valid_loss": 1.0}
        for step, accuracy in ((1, 0.9), (2, 0.2), (3, 0.95))
    ]
    lines = [json.dumps(record) + "\n" for record in records]
    (tmp_path / "metrics.jsonl").write_text("".join(lines))
    with pytest.raises(UserError, match=r"of step 1, has no checkpoint any more") as error:
        checkpoint.restore(tmp_path, "best", abstract)
    assert "; give checkpoint_name=2, which is intact, or delete" in str(error.value)
    # The checkpoint of the last record is still to be written.
    (tmp_path / "metrics.jsonl").write_text("".join(lines[1:]))
    assert checkpoint.restore(tmp_path, "best", abstract)[0] == 2


def test_open_checkpoints_sets_every_damaged_one_aside(saved, tmp_path):
    workdir, abstract = saved
    shutil.copytree(workdir, tmp_path, dirs_exist_ok=True)
    (tmp_path / "checkpoints/1").rename(tmp_path / "other")
    (tmp_path / "checkpoints/2").rename(tmp_path / "checkpoints/1")
    (tmp_path / "other").rename(tmp_path / "checkpoints/2")
    restored, warnings = latest(tmp_path, abstract)
    assert restored is None
    assert ["is a copy of" in line for line in warnings] == [True, True]


@pytest.mark.e2e
def test_restore_latest_keeps_a_checkpoint_that_cannot_be_read_now(saved, tmp_path, monkeypatch):
    workdir, abstract = saved
    shutil.copytree(workdir, tmp_path, dirs_exist_ok=True)

    def fail(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(checkpoint, "_restore", fail)
    with pytest.raises(UserError, match="checkpoint 2 cannot be read now"):
        latest(tmp_path, abstract)
    with pytest.raises(UserError, match="checkpoint 2 cannot be read now"):
        checkpoint.restore(tmp_path, "2", abstract)
    assert kept(tmp_path) == [1, 2]


@pytest.mark.e2e
def test_restore_latest_takes_a_bare_exception_for_damage(saved, tmp_path, monkeypatch):
    workdir, abstract = saved
    shutil.copytree(workdir, tmp_path, dirs_exist_ok=True)
    restore = checkpoint._restore

    def fail_once(manager, step, abstract):
        if step == 2:
            raise Exception("Error opening 'zarr' driver")
        return restore(manager, step, abstract)

    monkeypatch.setattr(checkpoint, "_restore", fail_once)
    (restored, _), warnings = latest(tmp_path, abstract)
    assert int(restored.step) == 1
    assert len(warnings) == 1


def test_save_on_a_full_disk_is_one_line_and_keeps_the_last_good_one(
    saved, tmp_path, state, monkeypatch, capfd
):
    workdir, abstract = saved
    shutil.copytree(workdir, tmp_path, dirs_exist_ok=True)

    def fail(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checksums, "write", fail)
    with (
        pytest.raises(UserError, match=r"the checkpoint cannot be written \(No space") as error,
        checkpoint.open_checkpoints(tmp_path, print) as manager,
    ):
        checkpoint.save(manager, at_step(state, 3), PROGRESS, None)
    assert "\n" not in str(error.value)
    monkeypatch.undo()
    (restored, _), warnings = latest(tmp_path, abstract)
    assert int(restored.step) == 2
    assert not warnings
    assert capfd.readouterr().err == ""


@failed_restore
def test_restore_of_a_damaged_checkpoint_is_one_line(tmp_path, state):
    abstract = save_all(tmp_path, state, [(1, 0.9, 1.0)])
    for path in files_of(tmp_path / "checkpoints" / "1"):
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


def test_open_checkpoints_takes_no_half_deleted_one_for_damaged(tmp_path, state):
    abstract = save_all(tmp_path, state, [(1, 0.9, 1.0), (2, 0.2, 1.0)])
    (tmp_path / "checkpoints" / "outdated").mkdir()
    (tmp_path / "checkpoints" / "1").rename(tmp_path / "checkpoints" / "outdated" / "1")
    (tmp_path / "checkpoints" / "outdated" / "1" / checksums.NAME).unlink()
    (restored, _), warnings = latest(tmp_path, abstract)
    assert int(restored.step) == 2
    assert not warnings
    assert kept(tmp_path) == [2]


def test_restore_takes_moving_averages_without_statistics(tmp_path, state):
    """As versions wrote them that averaged the parameters alone."""
    statistics = {"norm": {"mean": jnp.arange(3.0)}}
    average = jax.tree.map(lambda x: x + 1, state.params)
    older = parallel.replicate(
        state.replace(batch_stats=statistics, average=average), parallel.make_mesh()
    )
    save_all(tmp_path, older, [(1, 0.1, 2.0)])
    newer = older.replace(average={"params": average, "batch_stats": statistics})
    abstract = parallel.abstract(newer, parallel.make_mesh())
    (resumed, _), warnings = latest(tmp_path, abstract)
    assert not warnings
    for restored in (resumed, checkpoint.restore(tmp_path, "best", abstract)[1]):
        jax.tree.map(np.testing.assert_array_equal, restored, at_step(newer, 1))

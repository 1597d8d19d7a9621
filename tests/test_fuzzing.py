"""Damaged files of this package's own: used as they are, set aside, or refused in one line."""

import dataclasses
import json
import math

import jax
import numpy as np
import pytest

from mgr_jax import config as config_lib
from mgr_jax import files, snapshot, system, workdir
from mgr_jax.classical import fitting
from mgr_jax.data import clips, records, shards, splits
from mgr_jax.errors import UserError
from mgr_jax.evaluation import calibration, compare, cross_validation
from mgr_jax.evaluation.reports import plots, provenance
from mgr_jax.training import checksums
from tests import fuzzing
from tests.data import collection
from tests.evaluation.reports import evaluated
from tests.export import trained


@pytest.fixture(name="run", scope="module")
def _run(tmp_path_factory):
    """A workdir with a fitted model, an evaluation, a temperature and checksums."""
    path, data = tmp_path_factory.mktemp("fuzzed") / "run", evaluated.make_dataset()
    made = trained.make_system("logistic")
    run = workdir.create(str(path), made.config, data.catalog, data.split)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "_save", lambda figure, path: path.write_bytes(b"a picture"))
        evaluated.write(run, data)
    (path / "model").mkdir()
    np.savez(path / fitting._FILE, **made.variables)
    record = {"checkpoint_step": 40, "temperature": 1.5, "log_loss_held_back": 0.5}
    (path / "eval" / "temperature.json").write_text(json.dumps([record]))
    metrics = [{"step": step, "loss": 1.0} for step in range(9)]
    (path / workdir.METRICS).write_text("\n".join(map(json.dumps, metrics)))
    (path / "checkpoints" / "7" / "state").mkdir(parents=True)
    (path / "checkpoints" / "7" / "state" / "a").write_bytes(bytes(99))
    checksums.write(path / "checkpoints" / "7", "7")
    return run


def _damage(path, read, count, *, refusals=(UserError,), resign=None, structured=True, share=0.0):
    """Damage a file `count` times, restore it, and return how often it was read.

    Args:
      path: the file. read: reads it, alone or with others.
      refusals: exceptions of one line that `read` may raise.
      resign: brings the checksum of edited values up to date, as an attacker would.
      structured: whether the file is JSON whose values are edited, too.
      share: the least share of files that is read.
    """
    content, generator, num_read = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(count):
        if structured and generator.random() < 0.5:
            values = fuzzing.edited(json.loads(content), generator)
            if resign is not None and isinstance(values, dict):
                resign(values)
            damaged = json.dumps(values).encode()
        else:
            damaged = fuzzing.mutated_text(content, generator)
        path.write_bytes(damaged)
        with fuzzing.bounds():
            try:
                read()
                num_read += 1
            except refusals as error:
                fuzzing.refused(error)
    path.write_bytes(content)
    read()
    assert num_read >= share * count
    return num_read


@pytest.mark.parametrize("count", fuzzing.COUNTS)
def test_damaged_configs_are_refused_in_one_line_or_valid(count):
    values, generator = config_lib.to_json(config_lib.Config()), np.random.default_rng(0)
    for _ in range(count):
        edited = fuzzing.edited(values, generator)
        with fuzzing.bounds():
            try:
                config = config_lib.validate(config_lib.from_json(edited))
                assert 0 < config_lib.window_length(config) <= config_lib.clip_length(config)
            except UserError as error:
                fuzzing.refused(error)


@pytest.mark.parametrize("count", fuzzing.COUNTS)
@pytest.mark.parametrize("name", ["config.json", "split.json"])
def test_a_workdir_with_a_damaged_record_is_refused_or_valid(run, name, count):
    def resign(values):
        values["digest"] = files.record_digest(values)

    _damage(run.path / name, lambda: workdir.load(str(run.path)), count, resign=resign)


@pytest.mark.parametrize("count", fuzzing.COUNTS)
def test_a_damaged_split_is_refused_or_valid(count):
    values = splits.to_json(evaluated.make_dataset().split)
    generator = np.random.default_rng(0)
    for _ in range(count):
        try:
            splits.from_json(fuzzing.edited(values, generator)).hash()
        except UserError as error:
            fuzzing.refused(error)


@pytest.mark.parametrize("count", fuzzing.COUNTS)
@pytest.mark.parametrize("name", ["report.json", "predictions.csv", "tracks.csv"])
def test_a_damaged_evaluation_is_refused_or_read(run, name, count):
    def read():
        one = compare.read(str(run.path), "test")
        if name == "report.json":
            compare.compare([one, one], ["a", "b"])
        cross_validation.read_fold(run.path, protocol="kfold", seed=0, fold=0)
        system._report(run, 40)

    _damage(run.path / "eval" / "test" / name, read, count, structured=name.endswith("json"))


@pytest.mark.parametrize("count", fuzzing.COUNTS)
def test_a_damaged_temperature_is_refused_or_one(run, count):
    def read():
        value = calibration.load_temperature(run.path, checkpoint_step=40)
        assert value is None or 0 < float(value) < math.inf

    _damage(run.path / "eval" / "temperature.json", read, count)


@pytest.mark.parametrize("count", fuzzing.COUNTS)
def test_damaged_logs_are_read_as_far_as_they_go(run, count):
    def read():
        assert all(type(record["step"]) is int for record in workdir.read_metrics(run.path))

    _damage(run.path / workdir.METRICS, read, count, refusals=(), structured=False)
    log = run.path / provenance._LOG

    def count_evaluations():
        with provenance.counted_evaluation(run, "test", checkpoint_step=40) as number:
            assert number > 0

    log.write_text('{"part": "test", "times_evaluated": 3}\n')
    _damage(log, count_evaluations, count, refusals=())


@pytest.mark.parametrize("count", fuzzing.COUNTS)
def test_damaged_parameters_are_refused_or_fit(run, count):
    read = lambda: fitting.load_params(run)  # noqa: E731
    _damage(run.path / fitting._FILE, read, count, structured=False)


@pytest.mark.parametrize("count", fuzzing.COUNTS)
def test_damaged_checksums_of_a_checkpoint_are_noticed(run, count):
    folder = run.path / "checkpoints" / "7"
    content = (folder / checksums.NAME).read_bytes()

    def read():
        assert checksums.verify(folder)
        assert json.loads((folder / checksums.NAME).read_bytes()) == json.loads(content)

    _damage(folder / checksums.NAME, read, count, refusals=(ValueError,))


@pytest.mark.parametrize("count", fuzzing.COUNTS)
def test_a_damaged_copy_of_a_checkpoint_is_passed_over(run, count, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    params = {"params": {"a": np.arange(3.0)}, "batch_stats": {}, "normalizer": None}
    snapshot.write(run, "best", snapshot.source(run), 7, params)
    expected = snapshot.read(run, "best")

    def read():
        copy = snapshot.read(run, "best")
        assert copy is None or jax.tree.all(jax.tree.map(np.array_equal, copy, expected))

    _damage(snapshot._path(run, "best"), read, count, refusals=(), structured=False)


@pytest.mark.parametrize("count", fuzzing.COUNTS)
def test_a_damaged_clip_store_is_made_anew(count, tmp_path):
    made = tuple(records.Record(str(i), length=5) for i in range(4))
    rows = [dataclasses.asdict(record) for record in made]
    (tmp_path / "clips.int16").write_bytes(bytes(40))
    values = {"records": rows, "sha256": clips._digest(rows)}
    (tmp_path / "store.json").write_text(json.dumps(values))

    def resign(values):
        values["sha256"] = clips._digest(values.get("records"))

    def read():
        store = clips._open_store(tmp_path, (4, 5), 8000)
        assert store is None or (store.row is not None and store.errors() is not None)

    _damage(tmp_path / "store.json", read, count, refusals=(), resign=resign)
    log = tmp_path / "progress.jsonl"
    log.write_text("\n".join(map(json.dumps, rows)))
    assert tuple(clips._read_progress(log)) == made
    read_log = lambda: list(clips._read_progress(log))  # noqa: E731
    _damage(log, read_log, count, refusals=(), structured=False)


@pytest.mark.parametrize("count", fuzzing.COUNTS)
def test_a_damaged_manifest_of_a_shard_is_a_fault_of_one_line(count, tmp_path, tmp_path_factory):
    folder = collection.make(tmp_path_factory) / "shards"

    def resign(values):
        values.pop("checksum", None)
        values["checksum"] = files.json_digest(values)

    def read():
        root, rate, length = str(folder), collection.RATE, collection.LENGTH
        _, store = shards.open_shards(root, sample_rate=rate, clip_samples=length)
        for row in store.row.values():
            assert store.waveform(row).shape == (length,)

    _damage(folder / "shard-00001-of-00004.json", read, count, resign=resign)

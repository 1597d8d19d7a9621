"""The workdir: its files, the configs that it refuses, and errors without a traceback."""

import dataclasses
import errno
import json
import os
import pathlib
import random
import shutil
import socket
import subprocess
import sys

import jax
import pytest

from mgr_jax import __version__, workdir
from mgr_jax import config as config_lib
from mgr_jax.data import catalog, splits
from mgr_jax.data.catalog import Track
from mgr_jax.errors import UserError


def _data(num_tracks=6, *, labels=("blues", "rock")):
    """Return a catalog and its split."""
    tracks = tuple(Track(f"{label}.{i}", "", label) for label in labels for i in range(num_tracks))
    values = catalog.Catalog("folder", tracks, labels)
    return values, splits.make_split(values, protocol="holdout")


def _config(**fields):
    config = config_lib.Config()
    for name, value in fields.items():
        section, field = name.split(".")
        setattr(getattr(config, section), field, value)
    return config


def _refused(call, *args):
    with pytest.raises(UserError) as caught:
        call(*args)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def path(tmp_path):
    path = str(tmp_path / "deep" / "run")
    workdir.create(path, _config(), *_data())
    return path


def _edit(path, **fields):
    """Change the record, which has no digest then, as those of early versions."""
    file = pathlib.Path(path, "config.json")
    record = json.loads(file.read_text()) | fields
    record.pop("digest", None)
    file.write_text(json.dumps(record))


def test_create_refuses_other_audio_under_the_same_names(tmp_path):
    tracks, split = _data()
    content = {track.id: f"hash of {track.id}" for track in tracks.tracks}
    tracks = dataclasses.replace(tracks, content=content)
    run = workdir.create(str(tmp_path), _config(), tracks, split)
    assert workdir.create(str(tmp_path), _config(), tracks, split) == run
    assert workdir.changed_tracks(run, tracks) == []
    other = dataclasses.replace(tracks, content=content | {"rock.1": "another"})
    assert other.hash() != tracks.hash()
    assert workdir.changed_tracks(run, other) == ["rock.1"]
    message = _refused(workdir.create, str(tmp_path), _config(), other, split)
    assert "the content of rock.1 was another when it was made" in message
    (tmp_path / "content.json").unlink()  # As in a run of an earlier version.
    assert workdir.changed_tracks(run, other) == []
    message = _refused(workdir.create, str(tmp_path), _config(), other, split)
    assert "made with other tracks than data.root gives now" in message
    # Its hash of the data was one of names alone.
    _edit(str(tmp_path), data_hash=_data()[0].hash())
    assert workdir.create(str(tmp_path), _config(), other, split).split == split
    (tmp_path / "content.json").write_text("{")  # Damage is no earlier version.
    assert "content.json" in _refused(workdir.changed_tracks, run, other)


def test_create_writes_what_a_number_is_checked_by(tmp_path):
    config = _config(**{"train.seed": 7, "data.name": "folder", "data.root": "ä b"})
    tracks, split = _data()
    run = workdir.create(str(tmp_path / "run"), config, tracks, split)
    assert run.path == tmp_path / "run"
    assert run.config == config
    assert run.labels == ("blues", "rock")
    assert run.split == split
    record = json.loads((tmp_path / "run" / "config.json").read_text())
    assert record["config"] == config_lib.to_json(config)
    assert record["data_hash"] == tracks.hash()
    assert record["split_hash"] == split.hash()
    assert record["versions"]["mgr_jax"] == __version__
    assert record["versions"]["jax"] == jax.__version__
    assert run.record == record
    assert (tmp_path / "run" / "split.csv").read_text() == splits.to_csv(split)
    assert not list((tmp_path / "run").glob("*.partial"))


def test_load_gives_back_what_create_gave(path):
    assert workdir.load(path) == workdir.create(path, _config(), *_data())


@pytest.mark.parametrize(
    ("field", "value", "old"),
    [
        ("train.seed", 3, "0"),
        ("optim.learning_rate", 0.5, "0.001"),
        ("model.l2", (0.5,), "[0.0001, 0.001, 0.01, 0.1, 1.0]"),
        ("data.protocol", "kfold", "'holdout'"),
    ],
)
def test_create_refuses_another_config_by_field_and_values(path, field, value, old):
    message = _refused(workdir.create, path, _config(**{field: value}), *_data())
    shown = list(value) if isinstance(value, tuple) else value
    assert message == (
        f"workdir {path}: made with {field}={old}, not {shown!r}; use another workdir, or the"
        " same config to go on"
    )


def test_create_goes_on_with_the_protocol_that_auto_chose(path):
    run = workdir.load(path)
    assert (run.config.data.protocol, run.split.protocol) == ("auto", "holdout")
    assert workdir.create(path, _config(**{"data.protocol": "holdout"}), *_data()) == run


def test_run_is_shown_by_its_folder_system_and_split(path):
    assert repr(workdir.load(path)) == (f"Run({path!r}, bbnn, holdout: 8 train, 2 valid, 2 test)")


def test_create_names_every_field_that_differs(path):
    changed = _config(**{"train.seed": 3, "train.num_epochs": 99, "data.seed": 5})
    message = _refused(workdir.create, path, changed, *_data())
    assert "made with data.seed=0, not 5 (and train.num_epochs, train.seed)" in message


def test_create_goes_on_when_only_the_place_of_the_data_changes(path):
    before = pathlib.Path(path, "config.json").read_bytes()
    moved = {"data.root": "x", "data.cache": "y", "data.facts": "z", "data.num_workers": 3}
    run = workdir.create(path, _config(**moved), *_data())
    assert run.config == _config()
    assert pathlib.Path(path, "config.json").read_bytes() == before


def test_create_refuses_other_data_and_another_split(path):
    message = _refused(workdir.create, path, _config(), *_data(7))
    assert "made with other tracks than data.root gives now" in message
    tracks, split = _data()
    other = dataclasses.replace(split, train=split.valid, valid=split.train)
    message = _refused(workdir.create, path, _config(), tracks, other)
    assert "made with other tracks than data.protocol gives now" in message
    other = dataclasses.replace(split, protocol="kfold")
    message = _refused(workdir.create, path, _config(), tracks, other)
    assert "made with data.protocol='holdout', not 'kfold', which 'auto' means here" in message


def test_create_goes_on_with_a_workdir_from_before_a_field_was_added(path):
    values = config_lib.to_json(_config())
    del values["model"]["kernel"], values["optim"]
    _edit(path, config=values)
    assert workdir.create(path, _config(), *_data()).config == _config()
    message = _refused(workdir.create, path, _config(**{"model.kernel": "linear"}), *_data())
    assert "made with model.kernel='rbf', not 'linear'" in message


def test_create_resumes_with_another_implementation_of_the_operations(path):
    values = config_lib.to_json(_config())
    del values["model"]["implementation"]  # As in workdirs from before it was a field.
    _edit(path, config=values)
    assert workdir.load(path).config.model.implementation == "auto"
    plain = _config(**{"model.implementation": "reference"})
    assert workdir.create(path, plain, *_data()).config == _config()


def test_create_starts_anew_where_it_was_killed_before_the_config_was_written(path):
    pathlib.Path(path, "config.json").unlink()
    pathlib.Path(path, "split.json").write_text("{")
    run = workdir.create(path, _config(**{"train.seed": 9}), *_data())
    assert run.config.train.seed == 9
    assert run.split == _data()[1]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", ""),
        ("config.json", "{"),
        ("config.json", "[]"),
        ("config.json", "{}"),
        ("config.json", '{"config": [], "labels": [], "data_hash": "", "split_hash": ""}'),
        ("config.json", '{"config": {}, "labels": 3, "data_hash": "", "split_hash": ""}'),
        ("config.json", '{"config": {}, "labels": [3], "data_hash": "", "split_hash": ""}'),
        ("config.json", '{"config": {}, "labels": ["\\u001b"], "data_hash": "", "split_hash": ""}'),
        ("config.json", "\udcff"),
        ("split.json", ""),
        ("split.json", "[]"),
        ("split.json", "{}"),
        ("split.json", '{"protocol": 1}'),
        ("split.json", None),
    ],
)
def test_load_and_create_refuse_damaged_files_in_one_line(path, name, content):
    file = pathlib.Path(path, name)
    file.unlink()
    if content is not None:
        file.write_bytes(content.encode("utf-8", "surrogateescape"))
    assert _refused(workdir.load, path)
    assert _refused(workdir.create, path, _config(), *_data())


def test_load_names_a_field_that_is_unknown_or_wrong(path):
    values = config_lib.to_json(_config())
    _edit(path, config=values | {"data": values["data"] | {"colour": 1}})
    assert "data.colour is unknown" in _refused(workdir.load, path)
    _edit(path, config=values | {"data": values["data"] | {"protocol": "magic"}})
    assert "data.protocol is 'magic'" in _refused(workdir.load, path)


def test_load_refuses_what_is_no_workdir(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "none", tmp_path / "file", tmp_path / ("x" * 300)):
        message = _refused(workdir.load, str(path))
        assert message == f"workdir {path}: no config.json in it; give the workdir of a training"


def test_create_names_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    for path, reason in (
        (tmp_path / "file", "File exists"),
        (tmp_path / "file" / "run", "Not a directory"),
        (tmp_path / ("x" * 300), "File name too long"),
    ):
        message = _refused(workdir.create, str(path), _config(), *_data())
        assert message == (f"workdir {path}: cannot be written ({reason}); choose another folder")
    assert _refused(workdir.create, "", _config(), *_data()).startswith("workdir is empty")


def test_create_names_a_folder_that_is_not_ours(tmp_path_factory):
    """In a process without the rights of root, which may write everywhere."""
    folder = tmp_path_factory.mktemp("rights")
    for parent in (folder, *folder.parents[:2]):  # pytest makes these for their owner alone.
        parent.chmod(0o755)
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    folder.chmod(0o555)
    script = (
        "import os, sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "import test_workdir as t\n"
        "if os.getuid() == 0:\n"
        "    os.setgid(65534); os.setuid(65534)\n"
        "else:\n"
        "    os.chmod(sys.argv[3], 0)\n"
        "for path in sys.argv[2:]:\n"
        "    print(t._refused(t.workdir.create, path + '/run', t._config(), *t._data()))\n"
    )
    here = str(pathlib.Path(__file__).parent)
    command = [sys.executable, "-c", script, here, str(folder), str(closed)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    finally:
        folder.chmod(0o755)
        closed.chmod(0o700)
    assert [line.split("run: ")[1] for line in done.stdout.splitlines()] == [
        "cannot be written (Permission denied); choose another folder"
    ] * 2


def test_load_takes_no_other_config_for_200_flipped_bits(path):
    file = pathlib.Path(path, "config.json")
    content, generator, whole = file.read_bytes(), random.Random(0), workdir.load(path)
    for _ in range(200):
        damaged, bit = bytearray(content), generator.randrange(8 * len(content))
        damaged[bit // 8] ^= 1 << bit % 8
        file.write_bytes(damaged)
        try:
            run = workdir.load(path)
        except UserError as error:
            assert str(file) in str(error)
        else:  # The name of the digest was hit, and nothing else.
            assert (run.config, run.labels) == (whole.config, whole.labels)
            assert len(run.record.keys() - whole.record.keys()) == 1


def test_hold_names_the_holder_until_it_lets_go(tmp_path):
    path = str(tmp_path / "deep" / "run")
    with workdir.hold(path):
        message = _refused(workdir.hold(path).__enter__)
        assert message.startswith(
            f"workdir {path}: process {os.getpid()} on {socket.gethostname()}, since 2"
        )
        assert "is training in it; wait for it or stop it, or use another workdir" in message
        (tmp_path / "deep/run/holder.json").write_text("")
        assert "another process is training in it" in _refused(workdir.hold(path).__enter__)
    with workdir.hold(path):
        pass


@pytest.mark.parametrize("error", [NotImplementedError(), OSError(errno.ENOLCK, "No locks")])
def test_hold_goes_on_without_locks_where_there_are_none(tmp_path, error, monkeypatch):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(workdir.filelock.FileLock, "acquire", fail)
    with workdir.hold(str(tmp_path)):
        assert json.loads((tmp_path / "holder.json").read_text())["pid"] == os.getpid()


def test_hold_names_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    message = _refused(workdir.hold(str(tmp_path / "file")).__enter__)
    assert "cannot be written (File exists); choose another folder" in message


def test_set_status_writes_one_word(path):
    workdir.set_status(pathlib.Path(path), "running")
    workdir.set_status(pathlib.Path(path), "done")
    assert pathlib.Path(path, "STATUS").read_text() == "done\n"


def _git(folder, *command):
    identity = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b"}
    identity |= {"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    done = subprocess.run(
        ["git", "-C", str(folder), *command],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | identity,
    )
    return done.stdout.strip()


def test_git_commit_is_that_of_the_code_and_of_nobody_else(tmp_path, monkeypatch):
    """A package installed inside another project's repository does not belong to it."""
    package = tmp_path / "package"
    package.mkdir()
    copy = package / "workdir.py"
    shutil.copy(workdir.__file__, copy)
    monkeypatch.setattr(workdir, "__file__", str(copy))
    assert workdir.git_commit() == ""
    _git(tmp_path, "init", "-q")
    (tmp_path / "theirs.py").touch()
    _git(tmp_path, "add", "theirs.py")
    _git(tmp_path, "commit", "-q", "-m", "theirs")
    assert workdir.git_commit() == ""
    _git(tmp_path, "add", "package")
    _git(tmp_path, "commit", "-q", "-m", "ours")
    _git(tmp_path, "tag", "-a", "v1", "-m", "v1")
    commit = _git(tmp_path, "rev-parse", "HEAD")
    assert workdir.git_commit() == commit
    with open(copy, "a") as file:
        file.write("# changed\n")
    assert workdir.git_commit() == commit + "+changes"


def test_load_refuses_a_split_that_the_run_was_not_made_with(path):
    file = pathlib.Path(path, "split.json")
    values = json.loads(file.read_text())
    values["train"], values["test"] = values["test"], values["train"]
    file.write_text(json.dumps(values))
    assert "not the split that this run was made with" in _refused(workdir.load, path)


def test_reserve_and_load_refuse_the_address_of_a_bucket(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for function in (lambda path: workdir.reserve(path, config_lib.Config()), workdir.load):
        with pytest.raises(UserError, match=r"workdir gs://bucket/run: .*gcsfuse"):
            function("gs://bucket/run")
        with pytest.raises(UserError, match="workdir is empty"):
            function("")
    assert not list(tmp_path.iterdir())


def test_create_ignores_the_momentum_of_systems_without_batch_normalisation(tmp_path):
    for name, is_free in (("cnn", True), ("cnn_lstm", True), ("rnn", False)):
        path = str(tmp_path / name)
        older = {"model.name": name, "model.batch_norm_momentum": 0.99}
        workdir.create(path, _config(**older), *_data())
        if is_free:
            workdir.create(path, _config(**{"model.name": name}), *_data())
        else:
            message = _refused(workdir.create, path, _config(**{"model.name": name}), *_data())
            assert "model.batch_norm_momentum=0.99, not 0.0" in message

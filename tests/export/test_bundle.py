"""The bundle: round trips, and refused files."""

import dataclasses
import json

import numpy as np
import pytest
import safetensors
import safetensors.numpy

import mgr_jax
from mgr_jax.errors import UserError
from mgr_jax.evaluation import conformal
from mgr_jax.export import bundle
from mgr_jax.predictor import make_predictor
from tests.export import trained


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("bbnn", {"features_normalize": "bin"}),
        ("rnn", {"model_cell": "lstm"}),
        ("logistic", {}),
    ],
)
def test_bundle_gives_the_predictions_of_the_system(tmp_path, name, fields):
    system = trained.make_system(name, **fields)
    bundle.write(tmp_path / "model.safetensors", system)
    loaded = mgr_jax.load(tmp_path / "model.safetensors")
    waveform = trained.noise(9000)
    expected = make_predictor(system).predict(waveform, 8000)
    actual = loaded.predict(waveform, 8000)
    np.testing.assert_array_equal(actual.windows, expected.windows)
    assert actual.probabilities == expected.probabilities
    assert actual.confidence == expected.confidence
    assert loaded.labels == trained.LABELS
    assert loaded.step == 7
    accuracy = "accuracy 66.7 % [30.0, 90.3] (n = 6, listed)"
    assert loaded.describe() == f"{name} trained on band: {accuracy}"
    assert loaded.calibrated
    with pytest.raises(UserError, match="no tracks to calibrate sets of genres with; export"):
        loaded.predict(waveform, 8000, coverage=0.9)


def test_bundle_has_the_tracks_for_sets(tmp_path):
    log_p = np.log(np.random.default_rng(0).dirichlet(np.ones(3), size=20))
    tracks = conformal.make_calibration(log_p, np.arange(20) % 3, [*range(20)], "train")
    system = dataclasses.replace(trained.make_system("logistic"), calibration=tracks)
    bundle.write(tmp_path / "m", system)
    read = bundle.read(tmp_path / "m").calibration
    assert read is not None
    for one, other in zip(tracks, read, strict=True):
        np.testing.assert_array_equal(one, other)


def test_bundle_is_read_by_safetensors(tmp_path):
    system = trained.make_system()
    bundle.write(tmp_path / "m", system)
    with safetensors.safe_open(tmp_path / "m", framework="numpy") as file:
        contract = json.loads(file.metadata()["contract"])
        kernel = file.get_tensor("params/classifier/kernel")
    assert contract["labels"] == list(trained.LABELS)
    assert contract["config"]["features"]["sample_rate"] == 8000
    np.testing.assert_array_equal(kernel, system.variables["params"]["classifier"]["kernel"])


def test_bundle_has_no_paths_of_this_machine(tmp_path):
    system = trained.make_system(data_root="/home/me/music", data_name="folder", data_cache="/c/d")
    bundle.write(tmp_path / "m", system)
    content = (tmp_path / "m").read_bytes()
    assert b"/home" not in content
    assert b"secret" not in content
    assert bundle.read(tmp_path / "m").config.data.root == "music"


def test_write_gives_the_same_bytes_each_time(tmp_path):
    system = trained.make_system()
    for i in range(8):
        bundle.write(tmp_path / str(i), system)
    assert len({(tmp_path / str(i)).read_bytes() for i in range(8)}) == 1


def test_write_leaves_nothing_but_the_file(tmp_path):
    bundle.write(tmp_path / "m", trained.make_system())
    bundle.write(tmp_path / "m", trained.make_system(seed=1))
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def _rewrite(path, edit):
    """Edits contract and tensors, and makes the checksum right again."""
    with safetensors.safe_open(path, framework="numpy") as file:
        contract = json.loads(file.metadata()["contract"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    edit(contract, tensors)
    contract["sha256"] = bundle._digest(contract, tensors)
    content = safetensors.numpy.save(tensors, {"contract": json.dumps(contract)})
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda c, t: c.pop("labels"), "labels"),
        (lambda c, t: c.update(labels=["a", "a", "b"]), "different names"),
        (lambda c, t: c.update(labels=["a", "b"]), "does not fit its layer"),
        (lambda c, t: c.update(version=2), "version"),
        (lambda c, t: c.update(facts=None), "protocol"),
        (lambda c, t: c.update(temperature=-1), "temperature"),
        (lambda c, t: c["config"]["features"].update(n_fft=1 << 30), "n_fft"),
        (lambda c, t: c["config"]["features"].update(n_fft=1 << 17), "n_fft"),
        (lambda c, t: c["config"]["features"].update(n_mels=4096), "n_mels"),
        (lambda c, t: c["config"]["features"].update(n_fft=65536, n_mels=2048), "filter bank"),
        (lambda c, t: c["config"]["features"].update(hop_length=1), "hop_length"),
        (
            lambda c, t: c["config"].update(
                data=c["config"]["data"] | {"clip_seconds": 600.0, "window_seconds": 600.0},
                features=c["config"]["features"] | {"n_fft": 65536, "hop_length": 64},
            ),
            "too many values of a window",
        ),
        (lambda c, t: c["config"]["model"].update(num_modules=10**9), "more layers"),
        (lambda c, t: c["config"]["data"].update(clip_samples=2**30, window_seconds=0), "window"),
        (lambda c, t: c["config"]["model"].update(name="os"), "model.name"),
        (lambda c, t: t.pop("params/classifier/bias"), "params/classifier/bias"),
        (lambda c, t: t.update(extra=np.zeros(2)), "extra"),
        (
            lambda c, t: t.update({"params/classifier/bias": np.full(3, np.nan, np.float32)}),
            "not finite",
        ),
    ],
)
def test_read_refuses_inconsistent_parts(tmp_path, edit, reason):
    bundle.write(tmp_path / "m", trained.make_system())
    _rewrite(tmp_path / "m", edit)
    with pytest.raises(UserError, match=rf"is no bundle.*{reason}.*export it again"):
        bundle.read(tmp_path / "m")


def test_read_takes_a_bundle_from_before_implementation_was_a_field(tmp_path):
    bundle.write(tmp_path / "m", trained.make_system())
    _rewrite(tmp_path / "m", lambda contract, _: contract["config"]["model"].pop("implementation"))
    assert bundle.read(tmp_path / "m").config.model.implementation == "auto"


def test_read_refuses_an_edit_without_a_new_checksum(tmp_path):
    bundle.write(tmp_path / "m", trained.make_system())
    content = (tmp_path / "m").read_bytes()
    (tmp_path / "m").write_bytes(content.replace(b"jazz", b"folk"))
    with pytest.raises(UserError, match="checksum"):
        bundle.read(tmp_path / "m")


def test_read_refuses_another_file(tmp_path):
    (tmp_path / "song.mp3").write_bytes(b"ID3" + bytes(1000))
    with pytest.raises(UserError, match=r"is no bundle of experiments\.export"):
        mgr_jax.load(tmp_path / "song.mp3")


def test_load_speaks_of_its_own_arguments(tmp_path):
    for path in ("nowhere", tmp_path / "none", ""):
        with pytest.raises(UserError, match=r"^load\('.*'\): no such folder or file; give 'gtzan'"):
            mgr_jax.load(path)
    with pytest.raises(UserError, match=r"^load: /.*: no config.json in it; give the workdir of"):
        mgr_jax.load(tmp_path)
    bundle.write(tmp_path / "m", trained.make_system())
    with pytest.raises(UserError, match=r"^load: checkpoint_name 3: .* leave"):
        mgr_jax.load(tmp_path / "m", checkpoint_name="3")


def test_a_bundle_has_no_workdir_and_one_checkpoint(tmp_path):
    bundle.write(tmp_path / "m", trained.make_system())
    with pytest.raises(UserError, match="is a bundle, which has no data"):
        _ = mgr_jax.load(tmp_path / "m").run
    with pytest.raises(UserError, match="one model only"):
        mgr_jax.load(tmp_path / "m", checkpoint_name="3")

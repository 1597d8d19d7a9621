"""Damaged and hostile files: an error in one line, never a crash, a hang or code execution."""

import io
import json
import os
import struct
import subprocess
import sys

import jax.export
import numpy as np
import pytest
import safetensors
import safetensors.numpy
import soundfile

import mgr_jax
from mgr_jax.data.audio import AudioError
from mgr_jax.errors import UserError
from mgr_jax.export import bundle, contract, run_exported
from mgr_jax.predictor import Prediction
from tests import fuzzing
from tests.experiments import commands
from tests.export import trained

_COUNTS = [
    15,
    pytest.param(60, marks=pytest.mark.e2e),
    pytest.param(2000, marks=pytest.mark.slow),
]
_FORMATS = [
    ("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "MS_ADPCM"), ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("AIFF", "PCM_24"),
    ("AU", "PCM_16"), ("CAF", "ALAC_16"), ("W64", "PCM_16"), ("RF64", "PCM_16"),
    ("VOC", "PCM_16"), ("NIST", "PCM_16"), ("PAF", "PCM_16"),
]  # fmt: skip


def _damaged_songs(folder, count):
    waveform, songs = trained.noise(20_000).reshape(-1, 2), []
    for form, subtype in _FORMATS:
        file = io.BytesIO()
        soundfile.write(file, waveform, 16_000, format=form, subtype=subtype)
        songs.append(file.getvalue())
    generator = np.random.default_rng(0)
    for index in range(count):
        content = fuzzing.mutated(songs[index % len(songs)], generator)
        (folder / f"{index:04d}.wav").write_bytes(content)
    return sorted(folder.iterdir())


@pytest.fixture(name="model", scope="module")
def _model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    bundle.write(path, trained.make_system("logistic"))
    return path


@pytest.mark.parametrize("count", _COUNTS)
def test_damaged_songs_give_a_prediction_or_an_error_each(tmp_path, model, count):
    paths = _damaged_songs(tmp_path, count)
    predictor = mgr_jax.load(model)
    results, stream = [], predictor.predict_files(paths)
    while len(results) < len(paths):
        with fuzzing.bounds():
            results.append(next(stream))
    predictor.decoders.close()
    with fuzzing.bounds(children=True):
        assert next(stream, None) is None
    assert [path for path, _ in results] == [str(path) for path in paths]
    for _, result in results:
        assert isinstance(result, Prediction | AudioError)
        if isinstance(result, Prediction):
            assert sum(result.probabilities.values()) == pytest.approx(1)
        else:
            assert "\n" not in str(result)
    assert {type(result) for _, result in results} == {Prediction, AudioError}


@pytest.mark.parametrize("count", _COUNTS)
def test_a_damaged_bundle_is_refused_in_one_line(tmp_path, model, count):
    content, generator = model.read_bytes(), np.random.default_rng(1)
    refused = 0
    for _ in range(count):
        (tmp_path / "m").write_bytes(fuzzing.mutated(content, generator))
        with fuzzing.bounds():
            try:
                bundle.read(tmp_path / "m")
            except UserError as error:
                refused += 1
                fuzzing.refused(error, tmp_path)
    # Some changes have no effect, such as another order of names in the header.
    assert refused > 0.95 * count


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("bbnn", 3),
        ("logistic", 3),
        pytest.param("bbnn", 12, marks=pytest.mark.e2e),
        pytest.param("bbnn", 2000, marks=pytest.mark.slow),
        pytest.param("logistic", 2000, marks=pytest.mark.slow),
    ],
)
def test_an_edited_contract_is_refused_or_gives_a_system(tmp_path, name, count):
    path = tmp_path / "m"
    bundle.write(path, trained.make_system(name))
    with safetensors.safe_open(path, framework="numpy") as file:
        values = json.loads(file.metadata()["contract"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    generator = np.random.default_rng(2)
    for _ in range(count):
        edited = fuzzing.edited(values, generator)
        edited["sha256"] = bundle._digest(edited, tensors)  # An attacker would update the checksum.
        metadata = {"contract": json.dumps(edited)}
        path.write_bytes(safetensors.numpy.save(tensors, metadata))
        with fuzzing.bounds():
            try:
                bundle.read(path).describe()
            except UserError as error:
                fuzzing.refused(error, path)


@pytest.mark.parametrize("count", fuzzing.COUNTS)
def test_a_damaged_contract_of_an_exported_model_ends_in_one_line(tmp_path, monkeypatch, count):
    contract.write(tmp_path, trained.make_system("logistic"), "stablehlo", b"blob", {})
    monkeypatch.setattr(run_exported, "HERE", tmp_path)
    monkeypatch.setattr(jax.export, "deserialize", lambda blob: blob)
    facts, _ = run_exported.load_model()
    content, generator = (tmp_path / "model.json").read_bytes(), np.random.default_rng(3)
    for _ in range(count):
        damaged = fuzzing.mutated_text(content, generator)
        if generator.random() < 0.5:
            damaged = json.dumps(fuzzing.edited(json.loads(content), generator)).encode()
        (tmp_path / "model.json").write_bytes(damaged)
        with fuzzing.bounds():
            try:
                assert run_exported.load_model()[0] == facts
            except SystemExit as end:
                assert end.code == "model.json is damaged; export it again"


@pytest.mark.slow
def test_the_command_line_survives_damaged_songs_and_bundles(tmp_path, model):
    folder = tmp_path / "songs"
    folder.mkdir()
    paths = _damaged_songs(folder, 2000)
    out, err = commands.run_process(
        tmp_path, "predict", f"--workdir={model}", "--format=json", folder, code=1
    )
    devices, done, following = err.splitlines()
    assert devices == "devices   1 cpu" and done.endswith(" on 1 cpu")
    assert following.startswith("next      python -m experiments.predict ")
    assert [json.loads(line)["path"] for line in out.splitlines()] == [str(p) for p in paths]
    (tmp_path / "m").write_bytes(model.read_bytes()[:-5])
    assert "is no bundle" in commands.fails(
        tmp_path, "predict", f"--workdir={tmp_path / 'm'}", folder
    )


@pytest.mark.slow
def test_memory_stays_bounded_whatever_a_header_claims(tmp_path, model):
    """A WAV that claims 4 GiB of 1024 channels, and a FLAC that claims 2^36 samples."""
    soundfile.write(tmp_path / "a.wav", trained.noise(4000), 8000)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    content[22:24] = struct.pack("<H", 1024)
    (tmp_path / "a.wav").write_bytes(content)
    soundfile.write(tmp_path / "b.flac", trained.noise(4000), 8000)
    content = bytearray((tmp_path / "b.flac").read_bytes())
    content[21] |= 0x0F
    content[22:26] = b"\xff\xff\xff\xff"
    (tmp_path / "b.flac").write_bytes(content)
    script = (
        "import pathlib, re, sys, resource, mgr_jax; p = mgr_jax.load(sys.argv[1])\n"
        "list(p.predict_files(sys.argv[2:])); p.decoders.close()\n"
        # Not `ru_maxrss`, which a process inherits from the one that started it.
        "status = pathlib.Path('/proc/self/status').read_text()\n"
        "print(re.search(r'VmHWM:\\s*(\\d+)', status)[1],"
        " resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, model, tmp_path / "a.wav", tmp_path / "b.flac"],
        capture_output=True,
        text=True,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        cwd=commands.REPO,
    )
    assert not done.returncode, done.stderr
    parent, child = map(int, done.stdout.split())
    assert parent < 800_000, f"{parent} KiB"
    assert child < 400_000, f"{child} KiB"

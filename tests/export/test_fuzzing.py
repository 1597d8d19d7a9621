"""Damaged and hostile files: an error in one line, never a crash, a hang or code execution."""

import io
import json
import os
import struct
import subprocess
import sys

import numpy as np
import pytest
import safetensors
import safetensors.numpy
import soundfile

import mgr_jax
from mgr_jax.data.audio import AudioError
from mgr_jax.errors import UserError
from mgr_jax.export import bundle
from mgr_jax.predictor import Prediction
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
_WILD = [
    None, -1, 0, 1, 10**9, 10**30, 1e300, -1e300, float("nan"), "", "../../etc/passwd", [], {}, [1],
    {"a": 1}, True, [["a"]], "x" * 1000, 0.5,
]  # fmt: skip


def _mutated(content, generator):
    """Flips, cuts, doubles and overwrites bytes, half of the time in the header."""
    data = bytearray(content)
    for _ in range(generator.integers(1, 5)):
        end = len(data) if generator.random() < 0.5 else min(200, len(data))
        if not end:
            break
        at = int(generator.integers(end))
        match generator.integers(7):
            case 0:
                data[at] ^= 1 << int(generator.integers(8))
            case 1:
                del data[at:]
            case 2:
                data[at : at + 4] = generator.bytes(4)
            case 3:
                number = generator.choice([0, 1, 2**16, 2**31 - 1, 2**32 - 1])
                data[at : at + 4] = struct.pack("<I", int(number))
            case 4:
                data[at:at] = generator.bytes(int(generator.integers(1, 50)))
            case 5:
                del data[at : at + int(generator.integers(1, 50))]
            case _:
                number = generator.choice([np.nan, np.inf, 1e300, -1])
                data[at : at + 8] = struct.pack("<d", number)
    return bytes(data)


def _damaged_songs(folder, count):
    waveform, songs = trained.noise(20_000).reshape(-1, 2), []
    for form, subtype in _FORMATS:
        file = io.BytesIO()
        soundfile.write(file, waveform, 16_000, format=form, subtype=subtype)
        songs.append(file.getvalue())
    generator = np.random.default_rng(0)
    for index in range(count):
        content = _mutated(songs[index % len(songs)], generator)
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
    results = list(predictor.predict_files(paths))
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
        (tmp_path / "m").write_bytes(_mutated(content, generator))
        try:
            bundle.read(tmp_path / "m")
        except UserError as error:
            refused += 1
            assert "\n" not in str(error)
    # Some changes have no effect, such as another order of names in the header.
    assert refused > 0.95 * count


def _fields(values, before=()):
    for name, value in values.items():
        yield (*before, name)
        if isinstance(value, dict):
            yield from _fields(value, (*before, name))


def _edited(contract, generator):
    """A copy with one or two fields removed or replaced by something wild."""
    copy, fields = json.loads(json.dumps(contract)), list(_fields(contract))
    for _ in range(generator.integers(1, 3)):
        *parents, name = fields[generator.integers(len(fields))]
        place = copy
        for parent in parents:
            place = place.get(parent) if isinstance(place, dict) else None
        if not isinstance(place, dict):
            continue
        if generator.random() < 0.4:
            place.pop(name, None)
        else:
            place[name] = _WILD[generator.integers(len(_WILD))]
    return copy


@pytest.mark.parametrize("name", ["bbnn", "logistic"])
@pytest.mark.parametrize(
    "count",
    [3, pytest.param(12, marks=pytest.mark.e2e), pytest.param(1000, marks=pytest.mark.slow)],
)
def test_an_edited_contract_is_refused_or_gives_a_system(tmp_path, name, count):
    path = tmp_path / "m"
    bundle.write(path, trained.make_system(name))
    with safetensors.safe_open(path, framework="numpy") as file:
        contract = json.loads(file.metadata()["contract"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    generator = np.random.default_rng(2)
    for _ in range(count):
        edited = _edited(contract, generator)
        edited["sha256"] = bundle._digest(edited, tensors)  # An attacker would update the checksum.
        metadata = {"contract": json.dumps(edited)}
        path.write_bytes(safetensors.numpy.save(tensors, metadata))
        try:
            bundle.read(path).describe()
        except UserError as error:
            assert "\n" not in str(error)


@pytest.mark.slow
def test_the_command_line_survives_damaged_songs_and_bundles(tmp_path, model):
    folder = tmp_path / "songs"
    folder.mkdir()
    paths = _damaged_songs(folder, 2000)
    out, err = commands.run_process(
        tmp_path, "predict", f"--workdir={model}", "--format=json", folder, code=1
    )
    assert err == "devices   1 cpu\n"
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

"""The `musicnn` package into a folder through the command line."""

import io
import os
import pathlib
import tarfile
import zipfile

import jax
import numpy as np
import pytest

from mgr_jax import pretrained
from mgr_jax.features import musicnn as frontend
from tests.experiments import commands
from tests.models import checkpoints

WHEEL = os.environ.get("MGR_JAX_MUSICNN_WHEEL", "")
LABELS = ["rock", "Hip-Hop", "80s"]
FILES = ("LICENSE", "README.md", "labels.txt", "weights.safetensors")


def _package(tensors, code=f"SR = 16000\nMSD_LABELS = {LABELS}\n"):
    """Files of the package, by name."""
    index, data = checkpoints.write(tensors)
    return {
        "musicnn/configuration.py": code.encode(),
        "musicnn/MSD_musicnn/.index": index,
        "musicnn/MSD_musicnn/.data-00000-of-00001": data,
        "musicnn-0.1.0.dist-info/LICENSE.md": b"ISC\n",
    }


def _wheel(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return str(path)


def _source_archive(path, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"musicnn-0.1.0/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return str(path)


def _folder(path, files):
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return str(path)


def _contents(folder):
    return {name: (pathlib.Path(folder) / name).read_bytes() for name in FILES}


def test_wheel_archive_and_folder_give_the_same_bytes(cache, tmp_path):
    files = _package(checkpoints.tiny_musicnn())
    results = []
    for i, write in enumerate((_wheel, _source_archive, _folder)):
        source, out = write(tmp_path / f"source_{i}", files), tmp_path / f"out_{i}"
        printed, _ = commands.run(cache, "import_musicnn", source, f"--out={out}")
        assert "imported  MSD_musicnn" in printed
        results.append(_contents(out))
        assert sorted(os.listdir(out)) == sorted(FILES)
    assert results[0] == results[1] == results[2]
    assert results[0]["LICENSE"] == b"ISC\n"
    assert b"each of 3 tags" in results[0]["README.md"]
    module, variables, labels = pretrained.load_musicnn(tmp_path / "out_0")
    assert labels == tuple(LABELS)
    outputs = jax.jit(module.apply)(variables, np.zeros((2, 187, 96), np.float32))
    assert outputs.logits.shape == (2, 3) and outputs.embedding.shape == (2, 6)


def test_import_musicnn_names_what_is_wrong_in_one_line(cache, tmp_path):
    out, files = f"--out={tmp_path / 'out'}", _package(checkpoints.tiny_musicnn())

    def line(changed, *flags):
        source = _wheel(tmp_path / "package.whl", {**files, **changed})
        return commands.fails(cache, "import_musicnn", source, out, *flags)

    text = tmp_path / "text.whl"
    text.write_text("no wheel")
    fails = commands.fails(cache, "import_musicnn", str(text), out)
    assert "text.whl: MSD_musicnn cannot be read (it is no wheel" in fails
    assert "absent.whl" in commands.fails(cache, "import_musicnn", "absent.whl", out)
    assert "give one wheel" in commands.fails(cache, "import_musicnn", out)
    assert "it has no MTT_musicnn/.index" in line({}, "--model=MTT_musicnn")
    fails = commands.fails(cache, "import_musicnn", str(text), "--model=MTT_musicnn")
    assert "--out is not set" in fails
    code = {"musicnn/configuration.py": b"MSD_LABELS = ['rock']\n"}
    assert "1 labels for 3 outputs" in line(code)
    for text in (b"MSD_LABELS = 3", b"", b"MSD_LABELS = [open('x')]", b"no python"):
        assert "cannot be read" in line({"musicnn/configuration.py": text})
    assert "is cut off" in line({"musicnn/MSD_musicnn/.index": b"short"})
    data = files["musicnn/MSD_musicnn/.data-00000-of-00001"]
    assert "not in the data file" in line({"musicnn/MSD_musicnn/.data-00000-of-00001": data[:-1]})
    tensors = checkpoints.tiny_musicnn()
    tensors["conv2d_6/bias"] = np.zeros(9, np.float32)
    index, data = checkpoints.write(tensors)
    changed = {
        "musicnn/MSD_musicnn/.index": index,
        "musicnn/MSD_musicnn/.data-00000-of-00001": data,
    }
    assert "params/middle_2/conv/bias is (9,), not (5,)" in line(changed)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.skipif(not WHEEL, reason="MGR_JAX_MUSICNN_WHEEL is not set")
def test_the_wheel_gives_the_files_of_the_package_byte_for_byte(cache, tmp_path):
    commands.run(cache, "import_musicnn", WHEEL, f"--out={tmp_path / 'msd'}")
    assert _contents(tmp_path / "msd") == _contents(pretrained.FOLDER / "musicnn")
    flags = ("--model=MTT_musicnn", f"--out={tmp_path / 'mtt'}")
    commands.run(cache, "import_musicnn", WHEEL, *flags)
    module, variables, labels = pretrained.load_musicnn(tmp_path / "mtt")
    assert "harpsichord" in labels and len(labels) == 50
    seconds = np.arange(60_000) / frontend.SAMPLE_RATE
    tone = np.sin(2 * np.pi * 440 * seconds).astype(np.float32)
    outputs = jax.jit(module.apply)(variables, frontend.windows(tone))
    assert outputs.logits.shape == (1, 50) and np.isfinite(outputs.logits).all()

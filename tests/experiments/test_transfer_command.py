"""Transfer from MusiCNN to a folder of songs, through the command line."""

import numpy as np
import pytest
import soundfile

from experiments.webpage import about, answer, spectrogram
from mgr_jax import predictor
from tests.experiments import commands

RATE = 16_000
CONFIG = "experiments/configs/musicnn.py"


@pytest.fixture(scope="module", name="root")
def _root(tmp_path_factory):
    """Ten songs of four seconds in each of two classes: chords that are struck, and noise."""
    root, random = tmp_path_factory.mktemp("songs"), np.random.default_rng(0)
    time = np.arange(4 * RATE) / RATE
    for number in range(10):
        pitch = 220 * random.uniform(1, 2)
        chord = sum(np.sin(2 * np.pi * pitch * ratio * time) for ratio in (1, 1.25, 1.5))
        struck = 0.2 * chord * np.exp(-4 * (time % 0.5))
        noise = 0.1 * random.normal(size=len(time)) * (time % random.uniform(0.3, 0.6) < 0.1)
        for label, song in (("chords", struck), ("noise", noise)):
            (root / label).mkdir(exist_ok=True)
            soundfile.write(root / label / f"{number}.wav", song, RATE)
    return root


@pytest.mark.e2e
def test_all_commands_take_the_embedding_of_musicnn(cache, root, tmp_path):
    data = (
        "--config.data.name=folder",
        f"--config.data.root={root}",
        "--config.data.protocol=holdout",
        "--config.data.clip_seconds=4",
        "--config.data.num_workers=1",
    )
    for name in ("logistic", "svm", "lda"):
        workdir = f"--workdir={tmp_path / name}"
        out, _ = commands.run(cache, "train", f"--config={CONFIG}:{name}", *data, workdir)
        assert "x 400 to train on" in out
        out, _ = commands.run(cache, "evaluate", workdir)
        assert "accuracy 100.0 %" in out
    folds = tmp_path / "folds"
    for config in ("musicnn.py:lda", "logistic.py"):
        out, _ = commands.run(
            cache, "cross_validate", f"--config=experiments/configs/{config}", *data,
            f"--workdir={folds / config}", "--protocols=kfold", "--seeds=1",
            "--config.data.num_folds=2",
        )  # fmt: skip
        assert "n = 20" in out
    sides = ",".join(str(path / "kfold" / "seed0") for path in sorted(folds.iterdir()))
    out, _ = commands.run(cache, "compare", f"--workdirs={sides}")
    assert "20 tracks" in out and "verdict" in out
    commands.run(cache, "audit", f"--config={CONFIG}", *data)

    bundle, song = tmp_path / "model.safetensors", root / "noise" / "3.wav"
    for name in ("svm", "logistic"):
        flags = (f"--workdir={tmp_path / name}", "--format=bundle", f"--output={bundle}")
        commands.run(cache, "export", *flags)
        out, _ = commands.run(cache, "predict", f"--workdir={bundle}", song)
        assert "noise" in out.splitlines()[1]
    output = f"--output={tmp_path / 'exported'}"
    workdir = f"--workdir={tmp_path / 'lda'}"
    line = commands.fails(cache, "export", workdir, "--format=stablehlo", output)
    assert "export a bundle" in line
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.touch()
    workdir, env = f"--workdir={tmp_path / 'logistic'}", f"--onnx_env={tmp_path}"
    line = commands.fails(cache, "export", workdir, "--format=onnx", output, env)
    assert "use --format=bundle or --format=stablehlo" in line

    loaded = predictor.load(str(bundle))
    waveform, _ = soundfile.read(song, dtype="float32")
    assert "embedding of MusiCNN" in about.behind(loaded)
    assert "noise" in answer.song("3.wav", loaded.predict(song), waveform, loaded, tags={})
    assert spectrogram.decibels(waveform, loaded.config.features).shape[1] == 96
    loaded.decoders.close()

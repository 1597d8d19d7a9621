"""Runs the exported model in the folder of this file: `python run.py SONG.wav`.

Needs numpy, soundfile and soxr, and jax for StableHLO or onnxruntime for ONNX, but not mgr_jax.
"""

import hashlib
import json
import pathlib
import sys

import numpy as np
import soundfile
import soxr

HERE = pathlib.Path(__file__).parent


def load_model():
    """Return the content of `model.json` and the function from windows to probabilities."""
    facts = json.loads((HERE / "model.json").read_text(encoding="utf-8"))
    blob = (HERE / facts["file"]).read_bytes()
    if hashlib.sha256(blob).hexdigest() != facts["sha256"]:
        sys.exit(f"{facts['file']} is damaged; export it again")
    if facts["format"] == "stablehlo":
        from jax import export

        exported = export.deserialize(bytearray(blob))
        return facts, lambda *inputs: np.asarray(exported.call(*inputs))
    import onnxruntime

    session = onnxruntime.InferenceSession(blob, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return facts, lambda *inputs: session.run(None, dict(zip(names, inputs, strict=True)))[0]


def windows(waveform, length):
    """Return consecutive windows [W, length], the last at the end, and their valid samples [W]."""
    last = max(0, len(waveform) - length)
    pieces = [waveform[start : start + length] for start in [*range(0, last, length), last]]
    padded = [np.pad(piece, (0, length - len(piece))) for piece in pieces]
    return np.stack(padded), np.array([len(piece) for piece in pieces], np.int32)


def main(path):
    """Print the probability of each label, highest first."""
    facts, model = load_model()
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    waveform = soxr.resample(samples.mean(axis=1), rate, facts["sample_rate"], quality="HQ")
    pieces, num_samples = windows(waveform, facts["window_samples"])
    inputs = {"waveform": pieces, "num_samples": num_samples}
    rows = [
        model(*(inputs[name][row : row + 1] for name in facts["inputs"]))[0]
        for row in range(len(pieces))
    ]
    mean = np.log(np.maximum(np.array(rows, np.float64), 1e-38)).mean(axis=0)
    probabilities = np.exp(mean) / np.exp(mean).sum()
    for index in np.argsort(-probabilities):
        print(f"{probabilities[index]:.4f}  {facts['labels'][index]}")


if __name__ == "__main__":
    main(sys.argv[1])

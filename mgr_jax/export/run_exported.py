"""Runs the exported model in the folder of this file: `python run.py SONG`.

Needs numpy, soundfile and soxr, and jax for StableHLO or onnxruntime for ONNX, but not mgr_jax.
m4a and other formats that libsndfile does not read need ffmpeg.
"""

import hashlib
import json
import pathlib
import sys

import numpy as np

HERE = pathlib.Path(__file__).parent


def load_model():
    """Return the content of `model.json` and the function from windows to probabilities."""
    try:
        facts = json.loads((HERE / "model.json").read_text(encoding="utf-8"))
        if facts.pop("checksum") != checksum(facts):
            raise ValueError
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        sys.exit("model.json is damaged; export it again")
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


def checksum(facts):
    """Return the SHA-256 of the content of `model.json` without its own."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def windows(waveform, length):
    """Return consecutive windows [W, length], the last at the end, and their valid samples [W]."""
    last = max(0, len(waveform) - length)
    pieces = [waveform[start : start + length] for start in [*range(0, last, length), last]]
    return np.stack([fill(piece, length) for piece in pieces]), np.array(
        [len(piece) for piece in pieces], np.int32
    )


def fill(piece, length):
    """Return the piece repeated to `length`; if at most 1 % is missing, zeros follow it."""
    if length - len(piece) <= 0.01 * length:
        return np.pad(piece, (0, length - len(piece)))
    return np.resize(piece, length)


def printable(name):
    """Return a name as data: nothing in it controls the terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in name)


def main(path):
    """Print the probability of each label, highest first, and sets; return the exit status."""
    from decoding import audio  # The modules beside this file.

    shown = printable(str(path))
    facts, model = load_model()
    rate = facts["sample_rate"]
    try:
        waveform, note = audio.decode(path, sample_rate=rate)
    except audio.AudioError as error:
        print(f"{shown}: {printable(str(error))}", file=sys.stderr)
        return 1
    frame = facts["config"]["features"]["n_fft"]
    if len(waveform) < frame:
        tiny = f"uncertain, shorter than a frame: {len(waveform)} of {frame} samples at {rate} Hz"
        note = "; ".join(filter(None, (note, tiny)))
    if note:
        print(f"{shown}: {printable(note)}", file=sys.stderr)
    pieces, num_samples = windows(waveform, facts["window_samples"])
    inputs = {"waveform": pieces, "num_samples": num_samples}
    rows = [
        model(*(inputs[name][row : row + 1] for name in facts["inputs"]))[0]
        for row in range(len(pieces))
    ]
    mean = np.log(np.maximum(np.array(rows, np.float64), 1e-38)).mean(axis=0)
    probabilities = np.exp(mean) / np.exp(mean).sum()
    if not np.isfinite(probabilities).all():
        print(f"{shown}: gives probabilities that are not finite", file=sys.stderr)
        return 1
    order = np.argsort(-probabilities)
    for index in order:
        print(f"{probabilities[index]:.4f}  {printable(facts['labels'][index])}")
    for coverage, least in facts["sets"].items():
        held = np.log(probabilities) >= least
        names = [facts["labels"][index] for index in order if held[index] or index == order[0]]
        print(f"set of {100 * float(coverage):g} %: {printable(', '.join(names))}")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python run.py SONG")
    sys.exit(main(sys.argv[1]))

"""Plant a "horse": write a data set in which a tone gives one class away.

    python -m experiments.plant_tone --config=experiments/configs/logistic.py --out=DIR

writes the clips as WAV files and `DIR/manifest.csv` with the split of the config. Every clip of
`--label` has a tone of `--hertz`, `--db` below the level of its music. A system that is trained on
it (`--config.data.name=manifest --config.data.root=DIR/manifest.csv`) may recognise the class by
the tone alone, as the horse Clever Hans did sums (Sturm 2014, doi 10.1109/TMM.2014.2330697), which
`evaluate --deform=lowpass` brings to light.
"""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags

from experiments import command

_CONFIG = command.define_config()
_OUT = flags.DEFINE_string("out", None, "Folder of the clips and their manifest.", required=True)
_LABEL = flags.DEFINE_string("label", "pop", "Class with the tone.")
_HERTZ = flags.DEFINE_float("hertz", 9000.0, "Frequency of the tone.", 1.0)
_DB = flags.DEFINE_float("db", -20.0, "Its level against that of the music, in decibels.")


def main(argv: Sequence[str]) -> command.Ending:
    """Write the clips and the manifest; return how it ended."""
    command.refuse_arguments(argv)
    config = command.read_config(_CONFIG)

    from mgr_jax.data import clips as clips_lib
    from mgr_jax.data import dataset as dataset_lib

    if not abs(_DB.value) < np.inf:
        raise command.UserError(f"--db {_DB.value:g}: give a number of decibels, such as -20")
    dataset = dataset_lib.open_dataset(config)
    if not isinstance(dataset.clips, clips_lib.Clips):
        raise command.UserError(
            f"--config: data.root of {dataset.catalog.name} holds no audio; give data with audio"
        )
    if _LABEL.value not in dataset.catalog.labels:
        raise command.UserError(
            f"--label {_LABEL.value!r} is unknown; give one of {', '.join(dataset.catalog.labels)}"
        )
    if not _HERTZ.value < config.features.sample_rate / 2:
        raise command.UserError(
            f"--hertz {_HERTZ.value:g}: must be below half of features.sample_rate"
        )
    manifest = command.output_file("out", str(pathlib.Path(_OUT.value) / "manifest.csv"))
    write(dataset, manifest, label=_LABEL.value, hertz=_HERTZ.value, decibels=_DB.value)
    print(f"manifest  {manifest}")
    flag = f"--config.data.root={manifest}"
    system = ("--config=logistic", "--config.data.name=manifest", flag)
    return command.Ending(0, ("train", *system, "--workdir=DIR"))


def write(
    dataset: Any, manifest: pathlib.Path, *, label: str, hertz: float, decibels: float
) -> None:
    """Write the readable clips of a data set beside `manifest`, which lists them with their split.

    Args:
      dataset: a `data.dataset.Dataset` with audio.
      manifest: the CSV file.
      label: class whose clips have the tone.
      hertz, decibels: its frequency, and its level against the RMS of the music.
    """
    import soundfile

    from mgr_jax.data.catalog import PARTS
    from mgr_jax.files import csv_text, write_whole

    store = dataset.clips
    part_of = {name: part for part in PARTS for name in getattr(dataset.split, part)}
    rows = []
    for number, track in enumerate(dataset.catalog.tracks):
        if track.id not in store.row:
            continue
        row = store.row[track.id]
        waveform = store.waveform(row, 0, store.records[row].length)
        if track.label == label:
            waveform = with_tone(waveform, store.sample_rate, hertz=hertz, decibels=decibels)
        path = manifest.parent / "audio" / f"{number:05d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, waveform, store.sample_rate, subtype="PCM_16")
        part = part_of.get(track.id, "")
        name = path.relative_to(manifest.parent)
        rows.append([name, track.label, track.id, track.artist, track.recording, part])
    head = ["path", "label", "id", "artist", "recording", "split"]
    write_whole(manifest, csv_text(head, rows))


def with_tone(
    waveform: np.ndarray, sample_rate: int, *, hertz: float, decibels: float
) -> np.ndarray:
    """Return a waveform float32 [T] with a tone, `decibels` above its RMS, and peaks within +-1."""
    level = np.sqrt(2 * np.mean(np.square(waveform))) * 10 ** (decibels / 20)
    time = np.arange(waveform.size) / sample_rate
    mixed = waveform + level * np.sin(2 * np.pi * hertz * time)
    return (mixed / max(1.0, float(np.abs(mixed).max()))).astype(np.float32)


if __name__ == "__main__":
    command.run(main)

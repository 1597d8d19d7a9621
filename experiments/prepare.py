"""Decodes and checks a data set ahead of time: `python -m experiments.prepare --config=FILE`.

`--verify` compares the files with the checksums of `data.facts`; `--wav=DIR` writes the clips as
WAV files in class folders, which `data.name=folder` reads: so the embedded band can be heard.
"""

import hashlib
import pathlib
from collections.abc import Sequence

from absl import flags

from experiments import command

_CONFIG = command.define_config()
_VERIFY = flags.DEFINE_bool("verify", False, "Compare files with the checksums of data.facts.")
_WAV = flags.DEFINE_string("wav", None, "Folder to write the clips to, as <class>/<id>.wav.")


def main(argv: Sequence[str]) -> int:
    """Returns 1 if `--verify` finds a file that is not the published one."""
    command.refuse_arguments(argv)
    config = command.read_config(_CONFIG)

    from mgr_jax.data import dataset as dataset_lib
    from mgr_jax.data import gtzan

    if _VERIFY.value and not config.data.facts:
        raise command.UserError("data.facts is empty; --verify needs a CSV with track_id and md5")
    known = gtzan.read_checksums(config.data.facts) if _VERIFY.value else {}
    catalog, clips = dataset_lib.open_catalog(config)
    print(dataset_lib.describe_clips(catalog, clips))
    print(f"store     {clips.folder} ({clips.samples.nbytes / 1e6:.0f} MB)")
    if _WAV.value:
        _write_wavs(catalog, clips, pathlib.Path(_WAV.value))
    return _verify(catalog.tracks, known) if _VERIFY.value else 0


def _write_wavs(catalog, clips, folder: pathlib.Path) -> None:
    import soundfile

    written = 0
    try:
        for track in catalog.tracks:
            if track.id not in clips.row:
                continue
            row = clips.row[track.id]
            name = track.id.replace("/", "_").removesuffix(".wav") + ".wav"
            path = folder / track.label / name
            path.parent.mkdir(parents=True, exist_ok=True)
            waveform = clips.waveform(row, 0, clips.records[row].length)
            waveform = waveform / max(1.0, clips.records[row].scale)
            soundfile.write(path, waveform, clips.sample_rate, subtype="PCM_16")
            written += 1
    except OSError as error:
        raise command.UserError(f"--wav {folder}: cannot be written ({error.strerror})") from error
    print(f"wav       {written} clips in {folder}")


def _verify(tracks, known: dict[str, str]) -> int:
    """Prints every file that is not the published one."""
    wrong = unknown = 0
    for track in tracks:
        if track.id not in known:
            unknown += 1
            continue
        try:
            with open(track.path, "rb") as file:
                found = hashlib.file_digest(file, "md5").hexdigest()
        except OSError as error:
            found = error.strerror
        if found != known[track.id]:
            wrong += 1
            print(f"          {track.path}: MD5 is {found}, published {known[track.id]}")
    same = len(tracks) - wrong - unknown
    print(f"verify    {same} file(s) as published, {wrong} differ, {unknown} without a checksum")
    return 1 if wrong else 0


if __name__ == "__main__":
    command.run(main)

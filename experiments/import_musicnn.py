"""Turn the TensorFlow weights of the `musicnn` package into a model of this package.

    pip download --no-deps musicnn==0.1.0
    python -m experiments.import_musicnn musicnn-0.1.0-py3-none-any.whl
    python -m experiments.import_musicnn WHEEL --model=MTT_musicnn --out=DIR

It takes the wheel, the source archive or an unpacked one, needs no TensorFlow, and gives the same
bytes every time. Without `--out` it writes `mgr_jax/pretrained/musicnn`, as committed.
"""

import ast
import fnmatch
import lzma
import pathlib
import tarfile
import zipfile
import zlib
from collections.abc import Sequence

from absl import flags

from experiments import command

# Model -> ROC-AUC and PR-AUC that the package states in `experiment.result`, and what the tags are.
_MODELS = {
    "MSD_musicnn": (
        "0.880 and 0.289",
        "the 50 commonest tags of Last.fm for the songs of the Million Song Dataset: genres, moods,"
        "\n  decades, voices and instruments, as listeners wrote them",
    ),
    "MTT_musicnn": (
        "0.907 and 0.383",
        "the 50 commonest tags of MagnaTagATune: instruments, voices, genres and moods, as the"
        "\n  players of a game wrote them",
    ),
}

_CARD = """\
# {model}

A tagger of music: windows of 3 s -> an independent probability for each of {num_tags} tags
(`labels.txt`), and an embedding of {num_units} values for other classifiers.

- **Source**: package `musicnn` 0.1.0 on PyPI, by Jordi Pons, Music Technology Group, Universitat
  Pompeu Fabra. Licence: ISC, in `LICENSE`.
- **Paper**: J. Pons and X. Serra, "musicnn: Pre-trained convolutional neural networks for music
  audio tagging", 2019, arXiv 1909.06654.
- **Tags**: {tags}.
  Several may hold at once. Probabilities follow how often a tag was given, so that even the
  largest is often below 50 %.
- **By its authors**: ROC-AUC and PR-AUC of {accuracy} on the authors' test part, as the
  package states; not measured again here.
- **Size**: {num_parameters} parameters and {num_averages} running averages in float32.
- **Input**: `mgr_jax.features.musicnn`: 16 kHz mono, 96 mel bands, 187 frames.
- **Made** from the TensorFlow checkpoint, with its values unchanged and without Adam's, by
  `python -m experiments.import_musicnn WHEEL --model={model}`.

```python
from mgr_jax import pretrained

module, variables, labels = pretrained.load_musicnn({argument})
outputs = module.apply(variables, windows)  # logits, embedding, pooled
```
"""

# Exceptions of archives that are cut off or garbled.
_DAMAGED = (
    ValueError,
    SyntaxError,
    OSError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    tarfile.TarError,
)

_MODEL = flags.DEFINE_enum("model", "MSD_musicnn", sorted(_MODELS), "Which weights.")
_OUT = flags.DEFINE_string("out", None, "Folder to write; the one in the package by default.")


def main(argv: Sequence[str]) -> command.Ending:
    """Read one package and write one folder; return how it ended."""
    if len(argv) != 2:
        raise command.UserError(
            "give one wheel, source archive or folder: python -m experiments.import_musicnn WHEEL"
        )
    source, model = argv[1], _MODEL.value

    import jax
    import safetensors.numpy

    from mgr_jax import pretrained
    from mgr_jax.files import write_whole
    from mgr_jax.models import musicnn_weights, tf_checkpoint
    from mgr_jax.tensors import flatten

    if _OUT.value is None and model != "MSD_musicnn":
        raise command.UserError(f"--out is not set; give the folder for {model}")
    folder = pathlib.Path(_OUT.value or pretrained.FOLDER / "musicnn")
    try:
        code, licence, index, data = _read(
            pathlib.Path(source),
            ("configuration.py", "LICENSE*", f"{model}/.index", f"{model}/.data-00000-of-00001"),
        )
        labels = _labels(code, f"{model.partition('_')[0]}_LABELS")
        tensors = tf_checkpoint.read(index, data)
        variables = musicnn_weights.from_tensorflow(tensors)
        module = musicnn_weights.make_module(variables)
        if len(labels) != module.num_tags:
            raise ValueError(f"{len(labels)} labels for {module.num_tags} outputs")
    except _DAMAGED as error:
        raise command.UserError(
            f"{source}: {model} cannot be read ({error}); get it with"
            " pip download --no-deps musicnn==0.1.0"
        ) from error

    def count(name: str) -> int:
        return sum(value.size for value in jax.tree.leaves(variables[name]))

    accuracy, tags = _MODELS[model]
    card = _CARD.format(
        model=model,
        argument="" if model == "MSD_musicnn" else "FOLDER",
        num_tags=len(labels),
        num_units=module.num_units,
        tags=tags,
        accuracy=accuracy,
        num_parameters=count("params"),
        num_averages=count("batch_stats"),
    )
    folder.mkdir(parents=True, exist_ok=True)
    # No metadata: safetensors writes it in any order.
    write_whole(folder / pretrained.WEIGHTS, safetensors.numpy.save(flatten(variables)))
    write_whole(folder / pretrained.LABELS, "".join(f"{label}\n" for label in labels))
    write_whole(folder / "LICENSE", licence)
    write_whole(folder / "README.md", card)
    print(f"imported  {model} from {source} into {folder}: {count('params')} parameters")
    model = "musicnn" if _OUT.value is None else folder
    return command.Ending(0, ("predict", f"--model={model}", "SONG.mp3"), on_host=True)


def _read(source: pathlib.Path, patterns: Sequence[str]) -> list[bytes]:
    """Return the file of each pattern from a folder or an archive, which is not unpacked."""
    if source.is_dir():
        names = sorted(path.relative_to(source).as_posix() for path in source.rglob("*"))
        return [(source / _match(pattern, names)).read_bytes() for pattern in patterns]
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as wheel:
            return [wheel.read(_match(pattern, wheel.namelist())) for pattern in patterns]
    if not tarfile.is_tarfile(source):
        raise ValueError("it is no wheel, no source archive and no folder")
    with tarfile.open(source) as archive:
        files = [member.name for member in archive.getmembers() if member.isfile()]
        return [archive.extractfile(_match(pattern, files)).read() for pattern in patterns]


def _match(pattern: str, names: Sequence[str]) -> str:
    matches = [name for name in names if fnmatch.fnmatchcase(f"/{name}", f"*/{pattern}")]
    if not matches:
        raise ValueError(f"it has no {pattern}")
    return min(matches, key=len)


def _labels(code: bytes, name: str) -> list[str]:
    """Return the list of texts assigned to `name` in `code`, which is not executed."""
    for node in ast.parse(code).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == name:
            labels = ast.literal_eval(node.value)
            if not isinstance(labels, list) or not all(isinstance(x, str) for x in labels):
                break
            return labels
    raise ValueError(f"configuration.py has no list {name}")


if __name__ == "__main__":
    command.run(main)

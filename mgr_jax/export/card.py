"""The model card: a README.md in the format of the Hugging Face Hub."""

import json
from collections.abc import Mapping
from typing import Any

import yaml

from mgr_jax import config as config_lib
from mgr_jax import pretrained
from mgr_jax.escape import markdown, printable
from mgr_jax.evaluation import conformal
from mgr_jax.plural import plural
from mgr_jax.system import System, public_config
from mgr_jax.version import VERSION

_USE = """\
Meant for research and teaching on music genre recognition: to pre-sort a collection, to compare
with other systems, to inspect predictions over time. Not meant for decisions on people or money:
no royalties, no moderation, no claims on who made a recording or where it is from."""

_SYNTHETIC = """\
- The training data are synthetic: a procedural band that plays ten genres. The accuracy on real
  recordings is not measured; do not rely on it.
"""

_LIMITS = """\
- Genres are a convention. The labels are those of the data set; a song of no such genre still gets
  one of them, and a song of two genres gets one.
- The accuracy below holds for tracks like those of the test part. Other collections, other years,
  live recordings, speech and noise are not measured, and usually do worse.
- Artists, albums or recordings in several parts of a split raise the accuracy above that on new
  music; the protocol says which of them are kept apart.
- Probabilities are those of one network or classifier; without a fitted temperature they are not
  calibrated."""


_MUSICNN = f"""
## Licence of the front end

The input is the embedding of MusiCNN, by J. Pons (Music Technology Group, Universitat Pompeu
Fabra), under the ISC licence. Its text is in `{pretrained.MUSICNN_LICENSE}` beside an exported
model, in the header of a bundle, and in `mgr_jax/pretrained/musicnn/LICENSE`.
"""


def make_card(system: System, *, name: str) -> str:
    """Return the text of the card of a model called `name`."""
    config, name = system.config, printable(name)
    head = yaml.safe_dump(_metadata(system, name), sort_keys=False, allow_unicode=True, width=100)
    seconds = config_lib.window_length(config) / config.features.sample_rate
    split_seed = config_lib.split_seed(config.data)
    return f"""---
{head}---

# {markdown(name)}

{markdown(system.describe())}.

A `{config.model.name}` that reads {seconds:g} s of audio at a time at
{config.features.sample_rate} Hz as `{config.features.kind}` and gives a probability for each of
{len(system.labels)} genres: {", ".join(map(markdown, system.labels))}. A track is classified by the
mean over its windows.

## Results

{_results(system)}

## Intended use

{_USE}

## Limits

{_SYNTHETIC if config.data.name == "band" else ""}{_LIMITS}

## Training

| | |
| --- | --- |
| data | `{config.data.name}` |
| protocol | `{system.facts["protocol"]}`, fold {config.data.fold}, seed {split_seed} |
| hash of the data | `{system.facts.get("data_hash", "unknown")}` |
| hash of the split | `{system.facts.get("split_hash", "unknown")}` |
| checkpoint | step {system.step} |
| code | mgr_jax {VERSION}, commit `{system.facts.get("git_commit") or "unknown"}` |
| calibration | {_calibration(system)} |

{_MUSICNN if config.features.kind == "musicnn" else ""}
## How to use

```python
import mgr_jax

predictor = mgr_jax.load("model.safetensors")  # or the workdir of the training
prediction = predictor.predict("song.mp3")
print(prediction.label, prediction.probabilities)
```

## Config

```json
{json.dumps(public_config(config), indent=1)}
```
"""


def _metadata(system: System, name: str) -> dict[str, Any]:
    values: dict[str, Any] = {
        "library_name": "mgr_jax",
        "pipeline_tag": "audio-classification",
        "tags": ["audio", "music", "genre-recognition", "jax", system.config.model.name],
        "metrics": ["accuracy"],
    }
    if system.report is not None:
        result = {
            "task": {"type": "audio-classification", "name": "Music genre recognition"},
            "dataset": {
                "type": system.config.data.name,
                "name": str(system.report.get("data", system.config.data.name)),
                "split": "test",
                "config": system.report["protocol"],
            },
            "metrics": [
                {
                    "type": "accuracy",
                    "value": round(system.report["num_correct"] / system.report["n"], 4),
                    "name": system.describe().partition(": ")[2],
                }
            ],
        }
        values["model-index"] = [{"name": name, "results": [result]}]
    return values


def _results(system: System) -> str:
    report = system.report
    if report is None:
        return "Not evaluated: no accuracy of this checkpoint on a test part is known."
    accuracy = system.describe().partition(": ")[2]
    lines = [
        f"{accuracy[:1].upper()}{accuracy[1:]}: share of the test tracks that are"
        " recognised, with its 95 % intervals, number of tracks and protocol.",
    ]
    shared = [
        plural(len(report[field]), word)
        for field, word in (("shared_artists", "artist"), ("shared_recordings", "recording"))
        if isinstance(report.get(field), list)
    ]
    known = report.get("artists_known")
    crossing = report.get("shared_artists") or report.get("shared_recordings")
    if shared and known == 0 and not crossing:
        lines += ["", "Not known: whether artists stand in several parts of the split."]
    elif shared:
        unknown = report["n"] - known if isinstance(known, int) else 0
        unknown += report.get("learned_artists_unknown") or 0
        more = f"; the artists of {plural(unknown, 'track')} are not known" if unknown else ""
        lines += [
            "",
            f"Known to stand in several parts of the split: {' and '.join(shared)}{more}.",
        ]
    rows = report.get("per_class")
    rows = rows.items() if isinstance(rows, Mapping) else []
    numbers = [
        (name, [row.get(key) for key in ("precision", "recall", "f1", "support")])
        for name, row in rows
        if isinstance(row, Mapping)
    ]
    if numbers:
        lines += [
            "",
            "| genre | precision | recall | F1 | tracks |",
            "| --- | --- | --- | --- | --- |",
        ]
        for name, values in numbers:
            cells = [f"{v:.3f}" if isinstance(v, float) else str(v) for v in values]
            lines.append(f"| {markdown(str(name))} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _calibration(system: System) -> str:
    if system.temperature is None:
        return "none"
    text = f"temperature {system.temperature:.3f}, from tracks that it had not learned from"
    if system.calibration is None:
        return text
    rule = conformal.make_rule(system.calibration, 0.9, num_classes=len(system.labels))
    return f"{text}; {conformal.describe(system.calibration, rule)}"

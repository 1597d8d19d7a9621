"""The bundle: a trained system in one file of the safetensors format.

The tensors are the weights. The header has the other fields of the `System` as JSON under
`contract`, with a SHA-256 over both, and the licences that go with it. Nothing in the file is
executed: it holds numbers, names and a config, which is validated like any other.
"""

import json
import math
import os
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import safetensors
import safetensors.numpy

from mgr_jax import config as config_lib
from mgr_jax import pretrained
from mgr_jax import system as system_lib
from mgr_jax import tensors as tensors_lib
from mgr_jax.errors import UserError
from mgr_jax.escape import printable
from mgr_jax.evaluation import conformal
from mgr_jax.files import parse_json, write_whole
from mgr_jax.version import VERSION

FORMAT_VERSION = 1

# Far above any use, so that a hostile config cannot exhaust the memory.
_LARGEST = {
    "sample_rate": 1_000_000,
    "n_fft": 1 << 16,
    "n_mels": 1 << 11,
    "image_height": 1 << 13,
    "image_width": 1 << 13,
    "fmin": 1e6,
    "fmax": 1e6,
    "top_db": 1e6,
}
# Fields of a report that name files or folders.
_PRIVATE = ("skipped", "missing", "cross_validation")
_LONGEST_WINDOW = 1 << 27
_LEAST_HOP = 16
# Numbers of a filter bank, and of the spectrogram of a window, of which 16 are computed at once.
_MOST_VALUES = 1 << 25
_DAMAGED = (ValueError, TypeError, KeyError, RecursionError, OverflowError, MemoryError)


def write(path: str | os.PathLike, system: system_lib.System) -> None:
    """Write `system` to one file, atomically.

    Raises:
      OSError: if it cannot be written.
    """
    tensors = tensors_lib.flatten(_without_text(system.variables))
    contract = {
        "version": FORMAT_VERSION,
        "mgr_jax": VERSION,
        "config": system_lib.public_config(system.config),
        "labels": list(system.labels),
        "step": system.step,
        "window_samples": config_lib.window_length(system.config),
        "facts": system.facts,
        "report": system.report and {k: v for k, v in system.report.items() if k not in _PRIVATE},
        "temperature": system.temperature,
        "calibration": system.calibration and conformal.to_json(system.calibration),
    }
    contract["sha256"] = _digest(contract, tensors)
    header = {"format": "mgr_jax", "contract": json.dumps(contract)}
    licenses = pretrained.licenses(system.config.features.kind)
    write_whole(path, _sorted(safetensors.numpy.save(tensors, header | licenses)))


def _sorted(content: bytes) -> bytes:
    """Return a safetensors file with its metadata sorted: their order is random, file by file."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # Tensors begin at a multiple of 8.
    return len(text).to_bytes(8, "little") + text + content[start:]


def read(path: str | os.PathLike) -> system_lib.System:
    """Read a bundle.

    Raises:
      UserError: if the file is no bundle, or is damaged.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            contract = parse_json((file.metadata() or {})["contract"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return _system(os.fspath(path), contract, tensors)
    except (safetensors.SafetensorError, OSError, *_DAMAGED) as error:
        reason = f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else error
        raise UserError(
            f"{path}: is no bundle of experiments.export, or damaged"
            f" ({str(reason)[:200] or type(error).__name__}); export it again"
        ) from error


def _system(path: str, contract: Any, tensors: dict[str, np.ndarray]) -> system_lib.System:
    """Build the system; raise one of `_DAMAGED` if contract and tensors are inconsistent."""
    if not isinstance(contract, dict) or contract.get("version") != FORMAT_VERSION:
        raise ValueError(f"its version is not {FORMAT_VERSION}")
    if contract.get("sha256") != _digest(contract, tensors):
        raise ValueError("its checksum does not fit its content")
    config = _config(contract["config"], num_tensors=len(tensors))
    labels = contract["labels"]
    if (
        not isinstance(labels, list)
        or not all(isinstance(label, str) and label for label in labels)
        or len(set(labels)) < max(2, len(labels))
    ):
        raise ValueError("its labels are no list of different names")
    if any(label.strip() != label or not _is_plain(label) for label in labels):
        raise ValueError("a label has control characters or spaces around it")
    step, temperature, facts = (contract[name] for name in ("step", "temperature", "facts"))
    if not isinstance(step, int):
        raise TypeError("its step is no number")
    if not isinstance(facts, dict) or not _is_plain(facts.get("protocol")):
        raise TypeError("its protocol is no plain text")
    report = system_lib.checked_report(contract["report"], step)
    if report is not None and not _is_plain(report["protocol"]):
        raise TypeError("the protocol of its report is no plain text")
    if temperature is not None and not 0 < float(temperature) < math.inf:
        raise ValueError(f"its temperature is {temperature}")
    tracks = contract.get("calibration")  # Earlier versions wrote none.
    for name, value in tensors.items():
        if value.dtype.kind not in "fiu" or not np.isfinite(value).all():
            raise ValueError(f"tensor {name} holds values that are not finite numbers")
    return system_lib.System(
        path=path,
        config=config,
        labels=tuple(labels),
        step=step,
        variables=_variables(config, tensors, num_classes=len(labels)),
        facts=facts,
        report=report,
        temperature=temperature,
        run=None,
        calibration=tracks and conformal.from_json(tracks, num_classes=len(labels)),
    )


def _is_plain(value: Any) -> bool:
    return isinstance(value, str) and value == printable(value)


def _config(values: Any, *, num_tensors: int) -> config_lib.Config:
    try:
        config = config_lib.validate(config_lib.from_json(values))
    except UserError as error:
        raise ValueError(str(error)) from error
    for name, largest in _LARGEST.items():
        if getattr(config.features, name) > largest:
            raise ValueError(f"features.{name} is above {largest}")
    if config_lib.window_length(config) > _LONGEST_WINDOW:
        raise ValueError(f"a window is longer than {_LONGEST_WINDOW} samples")
    features, window = config.features, config_lib.window_length(config)
    if features.hop_length < _LEAST_HOP:
        raise ValueError(f"features.hop_length is below {_LEAST_HOP}")
    bins = features.n_fft // 2 + 1
    if features.n_mels * bins > _MOST_VALUES:
        raise ValueError("features.n_mels and features.n_fft make a filter bank that is too large")
    num_frames = window if config.data.name == "arrays" else window // features.hop_length + 1
    if num_frames * bins > _MOST_VALUES:
        raise ValueError("features.n_fft and features.hop_length make too many values of a window")
    if max(config.model.num_modules, config.model.num_layers) > num_tensors:
        raise ValueError("the model has more layers than the file has tensors")
    return config


def _variables(
    config: config_lib.Config, tensors: dict[str, np.ndarray], *, num_classes: int
) -> dict[str, Any]:
    """Return the model's variables; raise one of `_DAMAGED` if the tensors do not match them."""
    if config.model.name not in config_lib.NETWORKS:
        from mgr_jax.classical import scoring

        params = dict(tensors)
        if config.model.name == "svm":
            params["kernel"] = np.asarray(config.model.kernel)
        scoring.check_params(config, params, num_classes=num_classes)
        return params
    try:
        abstract = system_lib.abstract_variables(config, num_classes=num_classes)
    except UserError as error:
        raise ValueError(str(error)) from error
    expected = tensors_lib.flatten(abstract)
    if expected.keys() != tensors.keys():
        name = sorted(expected.keys() ^ tensors.keys())[0]
        raise ValueError(f"tensor {name} is missing or belongs to no layer")
    for name, value in expected.items():
        if (value.shape, value.dtype) != (tensors[name].shape, tensors[name].dtype):
            raise ValueError(f"tensor {name} does not fit its layer")
    leaves = [tensors[name] for name in expected]
    return jax.tree.unflatten(jax.tree.structure(abstract), leaves)


def _without_text(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Drop strings (the kernel's name, which the config has), and turn scalars into arrays."""
    return jax.tree.map(
        lambda value: np.asarray(value, order="C"),
        {
            name: value
            for name, value in variables.items()
            if not (isinstance(value, np.ndarray) and value.dtype.kind == "U")
        },
    )


def _digest(contract: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> str:
    rest = {name: value for name, value in contract.items() if name != "sha256"}
    return tensors_lib.digest(tensors, head=json.dumps(rest, sort_keys=True).encode())

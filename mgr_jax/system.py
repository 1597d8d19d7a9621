"""A trained system as a value: config, labels, weights and results."""

import dataclasses
import os
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mgr_jax import config as config_lib
from mgr_jax import parallel, snapshot, workdir
from mgr_jax.errors import UserError
from mgr_jax.evaluation.conformal import Calibration
from mgr_jax.features.frontend import fit_normalizer, make_frontend
from mgr_jax.files import parse_json
from mgr_jax.models import make_model
from mgr_jax.training import steps

# Fields of a workdir's `config.json` that go with the model.
_FACTS = ("data_hash", "split_hash", "versions", "git_commit")


@dataclasses.dataclass(frozen=True)
class System:
    """A trained system, loaded from a workdir or a bundle.

    Attributes:
      path: the workdir or bundle that it was loaded from.
      config: the config that it was trained with.
      labels: names of the classes, in the order of its outputs.
      step: step of the checkpoint; 0 for a system that is fitted in one call.
      variables: `params`, `batch_stats` and `normalizer` of a network, trees of arrays; for other
        systems a dict of arrays.
      facts: JSON values on its origin: versions, hashes of data and split, protocol.
      report: `report.json` of the test part for this checkpoint; None if not evaluated.
      temperature: divisor that calibrates log-probabilities; None if not fitted.
      calibration: tracks for sets of genres (`evaluation.conformal`); None if there are none.
      run: the workdir; None for a bundle.
      title: name of a system that comes with the package; else empty.
    """

    path: str
    config: config_lib.Config
    labels: tuple[str, ...]
    step: int
    variables: dict[str, Any]
    facts: dict[str, Any]
    report: dict[str, Any] | None
    temperature: float | None
    run: workdir.Run | None
    title: str = ""
    calibration: Calibration | None = None

    def describe(self) -> str:
        """Return one line with model, data, and the accuracy with n, interval and protocol."""
        from mgr_jax.evaluation import stats  # Imported here, since it takes long.

        system = self.title or f"{self.config.model.name} trained on {self.config.data.name}"
        if self.report is None:
            return f"{system}, protocol {self.facts['protocol']}: not evaluated"
        return f"{system}: accuracy {stats.describe(self.report, self.report['protocol'])}"


def public_config(config: config_lib.Config) -> dict[str, Any]:
    """Return `config` as JSON for publication, with paths reduced to their last component."""
    values = config_lib.to_json(config)
    for name in ("root", "cache", "facts"):
        values["data"][name] = pathlib.PurePath(values["data"][name]).name
    if config.data.root:
        values["data"]["root"] = values["data"]["root"] or "."
    return values


def load(path: str | os.PathLike, *, checkpoint_name: str = "best") -> System:
    """Load the checkpoint `best` (on the validation part), `latest` or of a step from a workdir.

    Raises:
      UserError: if it is no workdir, has no trained model, or cannot be read.
    """
    run = workdir.load(os.fspath(path))
    step, variables = _variables(run, checkpoint_name)
    facts = {name: run.record[name] for name in _FACTS if name in run.record}
    return System(
        path=str(path),
        config=run.config,
        labels=run.labels,
        step=step,
        variables=variables,
        facts=facts | {"protocol": run.split.protocol},
        report=_report(run, step),
        temperature=_calibrated(run, step, "load_temperature"),
        run=run,
        calibration=_calibrated(run, step, "load_tracks"),
    )


def make_log_probabilities(config: config_lib.Config, *, num_classes: int) -> steps.PredictStep:
    """Return front end and model of `config` as one pure function, for `jit` and `jax.export`.

    It takes variables and a batch of windows, and returns log-probabilities [B, C].

    Raises:
      UserError: if the model is computed in NumPy, as support vector machines are.
    """
    if config.model.name in config_lib.NETWORKS:
        model = make_model(config.model, num_classes=num_classes)
        return steps.make_predict_step(
            make_frontend(config.features),
            config.features,
            model,
            precision=config.train.matmul_precision,
        )
    if config.model.name != "logistic":
        raise UserError(
            f"model.name {config.model.name}: is computed in NumPy, not in JAX; export a bundle"
        )
    from mgr_jax.classical import logistic, transfer

    vectors = transfer.make_vectors(config.features)
    return lambda variables, batch: logistic.log_probabilities(
        variables, vectors(batch["waveform"], None, batch["num_samples"])
    )


def abstract_variables(config: config_lib.Config, *, num_classes: int) -> dict[str, Any]:
    """Return shapes and types of a network's `System.variables`, without computing them."""

    def init() -> dict[str, Any]:
        waveform = jnp.zeros((1, *config_lib.window_shape(config)))
        normalizer = fit_normalizer(config.features, [(waveform, None)])
        inputs = make_frontend(config.features)(waveform, normalizer)
        variables = make_model(config.model, num_classes=num_classes).init(
            jax.random.key(0), inputs
        )
        return {
            "params": variables["params"],
            "batch_stats": variables.get("batch_stats", {}),
            "normalizer": normalizer,
        }

    return jax.eval_shape(init)


def compiled(system: System) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    """Return the function from a batch of windows to log-probabilities [B, C], on all devices.

    The batch has `waveform` [B, T] and `num_samples` [B], and `scale` [B] if the waveform is int16
    (`steps.to_float32`); B must be a multiple of the number of devices.
    """
    if system.config.model.name not in config_lib.NETWORKS:
        from mgr_jax.classical import scoring

        return scoring.make_predict(system.config, system.variables)
    mesh = parallel.make_mesh()
    function = make_log_probabilities(system.config, num_classes=len(system.labels))
    step = parallel.jit_predict_step(function, mesh)
    variables = parallel.replicate(system.variables, mesh)

    def predict(batch: dict[str, np.ndarray]) -> np.ndarray:
        names = ("waveform", "scale", "num_samples")
        inputs = {name: batch[name] for name in names if name in batch}
        return np.asarray(step(variables, parallel.shard(inputs, mesh)))

    return predict


def _variables(run: workdir.Run, checkpoint_name: str) -> tuple[int, dict[str, Any]]:
    if run.config.model.name not in config_lib.NETWORKS:
        from mgr_jax.classical import fitting

        if checkpoint_name not in ("best", "latest"):
            raise UserError(
                f"checkpoint_name {checkpoint_name}: {run.config.model.name} has one model only;"
                " leave it out"
            )
        return 0, fitting.load_params(run)
    copy = snapshot.read(run, checkpoint_name)
    if copy is not None:
        return copy
    from mgr_jax.training import checkpoint, network  # Imported here, since they take long.

    source = snapshot.source(run)
    init = network.make_network(run.config, num_classes=len(run.labels)).init
    abstract = parallel.abstract(jax.eval_shape(init), parallel.make_mesh())
    step, state = checkpoint.restore(
        run.path, checkpoint_name, abstract, lambda text: print(text, file=sys.stderr)
    )
    variables = jax.device_get(state.variables())
    snapshot.write(run, checkpoint_name, source, step, variables)
    return step, variables


def _report(run: workdir.Run, step: int) -> dict[str, Any] | None:
    """Return the report on the test part, or None if there is none of this checkpoint."""
    try:
        text = pathlib.Path(run.path, "eval", "test", "report.json").read_text(encoding="utf-8")
        return checked_report(parse_json(text), step)
    except (OSError, ValueError):
        return None


def _calibrated(run: workdir.Run, step: int, name: str) -> Any:
    """Return what the function `name` of `calibration` reads for a checkpoint."""
    if not (run.path / "eval" / "temperature.json").exists():
        return None
    from mgr_jax.evaluation import calibration  # Imported here, since it takes long.

    return getattr(calibration, name)(run.path, checkpoint_step=step)


def checked_report(report: Any, step: int) -> dict[str, Any] | None:
    """Return `report` if it is a valid report on the checkpoint `step`, else None."""
    if not isinstance(report, dict) or report.get("checkpoint_step") != step:
        return None
    correct, n = report.get("num_correct"), report.get("n")
    valid = isinstance(correct, int) and isinstance(n, int) and 0 <= correct <= n and n > 0
    ends = report.get("ci95") or [0.0, 0.0]
    valid &= isinstance(ends, list) and [type(end) for end in ends] == [float, float]
    return report if valid and isinstance(report.get("protocol"), str) else None

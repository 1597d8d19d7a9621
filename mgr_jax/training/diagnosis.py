"""What the first epochs say of a training that fails: the symptom, and the usual reasons for it.

A network that outputs the shares of the classes, whatever it hears, has the loss of guessing: the
entropy of these shares, ln C if they are equal. Losses are held against it.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mgr_jax import config as config_lib
from mgr_jax import workdir as workdir_lib
from mgr_jax.config_sections import has_batch_norm
from mgr_jax.data import batches
from mgr_jax.models.layers import settling_momentum
from mgr_jax.plural import plural
from mgr_jax.training.epoch import Job

Records = Sequence[dict[str, Any]]

_FIRST_EPOCHS = 20
# Nats above the loss of guessing: the true classes get a seventh of the probability of a guess.
_EXPLODED = 2.0
# Shares of the loss of guessing: below the first one a part counts as learned, above the second
# as not learned at all.
_LEARNED, _NOT_LEARNED = 0.8, 0.97
# A training loss that stays this close to guessing for so long. Networks without normalisation take
# up to 70 steps before they start to learn.
_FLAT, _FLAT_STEPS, _FEW_STEPS = 0.99, 100, 400
# Epochs before losses that do not fall are a symptom.
_PATIENCE = 5
# Share of the initial running averages of batch normalisation that does not spoil the scores any
# more, and the share of a run in which they have to settle: 0.23 of it with the default momentum.
_INITIAL_SHARE, _SETTLING_SHARE = 0.1, 0.3
# An audible window reaches further than this from its lowest to its highest value.
_SILENT, _SILENT_SHARE, _NUM_WINDOWS = 1e-3, 0.1, 64
# Fewer windows in a batch, or longer ones, are unusual for a small collection.
_FEW_WINDOWS, _LONG_SECONDS = 4, 10.0


@dataclasses.dataclass(frozen=True)
class Guess:
    """The scores of guessing by the shares of the classes.

    Attributes:
      train_loss, valid_loss: in nats; that of validation is NaN without such a part.
      valid_accuracy: the largest that is within two standard errors of guessing.
    """

    train_loss: float
    valid_loss: float = math.nan
    valid_accuracy: float = math.nan


def warning(job: Job) -> str:
    """Return a line about the epoch just recorded in the workdir of `job`; empty for most.

    At most one epoch of a run has a line, however often the run is resumed.
    """
    records = workdir_lib.read_metrics(job.run.path)
    if not 1 < len(records) <= _FIRST_EPOCHS:
        return ""
    config, parts = job.config, job.dataset.parts
    labels = (parts["train"].labels, parts["valid"].labels)
    guess = guess_scores(config.optim, *labels, num_classes=len(job.dataset.catalog.labels))
    symptoms = (symptom(config, records[:n], guess) for n in range(2, len(records) + 1))
    seen = [name for name in symptoms if name]
    if len(seen) != 1 or not symptom(config, records, guess):
        return ""
    reasons = usual_reasons(
        config,
        seen[0],
        step=records[-1]["step"],
        steps_per_epoch=job.steps_per_epoch,
        silent_share=_silent_share(parts["train"], job.window),
    )
    return f"warning   {describe(seen[0], records[-1], guess)}; usual reasons: {'; '.join(reasons)}"


def guess_scores(
    optim: config_lib.Optim,
    train_labels: np.ndarray,
    valid_labels: np.ndarray,
    *,
    num_classes: int,
) -> Guess:
    """Return the scores of guessing the labels [N] of both parts, the loss being that of `optim`.

    With class weights every class counts alike in training, so that guesses are even.
    """
    uniform = np.full(num_classes, 1 / num_classes)
    share = uniform
    if not optim.class_weights:
        share = np.bincount(train_labels, minlength=num_classes) / len(train_labels)
    smooth = (1 - optim.label_smoothing) * share + optim.label_smoothing * uniform
    surprise = -np.log(np.maximum(smooth, 1e-12))
    train_loss = float(smooth @ surprise)
    if not len(valid_labels):
        return Guess(train_loss)
    chance = float(np.bincount(valid_labels).max() / len(valid_labels))
    error = math.sqrt(chance * (1 - chance) / len(valid_labels))
    return Guess(train_loss, float(surprise[valid_labels].mean()), chance + 2 * error)


def symptom(config: config_lib.Config, records: Records, guess: Guess) -> str:
    """Return how the training fails at the last of `records`, or nothing.

    `diverges` and `explodes`: the training or validation loss is far above guessing in the last two
    epochs and in most. `chance`: the training part is being learned, the validation part has been
    at chance for five epochs. `flat`: the training loss does not fall for a hundred steps, or for
    the whole run. Epochs in which averages of batch normalisation settle do not count as scores of
    the validation part, if they settle in time.
    """
    if len(records) < 2:
        return ""
    last, train = records[-1], [record["train_loss"] for record in records]
    settled = _settled_epoch(config, last["step"] / last["epoch"])
    if settled > max(_PATIENCE, _SETTLING_SHARE * config.train.num_epochs):
        settled = 0
    scored = [r for r in records if "valid_loss" in r and r["epoch"] >= settled]
    valid = [record["valid_loss"] for record in scored]
    for name, losses, guessed in (
        ("diverges", train, guess.train_loss),
        ("explodes", valid, guess.valid_loss),
    ):
        above = [loss > guessed + _EXPLODED for loss in losses]
        if len(above) > 1 and all(above[-2:]) and 2 * sum(above) > len(above):
            return name
    if len(valid) >= _PATIENCE and train[-1] < _LEARNED * guess.train_loss:
        accuracy = np.mean([record["valid_accuracy"] for record in scored[-3:]])
        if min(valid) > _NOT_LEARNED * guess.valid_loss and accuracy <= guess.valid_accuracy:
            return "chance"
    num_epochs = len(records) - config.optim.warmup_epochs
    is_late = num_epochs >= _PATIENCE and last["step"] >= _FLAT_STEPS
    if min(train) > _FLAT * guess.train_loss and (
        is_late or last["epoch"] == config.train.num_epochs
    ):
        return "flat"
    return ""


def describe(name: str, record: dict[str, Any], guess: Guess) -> str:
    """Return the sentence about a symptom at the epoch of `record`."""
    epoch, train = f"after epoch {record['epoch']}", f"{record['train_loss']:.2f}"
    if name in ("diverges", "flat"):
        still = "still " if name == "flat" else ""
        return f"{epoch} the training loss is {still}{train}; guessing has {guess.train_loss:.2f}"
    valid = f"{record['valid_loss']:.2f}; guessing has {guess.valid_loss:.2f}"
    if name == "explodes":
        return f"{epoch} the validation loss is {valid}"
    return f"{epoch} the training loss is {train}, but the validation loss {valid}"


def usual_reasons(
    config: config_lib.Config,
    name: str,
    *,
    step: int,
    steps_per_epoch: int,
    silent_share: float = 0.0,
) -> Iterator[str]:
    """Yield the usual reasons for a symptom with this config, each with the flag to try.

    Args:
      config: config of the run. name: its symptom.
      step: steps taken. steps_per_epoch: those of an epoch.
      silent_share: share of the training windows in which nothing is heard.
    """
    optim = config.optim
    if name in ("explodes", "chance"):
        yield from _batch_norm(config, step=step, steps_per_epoch=steps_per_epoch)
    rates = [optim.learning_rate / 3, optim.learning_rate * 3][: 1 + (name == "flat")]
    if name == "diverges":
        rates = [min(optim.learning_rate / 10, 0.01)]
    flag = _flag("optim.learning_rate", *[f"{rate:.1g}" for rate in rates])
    yield f"the learning rate {optim.learning_rate:g} ({flag})"
    if name == "diverges" and not optim.clip_norm:
        yield f"large gradients ({_flag('optim.clip_norm', 1)})"
    if name == "flat" and config.model.name in ("cnn", "cnn_lstm") and not config.model.batch_norm:
        yield f"no batch normalisation ({_flag('model.batch_norm', True)})"
    num_steps = config.train.num_epochs * steps_per_epoch
    if name == "flat" and num_steps < _FEW_STEPS:
        flag = _flag("train.num_epochs", math.ceil(_FEW_STEPS / steps_per_epoch))
        yield f"only {num_steps} steps in the whole run ({flag})"
    if name in ("explodes", "chance"):
        yield from _window(config)
    if silent_share > _SILENT_SHARE:
        yield f"silence in {100 * silent_share:.0f} % of the training windows"
    if name in ("chance", "flat"):
        yield (
            "labels that do not match the audio: the data are at fault if --config=logistic on them"
            " is at chance too"
        )


def _batch_norm(config: config_lib.Config, *, step: int, steps_per_epoch: int) -> Iterator[str]:
    """Yield what is wrong with the running averages of batch normalisation after `step` steps."""
    if not has_batch_norm(config.model):
        return
    suited = float(settling_momentum(config.train.num_epochs * steps_per_epoch))
    momentum = _momentum(config, steps_per_epoch)
    left = momentum**step
    if left > _INITIAL_SHARE:
        remedy = f"settled after epoch {_settled_epoch(config, steps_per_epoch)}"
        if momentum > suited:
            remedy = f"{_flag('model.batch_norm_momentum', 0)} chooses {suited:.2g}"
        yield (
            f"batch normalisation, whose running averages have {100 * left:.0f} % of their initial"
            f" values left after {step} steps at a momentum of {momentum:.2g} ({remedy})"
        )
    if config.train.batch_size < _FEW_WINDOWS:
        yield (
            f"batch normalisation over {plural(config.train.batch_size, 'window')}"
            f" ({_flag('train.batch_size', 8)})"
        )


def _momentum(config: config_lib.Config, steps_per_epoch: float) -> float:
    """Return the momentum of batch normalisation, 0 without it."""
    if not has_batch_norm(config.model):
        return 0.0
    suited = settling_momentum(round(config.train.num_epochs * steps_per_epoch))
    return config.model.batch_norm_momentum or float(suited)


def _settled_epoch(config: config_lib.Config, steps_per_epoch: float) -> int:
    """Return the epoch after which few of the initial values of running averages are left."""
    momentum = _momentum(config, steps_per_epoch)
    steps = math.log(_INITIAL_SHARE) / math.log(momentum) if momentum else 1.0
    return math.ceil(steps / steps_per_epoch)


def _window(config: config_lib.Config) -> Iterator[str]:
    """Yield that the windows are long, or that no other is cut from the same track."""
    length, rate = config_lib.window_length(config), config_lib.samples_per_second(config)
    if config.data.name == "embeddings" or length / rate <= _LONG_SECONDS:
        return
    same = "the same " if length == config_lib.clip_length(config) else ""
    flag = _flag("data.window_seconds", 3)
    yield f"{same}{length / rate:.3g} s of a track in each epoch ({flag})"


def _silent_share(part: batches.Part, window: int) -> float:
    """Return the share of silent ones among some training windows."""
    grid = batches.windows_of(part, window)
    some = grid[:: -(-len(grid) // _NUM_WINDOWS)]
    heard = [part.clips.waveform(int(part.rows[i]), start, window) for i, start in some.tolist()]
    return float(np.mean([np.ptp(waveform) < _SILENT for waveform in heard]))


def _flag(field: str, *values: Any) -> str:
    """Return the flags that set a field of the config to each of these values."""
    return " or ".join(f"--config.{field}={value}" for value in values)

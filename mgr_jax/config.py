"""The config of an experiment: a tree of typed dataclasses that hold values alone.

Config files under `experiments/configs` return a `Config`; the command line overrides single
fields (`--config.data.root=DIR`). `config_sections` defines the fields with their constraints.
This file has the rules that relate several fields, and `to_json` and `from_json`, which write a
config to a workdir and read it.
"""

import dataclasses
import json
from collections.abc import Iterator
from html import escape
from typing import Any

from mgr_jax import schema
from mgr_jax.config_sections import (
    ARRAY_NAMES,
    FEATURE_KINDS,
    MUSICNN,
    MUSICNN_SAMPLES,
    NETWORKS,
    VECTOR_KINDS,
    Augment,
    Data,
    Features,
    Model,
    Optim,
    Train,
)
from mgr_jax.errors import UserError

GTZAN_SOURCES = (
    "GTZAN is at Hugging Face (marsyas/gtzan), Kaggle"
    " (andradaolteanu/gtzan-dataset-music-genre-classification) and in mirdata (gtzan_genre);"
    " `prepare --verify` checks a copy"
)


@dataclasses.dataclass(repr=False)
class Config:
    """One experiment; its `repr` has the fields that differ from their defaults."""

    data: Data = dataclasses.field(default_factory=Data)
    features: Features = dataclasses.field(default_factory=Features)
    model: Model = dataclasses.field(default_factory=Model)
    optim: Optim = dataclasses.field(default_factory=Optim)
    train: Train = dataclasses.field(default_factory=Train)
    augment: Augment = dataclasses.field(default_factory=Augment)

    def __repr__(self) -> str:
        return f"Config({', '.join(f'{name}={value!r}' for name, value in _changed(self))})"

    def _repr_html_(self) -> str:
        rows = [
            f"<tr><td>{name}</td><td>{escape(repr(value))}</td></tr>"
            for name, value in _changed(self)
        ]
        if not rows:
            return "<div>Config, all defaults</div>"
        return f"<div>Config, defaults but for<table>{''.join(rows)}</table></div>"


def _changed(config: Config) -> list[tuple[str, Any]]:
    """Return the dotted names and values of the fields that differ from their defaults."""
    default = Config()
    return [
        (f"{section}.{field.name}", getattr(values, field.name))
        for section, values in vars(config).items()
        for field in dataclasses.fields(values)
        if getattr(values, field.name) != getattr(getattr(default, section), field.name)
    ]


def split_seed(data: Data) -> int:
    """Return the seed that the split is drawn with."""
    return data.seed + data.repeat


def samples_per_second(config: Config) -> float:
    """Return the samples of a second; with `data.name` `arrays` a sample is a frame."""
    features = config.features
    if config.data.name == "arrays":
        return features.sample_rate / features.hop_length
    return features.sample_rate


def clip_length(config: Config) -> int:
    """Return the samples of a clip."""
    samples = config.data.clip_samples
    return samples or round(config.data.clip_seconds * samples_per_second(config))


def window_length(config: Config) -> int:
    """Return the samples of the window that a model sees."""
    if config.data.name == "embeddings":
        return 1  # A sample is a window of the encoder.
    seconds = config.data.window_seconds
    return round(seconds * samples_per_second(config)) if seconds else clip_length(config)


def window_shape(config: Config) -> tuple[int, ...]:
    """Return the shape of the window: `[T]`, or `[frames, num_bins]` with `data.name` `arrays`."""
    length = window_length(config)
    return (length, config.features.num_bins) if config.data.name == "arrays" else (length,)


def to_json(config: Config) -> dict[str, Any]:
    """Return `config` as nested dicts of JSON values."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def from_json(values: dict[str, Any]) -> Config:
    """Return the config of `to_json` values; missing fields have their defaults.

    Raises:
      UserError: for an unknown field or a wrong type.
    """
    data = values.get("data") if isinstance(values, dict) else None
    if isinstance(data, dict) and isinstance(data.get("on_device"), bool):
        # Of a version that did not have `auto`.
        values = values | {"data": data | {"on_device": str(data["on_device"])}}
    return schema.build(Config, values)


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Return the dotted names of the fields in which two `to_json` trees differ."""
    names = []
    for section in sorted(ours.keys() | theirs.keys()):
        left, right = ours.get(section, {}), theirs.get(section, {})
        for name in sorted(left.keys() | right.keys()):
            if left.get(name) != right.get(name):
                names.append(f"{section}.{name}")
    return names


def validate_for_training(config: Config) -> Config:
    """Return `config` as `validate` does, unless it names files that would not be read.

    A trained system with such a config can still be loaded.

    Raises:
      UserError: see `validate`.
    """
    data = validate(config).data
    if data.name == "band" and data.root:
        raise UserError(
            f"data.root is {data.root!r}, but data.name 'band' reads no files; set data.name to"
            " 'folder' (or 'gtzan', 'manifest', ...), or leave data.root out"
        )
    return config


def validate(config: Config) -> Config:
    """Return `config` unchanged.

    Raises:
      UserError: for the first field that is wrong, with its name and the values that it takes.
    """
    schema.check(config)
    for rule in RULES:
        for error in rule(config):
            raise UserError(error)
    return config


def _training(config: Config) -> Iterator[str]:
    optim, train = config.optim, config.train
    if optim.warmup_epochs >= train.num_epochs:
        yield (
            f"optim.warmup_epochs is {optim.warmup_epochs}; it must be below train.num_epochs"
            f" ({train.num_epochs})"
        )
    for name, optimizers in {
        "momentum": ("sgd", "rmsprop"),
        "weight_decay": ("adamw", "lamb", "lion"),
    }.items():
        value = getattr(optim, name)
        if value and optim.name not in optimizers:
            yield (
                f"optim.{name} is {value}, which optim.name {optim.name!r} does not have; set it to"
                f" 0, or use {', '.join(optimizers)}"
            )


def _sequences(config: Config) -> Iterator[str]:
    kind = config.features.kind
    if kind == "mel_image" and config.model.pooling != "default":
        yield (
            f"model.pooling is {config.model.pooling!r}, which is over frames; features.kind"
            f" {kind!r} is an image; set it to 'default'"
        )
    for name in ("mask_frames", "mask_bins"):
        if getattr(config.train, name) and (
            kind == "mel_image" or config.model.name not in NETWORKS
        ):
            yield (
                f"train.{name} masks the frames that a network reads, which model.name"
                f" {config.model.name!r} with features.kind {kind!r} does not; set it to 0"
            )


def _lengths(config: Config) -> Iterator[str]:
    data, rate = config.data, samples_per_second(config)
    samples = {
        "data.clip_seconds": data.clip_seconds * rate,
        "data.clip_samples": data.clip_samples or 1,
        "data.window_seconds": data.window_seconds * rate if data.window_seconds else 1,
    }
    for field, value in samples.items():
        if not 0.5 < value < 2**31 - 1:
            yield f"{field} gives {value:g} samples; it must give 1 to 2**31 - 2"
    if window_length(config) > clip_length(config):
        yield (
            f"data.window_seconds is {data.window_seconds} s, longer than a clip of"
            f" {clip_length(config) / rate:g} s; shorten the window"
        )
    features, window = config.features, window_length(config)
    num_frames = window
    if features.kind == "mfcc_stats":
        num_frames = 1 + (window - features.n_fft % 2) // features.hop_length
    has_covariance = features.kind == "mfcc_stats" or "mean_covariance" in features.statistics
    if has_covariance and num_frames < 2 and data.name != "embeddings":
        yield (
            f"data.window_seconds or data.clip_seconds gives {window} samples, below two frames,"
            " which a covariance needs; lengthen it, or make features.hop_length shorter"
        )


def _bands(config: Config) -> Iterator[str]:
    features = config.features
    if features.fmax and features.fmin >= features.fmax:
        yield f"features.fmin is {features.fmin}; it must be below features.fmax"
    if features.fmax > features.sample_rate / 2:
        yield (
            f"features.fmax is {features.fmax} Hz; it must not exceed half of"
            f" features.sample_rate ({features.sample_rate / 2:g} Hz)"
        )
    if features.n_mfcc > features.n_mels:
        yield (
            f"features.n_mfcc is {features.n_mfcc}; it must not exceed features.n_mels"
            f" ({features.n_mels})"
        )


def _model_reads_features(config: Config) -> Iterator[str]:
    features, model = config.features, config.model
    readable = [kind for kind in FEATURE_KINDS if kind not in (*VECTOR_KINDS, "musicnn")]
    if model.name == "ensemble":
        readable = ["spectrogram"]
    elif model.name not in NETWORKS:
        readable = [*VECTOR_KINDS, "spectrogram", "musicnn"]
    elif model.name == "rnn":
        readable.remove("mel_image")
    if features.kind not in readable:
        yield (
            f"features.kind is {features.kind!r}, which model.name {model.name!r} cannot read;"
            f" use one of {', '.join(readable)}"
        )
    if (model.name, features.kind, features.time_axis) == ("cnn_lstm", "mel_image", "vertical"):
        yield (
            f"features.time_axis is 'vertical', but model.scan_axis {model.scan_axis!r} of"
            " model.name 'cnn_lstm' takes rows of an image for frequency and columns for time; set"
            " it to 'horizontal'"
        )
    if features.colormap == "grey" and features.kind == "flattened":
        yield "features.colormap is 'grey'; features.kind 'flattened' is a colour image"


def _data_source(config: Config) -> Iterator[str]:
    data, model, train = config.data, config.model, config.train
    if data.name not in ("band", "gtzan_facts") and not data.root:
        where = f" ({GTZAN_SOURCES})" if data.name == "gtzan" else ""
        yield f"data.root is empty; data.name {data.name!r} needs a path{where}"
    if data.taggrams:
        yield "data.taggrams is for experiments.evaluate --model=gtzan alone; leave it out"
    if train.refit and (model.name in ("logistic", "svm") or train.folds_at_once):
        what = "train.folds_at_once" if train.folds_at_once else f"model.name {model.name!r}"
        yield f"train.refit leaves no validation part, which {what} needs; set it to False"
    if train.refit and config.optim.early_stop_metric == "valid_loss":
        yield (
            "optim.early_stop_metric 'valid_loss' needs a validation part, which train.refit leaves"
            " out; set it to 'train_loss'"
        )
    if data.name == "shards" and train.folds_at_once:
        yield (
            "train.folds_at_once keeps all clips on the device, which shards are too many for; set"
            " it to 0"
        )
    on_device = str(data.on_device) == "True"
    if on_device and data.name in (*ARRAY_NAMES, "shards"):
        yield (
            f"data.on_device keeps decoded clips, which data.name {data.name!r} has not; set it to"
            " False"
        )
    if on_device and model.name not in NETWORKS:
        yield (
            f"data.on_device is for networks, which model.name {model.name!r} is not; set it to"
            " False"
        )
    if (data.name == "arrays") != (config.features.kind == "spectrogram"):
        yield (
            f"features.kind is {config.features.kind!r} with data.name {data.name!r}; arrays, and"
            " they alone, need features.kind=spectrogram"
        )
    if (data.name == "embeddings") != (config.features.kind == "embedding"):
        yield (
            f"features.kind is {config.features.kind!r} with data.name {data.name!r}; embeddings,"
            " and they alone, need features.kind=embedding"
        )


def _spectrograms(config: Config) -> Iterator[str]:
    features, model = config.features, config.model
    if features.kind != "spectrogram":
        return
    known = ("mean", "std", "min", "max", "skew", "kurtosis", "percentiles", "mean_covariance")
    names = [name for name in features.statistics.split(",") if name]
    if names == ["texture"]:
        known = ("texture",)
    for name in names:
        if name not in known:
            yield f"features.statistics has {name!r}; choose from {', '.join(known)}, with commas"
    if model.name in ("logistic", "svm", "lda") and not names:
        yield f"model.name {model.name!r} takes a vector; set features.statistics=mean,std"
    if names and (model.name in NETWORKS or model.name == "ensemble"):
        yield f"model.name {model.name!r} takes frames; leave features.statistics empty"
    if features.num_bins > 1 + features.n_fft // 2:
        yield (
            f"features.num_bins is {features.num_bins}; features.n_fft {features.n_fft} gives"
            f" {1 + features.n_fft // 2} at most"
        )
    num_bands = features.num_bins if features.bands == "linear" else features.n_mels
    if features.cepstrum and features.n_mfcc > num_bands:
        yield f"features.n_mfcc is {features.n_mfcc}; it must not exceed the {num_bands} bands"


def _musicnn(config: Config) -> Iterator[str]:
    features = config.features
    if features.kind != "musicnn":
        return
    for name, value in MUSICNN.items():
        if getattr(features, name) != value:
            yield (
                f"features.{name} is {getattr(features, name)}; features.kind 'musicnn' needs"
                f" {value}, as its weights were trained"
            )
    if features.normalize != "none":
        yield (
            f"features.normalize is {features.normalize!r}; features.kind 'musicnn' needs 'none',"
            " as its weights were trained"
        )
    if window_length(config) < MUSICNN_SAMPLES:
        yield (
            f"data.window_seconds or data.clip_seconds gives {window_length(config)} samples;"
            f" features.kind 'musicnn' needs {MUSICNN_SAMPLES}, 2.976 s"
        )


def _augmentation(config: Config) -> Iterator[str]:
    augment, rate = config.augment, config.features.sample_rate
    used = [name for name, value in vars(augment).items() if value and name != "probability"]
    if not used:
        return
    where = f"augment.{used[0]}"
    if config.data.name in ARRAY_NAMES:
        yield f"{where} deforms audio, which data.name {config.data.name!r} has not; set it to 0"
    if config.model.name not in NETWORKS:
        yield (
            f"{where} is for networks, which model.name {config.model.name!r} is not; set it to 0"
        )
    if augment.lowpass > rate / 2:
        yield (
            f"augment.lowpass is {augment.lowpass:g} Hz; it must not exceed half of"
            f" features.sample_rate ({rate / 2:g} Hz)"
        )


RULES = (
    _training,
    _sequences,
    _lengths,
    _bands,
    _musicnn,
    _model_reads_features,
    _data_source,
    _spectrograms,
    _augmentation,
)

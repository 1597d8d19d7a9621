"""The values that a config may have: each refusal names the field and what it may be."""

from mgr_jax import config as config_lib
from mgr_jax.errors import UserError


def validate(config: config_lib.Config) -> config_lib.Config:
    """Returns `config` unchanged, or raises `UserError` with the first field that is wrong."""
    data, features, model = config.data, config.features, config.model
    optim, train = config.optim, config.train
    choices = {
        "data.name": (data.name, config_lib.DATA_NAMES),
        "data.subset": (data.subset, config_lib.FMA_SUBSETS),
        "data.protocol": (data.protocol, config_lib.PROTOCOLS),
        "features.kind": (features.kind, config_lib.FEATURE_KINDS),
        "features.bands": (features.bands, config_lib.BANDS),
        "features.colormap": (features.colormap, config_lib.COLORMAPS),
        "features.time_axis": (features.time_axis, config_lib.TIME_AXES),
        "features.normalize": (features.normalize, config_lib.NORMALIZERS),
        "model.name": (model.name, config_lib.MODEL_NAMES),
        "model.scan_axis": (model.scan_axis, ("frequency", "time")),
        "model.cell": (model.cell, ("simple", "gru", "lstm")),
        "model.dtype": (model.dtype, ("float32", "bfloat16")),
        "model.kernel": (model.kernel, ("rbf", "linear")),
        "model.members": (model.members, ("chosen", "listed")),
        "optim.name": (optim.name, config_lib.OPTIMIZERS),
        "optim.schedule": (optim.schedule, config_lib.SCHEDULES),
        "train.parallelism": (train.parallelism, config_lib.PARALLELISMS),
    }
    for field, (value, allowed) in choices.items():
        if value not in allowed:
            raise UserError(f"{field} is {value!r}; it must be one of {', '.join(allowed)}")
    positive = {
        "data.clip_seconds": data.clip_seconds,
        "data.num_folds": data.num_folds,
        "data.num_grooves": data.num_grooves,
        "data.clips_per_groove": data.clips_per_groove,
        "features.sample_rate": features.sample_rate,
        "features.n_fft": features.n_fft,
        "features.hop_length": features.hop_length,
        "features.n_mels": features.n_mels,
        "features.n_mfcc": features.n_mfcc,
        "features.num_bins": features.num_bins,
        "features.top_db": features.top_db,
        "features.image_height": features.image_height,
        "features.image_width": features.image_width,
        "model.width": model.width,
        "model.num_modules": model.num_modules,
        "model.width_multiplier": model.width_multiplier,
        "model.hidden_size": model.hidden_size,
        "model.num_layers": model.num_layers,
        "model.num_components": model.num_components,
        "data.read_threads": data.read_threads,
        "optim.learning_rate": optim.learning_rate,
        "optim.step_epochs": optim.step_epochs,
        "optim.accumulate_steps": optim.accumulate_steps,
        "optim.plateau_patience": optim.plateau_patience,
        "train.num_epochs": train.num_epochs,
        "train.batch_size": train.batch_size,
        "train.keep_checkpoints": train.keep_checkpoints,
    }
    for field, value in positive.items():
        if not value > 0 or value == float("inf"):
            raise UserError(f"{field} is {value}; it must be greater than 0 and finite")
    not_negative = {
        "data.fold": data.fold,
        "data.seed": data.seed,
        "data.repeat": data.repeat,
        "data.clip_samples": data.clip_samples,
        "data.window_seconds": data.window_seconds,
        "data.num_workers": data.num_workers,
        "data.read_processes": data.read_processes,
        "features.fmin": features.fmin,
        "features.fmax": features.fmax,
        "optim.warmup_epochs": optim.warmup_epochs,
        "optim.weight_decay": optim.weight_decay,
        "optim.clip_norm": optim.clip_norm,
        "optim.early_stop_patience": optim.early_stop_patience,
        "optim.early_stop_min_delta": optim.early_stop_min_delta,
        "train.checkpoint_every_steps": train.checkpoint_every_steps,
        "train.folds_at_once": train.folds_at_once,
        "train.mixup_alpha": train.mixup_alpha,
        "train.seed": train.seed,
    }
    for field, value in not_negative.items():
        if not value >= 0 or value == float("inf"):
            raise UserError(f"{field} is {value}; it must be 0 or more and finite")
    fractions = {
        "model.batch_norm_momentum": model.batch_norm_momentum,
        "optim.step_factor": optim.step_factor,
        "optim.plateau_factor": optim.plateau_factor,
    }
    for field, value in fractions.items():
        if not 0 < value < 1:
            raise UserError(f"{field} is {value}; it must lie between 0 and 1")
    if not model.l2 or not all(0 <= value < float("inf") for value in model.l2):
        raise UserError(f"model.l2 is {model.l2}; give one or more penalties of 0 or more")
    for field, values in {"model.c": model.c, "model.gamma": model.gamma}.items():
        if not values or not all(0 < value < float("inf") for value in values):
            raise UserError(f"{field} is {values}; give one or more values greater than 0")
    shares = {
        "model.dropout": model.dropout,
        "optim.label_smoothing": optim.label_smoothing,
        "optim.momentum": optim.momentum,
        "optim.ema_decay": optim.ema_decay,
    }
    for field, value in shares.items():
        if not 0 <= value < 1:
            raise UserError(f"{field} is {value}; it must be 0 or more and below 1")
    if optim.warmup_epochs >= train.num_epochs:
        raise UserError(
            f"optim.warmup_epochs is {optim.warmup_epochs}; it must be below train.num_epochs"
            f" ({train.num_epochs})"
        )
    users = {
        "optim.momentum": (optim.momentum, ("sgd", "rmsprop")),
        "optim.weight_decay": (optim.weight_decay, ("adamw", "lamb", "lion")),
    }
    for field, (value, names) in users.items():
        if value and optim.name not in names:
            raise UserError(
                f"{field} is {value}, which optim.name {optim.name!r} does not have; set it to 0,"
                f" or use {', '.join(names)}"
            )
    for field, value in {"data.seed": data.seed, "train.seed": train.seed}.items():
        if value >= 2**32:  # JAX would take its lower 32 bits.
            raise UserError(f"{field} is {value}; it must be below 2**32")
    rate = config_lib.samples_per_second(config)
    samples = {
        "data.clip_seconds": data.clip_seconds * rate,
        "data.clip_samples": data.clip_samples or 1,
        "data.window_seconds": data.window_seconds * rate if data.window_seconds else 1,
    }
    for field, value in samples.items():
        if not 0.5 < value < 2**31 - 1:
            raise UserError(f"{field} gives {value:g} samples; it must give 1 to 2**31 - 2")
    if config_lib.window_length(config) > config_lib.clip_length(config):
        raise UserError(
            f"data.window_seconds is {data.window_seconds} s, longer than a clip of"
            f" {config_lib.clip_length(config) / rate:g} s; shorten the window"
        )
    if features.fmax and features.fmin >= features.fmax:
        raise UserError(f"features.fmin is {features.fmin}; it must be below features.fmax")
    if features.fmax > features.sample_rate / 2:
        raise UserError(
            f"features.fmax is {features.fmax} Hz; it must not exceed half of"
            f" features.sample_rate ({features.sample_rate / 2:g} Hz)"
        )
    if features.n_mfcc > features.n_mels:
        raise UserError(
            f"features.n_mfcc is {features.n_mfcc}; it must not exceed features.n_mels"
            f" ({features.n_mels})"
        )
    readable = [kind for kind in config_lib.FEATURE_KINDS if kind not in config_lib.VECTOR_KINDS]
    if model.name == "ensemble":
        readable = ("spectrogram",)
    elif model.name not in config_lib.NETWORKS:
        readable = (*config_lib.VECTOR_KINDS, "spectrogram")
    elif model.name == "rnn":
        readable.remove("mel_image")
    if features.kind not in readable:
        raise UserError(
            f"features.kind is {features.kind!r}, which model.name {model.name!r} cannot read;"
            f" use one of {', '.join(readable)}"
        )
    if features.colormap == "grey" and features.kind == "flattened":
        raise UserError("features.colormap is 'grey'; features.kind 'flattened' is a colour image")
    if data.name not in ("band", "gtzan_facts") and not data.root:
        raise UserError(f"data.root is empty; data.name {data.name!r} needs a path")
    if train.refit and (model.name in ("logistic", "svm") or train.folds_at_once):
        what = "train.folds_at_once" if train.folds_at_once else f"model.name {model.name!r}"
        raise UserError(
            f"train.refit leaves no validation part, which {what} needs; set it to False"
        )
    if data.name == "shards" and train.folds_at_once:
        raise UserError(
            "train.folds_at_once keeps all clips on the device, which shards are too many for; set"
            " it to 0"
        )
    if data.on_device and data.name in ("arrays", "shards"):
        raise UserError(
            f"data.on_device keeps decoded clips, which data.name {data.name!r} has not; set it to"
            " False"
        )
    if data.on_device and model.name not in config_lib.NETWORKS:
        raise UserError(
            f"data.on_device is for networks, which model.name {model.name!r} is not; set it to"
            " False"
        )
    if (data.name == "arrays") != (features.kind == "spectrogram"):
        raise UserError(
            f"features.kind is {features.kind!r} with data.name {data.name!r}; arrays, and they"
            " alone, need features.kind=spectrogram"
        )
    if features.kind == "spectrogram":
        _check_spectrogram(config)
    return config


def _check_spectrogram(config: config_lib.Config) -> None:
    features, model = config.features, config.model
    known = ("mean", "std", "min", "max", "skew", "kurtosis", "percentiles", "mean_covariance")
    names = [name for name in features.statistics.split(",") if name]
    if names == ["texture"]:
        known = ("texture",)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UserError(
            f"features.statistics has {unknown[0]!r}; choose from {', '.join(known)}, with commas"
        )
    if model.name in ("logistic", "svm", "lda") and not names:
        raise UserError(
            f"model.name {model.name!r} takes a vector; set features.statistics=mean,std"
        )
    if names and (model.name in config_lib.NETWORKS or model.name == "ensemble"):
        raise UserError(f"model.name {model.name!r} takes frames; leave features.statistics empty")
    if features.num_bins > 1 + features.n_fft // 2:
        raise UserError(
            f"features.num_bins is {features.num_bins}; features.n_fft {features.n_fft} gives"
            f" {1 + features.n_fft // 2} at most"
        )
    num_bands = features.num_bins if features.bands == "linear" else features.n_mels
    if features.cepstrum and features.n_mfcc > num_bands:
        raise UserError(
            f"features.n_mfcc is {features.n_mfcc}; it must not exceed the {num_bands} bands"
        )

"""The config of an experiment: a tree of typed dataclasses, and nothing but values.

Config files under `experiments/configs` return a `Config`; the command line overrides single
fields (`--config.data.root=DIR`). `validation.validate` checks the values, `to_json`/`from_json`
carry them into a workdir and back.
"""

import dataclasses
import json
from typing import Any

from mgr_jax.errors import UserError

DATA_NAMES = (
    "band",
    "gtzan",
    "gtzan_facts",
    "folder",
    "manifest",
    "fma",
    "ballroom",
    "extended_ballroom",
    "arrays",
    "shards",
)
FMA_SUBSETS = ("small", "medium", "large")
PROTOCOLS = ("holdout", "kfold", "artist_kfold", "listed", "fault_filtered")
FEATURE_KINDS = ("logmel", "mel_image", "mfcc", "mfcc_stats", "flattened", "spectrogram")
VECTOR_KINDS = ("mfcc_stats", "flattened")
COLORMAPS = ("viridis", "magma", "grey")
TIME_AXES = ("horizontal", "vertical")
NORMALIZERS = ("none", "clip", "global", "bin")
BANDS = ("linear", "mel", "log")
MODEL_NAMES = ("bbnn", "cnn", "cnn_lstm", "rnn", "logistic", "svm", "lda", "ensemble")
NETWORKS = ("bbnn", "cnn", "cnn_lstm", "rnn")
OPTIMIZERS = (
    "adam",
    "adamw",
    "nadam",
    "sgd",
    "rmsprop",
    "adagrad",
    "adafactor",
    "lamb",
    "lion",
)
SCHEDULES = ("constant", "cosine", "step", "plateau")
PARALLELISMS = ("jit", "pmap")


@dataclasses.dataclass
class Data:
    """What is learned from: the tracks, their split and the piece of each that is used.

    Attributes:
      name: `band` (embedded), `gtzan`, `folder` (`root/<class>/*`), `manifest` (a CSV) or `arrays`
        (spectrograms in one `.npz` or `.npy` file, see `data.arrays`).
        Also `fma`, `ballroom` and `extended_ballroom`, as they are unpacked, and `shards` of any of
        these, decoded by `experiments.prepare --shard`. `gtzan_facts` is
        GTZAN without its audio, for `experiments.audit` alone.
      root: folder of the tracks, or the CSV file for `manifest`.
      subset: `fma` only: `small`, `medium` or `large`.
      facts: CSV of further facts about GTZAN (`track_id,md5,artist,recording`), read by
        `prepare --verify` and `audit`.
      protocol: how tracks are split: `holdout`, `kfold`, `artist_kfold`, `listed` or
        `fault_filtered`.
      num_folds: folds of `kfold` and `artist_kfold`.
      fold: which fold is the test part, for protocols that have folds.
      seed: seed of the split, and of the composition of the `band`.
      repeat: which repetition of the split, for cross-validation with several seeds: it is added
        to `seed` in drawing the split alone, so that the tracks stay the same.
      clip_seconds: length of a clip in seconds; longer tracks are cut, shorter ones padded.
      clip_samples: the same in samples, exactly; 0 means `clip_seconds`.
      window_seconds: length of the window that a model sees, in seconds; 0 means the clip.
      num_grooves: `band` only: grooves per genre.
      clips_per_groove: `band` only: clips per groove.
      cache: folder for decoded clips; empty means `~/.cache/mgr_jax` (`$XDG_CACHE_HOME`).
      num_workers: processes that decode; 0 means one per core.
      read_threads: threads that read batches from the decoded clips, in each process.
      read_processes: processes that read batches in training; 0 means threads of this one.
      on_device: networks on audio: keep all decoded clips (int16; 1.3 GB of GTZAN) in the memory
        of every device, where training cuts its windows out; the host then reads no audio.
    """

    name: str = "band"
    root: str = ""
    subset: str = "small"
    facts: str = ""
    protocol: str = "listed"
    num_folds: int = 5
    fold: int = 0
    seed: int = 0
    repeat: int = 0
    clip_seconds: float = 30.0
    clip_samples: int = 0
    window_seconds: float = 0.0
    num_grooves: int = 12
    clips_per_groove: int = 2
    cache: str = ""
    num_workers: int = 0
    read_threads: int = 2
    read_processes: int = 0
    on_device: bool = False


@dataclasses.dataclass
class Features:
    """The front end: waveform -> model input. librosa's words and defaults.

    Attributes:
      kind: `logmel` ([F, M] decibels), `mel_image` (a picture of them, [H, W, C] in [0, 1]),
        `mfcc` ([F, n_mfcc]), `mfcc_stats` (their mean and covariance), `flattened` (a picture
        of 203x200x3 as one vector) or `spectrogram` (`data.name=arrays`: log spectrograms that
        were computed elsewhere, [F, K]).
      sample_rate: rate in Hz that every track is resampled to.
      n_fft: samples of a frame. hop_length: samples between frames.
      n_mels: mel bands. fmin, fmax: their range in Hz; `fmax` 0 means half the sample rate.
      n_mfcc: cepstral coefficients.
      top_db: decibels kept below the loudest value of a clip.
      image_height, image_width: `mel_image`: pixels; 288x432 or 480x640 in the presentation.
      colormap: images: `viridis`, `magma` (three channels) or `grey` (one).
      time_axis: images: `horizontal`, or `vertical` with frequency to the right.
      normalize: `none`; `clip` (each clip to mean 0, deviation 1); `global` or `bin` (the mean
        and deviation of the training part, of all values or of each bin).
      num_bins: `spectrogram`: K, bins of a frame; bin k lies at k * sample_rate / n_fft.
      bands: `spectrogram`: `linear` bins as they are, or pooled to `n_mels` bands of the `mel` or
        `log` scale between `fmin` and `fmax`.
      cepstrum: `spectrogram`: keep `n_mfcc` coefficients of the cosine transform of the bands.
      deltas: `spectrogram`: add the slope of each along time.
      statistics: `spectrogram`: statistics over the frames in place of the frames, for systems
        that take a vector: names of `features.summary` with commas (`mean,std`), or `texture`
        alone (`features.texture`, of 20 bands and 124 frames or more); empty for none.
    """

    kind: str = "logmel"
    sample_rate: int = 22050
    n_fft: int = 2048
    hop_length: int = 1024
    n_mels: int = 128
    fmin: float = 0.0
    fmax: float = 0.0
    n_mfcc: int = 14
    top_db: float = 80.0
    image_height: int = 288
    image_width: int = 432
    colormap: str = "viridis"
    time_axis: str = "horizontal"
    normalize: str = "none"
    num_bins: int = 128
    bands: str = "linear"
    cepstrum: bool = False
    deltas: bool = False
    statistics: str = ""


@dataclasses.dataclass
class Model:
    """The system. Fields that a system does not have are ignored by it.

    Attributes:
      name: `bbnn`, `cnn`, `cnn_lstm`, `rnn`, `logistic`, `svm`, `lda` or `ensemble` (of
        `classical.ensemble`, on spectrograms).
      width: `bbnn`: channels of a broadcast branch (32 in the paper).
      num_modules: `bbnn`: broadcast modules (3 in the paper).
      batch_norm_momentum: share of the running statistics kept at a step (0.99 in Keras).
      local_batch_norm: `bbnn`, `rnn`: in training each device normalises by the statistics of its
        own rows, and the running averages are averaged over the devices; a step then exchanges
        once, not at every layer, but its numbers depend on how many devices there are.
      width_multiplier: `cnn`, `cnn_lstm`: factor on the channels and units of every layer but
        the last.
      scan_axis: `cnn_lstm`: what the LSTM steps along, `frequency` (image rows, as in the
        presentation) or `time`.
      cell: `rnn`: `simple`, `gru` or `lstm`.
      hidden_size: `rnn`: units of a layer, in each direction.
      num_layers: `rnn`: stacked layers. bidirectional: `rnn`: read both ways.
      dropout: `cnn`, `cnn_lstm`, `rnn`: share of values dropped in training.
      dtype: networks: arithmetic in `float32` or `bfloat16`; parameters stay float32.
      l2: `logistic`: penalties to choose from on the validation part; the loss is
        mean cross entropy + l2/2 * |W|^2 on standardised features.
      kernel: `svm`: `rbf` or `linear`.
      c: `svm`: penalties C to choose from on the validation part.
      gamma: `svm`: widths of the RBF kernel to choose from, in units of scikit-learn's `scale`.
      num_components: `svm`: principal components (at most the training tracks less one).
      members: `ensemble`: `chosen` in training from `classical.library`, or as `listed` there.
    """

    name: str = "bbnn"
    width: int = 32
    num_modules: int = 3
    batch_norm_momentum: float = 0.99
    local_batch_norm: bool = False
    width_multiplier: float = 1.0
    scan_axis: str = "frequency"
    cell: str = "simple"
    hidden_size: int = 128
    num_layers: int = 1
    bidirectional: bool = False
    dropout: float = 0.25
    dtype: str = "float32"
    l2: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    kernel: str = "rbf"
    c: tuple[float, ...] = (0.1, 1.0, 10.0, 100.0)
    gamma: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0)
    num_components: int = 100
    members: str = "chosen"


@dataclasses.dataclass
class Optim:
    """How a network is fitted.

    Attributes:
      name: `adam`, `adamw`, `nadam`, `sgd`, `rmsprop`, `adagrad`, `adafactor`, `lamb` or `lion`.
      learning_rate: peak learning rate.
      schedule: `constant`, `cosine` (to zero over the run), `step` (times `step_factor` every
        `step_epochs` epochs) or `plateau`: the rate is multiplied by `plateau_factor` after
        `plateau_patience` epochs without a lower training loss.
      warmup_epochs: the rate first rises linearly over so many epochs, with any schedule.
      momentum: `sgd` and `rmsprop`.
      weight_decay: `adamw`, `lamb` and `lion`.
      clip_norm: gradients of a larger global norm are scaled down to it; 0 means not.
      accumulate_steps: steps whose mean gradient makes one update: as large a batch in less
        memory, but for the statistics of batch normalisation.
      label_smoothing: share of the target that is spread over all classes.
      class_weights: weigh each class by the inverse of its share of the training part.
      ema_decay: share kept at an update of the moving average of the parameters that is evaluated
        in their place; 0 means the parameters themselves.
      early_stop_patience: epochs without a training loss lower by `early_stop_min_delta` after
        which training ends; 0 means never.
    """

    name: str = "adam"
    learning_rate: float = 1e-3
    schedule: str = "constant"
    step_epochs: int = 30
    step_factor: float = 0.1
    plateau_factor: float = 0.5
    plateau_patience: int = 3
    warmup_epochs: float = 0.0
    momentum: float = 0.0
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    accumulate_steps: int = 1
    label_smoothing: float = 0.0
    class_weights: bool = False
    ema_decay: float = 0.0
    early_stop_patience: int = 0
    early_stop_min_delta: float = 0.01


@dataclasses.dataclass
class Train:
    """The run. `seed` draws the initial parameters, the batches and the augmentation.

    Attributes:
      num_epochs: passes over the training part.
      batch_size: windows per step, over all devices.
      mixup_alpha: each waveform is mixed with the next of its batch by a share drawn from
        Beta(alpha, alpha); 0 means not.
      parallelism: `jit` (one program over all devices) or `pmap` (one for each, which average);
        the numbers are the same but for rounding.
      checkpoint_every_steps: saves also within an epoch, for epochs of days; 0 means at its end.
      keep_checkpoints: how many of the latest checkpoints are kept, beside the best.
      folds_at_once: `cross_validate` of networks only: folds that are trained together, as one
        program; 0 trains one after another.
      refit: learn from the training and the validation part together, once all is chosen; the last
        state is kept, and the test part may be empty.
      seed: seed of everything random in training.
    """

    num_epochs: int = 10
    batch_size: int = 8
    mixup_alpha: float = 0.0
    parallelism: str = "jit"
    checkpoint_every_steps: int = 0
    keep_checkpoints: int = 1
    folds_at_once: int = 0
    refit: bool = False
    seed: int = 0


@dataclasses.dataclass
class Config:
    """One experiment."""

    data: Data = dataclasses.field(default_factory=Data)
    features: Features = dataclasses.field(default_factory=Features)
    model: Model = dataclasses.field(default_factory=Model)
    optim: Optim = dataclasses.field(default_factory=Optim)
    train: Train = dataclasses.field(default_factory=Train)


def samples_per_second(config: Config) -> float:
    """Samples of a second; with `data.name` `arrays` a sample is a frame of `num_bins` values."""
    features = config.features
    if config.data.name == "arrays":
        return features.sample_rate / features.hop_length
    return features.sample_rate


def clip_length(config: Config) -> int:
    """Samples of a clip."""
    samples = config.data.clip_samples
    return samples or round(config.data.clip_seconds * samples_per_second(config))


def window_length(config: Config) -> int:
    """Samples of the window that a model sees."""
    seconds = config.data.window_seconds
    return round(seconds * samples_per_second(config)) if seconds else clip_length(config)


def window_shape(config: Config) -> tuple[int, ...]:
    """Shape of the window: `[T]`, or `[frames, num_bins]` with `data.name` `arrays`."""
    length = window_length(config)
    return (length, config.features.num_bins) if config.data.name == "arrays" else (length,)


def to_json(config: Config) -> dict[str, Any]:
    """`config` as nested dicts of JSON values."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def from_json(values: dict[str, Any]) -> Config:
    """The config of `to_json`; raises `UserError` for an unknown field or a wrong type."""
    return _build(Config, values, "")


def _build(cls: type, values: Any, path: str) -> Any:
    if not isinstance(values, dict):
        raise UserError(f"config field {path.rstrip('.') or 'config'} must be a mapping")
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for name in values:
        if name not in fields:
            raise UserError(f"config field {path}{name} is unknown; remove it or correct its name")
    built = {}
    for name, value in values.items():
        kind = fields[name].type
        if dataclasses.is_dataclass(kind):
            built[name] = _build(kind, value, f"{path}{name}.")
        elif kind == tuple[float, ...]:
            if not isinstance(value, list | tuple) or not all(_is(v, float) for v in value):
                raise UserError(f"config field {path}{name} must be a list of numbers")
            built[name] = tuple(float(v) for v in value)
        elif not _is(value, kind):
            raise UserError(f"config field {path}{name} is {value!r}; it must be {kind.__name__}")
        else:
            built[name] = kind(value)
    return cls(**built)


def _is(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return kind is bool
    if isinstance(value, int) and abs(value) >= 2**63:
        return False
    return isinstance(value, int | float) if kind is float else isinstance(value, kind)


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Dotted names of the fields in which two `to_json` trees differ."""
    found = []
    for section in sorted(ours.keys() | theirs.keys()):
        left, right = ours.get(section, {}), theirs.get(section, {})
        for name in sorted(left.keys() | right.keys()):
            if left.get(name) != right.get(name):
                found.append(f"{section}.{name}")
    return found

"""The sections of a config: every field with its default and the values that it takes."""

import dataclasses

from mgr_jax import schema

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
    "embeddings",
    "shards",
)
FMA_SUBSETS = ("small", "medium", "large")
PROTOCOLS = ("auto", "holdout", "kfold", "artist_kfold", "listed", "fault_filtered")
FEATURE_KINDS = (
    "logmel",
    "mel_image",
    "mfcc",
    "mfcc_stats",
    "flattened",
    "spectrogram",
    "musicnn",
    "embedding",
)
VECTOR_KINDS = ("mfcc_stats", "flattened", "embedding")
# One file of what was computed elsewhere; evaluation may replace it by another.
ARRAY_NAMES = ("arrays", "embeddings")
# Fields of the front end that MusiCNN was trained on, and the samples of one of its windows.
MUSICNN = {
    "sample_rate": 16_000,
    "n_fft": 512,
    "hop_length": 256,
    "n_mels": 96,
    "fmin": 0.0,
    "fmax": 0.0,
}
MUSICNN_SAMPLES = 47_616
COLORMAPS = ("viridis", "magma", "grey")
TIME_AXES = ("horizontal", "vertical")
NORMALIZERS = ("none", "clip", "global", "bin")
NETWORKS = ("bbnn", "cnn", "cnn_lstm", "rnn")
WITH_BATCH_NORM = ("bbnn", "rnn")
MODEL_NAMES = (*NETWORKS, "logistic", "svm", "lda", "ensemble")
OPTIMIZERS = ("adam", "adamw", "nadam", "sgd", "rmsprop", "adagrad", "adafactor", "lamb", "lion")


ON_DEVICE = ("auto", "True", "False")


@dataclasses.dataclass
class Data:
    """The data set: its tracks, their split and the window of each that is used.

    Attributes:
      name: `band` (embedded), `gtzan`, `fma`, `ballroom` or `extended_ballroom` (as unpacked),
        `folder` (`root/<class>/*`), `manifest` (a CSV), `arrays` (spectrograms in one `.npz` or
        `.npy` file, see `data.arrays`), `embeddings` (vectors of any encoder, see
        `data.embeddings`), or `shards` of any of these that hold audio, decoded by
        `experiments.prepare --shard`. `gtzan_facts` is GTZAN without its audio, for
        `experiments.audit` alone.
      root: folder of the tracks, or the CSV file for `manifest`.
      subset: `fma` only: `small`, `medium` or `large`.
      facts: CSV of further facts about GTZAN (`track_id,md5,artist,recording`), read by
        `prepare --verify` and `audit`.
      taggrams: MusiCNN's tags over time (`data.taggrams`), for `evaluate --model=gtzan` alone.
      protocol: how tracks are split: `holdout`, `kfold`, `artist_kfold`, `listed`,
        `fault_filtered`, or `auto`, which chooses by the tracks (`splits.choose_protocol`).
      num_folds: folds of `kfold` and `artist_kfold`.
      fold: which fold is the test part, for protocols that have folds.
      seed: seed of the split, and of the composition of the `band`.
      repeat: repetition of the split, for cross-validation with several seeds; added to `seed` only
        when the split is drawn, so that the tracks stay the same.
      clip_seconds: length of a clip in seconds; longer tracks are cut, shorter ones padded.
      clip_samples: the same in samples, exactly; 0 means `clip_seconds`.
      window_seconds: length of the window that a model sees, in seconds; 0 means the clip.
      num_grooves: `band` only: grooves per genre.
      clips_per_groove: `band` only: clips per groove.
      cache: folder for decoded clips; empty means `~/.cache/mgr_jax` (`$XDG_CACHE_HOME`).
      num_workers: processes that decode; 0 means one per core.
      read_threads: threads that read batches from the decoded clips, in each process.
      read_processes: processes that read batches in training; 0 means threads of this one.
      on_device: networks on audio: whether all decoded clips (int16; 1.3 GB for GTZAN) are kept in
        the memory of every device, where training cuts out its windows; the host then reads no
        audio. `True`, `False`, or `auto`: on a GPU or TPU, if they take at most a third of it.
    """

    name: str = schema.one_of("band", DATA_NAMES)
    root: str = ""
    subset: str = schema.one_of("small", FMA_SUBSETS)
    facts: str = ""
    taggrams: str = ""
    protocol: str = schema.one_of("auto", PROTOCOLS)
    num_folds: int = schema.positive(5)
    fold: int = schema.at_least_zero(0)
    seed: int = schema.seed()
    repeat: int = schema.at_least_zero(0)
    clip_seconds: float = schema.positive(30.0)
    clip_samples: int = schema.at_least_zero(0)
    window_seconds: float = schema.at_least_zero(0.0)
    num_grooves: int = schema.positive(12)
    clips_per_groove: int = schema.positive(2)
    cache: str = ""
    num_workers: int = schema.at_least_zero(0)
    read_threads: int = schema.positive(2)
    read_processes: int = schema.at_least_zero(0)
    on_device: str = schema.constrained(
        "auto", (lambda value: str(value) in ON_DEVICE, f"it must be one of {', '.join(ON_DEVICE)}")
    )


@dataclasses.dataclass
class Features:
    """The front end: waveform -> model input, with the names and defaults of librosa.

    Attributes:
      kind: `logmel` ([F, M] decibels), `mel_image` (a picture of them, [H, W, C] in [0, 1]),
        `mfcc` ([F, n_mfcc]), `mfcc_stats` (their mean and covariance), `flattened` (a picture
        of 203x200x3 as one vector), `spectrogram` (`data.name=arrays`: log spectrograms that
        were computed elsewhere, [F, K]), `embedding` (`data.name=embeddings`: its vectors as they
        are) or `musicnn` (windows of `features.musicnn`, [W, 187, 96], which fixes `sample_rate` to
        `fmax` below; classical systems read MusiCNN's embedding of them, see `classical.transfer`).
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
      num_bins: `spectrogram`: K, bins of a frame; bin k is at k * sample_rate / n_fft.
      bands: `spectrogram`: `linear` bins as they are, or pooled to `n_mels` bands of the `mel` or
        `log` scale between `fmin` and `fmax`.
      cepstrum: `spectrogram`: keep `n_mfcc` coefficients of the cosine transform of the bands.
      deltas: `spectrogram`: add the slope of each along time.
      statistics: `spectrogram`: statistics over the frames in place of the frames, for systems
        that take a vector: names of `features.summary` with commas (`mean,std`), or `texture`
        alone (`features.texture`, of 20 bands and 124 frames or more); empty for none.
    """

    kind: str = schema.one_of("logmel", FEATURE_KINDS)
    sample_rate: int = schema.positive(22050)
    n_fft: int = schema.positive(2048)
    hop_length: int = schema.positive(1024)
    n_mels: int = schema.positive(128)
    fmin: float = schema.at_least_zero(0.0)
    fmax: float = schema.at_least_zero(0.0)
    n_mfcc: int = schema.positive(14)
    top_db: float = schema.positive(80.0)
    image_height: int = schema.positive(288)
    image_width: int = schema.positive(432)
    colormap: str = schema.one_of("viridis", COLORMAPS)
    time_axis: str = schema.one_of("horizontal", TIME_AXES)
    normalize: str = schema.one_of("none", NORMALIZERS)
    num_bins: int = schema.positive(128)
    bands: str = schema.one_of("linear", ("linear", "mel", "log"))
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
      pooling: `bbnn`, `rnn`: what the classifier reads: `default`, the mean over time and frequency
        or the last state, or `statistics`, mean and deviation over time of each band and channel or
        of each unit (`layers.StatisticsPool`); not for images.
      batch_norm_momentum: `bbnn`, `rnn`, and with `batch_norm`: share of the running averages kept
        at a step (0.99 in Keras); 0 chooses it from the number of steps
        (`layers.settling_momentum`).
      local_batch_norm: `bbnn`, `rnn`: in training each device normalises by the statistics of its
        own rows, and the running averages are averaged over the devices; a step then
        communicates once, not at every layer, but its results depend on the number of devices.
      batch_norm: `cnn`, `cnn_lstm`: normalise batches after every pooling, which the presentation
        does not.
      width_multiplier: `cnn`, `cnn_lstm`: factor on the channels and units of every layer but
        the last.
      scan_axis: `cnn_lstm`: axis of the steps of the LSTM, `frequency` (rows of an image, as in
        the presentation) or `time` (columns); it needs `features.time_axis` `horizontal`.
      cell: `rnn`: `simple`, `gru` or `lstm`.
      hidden_size: `rnn`: units of a layer, in each direction.
      num_layers: `rnn`: stacked layers. bidirectional: `rnn`: read in both directions.
      dropout: `cnn`, `cnn_lstm`, `rnn`: share of values dropped in training.
      dtype: networks: arithmetic in `float32` or `bfloat16`. Parameters, their updates, statistics
        of batch normalisation, states of recurrent layers and the loss stay float32. bfloat16 has 3
        digits; on GPU and TPU it halves the memory and the traffic of activations. With `float32`,
        `train.matmul_precision` says how exact products are.
      implementation: networks: `auto` calls the fast operations of `mgr_jax.ops` for the platform,
        `reference` computes the plain formulas; the results agree up to rounding.
      l2: `logistic`: penalties to choose from on the validation part; the loss is
        mean cross entropy + l2/2 * |W|^2 on standardised features.
      kernel: `svm`: `rbf` or `linear`.
      c: `svm`: penalties C to choose from on the validation part.
      gamma: `svm`: widths of the RBF kernel to choose from, in units of scikit-learn's `scale`.
      num_components: `svm`: principal components (at most the training tracks less one).
      members: `ensemble`: `chosen` in training from `classical.library`, or as `listed` there.
    """

    name: str = schema.one_of("bbnn", MODEL_NAMES)
    width: int = schema.positive(32)
    num_modules: int = schema.positive(3)
    pooling: str = schema.one_of("default", ("default", "statistics"))
    batch_norm_momentum: float = schema.share(0.0)
    local_batch_norm: bool = False
    batch_norm: bool = False
    width_multiplier: float = schema.positive(1.0)
    scan_axis: str = schema.one_of("frequency", ("frequency", "time"))
    cell: str = schema.one_of("simple", ("simple", "gru", "lstm"))
    hidden_size: int = schema.positive(128)
    num_layers: int = schema.positive(1)
    bidirectional: bool = False
    dropout: float = schema.share(0.25)
    dtype: str = schema.one_of("float32", ("float32", "bfloat16"))
    implementation: str = schema.one_of("auto", ("auto", "reference"))
    l2: tuple[float, ...] = schema.penalties((1e-4, 1e-3, 1e-2, 1e-1, 1.0))
    kernel: str = schema.one_of("rbf", ("rbf", "linear"))
    c: tuple[float, ...] = schema.positives((0.1, 1.0, 10.0, 100.0))
    gamma: tuple[float, ...] = schema.positives((0.1, 0.3, 1.0, 3.0))
    num_components: int = schema.positive(100)
    members: str = schema.one_of("chosen", ("chosen", "listed"))


def has_batch_norm(model: Model) -> bool:
    """Return whether the network that `model` describes normalises batches."""
    return model.name in WITH_BATCH_NORM or (model.batch_norm and model.name in NETWORKS)


@dataclasses.dataclass
class Optim:
    """The training of a network: optimizer, schedule and regularisation.

    Attributes:
      name: `adam`, `adamw`, `nadam`, `sgd`, `rmsprop`, `adagrad`, `adafactor`, `lamb` or `lion`.
      learning_rate: peak learning rate.
      schedule: `constant`, `cosine` (to zero over the run), `step` (times `step_factor` every
        `step_epochs` epochs) or `plateau`: the rate is multiplied by `plateau_factor` after
        `plateau_patience` epochs without a lower training loss.
      warmup_epochs: the rate first rises linearly over this many epochs, with any schedule.
      momentum: `sgd` and `rmsprop`.
      weight_decay: `adamw`, `lamb` and `lion`; biases and scales of normalisations are left out.
      clip_norm: gradients of a larger global norm are scaled down to it; 0 turns this off.
      accumulate_steps: steps whose mean gradient makes one update: a larger batch in less
        memory, except for the statistics of batch normalisation.
      label_smoothing: share of the target that is spread over all classes.
      class_weights: weigh each class by the inverse of its share of the training part.
      ema_decay: share kept at an update of the debiased moving averages of the parameters and of
        the statistics of batch normalisation, which are evaluated in place of the latest; 0 means
        the latest.
      early_stop_patience: epochs without an `early_stop_metric` lower by `early_stop_min_delta`
        after which training ends; 0 means never.
      early_stop_metric: `train_loss`, or `valid_loss`, the loss of the validation tracks.
    """

    name: str = schema.one_of("adam", OPTIMIZERS)
    learning_rate: float = schema.positive(1e-3)
    schedule: str = schema.one_of("constant", ("constant", "cosine", "step", "plateau"))
    step_epochs: int = schema.positive(30)
    step_factor: float = schema.fraction(0.1)
    plateau_factor: float = schema.fraction(0.5)
    plateau_patience: int = schema.positive(3)
    warmup_epochs: float = schema.at_least_zero(0.0)
    momentum: float = schema.share(0.0)
    weight_decay: float = schema.at_least_zero(0.0)
    clip_norm: float = schema.at_least_zero(0.0)
    accumulate_steps: int = schema.positive(1)
    label_smoothing: float = schema.share(0.0)
    class_weights: bool = False
    ema_decay: float = schema.share(0.0)
    early_stop_patience: int = schema.at_least_zero(0)
    early_stop_min_delta: float = schema.at_least_zero(0.01)
    early_stop_metric: str = schema.one_of("train_loss", ("train_loss", "valid_loss"))


@dataclasses.dataclass
class Train:
    """The run. `seed` draws the initial parameters, the batches and the augmentation.

    Attributes:
      num_epochs: passes over the training part.
      batch_size: windows per step, over all devices.
      mixup_alpha: each waveform is mixed with the next of its batch by a share drawn from
        Beta(alpha, alpha); 0 turns this off.
      mask_frames, mask_bins: SpecAugment (Park et al. 2019) on what a network reads: the largest
        width of the two masks in time, and of the two in frequency, of each window; 0 for none.
      parallelism: `jit` (one program over all devices) or `pmap` (one program for each);
        the results agree up to rounding.
      matmul_precision: products and convolutions of networks in float32, in training and after it.
        `default`: what is fast on the platform: float32 on CPU, TensorFloat-32 (3 digits in the
        factors, sums in float32) on GPUs since Ampere, bfloat16 factors on TPU. `tensorfloat32`:
        the same on GPUs, three products of bfloat16 on TPU. `highest`: float32 everywhere.
        Features, logistic regression, discriminant analysis and metrics always have the latter.
      deterministic: on GPUs use kernels that add in the same order at every run, so that a run that
        was interrupted ends as an unbroken one; obeyed by the commands `train` and
        `cross_validate`. Other devices need no setting.
      checkpoint_every_steps: also save within an epoch, for epochs of days; 0 saves at its end.
      keep_checkpoints: number of latest checkpoints to keep, beside the best.
      folds_at_once: `cross_validate` of networks only: folds that are trained together, as one
        program; 0 trains one after another.
      refit: train on the training and the validation part together, once all is chosen; the last
        state is kept, and the test part may be empty.
      seed: seed of everything random in training.
    """

    num_epochs: int = schema.positive(10)
    batch_size: int = schema.positive(8)
    mixup_alpha: float = schema.at_least_zero(0.0)
    mask_frames: int = schema.at_least_zero(0)
    mask_bins: int = schema.at_least_zero(0)
    parallelism: str = schema.one_of("jit", ("jit", "pmap"))
    matmul_precision: str = schema.one_of("default", ("default", "tensorfloat32", "highest"))
    deterministic: bool = False
    checkpoint_every_steps: int = schema.at_least_zero(0)
    keep_checkpoints: int = schema.positive(1)
    folds_at_once: int = schema.at_least_zero(0)
    refit: bool = False
    seed: int = schema.seed()


@dataclasses.dataclass
class Augment:
    """Random deformations of the training waveforms of a network (`features.deform`).

    Each is a largest strength, 0 for none. Every example draws its own, and `evaluate --deform`
    measures what they are good for.

    Attributes:
      probability: share of the examples that a deformation changes, for each by itself.
      crop: per cent that are cut away; the rest is repeated.
      shift: seconds that the clip is rotated by, in either direction.
      tempo: per cent faster or slower, at the same pitch.
      pitch: semitones up or down, at the same tempo.
      eq: decibels that each octave is raised or lowered by.
      reverb: seconds of reverberation (RT60).
      noise: white noise, in per cent of the music's RMS: 10 is a signal-to-noise ratio of 20 dB.
      lowpass: lowest cut-off in Hz, drawn on a log scale up to half the sample rate.
      gain: decibels up or down, clipped at full scale.
    """

    probability: float = schema.constrained(
        0.5, (lambda value: 0 <= value <= 1, "it must be from 0 to 1")
    )
    crop: float = schema.up_to(0.0, 99.0)
    shift: float = schema.at_least_zero(0.0)
    tempo: float = schema.up_to(0.0, 50.0)
    pitch: float = schema.up_to(0.0, 12.0)
    eq: float = schema.up_to(0.0, 40.0)
    reverb: float = schema.up_to(0.0, 20.0)
    noise: float = schema.up_to(0.0, 1000.0)
    lowpass: float = schema.at_least_zero(0.0)
    gain: float = schema.up_to(0.0, 60.0)

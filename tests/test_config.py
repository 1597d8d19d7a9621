"""The config tree: rules that relate fields, lengths in samples, JSON, differences."""

import json

import pytest

from mgr_jax import config as config_lib
from mgr_jax.config_sections import OPTIMIZERS
from mgr_jax.errors import UserError
from tests.config_with import config_with


def _refused(**fields):
    with pytest.raises(UserError) as caught:
        config_lib.validate(config_with(**fields))
    message = str(caught.value)
    assert "\n" not in message
    return message


def _refused_json(values):
    with pytest.raises(UserError) as caught:
        config_lib.from_json(values)
    return str(caught.value)


def test_clip_length_counts_samples():
    config = config_with(**{"data.clip_seconds": 30.0})
    assert config_lib.clip_length(config) == 661500
    config = config_with(**{"data.clip_seconds": 1.0, "data.clip_samples": 661794})
    assert config_lib.clip_length(config) == 661794
    config = config_with(**{"data.clip_seconds": 0.1, "features.sample_rate": 11025})
    assert config_lib.clip_length(config) == 1102


def test_window_length_is_the_clip_unless_it_is_given():
    assert config_lib.window_length(config_with(**{"data.clip_samples": 661794})) == 661794
    config = config_with(**{"data.window_seconds": 3.0, "features.sample_rate": 16000})
    assert config_lib.window_length(config) == 48000


def test_from_json_inverts_to_json():
    config = config_with(
        **{
            "data.root": "/ä b",
            "data.clip_seconds": 0.1,
            "model.l2": (0.5, 1.0),
            "model.bidirectional": True,
            "train.seed": 2**32 - 1,
        }
    )
    values = json.loads(json.dumps(config_lib.to_json(config)))
    assert config_lib.from_json(values) == config
    assert isinstance(config_lib.from_json(values).model.l2, tuple)


def test_from_json_fills_in_defaults_and_takes_whole_numbers_for_real_ones():
    config = config_lib.from_json({"data": {"clip_seconds": 3}, "model": {"l2": [1]}})
    assert config == config_with(**{"data.clip_seconds": 3.0, "model.l2": (1.0,)})
    assert type(config.data.clip_seconds) is float
    assert type(config.model.l2[0]) is float


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "config field config must be a mapping"),
        ({"data": None}, "config field data must be a mapping"),
        (
            {"trian": {}},
            "config field trian is unknown; remove it or correct its name (did you mean 'train'?)",
        ),
        (
            {"optim": {"learning_rte": 1.0}},
            "config field optim.learning_rte is unknown; remove it or correct its name (did you"
            " mean 'learning_rate'?)",
        ),
        ({"data": {"rot": ""}}, "config field data.rot is unknown; "),
        ({"data": {"seed": 1.5}}, "config field data.seed is 1.5; it must be int"),
        ({"data": {"seed": True}}, "config field data.seed is True; it must be int"),
        ({"data": {"seed": "1"}}, "config field data.seed is '1'; it must be int"),
        ({"data": {"seed": 2**63}}, f"config field data.seed is {2**63}; it must be int"),
        ({"data": {"root": None}}, "config field data.root is None; it must be str"),
        ({"data": {"clip_seconds": True}}, "config field data.clip_seconds is True; it must be"),
        ({"model": {"bidirectional": 1}}, "config field model.bidirectional is 1; it must be bool"),
        ({"optim": {"learning_rate": 10**400}}, "config field optim.learning_rate is 1000"),
        ({"model": {"l2": 1.0}}, "config field model.l2 must be a list of numbers"),
        ({"model": {"l2": ["1"]}}, "config field model.l2 must be a list of numbers"),
        ({"model": {"l2": [True]}}, "config field model.l2 must be a list of numbers"),
    ],
)
def test_from_json_refuses_unknown_fields_and_wrong_types(values, message):
    assert _refused_json(values).startswith(message)


def test_from_json_suggests_no_field_where_none_is_close():
    assert _refused_json({"data": {"colour": 1}}) == (
        "config field data.colour is unknown; remove it or correct its name"
    )


def test_from_json_takes_a_config_from_before_implementation_was_a_field():
    values = config_lib.to_json(config_with())
    del values["model"]["implementation"]
    assert config_lib.from_json(values).model.implementation == "auto"


def test_differences_names_the_fields():
    left = config_lib.to_json(config_with(**{"data.seed": 1, "model.l2": (1.0,)}))
    right = config_lib.to_json(config_with())
    assert config_lib.differences(left, left) == []
    assert config_lib.differences(left, right) == ["data.seed", "model.l2"]
    del right["train"]["seed"]
    assert config_lib.differences(left, right) == ["data.seed", "model.l2", "train.seed"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("data.clip_seconds", 1e-9),
        ("data.clip_seconds", 1e308),
        ("data.clip_samples", 2**31),
        ("data.window_seconds", 1e-9),
    ],
)
def test_validate_refuses_lengths_of_no_sample_or_of_too_many(field, value):
    assert _refused(**{field: value}).startswith(f"{field} gives ")


def test_validate_refuses_a_window_longer_than_the_clip():
    message = _refused(**{"data.clip_seconds": 5.0, "data.window_seconds": 5.001})
    assert message == (
        "data.window_seconds is 5.001 s, longer than a clip of 5 s; shorten the window"
    )
    config_lib.validate(config_with(**{"data.clip_seconds": 5.0, "data.window_seconds": 5.0}))
    # The exact length counts, not the nominal one.
    message = _refused(**{"data.clip_samples": 22050, "data.window_seconds": 2.0})
    assert "longer than a clip of 1 s" in message


def test_validate_refuses_a_covariance_of_less_than_two_frames():
    fields = {"features.kind": "mfcc_stats", "model.name": "logistic", "data.clip_samples": 1000}
    assert config_lib.validate(config_with(**fields, **{"features.hop_length": 1000}))
    message = _refused(**fields, **{"features.hop_length": 1001})
    assert "gives 1000 samples, below two frames, which a covariance needs" in message


def test_validate_refuses_bands_out_of_range():
    assert _refused(**{"features.fmin": 500.0, "features.fmax": 500.0}) == (
        "features.fmin is 500.0; it must be below features.fmax"
    )
    assert _refused(**{"features.fmax": 11026.0}).startswith(
        "features.fmax is 11026.0 Hz; it must not exceed half of features.sample_rate (11025 Hz)"
    )
    config_lib.validate(config_with(**{"features.fmax": 11025.0}))
    assert _refused(**{"features.n_mfcc": 129}) == (
        "features.n_mfcc is 129; it must not exceed features.n_mels (128)"
    )


def test_validate_refuses_tags_that_nothing_reads():
    message = _refused(**{"data.taggrams": "tags.npz"})
    assert message.startswith("data.taggrams is for experiments.evaluate --model=gtzan")


@pytest.mark.parametrize(
    ("model", "kind", "fits"),
    [
        ("bbnn", "logmel", True),
        ("bbnn", "mel_image", True),
        ("bbnn", "mfcc_stats", False),
        ("cnn", "mel_image", True),
        ("rnn", "mfcc", True),
        ("rnn", "mel_image", False),
        ("logistic", "mfcc_stats", True),
        ("logistic", "logmel", False),
        ("svm", "flattened", True),
        ("svm", "mel_image", False),
    ],
)
def test_validate_pairs_front_ends_with_systems(model, kind, fits):
    fields = {"model.name": model, "features.kind": kind}
    if fits:
        config_lib.validate(config_with(**fields))
    else:
        message = _refused(**fields)
        assert message.startswith(f"features.kind is {kind!r}, which model.name {model!r} cannot")


def test_validate_requires_the_front_end_that_musicnn_was_trained_on():
    fields = {
        "features.kind": "musicnn",
        "features.sample_rate": 16_000,
        "features.n_fft": 512,
        "features.hop_length": 256,
        "features.n_mels": 96,
    }
    for name in list(fields)[1:]:
        changed = {**fields, name: 2 * fields[name]}
        assert _refused(**changed) == (
            f"{name} is {changed[name]}; features.kind 'musicnn' needs {fields[name]}, as its"
            " weights were trained"
        )
    assert "gives 32000 samples; features.kind 'musicnn' needs 47616" in _refused(
        **{**fields, "data.window_seconds": 2.0}
    )
    assert "needs 'none'" in _refused(**{**fields, "features.normalize": "bin"})
    for model in ("bbnn", "ensemble"):
        assert "cannot read" in _refused(**{**fields, "model.name": model})
    for model in ("logistic", "svm", "lda"):
        config_lib.validate(config_with(**{**fields, "model.name": model}))


def test_validate_refuses_a_grey_flattened_image():
    fields = {"model.name": "svm", "features.kind": "flattened", "features.colormap": "grey"}
    assert _refused(**fields).startswith("features.colormap is 'grey'")


def test_validate_refuses_songs_that_would_not_be_read():
    config = config_with(**{"data.root": "songs"})
    with pytest.raises(UserError, match=r"^data.root is 'songs', but data.name 'band' reads no"):
        config_lib.validate_for_training(config)
    assert config_lib.validate(config) == config  # As systems of earlier versions have it.
    config.data.name = "folder"
    assert config_lib.validate_for_training(config) is config


@pytest.mark.parametrize("name", ["gtzan", "folder", "manifest"])
def test_validate_requires_the_root(name):
    where = f" ({config_lib.GTZAN_SOURCES})" if name == "gtzan" else ""
    message = f"data.root is empty; data.name {name!r} needs a path{where}"
    assert _refused(**{"data.name": name}) == message
    config_lib.validate(config_with(**{"data.name": name, "data.root": "somewhere"}))


@pytest.mark.parametrize(
    ("field", "names"),
    [
        ("optim.momentum", ("sgd", "rmsprop")),
        ("optim.weight_decay", ("adamw", "lamb", "lion")),
    ],
)
def test_validate_refuses_what_an_optimizer_does_not_have(field, names):
    for name in OPTIMIZERS:
        fields = {"optim.name": name, field: 0.5}
        if name in names:
            config_lib.validate(config_with(**fields))
        else:
            assert _refused(**fields) == (
                f"{field} is 0.5, which optim.name {name!r} does not have; set it to 0, or use"
                f" {', '.join(names)}"
            )


def test_validate_refuses_masks_and_statistics_of_images_and_masks_of_vectors():
    for field, value in (("train.mask_frames", 8), ("train.mask_bins", 4)):
        config_lib.validate(config_with(**{field: value}))
        for other in (
            {"features.kind": "mel_image"},
            {"model.name": "logistic", "features.kind": "mfcc_stats"},
        ):
            message = _refused(**{field: value}, **other)
            assert message.startswith(f"{field} masks the frames") and message.endswith("to 0")
    fields = {"model.pooling": "statistics"}
    config_lib.validate(config_with(**fields))
    message = _refused(**fields, **{"features.kind": "mel_image"})
    assert message.endswith("'mel_image' is an image; set it to 'default'")


def test_validate_refuses_a_warmup_as_long_as_the_run():
    fields = {"optim.warmup_epochs": 3.0, "train.num_epochs": 3}
    assert _refused(**fields) == (
        "optim.warmup_epochs is 3.0; it must be below train.num_epochs (3)"
    )
    config_lib.validate(config_with(**fields | {"train.num_epochs": 4}))


@pytest.mark.parametrize("scan_axis", ["frequency", "time"])
def test_validate_refuses_an_upright_image_whose_axes_a_cnn_lstm_would_confuse(scan_axis):
    fields = {"model.name": "cnn_lstm", "model.scan_axis": scan_axis}
    image = {"features.kind": "mel_image", "features.time_axis": "vertical"}
    message = _refused(**fields, **image)
    assert message.startswith(
        f"features.time_axis is 'vertical', but model.scan_axis {scan_axis!r}"
    )
    assert message.endswith("set it to 'horizontal'")
    config_lib.validate(config_with(**fields, **{"features.time_axis": "vertical"}))
    config_lib.validate(config_with(**image, **{"model.name": "cnn"}))


def test_split_seed_counts_the_repetitions():
    assert config_lib.split_seed(config_with(**{"data.seed": 3}).data) == 3
    assert config_lib.split_seed(config_with(**{"data.seed": 3, "data.repeat": 2}).data) == 5


def test_repr_has_what_differs_from_the_defaults():
    assert repr(config_lib.Config()) == "Config()"
    assert config_lib.Config()._repr_html_() == "<div>Config, all defaults</div>"
    config = config_with(**{"data.root": "<b>", "optim.learning_rate": 0.5})
    assert repr(config) == "Config(data.root='<b>', optim.learning_rate=0.5)"
    shown = config._repr_html_()
    assert "optim.learning_rate" in shown and "<b>" not in shown and "seed" not in shown


def test_validate_refuses_deformations_without_audio_or_training_steps():
    config_lib.validate(config_with(**{"augment.pitch": 2.0}))
    message = _refused(**{"augment.pitch": 2.0, "model.name": "svm", "features.kind": "mfcc_stats"})
    assert message.startswith("augment.pitch is for networks, which model.name 'svm' is not")
    arrays = {"data.name": "arrays", "data.root": "x.npz", "features.kind": "spectrogram"}
    message = _refused(**arrays, **{"augment.noise": 2.0})
    assert message.startswith("augment.noise deforms audio, which data.name 'arrays' has not")
    message = _refused(**{"augment.lowpass": 8000.0, "features.sample_rate": 8000})
    assert message.startswith("augment.lowpass is 8000 Hz; it must not exceed half of")

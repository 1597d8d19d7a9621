"""Layer tables of the presentation and of the BBNN paper, line by line."""

import pytest

from mgr_jax import config, models
from mgr_jax.models import summary as table

CNN = [
    ("conv2d_1", "Conv2D", (480, 640, 32), 896),
    ("conv2d_2", "Conv2D", (478, 638, 32), 9_248),
    ("average_pooling2d_1", "AveragePooling2D", (239, 319, 32), 0),
    ("dropout_1", "Dropout", (239, 319, 32), 0),
    ("conv2d_3", "Conv2D", (120, 160, 64), 32_832),
    ("conv2d_4", "Conv2D", (59, 79, 64), 65_600),
    ("average_pooling2d_2", "AveragePooling2D", (29, 39, 64), 0),
    ("dropout_2", "Dropout", (29, 39, 64), 0),
    ("conv2d_5", "Conv2D", (29, 39, 64), 65_600),
    ("conv2d_6", "Conv2D", (26, 36, 64), 65_600),
    ("average_pooling2d_3", "AveragePooling2D", (13, 18, 64), 0),
    ("dropout_3", "Dropout", (13, 18, 64), 0),
    ("flatten_1", "Flatten", (14_976,), 0),
    ("dense_1", "Dense", (1000,), 14_977_000),
    ("dense_2", "Dense", (512,), 512_512),
    ("dense_3", "Dense", (64,), 32_832),
    ("dense_4", "Dense", (10,), 650),
]

CNN_LSTM = [
    ("conv2d_1", "Conv2D", (480, 640, 32), 896),
    ("conv2d_2", "Conv2D", (478, 638, 32), 9_248),
    ("average_pooling2d_1", "AveragePooling2D", (239, 319, 32), 0),
    ("dropout_1", "Dropout", (239, 319, 32), 0),
    ("conv2d_3", "Conv2D", (239, 319, 64), 32_832),
    ("conv2d_4", "Conv2D", (236, 316, 64), 65_600),
    ("average_pooling2d_2", "AveragePooling2D", (118, 158, 64), 0),
    ("dropout_2", "Dropout", (118, 158, 64), 0),
    ("conv2d_5", "Conv2D", (118, 158, 64), 65_600),
    ("conv2d_6", "Conv2D", (115, 155, 64), 65_600),
    ("average_pooling2d_3", "AveragePooling2D", (57, 77, 64), 0),
    ("dropout_3", "Dropout", (57, 77, 64), 0),
    ("time_distributed_1", "Flatten", (57, 4928), 0),
    ("lstm_1", "LSTM", (57, 1000), 23_716_000),
    ("lstm_2", "LSTM", (500,), 3_002_000),
    ("dense_1", "Dense", (100,), 50_100),
    ("dropout_4", "Dropout", (100,), 0),
    ("dense_2", "Dense", (50,), 5_050),
    ("dropout_5", "Dropout", (50,), 0),
    ("dense_3", "Dense", (10,), 510),
]


def _summary(input_shape, **fields):
    model = config.Model(implementation="reference", **fields)
    network = models.make_model(model, num_classes=10)
    return table.summary(network, input_shape)


@pytest.mark.parametrize(
    ("name", "rows", "total"), [("cnn", CNN, 15_762_770), ("cnn_lstm", CNN_LSTM, 27_013_436)]
)
def test_summary_is_the_presentations(name, rows, total):
    summary = _summary((480, 640, 3), name=name)
    assert list(summary.rows) == rows
    assert (summary.trainable, summary.statistics) == (total, 0)


def test_summary_of_cnn_lstm_over_time_steps_along_columns():
    summary = _summary((480, 640, 3), name="cnn_lstm", scan_axis="time")
    shapes = {row.layer: row.output_shape for row in summary.rows}
    assert shapes["time_distributed_1"] == (77, 57 * 64)
    assert shapes["lstm_1"] == (77, 1000)
    spectrogram = _summary((640, 480), name="cnn_lstm", scan_axis="time")
    assert {r.layer: r.output_shape for r in spectrogram.rows}["lstm_1"] == (77, 1000)


@pytest.mark.parametrize(
    ("input_shape", "trainable", "pooled"),
    [((647, 128), 185_642, (161, 128)), ((288, 432, 3), 186_218, (72, 432))],
)
def test_summary_of_bbnn_is_the_authors(input_shape, trainable, pooled):
    summary = _summary(input_shape, name="bbnn")
    assert (summary.trainable, summary.statistics) == (trainable, 5_184)
    rows = {row.layer: row for row in summary.rows}
    assert len(rows) == len(summary.rows) == 3 + 3 * 13 + 6
    assert rows["stem_pool"].output_shape == (*pooled, 32)
    for i, channels in enumerate((32, 160, 288)):
        module = f"broadcast_{i}"
        for unit, inputs, size in (
            ("unit_1x1", channels, 1),
            ("reduce_3x3", channels, 1),
            ("unit_3x3", 32, 3),
            ("reduce_5x5", channels, 1),
            ("unit_5x5", 32, 5),
            ("unit_pool", channels, 1),
        ):
            norm, conv = rows[f"{module}/{unit}/norm"], rows[f"{module}/{unit}/conv"]
            assert norm[1:] == ("BatchNormalization", (*pooled, inputs), 4 * inputs)
            assert conv[1:] == ("Conv2D", (*pooled, 32), inputs * size**2 * 32 + 32)
        assert rows[f"{module}/pool"].output_shape == (*pooled, channels)
    assert rows["transition/norm"].output_shape == (*pooled, 416)
    assert rows["transition_pool"].output_shape == (pooled[0] // 2, pooled[1] // 2, 32)
    assert rows["classifier"][2:] == ((10,), 330)


def test_summary_of_rnn_counts_one_bias_per_gate():
    for cell, gates in (("simple", 1), ("gru", 3), ("lstm", 4)):
        summary = _summary((2584, 14), name="rnn", cell=cell, hidden_size=20, num_layers=2)
        rows = {row.layer: row for row in summary.rows}
        assert rows[f"{cell}_1"][2:] == ((2584, 20), gates * (14 * 20 + 20 * 20 + 20))
        assert rows[f"{cell}_2"][2:] == ((20,), gates * (20 * 20 + 20 * 20 + 20))
    both = _summary((2584, 14), name="rnn", bidirectional=True, hidden_size=20)
    assert {row.layer: row for row in both.rows}["dense_1"].parameters == 2 * 20 * 10 + 10


def test_format_summary_has_a_line_a_layer_and_the_totals():
    text = table.format_summary(_summary((480, 640, 3), name="cnn")).splitlines()
    assert text[0].split() == ["Layer", "(type)", "Output", "Shape", "Param", "#"]
    assert text[2].split() == ["conv2d_1", "(Conv2D)", "(None,", "480,", "640,", "32)", "896"]
    assert len(text) == len(CNN) + 6
    assert text[-3:] == [
        "Total params: 15,762,770",
        "Trainable params: 15,762,770",
        "Non-trainable params: 0",
    ]
    assert len({len(line) for line in text[:-3]}) == 1


def test_make_model_refuses_an_unknown_name():
    with pytest.raises(ValueError, match=r"model.name is 'svm'"):
        models.make_model(config.Model(name="svm"), num_classes=10)

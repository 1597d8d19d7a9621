"""The reader of Keras weights on files of the authors' layout that the tests write."""

import contextlib
import subprocess
import sys

import h5py
import jax
import numpy as np
import pytest

from mgr_jax.data import keras_file
from mgr_jax.models import bbnn
from mgr_jax.models import keras_weights as keras_import
from tests import fuzzing
from tests.models import numpy_networks as reference

WIDTH, NUM_MODULES, NUM_CLASSES = 4, 2, 3


@pytest.fixture(autouse=True)
def _in_this_process(request, monkeypatch):
    """Files are parsed here, without a process for each, unless the test is about the process."""
    if "process" not in request.node.name:
        monkeypatch.setattr(keras_file, "read", keras_file.parse)


def _authors_layers(conv_start, norm_start, dense_name, channels=1):
    """Layers and weights as the authors' program makes them: [(name, weights)], in that order."""
    rng = np.random.default_rng(0)
    made, count = [], {"conv2d": conv_start, "batch_normalization": norm_start}

    def name(kind):
        count[kind] += 1
        return f"{kind}_{count[kind] - 1}" if count[kind] > 1 else kind

    def norm(channels):
        weights = {"gamma": 1 + rng.normal(size=channels) / 9, "beta": rng.normal(size=channels)}
        weights["moving_mean"] = rng.normal(size=channels)
        weights["moving_variance"] = 1 + rng.random(channels)
        made.append((name("batch_normalization"), weights))

    def conv(size, inputs):
        kernel = rng.normal(size=(size, size, inputs, WIDTH)) / (size * np.sqrt(inputs))
        made.append((name("conv2d"), {"kernel": kernel, "bias": rng.normal(size=WIDTH)}))

    def unit(size, inputs):
        norm(inputs)
        conv(size, inputs)

    conv(3, channels)
    norm(WIDTH)
    for i in range(NUM_MODULES):
        inputs = WIDTH * (1 + 4 * i)
        unit(1, inputs)
        unit(1, inputs)
        unit(3, WIDTH)
        unit(1, inputs)
        unit(5, WIDTH)
        unit(1, inputs)
    unit(1, WIDTH * (1 + 4 * NUM_MODULES))
    norm(WIDTH)
    kernel = rng.normal(size=(WIDTH, NUM_CLASSES))
    made.append((dense_name, {"kernel": kernel, "bias": rng.normal(size=NUM_CLASSES)}))
    return made


def _write(path, made, root="model_weights"):
    """Keras 2's layout: a group a layer, sorted by depth (here: shuffled), and more besides."""
    with h5py.File(path, "w") as file:
        group = file.require_group(root)
        order = np.random.default_rng(1).permutation(len(made))
        group.attrs["layer_names"] = [made[i][0].encode() for i in order]
        group.create_group("activation_3").attrs["weight_names"] = []
        for i in order:
            name, weights = made[i]
            layer = group.create_group(name)
            layer.attrs["weight_names"] = [f"{name}/{key}:0".encode() for key in weights]
            for key, value in weights.items():
                layer.create_dataset(f"{name}/{key}:0", data=value.astype(np.float32))
        file.create_dataset("optimizer_weights/Adam/conv2d_1/kernel/m:0", data=np.zeros(3))
    return path


def _forward(made, x):
    """The network applied to the layers in the order in which they were made."""
    convs = iter([w for name, w in made if name.startswith("conv")])
    norms = iter([w for name, w in made if name.startswith("batch")])

    def norm(x):
        w = next(norms)
        y = (x - w["moving_mean"]) / np.sqrt(w["moving_variance"] + 1e-3)
        return reference.relu(y * w["gamma"] + w["beta"])

    def unit(x):
        return reference.conv(norm(x), next(convs))

    x = reference.max_pool(norm(reference.conv(x, next(convs))), (4, 1), (4, 1))
    for _ in range(NUM_MODULES):
        pooled = reference.max_pool(x, (3, 3), (1, 1), "SAME")
        branches = [unit(x), unit(unit(x)), unit(unit(x)), unit(pooled)]
        x = np.concatenate([x, *branches], axis=-1)
    return reference.dense(norm(reference.average_pool(unit(x))).mean((1, 2)), made[-1][1])


@pytest.mark.parametrize(
    ("starts", "dense", "root", "channels"),
    [
        ((1, 1), "dense_1", "model_weights", 1),  # a fresh session of Keras 2
        ((8, 95), "dense_5", "model_weights", 3),  # a later one: numbers pass 9 and 99
        ((0, 0), "dense", "/", 1),  # tf.keras, and a file of weights alone
    ],
)
def test_read_gives_the_network_of_the_file(tmp_path, starts, dense, root, channels):
    made = _authors_layers(*starts, dense, channels)
    found = keras_import.read(_write(tmp_path / "weights.hdf5", made, root))
    assert found[1:] == (NUM_CLASSES, WIDTH, NUM_MODULES, channels)
    network = bbnn.BBNN(NUM_CLASSES, width=WIDTH, num_modules=NUM_MODULES)
    x = np.random.default_rng(2).normal(size=(2, 17, 6, channels)).astype(np.float32)
    fresh = jax.eval_shape(network.init, jax.random.key(0), x)
    assert jax.tree.structure(fresh) == jax.tree.structure(found.variables)
    jax.tree.map(lambda a, b: a.shape == b.shape or pytest.fail(f"{a} {b}"), fresh, found.variables)
    logits = network.apply(found.variables, x)
    expected = _forward(made, x.astype(np.float64))
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def _rename(made, index, name):
    made[index] = (name, made[index][1])


def _without(made, index, weight):
    del made[index][1][weight]


def _transposed(made, index):
    made[index][1]["kernel"] = made[index][1]["kernel"].transpose(0, 1, 3, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda made: _rename(made, 4, "lstm_1"), "layer lstm_1 is not one that a BBNN has"),
        (lambda made: _without(made, 3, "bias"), "layer conv2d_2 has no bias"),
        (lambda made: _without(made, 4, "gamma"), "batch_normalization_3 has no gamma"),
        (
            lambda made: _transposed(made, 15),
            r"conv2d_8 does not fit broadcast_1/unit_1x1/conv: its kernel is \(1, 1, 4, 20\)",
        ),
        (
            lambda made: made.pop(2),
            r"layer batch_normalization_8 does not fit broadcast_0/unit_pool/norm",
        ),
        (lambda made: made.insert(0, ("dense_0", {"kernel": np.ones((4, 3))})), "layer dense_"),
        (lambda made: made.clear(), "is not a BBNN: 0 conv2d layers"),
        (
            lambda made: made[0][1].update(gamma=np.ones(4)),
            "layer conv2d_1 has a gamma; stem_conv has none",
        ),
    ],
)
def test_read_names_the_first_layer_that_does_not_fit(tmp_path, change, message):
    made = _authors_layers(1, 1, "dense_1")
    change(made)
    with pytest.raises(ValueError, match=message):
        keras_import.read(_write(tmp_path / "weights.hdf5", made))


@pytest.mark.parametrize(
    ("form", "claim"),
    [
        ({"shape": (1 << 40,), "dtype": "f4", "chunks": (1 << 10,)}, r"\(1099511627776,\) values"),
        ({"data": h5py.Empty("f4")}, "None values of float32"),
        ({"data": np.array([b"text"])}, "values of |S4"),
    ],
)
def test_read_refuses_a_data_set_that_only_claims_its_size(tmp_path, form, claim):
    made = _authors_layers(1, 1, "dense_1")
    path = _write(tmp_path / "weights.hdf5", made)
    with h5py.File(path, "a") as file:
        root = file.get("model_weights", file)
        root["conv2d_1"].create_dataset("moving_mean:0", **form)
    with pytest.raises(ValueError, match=f"layer conv2d_1: moving_mean:0 claims {claim}"):
        keras_import.read(path)


def test_read_refuses_what_is_not_hdf5(tmp_path):
    path = tmp_path / "weights.hdf5"
    path.write_text("not a file of weights")
    with pytest.raises(ValueError, match="cannot be read as an HDF5 file"):
        keras_import.read(path)


def test_read_follows_no_link_to_another_file(tmp_path):
    """Nor are raw bytes of another file taken for weights."""
    made = _authors_layers(1, 1, "dense_1")
    other = _write(tmp_path / "other.hdf5", made, "/")
    with h5py.File(tmp_path / "links.hdf5", "w") as file:
        for name, _ in made:
            file[name] = h5py.ExternalLink(str(other), f"/{name}")
    with pytest.raises(ValueError, match="is not a BBNN: 0 conv2d layers"):
        keras_import.read(tmp_path / "links.hdf5")
    with h5py.File(tmp_path / "bytes.hdf5", "w") as file:
        file.create_dataset(
            "conv2d_1/kernel:0", (3, 3, 1, 2), "f4", external=[("/etc/passwd", 0, 72)]
        )
    with pytest.raises(ValueError, match="layer conv2d_1: kernel:0 lies in another file"):
        keras_import.read(tmp_path / "bytes.hdf5")


@pytest.mark.e2e
def test_read_in_a_process_gives_what_parse_does_or_says_why_not(tmp_path):
    path = _write(tmp_path / "weights.hdf5", _authors_layers(1, 1, "dense_1"))
    expected, content = keras_file.parse(path), path.read_bytes()
    layers = keras_file.read(path)
    assert layers.keys() == expected.keys()
    for name, weights in expected.items():
        assert layers[name].keys() == weights.keys()
        for weight, value in weights.items():
            np.testing.assert_array_equal(layers[name][weight], value)
    random = np.random.default_rng(0)
    for number in range(4):
        damaged = bytearray(content[: len(content) // 2] if number == 0 else content)
        for place in random.integers(0, 4000, 20 * bool(number)):
            damaged[place] ^= int(random.integers(1, 256))
        path.write_bytes(damaged)
        with contextlib.suppress(ValueError):
            keras_file.read(path)


def test_read_in_a_process_that_crashes_or_hangs_is_one_line(tmp_path, monkeypatch):
    python = tmp_path / "python"
    monkeypatch.setattr(keras_file.sys, "executable", str(python))
    monkeypatch.setattr(keras_file, "_TIMEOUT_SECONDS", 0.2)
    for script, reason in (
        ("kill -SEGV $$", "it crashes its reader"),
        ("exec sleep 9", "too long"),
    ):
        python.write_text(f"#!/bin/bash\nexec 2>&- 1>&-\n{script}\n")
        python.chmod(0o755)
        with pytest.raises(ValueError, match=f"cannot be read as an HDF5 file: .*{reason}"):
            keras_file.read("weights.hdf5")


_PARSE_MANY = """
import sys
from mgr_jax.data import decoder, keras_file
decoder.limit_process()
for line in sys.stdin:
    decoder._extend_cpu_limit()
    try:
        keras_file.parse(line.rstrip())
        print("read", flush=True)
    except ValueError as error:
        print(ascii(str(error)), flush=True)
"""


@pytest.mark.parametrize("count", fuzzing.LATE_COUNTS)
def test_damaged_files_are_read_or_refused_by_a_process_that_rarely_crashes(tmp_path, count):
    path = tmp_path / "weights.h5"
    _write(path, _authors_layers(0, 0, "dense"))
    content, generator = path.read_bytes(), np.random.default_rng(0)
    crashes, rest = 0, count
    while rest:
        with subprocess.Popen(
            [sys.executable, "-c", _PARSE_MANY],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as child:
            answer = "none yet"
            while rest and answer:
                rest -= 1
                path.write_bytes(fuzzing.mutated(content, generator))
                with fuzzing.bounds():
                    print(path, file=child.stdin, flush=True)
                    answer = child.stdout.readline().strip()
                assert answer in ("", "read") or ("\\n" not in answer and str(path) in answer)
            crashes += not answer  # The command says so in one line.
    with fuzzing.bounds(children=True):
        assert crashes < 0.1 * count

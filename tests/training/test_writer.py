"""Records on disk, also those of a resumed run."""

import contextlib
import io
import pathlib
import struct

import numpy as np
import pytest
from matplotlib import image
from tensorboardX.proto.event_pb2 import Event

from mgr_jax.training import writer as writer_lib
from mgr_jax.training.writer import MetricsWriter
from mgr_jax.workdir import read_metrics


def write(workdir, step, records):
    with contextlib.closing(MetricsWriter(workdir, step=step)) as writer:
        for record in records:
            writer.write(record)


def test_metrics_writer_reads_back(tmp_path):
    records = [{"step": s, "loss": 1.0 / s} for s in (1, 2, 3)]
    write(tmp_path, 0, records)
    assert read_metrics(tmp_path) == records
    assert list((tmp_path / "tensorboard").iterdir())


def read_events(workdir):
    """Return what TensorBoard shows: tag -> [(step, value)]; events are framed by checksums."""
    events = {}
    for path in sorted((workdir / "tensorboard").iterdir()):
        data, offset = path.read_bytes(), 0
        while offset < len(data):
            (length,) = struct.unpack_from("<Q", data, offset)
            event = Event.FromString(data[offset + 12 : offset + 12 + length])
            offset += 16 + length
            for value in event.summary.value:
                events.setdefault(value.tag, []).append((event.step, value))
    return events


def test_metrics_writer_shows_every_number_of_a_record(tmp_path):
    record = {"step": 3, "train_loss": 0.5, "learning_rate": 0.25, "gradient_norm": 2.0}
    write(tmp_path, 0, [record, record | {"step": 6, "learning_rate": 0.125}])
    events = read_events(tmp_path)
    rates = [(step, value.simple_value) for step, value in events["learning_rate"]]
    assert rates == [(3, 0.25), (6, 0.125)]
    assert {"train_loss", "gradient_norm"} <= events.keys() and "step" not in events


def test_metrics_writer_shows_pictures_and_text(tmp_path):
    pixels = np.random.default_rng(0).integers(256, size=(5, 7, 4), dtype=np.uint8)
    png = io.BytesIO()
    image.imsave(png, pixels)
    with contextlib.closing(MetricsWriter(tmp_path, step=0)) as writer:
        writer.write_image("confusion", png.getvalue(), step=4)
        writer.write_text("config", '{\n "seed": 0\n}')
    events = read_events(tmp_path)
    ((step, value),) = events["confusion"]
    assert (step, value.image.height, value.image.width) == (4, 5, 7)
    shown = image.imread(io.BytesIO(value.image.encoded_image_string))
    np.testing.assert_array_equal(np.rint(255 * shown), pixels)
    ((_, value),) = next(values for tag, values in events.items() if tag.startswith("config"))
    # Four spaces make a block of code of it.
    assert value.tensor.string_val[0].decode() == '    {\n     "seed": 0\n    }\n'


def test_metrics_writer_drops_what_a_restored_run_repeats(tmp_path):
    write(tmp_path, 0, [{"step": s} for s in (5, 10, 15)])
    write(tmp_path, 10, [{"step": 15, "again": 1}])
    assert read_metrics(tmp_path) == [{"step": 5}, {"step": 10}, {"step": 15, "again": 1}]


def test_read_metrics_leaves_out_a_line_cut_by_a_kill(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2, "lo')
    assert read_metrics(tmp_path) == [{"step": 1}]
    write(tmp_path, 1, [{"step": 2}])
    assert read_metrics(tmp_path) == [{"step": 1}, {"step": 2}]


def test_read_metrics_leaves_out_what_is_no_record(tmp_path):
    for damage in (b"\xff\xfe", b"[1, 2]", b'{"loss": 1}'):
        (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n' + damage + b"\n")
        assert read_metrics(tmp_path) == [{"step": 1}]


def test_read_metrics_of_a_new_workdir_is_empty(tmp_path):
    assert read_metrics(tmp_path) == []


full_disk = pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="needs /dev/full")


@full_disk
def test_metrics_writer_names_the_metrics_that_fill_the_disk(tmp_path):
    with contextlib.closing(MetricsWriter(tmp_path, step=0)) as writer:
        (tmp_path / "metrics.jsonl").unlink()
        (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
        with pytest.raises(OSError, match="No space left") as error:
            writer.write({"step": 1})
    assert error.value.filename == str(tmp_path / "metrics.jsonl")


@full_disk
def test_metrics_writer_names_the_events_that_fill_the_disk(tmp_path, monkeypatch):
    class FullDisk(writer_lib.RecordWriter):
        def __init__(self, path):
            super().__init__("/dev/full")
            self.path = path

    monkeypatch.setattr(writer_lib, "RecordWriter", FullDisk)
    writer = MetricsWriter(tmp_path, step=0)
    with pytest.raises(OSError, match="No space left") as error:
        for step in range(1000):
            writer.write({"step": step, "loss": 1.0})
    assert error.value.filename.startswith(str(tmp_path / "tensorboard" / "events.out.tfevents."))
    with pytest.raises(OSError, match="No space left"):
        writer.close()
    assert len(read_metrics(tmp_path)) >= 10  # All before the one that did not fit.

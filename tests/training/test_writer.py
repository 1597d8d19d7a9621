"""Records on disk, and what a resumed run does to them."""

import contextlib

from mgr_jax.training.writer import MetricsWriter, read_metrics


def write(workdir, step, records):
    with contextlib.closing(MetricsWriter(workdir, step=step)) as writer:
        for record in records:
            writer.write(record)


def test_metrics_writer_reads_back(tmp_path):
    records = [{"step": s, "loss": 1.0 / s} for s in (1, 2, 3)]
    write(tmp_path, 0, records)
    assert read_metrics(tmp_path) == records
    assert list((tmp_path / "tensorboard").iterdir())


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

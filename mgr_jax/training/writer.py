"""Metrics on disk: `metrics.jsonl` and TensorBoard events, one record per epoch."""

import json
import pathlib
import struct
from typing import Any

import tensorboardX
from tensorboardX.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]

from mgr_jax.files import write_whole
from mgr_jax.workdir import METRICS, read_metrics


class MetricsWriter:
    """Appends records to the files of a workdir."""

    def __init__(self, workdir: pathlib.Path, *, step: int):
        """Opens the files at `step`, dropping later records, which a resumed run repeats."""
        kept = [record for record in read_metrics(workdir) if record["step"] <= step]
        write_whole(workdir / METRICS, "".join(json.dumps(record) + "\n" for record in kept))
        self._file = open(workdir / METRICS, "a", encoding="utf-8")  # noqa: SIM115 (closed below)
        self._events = tensorboardX.SummaryWriter(
            str(workdir / "tensorboard"), purge_step=step + 1, flush_secs=10
        )

    def write(self, record: dict[str, Any]) -> None:
        """Write one record; its `step` places it in TensorBoard."""
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        for name, value in record.items():
            if name != "step":
                self._events.add_scalar(name, value, record["step"])

    def write_text(self, name: str, text: str) -> None:
        """Show `text` verbatim in TensorBoard."""
        indented = "".join(f"    {line}\n" for line in text.splitlines())  # A Markdown code block.
        self._events.add_text(name, indented)

    def write_image(self, name: str, png: bytes, *, step: int) -> None:
        """Show the PNG file `png` in TensorBoard as the image of `step`."""
        width, height = struct.unpack(">II", png[16:24])  # From its header.
        image = Summary.Image(width=width, height=height, colorspace=4, encoded_image_string=png)
        summary = Summary(value=[Summary.Value(tag=name, image=image)])
        self._events.file_writer.add_summary(summary, step)

    def close(self) -> None:
        """Flush and close both files."""
        self._file.close()
        self._events.close()

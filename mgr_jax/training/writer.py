"""Metrics on disk: `metrics.jsonl` and TensorBoard events, one record per epoch.

All is written by the calling thread, so that a full disk raises an `OSError` that names the file. A
thread, such as that of tensorboardX's `SummaryWriter`, would print a traceback and lose the rest.
"""

import json
import pathlib
import socket
import struct
import time
from typing import Any

from tensorboardX import summary
from tensorboardX.proto.event_pb2 import (  # pyright: ignore[reportMissingModuleSource]
    Event,  # pyright: ignore[reportAttributeAccessIssue]
    SessionLog,  # pyright: ignore[reportAttributeAccessIssue]
)
from tensorboardX.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
from tensorboardX.record_writer import RecordWriter

from mgr_jax.files import naming_file, write_whole
from mgr_jax.workdir import METRICS, read_metrics

# Flushing waits for the disk, so not at every epoch.
_SECONDS_BETWEEN_FLUSHES = 10.0


class MetricsWriter:
    """The files of a workdir that records are appended to."""

    def __init__(self, workdir: pathlib.Path, *, step: int):
        """Open the files at `step`, dropping later records, which a resumed run repeats."""
        self._metrics, folder = workdir / METRICS, workdir / "tensorboard"
        kept = [record for record in read_metrics(workdir) if record["step"] <= step]
        write_whole(self._metrics, "".join(json.dumps(record) + "\n" for record in kept))
        folder.mkdir(exist_ok=True)
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}"
        self._events, self._flushed = RecordWriter(str(folder / name)), time.monotonic()
        self._add_event(0, file_version="brain.Event:2")
        # TensorBoard drops the events of this step and later ones in older files.
        self._add_event(step + 1, session_log=SessionLog(status=SessionLog.START))

    def write(self, record: dict[str, Any]) -> None:
        """Write one record; its `step` places it in TensorBoard."""
        with naming_file(self._metrics), open(self._metrics, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        values = [
            Summary.Value(tag=name, simple_value=value)
            for name, value in record.items()
            if name != "step"
        ]
        self._add_event(record["step"], summary=Summary(value=values))

    def write_text(self, name: str, text: str) -> None:
        """Show `text` verbatim in TensorBoard."""
        indented = "".join(f"    {line}\n" for line in text.splitlines())  # A Markdown code block.
        self._add_event(0, summary=summary.text(name, indented))

    def write_image(self, name: str, png: bytes, *, step: int) -> None:
        """Show the PNG file `png` in TensorBoard as the image of `step`."""
        width, height = struct.unpack(">II", png[16:24])  # From its header.
        image = Summary.Image(width=width, height=height, colorspace=4, encoded_image_string=png)
        self._add_event(step, summary=Summary(value=[Summary.Value(tag=name, image=image)]))

    def close(self) -> None:
        """Flush and close the events."""
        with naming_file(self._events.path):
            self._events.close()

    def _add_event(self, step: int, **content: Any) -> None:
        event = Event(wall_time=time.time(), step=step, **content)
        with naming_file(self._events.path):
            self._events.write(event.SerializeToString())
            if time.monotonic() - self._flushed > _SECONDS_BETWEEN_FLUSHES:
                self._events.flush()
                self._flushed = time.monotonic()

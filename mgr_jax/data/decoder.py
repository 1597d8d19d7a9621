"""The process that decodes: `python -m mgr_jax.data.decoder`, started by `decoders`.

Native decoders parse untrusted files. A crash, an endless loop or an allocation of all memory costs
this process and one file, and not the program.

Requests are lines of JSON on standard input; answers are frames on standard output, each a kind
and a length (`FRAME`) before its bytes: `BLOCK` with float32 samples, then `NOTE` or `ERROR` with
text. Tracks of the embedded data set are rendered here, too.
"""

import json
import os
import queue
import struct
import sys
import threading
import time
from typing import Any

import numpy as np

from mgr_jax.data import audio
from mgr_jax.data.ffmpeg import TOO_LONG

try:
    import resource
except ImportError:  # Windows has no such limits.
    resource = None

FRAME = struct.Struct("<cI")
BLOCK, NOTE, ERROR = b"B", b"N", b"E"

# Address space, of which the libraries alone take a third.
_MEMORY = 1 << 30
# Seconds of CPU time without a block.
_TIMEOUT = 60
# Seconds of CPU time for a file.
_TOTAL_TIMEOUT = 900
# Samples of a frame, and bytes that are decoded ahead of the reader.
_FRAME_SAMPLES, _AHEAD = 1 << 16, 1 << 26


def main() -> None:
    """Answer requests until standard input ends."""
    answers = os.dup(1)
    null = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):  # A decoder must not print between the frames.
        os.dup2(null, descriptor)
    limit_process()
    frames: queue.Queue[tuple[bytes, bytes]] = queue.Queue(_AHEAD // (4 * _FRAME_SAMPLES))
    threading.Thread(target=_write, args=(answers, frames), daemon=True).start()
    for line in sys.stdin.buffer:
        request = json.loads(line.decode("utf-8", "surrogateescape"))
        _extend_cpu_limit()
        for frame in _answer(**request):
            _extend_cpu_limit()
            frames.put(frame)


def _answer(path: str, sample_rate: int, max_samples: int | None, is_rendered: bool):
    held, size, began = [], 0, time.process_time()
    try:
        read = _render if is_rendered else audio.stream
        blocks = read(path, sample_rate=sample_rate, max_samples=max_samples)
        while True:
            try:
                block = next(blocks)
            except StopIteration as end:
                if held:
                    yield BLOCK, np.concatenate(held).tobytes()
                yield NOTE, end.value.encode("utf-8", "replace")
                return
            if time.process_time() - began > _TOTAL_TIMEOUT:
                raise audio.AudioError(TOO_LONG)
            held.append(block)
            size += block.size
            if size >= _FRAME_SAMPLES:
                yield BLOCK, np.concatenate(held).tobytes()
                held, size = [], 0
    except audio.AudioError as error:
        yield ERROR, str(error).encode("utf-8", "replace")
    except MemoryError:
        yield ERROR, b"takes too much memory to decode"


def _render(path: str, *, sample_rate: int, max_samples: Any):
    from mgr_jax.data.band import render  # Imported here: no other data set needs it.

    try:
        waveform = render.render(path, sample_rate=sample_rate, seconds=max_samples / sample_rate)
    except ValueError as error:
        raise audio.AudioError(str(error)) from error
    yield waveform[:max_samples]
    return ""


def limit_process() -> None:
    """Limit the memory of this process to `_MEMORY`, and let it leave no core."""
    _limit("RLIMIT_CORE", 0)
    if not _limit("RLIMIT_AS", _MEMORY):
        threading.Thread(target=_end_at_memory_limit, daemon=True).start()


def _limit(name: str, value: int) -> bool:
    """Set a limit of this process; return False where the system does not have it."""
    try:
        limit = getattr(resource, name)
        _, hard = resource.getrlimit(limit)
        if hard == resource.RLIM_INFINITY or value <= hard:
            resource.setrlimit(limit, (value, hard))
        return True
    except (AttributeError, ValueError, OSError):  # macOS refuses RLIMIT_AS.
        return False


def _end_at_memory_limit() -> None:
    import psutil  # Here, since Linux does not need it.

    process = psutil.Process()
    while process.memory_info().rss < _MEMORY:
        time.sleep(0.05)
    os._exit(1)


def _extend_cpu_limit() -> None:
    """Allow `_TIMEOUT` more seconds; without the limit, the reader ends this process."""
    _limit("RLIMIT_CPU", int(time.process_time()) + _TIMEOUT)


def _write(descriptor: int, frames: queue.Queue) -> None:
    try:
        while True:
            kind, content = frames.get()
            data = memoryview(FRAME.pack(kind, len(content)) + content)
            while data:
                data = data[os.write(descriptor, data) :]
    except OSError:
        os._exit(1)  # The reader is gone.


if __name__ == "__main__":
    main()

"""The process that decodes: `python -m mgr_jax.data.decoder`, started by `decoders`.

Native decoders parse untrusted files. A crash, an endless loop or an allocation of all memory costs
this process and one file, and not the program.

Requests are lines of JSON on standard input; answers are frames on standard output, each a kind
and a length (`FRAME`) before its bytes: `BLOCK` with float32 samples, then `NOTE` or `ERROR` with
text.
"""

import json
import os
import queue
import resource
import struct
import sys
import threading

import numpy as np

from mgr_jax.data import audio

FRAME = struct.Struct("<cI")
BLOCK, NOTE, ERROR = b"B", b"N", b"E"

# Address space, of which the libraries alone take a third.
_MEMORY = 1 << 30
# Seconds of CPU time without a block.
_TIMEOUT = 60
# Samples of a frame, and bytes that are decoded ahead of the reader.
_FRAME_SAMPLES, _AHEAD = 1 << 16, 1 << 26


def main() -> None:
    """Answer requests until standard input ends."""
    answers = os.dup(1)
    null = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):  # A decoder must not print between the frames.
        os.dup2(null, descriptor)
    for limit, value in ((resource.RLIMIT_AS, _MEMORY), (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(limit)
        if hard == resource.RLIM_INFINITY or value <= hard:
            resource.setrlimit(limit, (value, hard))
    frames: queue.Queue[tuple[bytes, bytes]] = queue.Queue(_AHEAD // (4 * _FRAME_SAMPLES))
    threading.Thread(target=_write, args=(answers, frames), daemon=True).start()
    for line in sys.stdin.buffer:
        request = json.loads(line.decode("utf-8", "surrogateescape"))
        for frame in _answer(**request):
            _extend_cpu_limit()
            frames.put(frame)


def _answer(path: str, sample_rate: int, max_samples: int | None):
    held, size = [], 0
    try:
        blocks = audio.stream(path, sample_rate=sample_rate, max_samples=max_samples)
        while True:
            try:
                block = next(blocks)
            except StopIteration as end:
                if held:
                    yield BLOCK, np.concatenate(held).tobytes()
                yield NOTE, end.value.encode("utf-8", "replace")
                return
            held.append(block)
            size += block.size
            if size >= _FRAME_SAMPLES:
                yield BLOCK, np.concatenate(held).tobytes()
                held, size = [], 0
    except audio.AudioError as error:
        yield ERROR, str(error).encode("utf-8", "replace")
    except MemoryError:
        yield ERROR, b"takes too much memory to decode"


def _extend_cpu_limit() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(used.ru_utime + used.ru_stime) + _TIMEOUT
    if hard == resource.RLIM_INFINITY or soft <= hard:
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


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

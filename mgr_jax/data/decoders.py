"""Decoding in separate processes, ahead of the reader: fast, and isolated from damaged files."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Generator, Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np

from mgr_jax import cores
from mgr_jax.data import audio
from mgr_jax.data.audio import AudioError
from mgr_jax.data.decoder import BLOCK, FRAME, NOTE
from mgr_jax.data.ffmpeg import TOO_LONG

# Files that a process is sent ahead of the one that is read.
_AHEAD = 8
# Seconds to wait for the next block of a file.
_TIMEOUT = 60.0
_COMMAND = (sys.executable, "-m", "mgr_jax.data.decoder")

Blocks = Generator[np.ndarray, None, str]


class Decoders:
    """A pool of processes that decode, started on demand and kept for the next file.

    Any number of threads may read at once; each has its own processes.
    """

    def __init__(self, num_processes: int = 0):
        """Create an empty pool; `num_processes` decode for one reader, 0 means one per core."""
        self._num_processes = num_processes or cores.count()
        self._idle: list[_Process] = []
        self._busy: set[_Process] = set()
        self._is_closed = False
        self._lock = threading.Lock()

    def warm_up(self) -> None:
        """Start a process now, so that the first file need not wait for it."""
        self.release(self.acquire())

    def read(
        self,
        paths: Sequence[str],
        *,
        sample_rate: int,
        max_samples: int | None = None,
        is_rendered: bool = False,
    ) -> Iterator[tuple[str, Blocks]]:
        """Yield path and `audio.stream` of each file, in order, and decode ahead.

        The blocks of a file must be read before the next file is requested; unread blocks are
        lost. A file that kills its decoder, hangs or takes all memory raises `AudioError` as any
        other that cannot be read. With `is_rendered` the paths are tracks of the embedded data set.
        """
        settings = {
            "sample_rate": sample_rate,
            "max_samples": max_samples,
            "is_rendered": is_rendered,
        }
        # The decoders may have started in another folder.
        places = paths if is_rendered else [path and os.path.abspath(path) for path in paths]
        requests = [{"path": os.fsdecode(place), **settings} for place in places]
        count = min(self._num_processes, len(requests))
        lanes = [_Lane(self, requests[first::count]) for first in range(count)]
        try:
            for index, path in enumerate(paths):
                blocks = lanes[index % count].blocks(index // count)
                yield path, blocks
                blocks.close()
        finally:
            for lane in lanes:
                lane.close()

    def read_source(
        self,
        source: str | os.PathLike | BinaryIO | np.ndarray,
        source_rate: float | None,
        *,
        sample_rate: int,
    ) -> Iterator[tuple[str, Blocks]]:
        """Return what `read` yields for one file, or for a waveform in memory, whose path is empty.

        Args:
          source: path of a file, an open binary file, or the waveform of `audio.convert`.
          source_rate: rate of the waveform in Hz; None for a file.
          sample_rate: rate in Hz to resample to.

        Raises:
          AudioError: if a waveform is empty or silent, or holds NaN or Inf.
          ValueError: if `source_rate` is missing, or given for a file; or for a bad waveform.
        """
        file: Any = source
        if hasattr(source, "read") or isinstance(source, str | os.PathLike):
            if source_rate is not None:
                raise ValueError("sample_rate is for a waveform; a file knows its own")
            if hasattr(source, "read"):
                return self._read_copy(file, sample_rate)
            return self.read([os.fspath(file)], sample_rate=sample_rate)
        if source_rate is None:
            raise ValueError("sample_rate is None; give the rate of the waveform in Hz")
        waveform, note = audio.convert_noted(file, source_rate, sample_rate=sample_rate)
        return iter([("", _one_block(waveform, note))])

    def _read_copy(self, source: BinaryIO, sample_rate: int) -> Iterator[tuple[str, Blocks]]:
        if not isinstance(source.read(0), bytes):
            raise ValueError("the file is open as text; open it as binary ('rb')")
        # The processes open files by their names, on Windows none that is open here.
        with tempfile.TemporaryDirectory(prefix="mgr_jax_", ignore_cleanup_errors=True) as folder:
            name = os.path.join(folder, "copy")
            with open(name, "wb") as copy:
                shutil.copyfileobj(source, copy)
            for _, blocks in self.read([name], sample_rate=sample_rate):
                yield "", blocks

    def close(self) -> None:
        """End all processes; a file that is being read raises `AudioError`."""
        with self._lock:
            self._is_closed = True
            for process in self._busy:  # The thread that reads it closes its pipes.
                process.stop()
            while self._idle:
                self._idle.pop().kill()

    def acquire(self) -> "_Process":
        """Return an idle process, or a new one; `release` takes it back."""
        with self._lock:
            if self._is_closed:
                raise AudioError("was not decoded: the decoders are closed")
            while self._idle and not self._idle[-1].alive():
                self._idle.pop().kill()
            process = self._idle.pop() if self._idle else _Process()
            self._busy.add(process)
        return process

    def release(self, process: "_Process") -> None:
        """Keep a process for the next file."""
        with self._lock:
            self._busy.discard(process)
            if len(self._idle) < self._num_processes and not self._is_closed:
                self._idle.append(process)
                return
        process.kill()

    def end(self, process: "_Process") -> None:
        """End a process."""
        with self._lock:
            self._busy.discard(process)
        process.kill()


def _one_block(waveform: np.ndarray, note: str) -> Blocks:
    yield waveform
    return note


class _Lane:
    """One process and the files that it decodes, one after the other."""

    def __init__(self, decoders: Decoders, requests: Sequence[dict]):
        self._decoders, self._requests = decoders, requests
        self._process: _Process | None = None
        self._sent = self._read = 0  # Files requested, and files whose answers have been read.
        self._send(1)

    def blocks(self, index: int) -> Blocks:
        if self._read != index:  # The previous file was not read to its end.
            self._restart(index)
        yielded = 0  # Samples that the reader has received.
        is_too_long = False
        for ahead in (_AHEAD, 1):
            self._send(index + ahead)
            position = 0
            try:
                while True:
                    kind, content = self._process.receive()
                    if kind != BLOCK:
                        break
                    block = np.frombuffer(content, np.float32)
                    new = block[max(0, yielded - position) :]
                    position += block.size
                    if new.size:
                        yielded = position
                        yield new
            except TimeoutError as error:
                raise AudioError(TOO_LONG) from error
            except EOFError:
                # One of the files ahead may have killed it: decode this one again, alone.
                is_too_long = self._process.reached_cpu_limit()
                self._restart(index)
            else:
                self._read = index + 1
                text = content.decode("utf-8", "replace")
                if kind == NOTE:
                    return text
                raise AudioError(text)
        self._restart(index + 1)
        raise AudioError(TOO_LONG if is_too_long else "crashed the decoder")

    def close(self) -> None:
        if self._process is None:
            return
        if self._read == self._sent:
            self._decoders.release(self._process)
        else:
            self._decoders.end(self._process)

    def _send(self, end: int) -> None:
        if self._process is None:
            self._process = self._decoders.acquire()
        for request in self._requests[self._sent : end]:
            self._process.send(request)
            self._sent += 1

    def _restart(self, index: int) -> None:
        if self._process is not None:
            self._decoders.end(self._process)
        self._process, self._sent, self._read = None, index, index


class _Process:
    """A running `decoder`."""

    def __init__(self):
        # The path of this package, since the program may have been started in any folder; one
        # thread for each library, since every further one reserves memory.
        root = str(pathlib.Path(__file__).parents[2])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(paths),
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }
        self._popen = subprocess.Popen(
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            bufsize=0,
            # Ctrl-C goes to the program alone, which then ends this process.
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # Windows.
        )
        self._stdout: Any = self._popen.stdout
        weakref.finalize(self, _end, self._popen)

    def alive(self) -> bool:
        return self._popen.poll() is None

    def reached_cpu_limit(self) -> bool:
        """Return whether the system ended this process for its CPU time; wait for its end."""
        return self._popen.wait() == -getattr(signal, "SIGXCPU", 0) != 0

    def send(self, request: dict) -> None:
        line = json.dumps(request, ensure_ascii=False) + "\n"
        with contextlib.suppress(OSError):  # `receive` reports that it has ended.
            self._popen.stdin.write(line.encode("utf-8", "surrogateescape"))

    def receive(self) -> tuple[bytes, bytearray]:
        """Return kind and content of the next frame.

        Raises:
          EOFError: the process has ended.
          TimeoutError: no frame arrived in time.
        """
        # Windows cannot wait for a pipe with a timeout: the end of the process ends the reading.
        timed_out = threading.Event()
        timer = threading.Timer(_TIMEOUT, lambda: (timed_out.set(), self.stop()))
        timer.daemon = True
        timer.start()
        try:
            kind, length = FRAME.unpack(self._exactly(FRAME.size))
            return kind, self._exactly(length)
        except EOFError:
            if timed_out.is_set():
                raise TimeoutError from None
            raise
        finally:
            timer.cancel()

    def stop(self) -> None:
        """End the process; `kill` has to follow."""
        _stop(self._popen)

    def kill(self) -> None:
        _end(self._popen)

    def _exactly(self, length: int) -> bytearray:
        data = bytearray(length)
        rest = memoryview(data)
        while rest:
            count = self._stdout.readinto(rest)
            if not count:
                raise EOFError
            rest = rest[count:]
        return data


def _stop(popen: subprocess.Popen) -> None:
    try:  # Its session, an ffmpeg in it as well; `poll` says that the number is still its own.
        if popen.poll() is None:
            os.killpg(popen.pid, signal.SIGKILL)
    except (AttributeError, OSError):  # Windows has no sessions.
        popen.kill()


def _end(popen: subprocess.Popen) -> None:
    _stop(popen)
    popen.wait()
    popen.stdin.close()
    popen.stdout.close()

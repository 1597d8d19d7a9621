"""Audio that ffmpeg decodes: an AU stream from its standard output."""

import contextlib
import os
import re
import shutil
import signal
import struct
import subprocess
import tempfile
from typing import Any

import numpy as np

try:
    import resource
except ImportError:  # Windows has no such limits.
    resource = None

TOO_LONG = "takes too long to decode: its time limit is over"
# Seconds of CPU time for a file. Without this limit of its own, ffmpeg has what is left of the
# decoder's, which is extended with each block.
_CPU_SECONDS = 900
# Formats that hold sound themselves: others (playlists, sets of pictures) open further files.
_DEMUXERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,g722,gsm,iff,loas,matroska,mlp,mov,"
    "mp3,mpc,mpc8,mpeg,mpegts,mxf,nut,oga,ogg,oma,qcp,rm,sds,shn,sox,tak,thd,truehd,tta,voc,w64,"
    "wav,wv,xwma"
)
_DURATION = re.compile(rb"Duration: (\d+):(\d\d):(\d\d\.\d+)")
# Where ffmpeg guesses the length, pictures may last longer than the sound, or the length is a
# placeholder in files that were written to a pipe.
_NO_PROMISE = re.compile(rb"from bitrate|Stream #.*Video: (?!mjpeg|png)|Input #0, (avi|rm)")
# Seconds by which the length of a whole file may miss what its header states, for the delay of
# encoders and the last packet.
_TOLERANCE = 0.25


def is_installed() -> bool:
    """Return whether there is an ffmpeg to run."""
    return shutil.which("ffmpeg") is not None


class Source:
    """An audio file that ffmpeg decodes.

    Attributes:
      error: why nothing can be decoded, else empty.
      samplerate: Hz.
      channels: their number.
    """

    error = ""
    samplerate = channels = 0

    def __init__(self, path: bytes | str, demuxer: str = "", start: int = 0, stop: int = 0):
        """Start ffmpeg.

        Args:
          path: the file.
          demuxer: ffmpeg's name of the container; empty lets it choose among those that are safe.
          start, stop: the part of the file to decode, in bytes; 0 for `stop` means the end.
        """
        name = b"file:" + os.fsencode(os.path.abspath(path))
        if start or stop:
            name = b"subfile,,start,%d,end,%d,,:" % (start, stop) + name
        command = ["ffmpeg", "-nostdin", "-hide_banner", "-nostats", "-threads", "1"]
        command += ["-protocol_whitelist", "file,subfile"]
        command += ["-f", demuxer] if demuxer else ["-format_whitelist", _DEMUXERS]
        command += ["-i", name, "-map", "0:a:0", "-c:a", "pcm_f32be", "-f", "au", "-"]
        # A file, since a pipe that nobody reads would fill up.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self._process: Any = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._log
        )
        if hasattr(resource, "prlimit"):  # Linux; macOS can limit a process only before it starts.
            with contextlib.suppress(OSError, ValueError):  # It has ended, or its limit is lower.
                limit = resource.RLIMIT_CPU
                _, hard = resource.prlimit(self._process.pid, limit)
                resource.prlimit(self._process.pid, limit, (_CPU_SECONDS, hard))
        header = self._process.stdout.read(24)
        if len(header) < 24:
            self.error = self.reason()
            self.close()
            return
        _, offset, _, _, self.samplerate, self.channels = struct.unpack(">4s5I", header)
        self._process.stdout.read(offset - 24)

    def read(self, num_frames: int) -> np.ndarray:
        """Return the next samples `[T, channels]`, float32; fewer than `num_frames` at the end."""
        size = 4 * self.channels
        data = self._process.stdout.read(size * num_frames)
        values = np.frombuffer(data[: len(data) // size * size], ">f4")
        return values.reshape(-1, self.channels).astype(np.float32)

    def is_damaged(self, seconds: float) -> bool:
        """Return whether `seconds`, all that was read, are fewer than the header states."""
        failed = self._process.wait() != 0
        self._log.seek(0)
        log = self._log.read(1 << 16)
        match = _DURATION.search(log)
        if not match or _NO_PROMISE.search(log):
            return failed
        hours, minutes, rest = match.groups()
        stated = 3600 * int(hours) + 60 * int(minutes) + float(rest)
        return failed or seconds < stated - _TOLERANCE

    def reached_cpu_limit(self) -> bool:
        """Return whether the system ended ffmpeg for its CPU time; wait for its end."""
        return self._process.wait() == -getattr(signal, "SIGXCPU", 0) != 0

    def close(self) -> None:
        """End ffmpeg."""
        self._process.stdout.close()
        self._process.kill()
        self._process.wait()
        self._log.close()

    def reason(self) -> str:
        """Return in words why nothing is decoded."""
        if self.reached_cpu_limit():
            return TOO_LONG
        self._log.seek(0)
        log = self._log.read(1 << 16).decode(errors="replace")
        if "matches no streams" in log or not log.strip():
            return "has no audio in it"
        lines = [line for line in log.splitlines() if line.startswith("[") or "rror" in line]
        reason = (lines or log.splitlines())[0].rpartition("] ")[2].strip()
        return f"cannot be decoded (ffmpeg: {reason})"

"""Decodes tracks into rows of a clip store, in processes with limits."""

import concurrent.futures
import dataclasses
import hashlib
import os
from collections.abc import Iterator

import numpy as np

from mgr_jax import cores
from mgr_jax.data import audio
from mgr_jax.data.catalog import Track
from mgr_jax.data.decoders import Decoders
from mgr_jax.data.records import Record
from mgr_jax.files import sha256

# The int16 value of 1.0 in a row of scale 1.
FULL_SCALE = 32768.0

# Track, file of the store, row, shape of the store [N, T], rate in Hz.
Job = tuple[Track, str, int, tuple[int, int], int]


def write_rows(jobs: list[Job], num_workers: int) -> Iterator[Record]:
    """Yield the records of the jobs in any order; a file that kills its decoder is only skipped.

    Args:
      jobs: the rows to write.
      num_workers: processes that decode; 0 means one per core.
    """
    count = max(1, min(num_workers or cores.count(), len(jobs)))
    decoders = Decoders(count)
    threads = concurrent.futures.ThreadPoolExecutor(count)
    try:
        rows = [threads.submit(_decode_row, job, decoders) for job in jobs]
        for row in concurrent.futures.as_completed(rows):
            yield row.result()
    finally:
        decoders.close()
        threads.shutdown(cancel_futures=True)


def _decode_row(job: Job, decoders: Decoders) -> Record:
    """Decode one track and write its row; the row is complete before the record is returned."""
    track, target, row, shape, sample_rate = job
    source = file_hash(track.path)
    try:
        is_rendered = track.path.startswith("band:")
        limits = {"sample_rate": sample_rate, "max_samples": shape[1]}
        for _, blocks in decoders.read([track.path], **limits, is_rendered=is_rendered):
            waveform, note = audio.join(blocks)
    except audio.AudioError as error:
        return Record(track.id, error=str(error), source=source)
    # Up to a tenth of the clip is the usual spread of a collection, and not reported.
    if len(waveform) < 0.9 * shape[1] and not note:
        seconds = len(waveform) / sample_rate
        note = f"short: {seconds:.2f} s, padded to {shape[1] / sample_rate:g} s"
    scale = max(1.0, float(np.abs(waveform).max()))
    steps = np.clip(np.rint(waveform / scale * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1)
    samples = audio.fit(steps.astype(np.int16), shape[1])
    # On a full disk a write raises an error, while a mapped page would kill the process.
    with open(target, "r+b") as file:
        file.seek(row * shape[1] * 2)
        file.write(samples.tobytes())
        file.flush()
        os.fsync(file.fileno())
    record = Record(track.id, length=len(waveform), scale=scale, note=note, source=source)
    return dataclasses.replace(record, digest=row_digest(record, samples))


def file_hash(path: str) -> str:
    """Return the SHA-256 of a file; empty if it cannot be read, or for the embedded data set."""
    if not os.path.isfile(path):  # A pipe would block.
        return ""
    try:
        return sha256(path)
    except OSError:
        return ""


def row_digest(record: Record, samples: np.ndarray) -> str:
    """Return the hash of a row int16 `[T]` with the track, length and scale that it belongs to."""
    digest = hashlib.blake2b(f"{record.id} {record.length} {record.scale}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(samples, "<i2").data)
    return digest.hexdigest()

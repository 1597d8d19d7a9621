"""Shards: the decoded clips of a large collection in ArrayRecord files, read through grain.

A clip is stored in pieces (`shard_writer.PIECE_SAMPLES`), each a record of int16 samples, without
the padding, so that a window is read without the rest of its clip. The manifest of a shard
(`data.manifests`) lists its contents, and nothing else is read before the first batch.
"""

import dataclasses
import os
import pathlib
from typing import Any

import grain
import numpy as np

from mgr_jax.data import clips, manifests, shard_faults
from mgr_jax.data.catalog import Catalog
from mgr_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Samples:
    """int16 samples `[N, T]` in shards: indexing reads a row or a slice of it.

    Attributes:
      source: all records of all shards, one after the other.
      files: the shards, in this order.
      first: first record of each row, `[N]`.
      lengths: stored samples of each row, `[N]`; the rest is zeros.
      clip_samples: T.
    """

    source: Any  # grain.sources.ArrayRecordDataSource; empty without files.
    files: tuple["_File", ...]
    first: np.ndarray
    lengths: np.ndarray
    clip_samples: int
    piece_samples: int

    dtype = np.dtype(np.int16)
    ndim = 2

    @property
    def shape(self) -> tuple[int, int]:
        """Return the number of clips and their samples, [N, T]."""
        return len(self.lengths), self.clip_samples

    @property
    def nbytes(self) -> int:
        """Return the bytes of the samples as an array."""
        return len(self.lengths) * self.clip_samples * self.dtype.itemsize

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, key: int | tuple[int, slice]) -> np.ndarray:
        """Return a row `[T]`, or a slice of it without a step.

        Raises:
          UserError: if a shard is damaged, or gone.
        """
        row, columns = key if isinstance(key, tuple) else (key, slice(None))
        start, stop, step = columns.indices(self.clip_samples)
        if step != 1:
            raise ValueError(f"key {key}: a row is read without a step")
        samples = np.zeros(max(0, stop - start), self.dtype)
        stop, size = min(stop, int(self.lengths[row])), self.piece_samples
        if start < stop:
            for number in range(start // size, -(-stop // size)):
                begin = number * size
                low, high = max(start, begin), min(stop, begin + size)
                piece = self._read(int(self.first[row]) + number, high - begin)
                samples[low - start : high - start] = piece[low - begin : high - begin]
        return samples

    def _read(self, record: int, length: int) -> np.ndarray:
        """Return the samples of a record, `length` or more."""
        try:
            piece = np.frombuffer(self.source[record], self.dtype)
            if len(piece) < length:
                raise ValueError(f"a record has {len(piece)} samples, not {length}")
            return piece
        except (RuntimeError, ValueError, IndexError) as error:
            ends = np.cumsum([file.take for file in self.files])
            path = self.files[int(np.searchsorted(ends, record, side="right"))].filename
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"data.root: {path} cannot be read ({reason}); delete it, and write it again as"
                " prepare --check says"
            ) from error


@dataclasses.dataclass(frozen=True)
class _File:
    """A file for `ArrayRecordDataSource`, which then need not count its records."""

    filename: str
    take: int
    examples_in_shard: int
    skip: int = 0


def open_shards(root: str, *, sample_rate: int, clip_samples: int) -> tuple[Catalog, clips.Clips]:
    """Return the catalog of a folder of shards, and its clip store with rows in the same order.

    Only the manifests are read. Clips longer than `clip_samples` are cut at their end.

    Raises:
      UserError: if the shards are not a whole collection (`shard_faults.read_manifests`), have
        another rate, or are shorter than `clip_samples`.
    """
    shards = shard_faults.read_manifests(root)
    common, folder = shards[0].collection, pathlib.Path(os.path.expanduser(root))
    if common.sample_rate != sample_rate:
        raise UserError(
            f"data.root {root}: its shards have {common.sample_rate} Hz, not {sample_rate}; set"
            f" features.sample_rate={common.sample_rate}, or write others"
        )
    if common.clip_samples < clip_samples:
        raise UserError(
            f"data.root {root}: its clips have {common.clip_samples} samples, fewer than"
            f" {clip_samples}; set data.clip_samples={common.clip_samples}, or write others"
        )
    files, counts = [], []
    for manifest in shards:
        pieces = manifest.num_pieces()
        counts += pieces
        path = manifests.data_path(folder, manifest.shard, manifest.num_shards)
        if sum(pieces):
            files.append(_File(str(path), sum(pieces), sum(pieces)))
    records = tuple(
        dataclasses.replace(record, length=clip_samples) if record.length > clip_samples else record
        for manifest in shards
        for record in manifest.records
    )
    samples = Samples(
        grain.sources.ArrayRecordDataSource(files) if files else (),
        tuple(files),
        first=np.cumsum([0, *counts[:-1]]),
        lengths=np.array([record.length for record in records], np.int64),
        clip_samples=clip_samples,
        piece_samples=common.piece_samples,
    )
    return manifests.catalog_of(shards), clips.Clips(samples, records, sample_rate, folder)


def read_catalog(root: str) -> Catalog:
    """Return the catalog that a folder of shards was made of, without its files.

    Raises:
      UserError: see `shard_faults.read_manifests`.
    """
    return manifests.catalog_of(shard_faults.read_manifests(root))


def read_checksums(root: str) -> dict[str, str]:
    """Return track id -> MD5 of the file that it was decoded from; empty for the band.

    Raises:
      UserError: see `shard_faults.read_manifests`.
    """
    return {
        track.id: source.md5
        for manifest in shard_faults.read_manifests(root)
        for track, source in zip(manifest.tracks, manifest.sources, strict=True)
    }

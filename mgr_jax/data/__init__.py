"""Data sets: catalogs of tracks, splits, decoded clips and batches."""

"""Tracks, splits, decoding and batches."""

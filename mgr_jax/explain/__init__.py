"""Which times and which bands of a recording carried the answer of a system."""

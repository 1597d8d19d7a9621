"""A trained system for others: one file, StableHLO, ONNX, and a card that says what it is."""

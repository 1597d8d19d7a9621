"""Export of a trained system: bundle, StableHLO, ONNX and model card."""

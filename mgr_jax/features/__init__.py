"""From waveform to model input, as pure functions."""

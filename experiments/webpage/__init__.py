"""The web page of `experiments.app`: layout, answer, spectrogram and what the server lets pass."""

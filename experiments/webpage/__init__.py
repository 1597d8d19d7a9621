"""The web page of `experiments.app`: layout, answer, spectrogram and the server's gate."""

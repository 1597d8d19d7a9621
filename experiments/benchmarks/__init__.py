"""The suites of `experiments.benchmark`, a module each, and what they share."""

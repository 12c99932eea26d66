"""Timings against other libraries at equal accuracy: ``python -m benchmarks``."""

"""Figures: each `bench_*.py` here has a `measure()` that gives rows; `make bench` runs them all."""

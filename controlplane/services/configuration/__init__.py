"""Configuration: each PUT that changes something is a new immutable version."""

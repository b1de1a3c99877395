"""Rollouts: preview, start, commands."""

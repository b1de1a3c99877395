"""Rollouts except the engine that drives them: preview, start, commands, reads."""

"""Prometheus' HTTP API (also Azure Monitor workspaces, Mimir, Thanos): instant and range queries, those of one moment in few requests."""

from .client import SKEW, TIMEOUT_SECONDS, Prometheus, Token

__all__ = ["SKEW", "TIMEOUT_SECONDS", "Prometheus", "Token"]

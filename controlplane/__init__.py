"""Seawall: an event-driven, multi-tenant platform control plane."""

from importlib.metadata import version

__version__ = version("seawall")

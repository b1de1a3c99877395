"""Seawall: an event-driven, multi-tenant platform control plane."""

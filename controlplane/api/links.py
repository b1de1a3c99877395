"""Addresses in answers."""

from __future__ import annotations

from fastapi import Request


def absolute(request: Request, path: str) -> str:
    """The address of a path as this client reaches it, or under the configured public URL."""
    base = request.app.state.container.settings.public_url or str(request.base_url)
    return base.rstrip("/") + path

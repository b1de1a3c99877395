"""Rendered content as it is stored."""

from __future__ import annotations

import zlib

import orjson

from controlplane.domain.manifests import Rendered


def pack(rendered: Rendered) -> bytes:
    """Content as stored: zlib over JSON."""
    return zlib.compress(orjson.dumps(rendered.model_dump(mode="json")), level=6)


def unpack(body: bytes) -> Rendered:
    """Content as it was."""
    return Rendered.model_validate(orjson.loads(zlib.decompress(body)))

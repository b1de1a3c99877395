"""Whether a server-side apply changed anything, told from its answer alone: one call per object on the hot path."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from controlplane.adapters.kubernetes.identities import FIELD_MANAGER

_REMEMBERED = 50_000
_MARGIN = timedelta(seconds=2)
"""managedFields carry whole seconds, and clocks differ a little."""


class Fingerprints:
    """What the last answer for each object looked like, without what controllers move (status, and so resourceVersion)."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, bytes] = OrderedDict()

    def changed(self, uid: str, metadata: dict[str, Any], *, created: bool, now: datetime) -> bool:
        """Remember this answer and tell whether the write changed the object.

        An object that this process has not written before is told by the time that the server keeps with our fields,
        and counts as changed when that is too recent to tell.
        """
        ours: dict[str, Any] = next((one for one in metadata.get("managedFields") or [] if _is_ours(one)), {})
        seen = _digest(metadata, ours)
        known = self._known.pop(uid, None)
        self._known[uid] = seen
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        if created:
            return True
        if known is not None:
            return known != seen
        return _written(ours) > now - _MARGIN


def _is_ours(entry: dict[str, Any]) -> bool:
    ours = entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply"
    return ours and not entry.get("subresource")


def _digest(metadata: dict[str, Any], ours: dict[str, Any]) -> bytes:
    version = metadata.get("generation", metadata.get("resourceVersion"))
    parts = [version, metadata.get("labels"), metadata.get("annotations"), metadata.get("finalizers"), ours]
    return hashlib.blake2b(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS), digest_size=8).digest()


def _written(ours: dict[str, Any]) -> datetime:
    text = str(ours.get("time", "1970-01-01T00:00:00Z"))
    return datetime.fromisoformat(text).astimezone(UTC)

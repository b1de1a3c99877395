"""Events out: one state change as a CloudEvent, the same on the bus and in webhooks.

`id` is unique and stable: whoever gets an event twice knows it by (source, id). `sequence` (CloudEvents extension) counts the changes of
one subject without gaps, so that a reader can order them and see what it missed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

MAX_DATA: Final = 56 * 1024
"""Bytes of `data`; with headers an event stays under the bus's limit of 64 KiB."""

FLEET: Final = "_fleet"


@dataclass(frozen=True, slots=True)
class Change:
    """One row of history."""

    kind: str
    subject_id: str
    seq: int
    type: str
    tenant: str | None
    time: str
    data: Mapping[str, Any]

    @classmethod
    def of(cls, payload: Mapping[str, Any]) -> Change:
        """Read what the outbox holds."""
        return cls(
            payload["kind"],
            payload["id"],
            payload["seq"],
            payload["type"],
            payload.get("tenant"),
            str(payload["time"]),
            payload.get("data") or {},
        )

    @property
    def id(self) -> str:
        """Unique among all events; the bus's message id too."""
        return f"{self.kind}-{self.subject_id}-{self.seq}"

    def attributes(self) -> dict[str, str]:
        """Its CloudEvents attributes."""
        found = {
            "specversion": "1.0",
            "id": self.id,
            "source": f"/seawall/{self.kind}/{quote(self.subject_id, safe='')}",
            "type": self.type,
            "time": rfc3339(self.time),
            "datacontenttype": "application/json",
            "sequence": str(self.seq),
        }
        return {**found, "subject": self.subject_id} | ({"tenant": self.tenant} if self.tenant else {})

    def payload(self) -> dict[str, Any]:
        """Its data, or, above the limit, only where to read it."""
        data = dict(self.data)
        size = len(json.dumps(data, ensure_ascii=False, default=str).encode())
        return (
            data if size <= MAX_DATA else {"tooLarge": True, "bytes": size, "readIt": f"{self.kind} {self.subject_id}"}
        )

    def structured(self) -> dict[str, Any]:
        """The event in the JSON format."""
        return {**self.attributes(), "data": self.payload()}

    def variables(self) -> dict[str, Any]:
        """What a webhook's filter sees as `event`."""
        return {"type": self.type, "subject": self.subject_id, "tenant": self.tenant or "", "data": dict(self.data)}


_PLAIN: Final = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) not in '"%')


def header_text(value: str) -> str:
    """Text as a header may carry it: percent-encoded but for visible ASCII (CloudEvents HTTP binding, section 3.1.3.2).

    Ids hold what people chose, such as a version; a line end in one must not begin another header.
    """
    return quote(value, safe=_PLAIN)


def rfc3339(time: str) -> str:
    """UTC as `2026-11-23T09:00:00.123456Z`."""
    return datetime.fromisoformat(time).isoformat().replace("+00:00", "Z")

"""CloudEvents 1.0 as they come in: read, checked, and told apart.

Source: the CloudEvents specification 1.0.2 (attributes), its JSON event format (structured, batch) and its HTTP binding
(content modes, percent-encoding of headers). Reading is strict where a mistake would lose an event: without an `id` nobody could
tell a retry from a second event, so such an event is refused.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, JsonValue

from controlplane.domain.errors import CallerError, ConflictError, FieldError
from controlplane.domain.names import digest_of

MAX_BODY_BYTES: Final = 1024 * 1024
MAX_EVENT_BYTES: Final = 256 * 1024
MAX_BATCH: Final = 100
MAX_ATTRIBUTE: Final = 2048
MAX_ID: Final = 256
MAX_DEPTH: Final = 64

STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"

_REQUIRED = ("specversion", "id", "source", "type")
_KNOWN = frozenset({*_REQUIRED, "subject", "time", "data", "data_base64"})
# These change from one attempt of a sender to the next, or say only how it was sent; they are no content.
_NOT_CONTENT = frozenset({"traceparent", "tracestate", "datacontenttype"})


class EventError(CallerError):
    """Not a CloudEvent that Seawall can read. `errors` names the attribute."""

    code = "event-invalid"
    title = "This is not a CloudEvent that Seawall can read"


class EventTooLargeError(CallerError):
    """An event or a batch above the limit; nothing of it was stored."""

    status = 413
    code = "event-too-large"
    title = "The event is too large"


class EventReusedError(ConflictError):
    """The same source and id came before, with other content. The first one stands."""

    code = "event-id-reused"
    title = "This source has used this id for another event"


class CloudEvent(BaseModel):
    """One event. `attributes` holds its extensions, `dataschema` and `datacontenttype`, all as text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    source: str
    type: str
    subject: str = ""
    time: datetime | None = None
    data: JsonValue = None
    attributes: dict[str, str] = {}

    @property
    def digest(self) -> str:
        """What makes a repeated (source, id) the same event: type, subject, data and extensions. A sender may stamp a new time."""
        kept = {k: v for k, v in self.attributes.items() if k not in _NOT_CONTENT}
        return digest_of({"type": self.type, "subject": self.subject, "data": self.data, "attributes": kept})

    def variables(self) -> dict[str, Any]:
        """What filters and templates see as `event`."""
        time = self.time.isoformat() if self.time else ""
        own = {"id": self.id, "source": self.source, "type": self.type, "subject": self.subject, "time": time}
        return {**self.attributes, **own, "data": {} if self.data is None else self.data}


def read_events(content_type: str, headers: Mapping[str, str], body: bytes) -> list[CloudEvent]:
    """Read an HTTP request in any of the three content modes. Header names are lower case.

    Raises EventError (with a pointer), or EventTooLargeError.
    """
    if len(body) > MAX_BODY_BYTES:
        raise EventTooLargeError(f"The body has {len(body)} bytes; the limit is {MAX_BODY_BYTES}. Send fewer at once.")
    media = content_type.split(";", maxsplit=1)[0].strip().lower()
    if media == BATCH:
        return _batch(load_json(body))
    if media == STRUCTURED:
        _fits(len(body))
        return [event_from_json(load_json(body))]
    if "ce-specversion" in headers or "ce-id" in headers or "ce-type" in headers:
        _fits(len(body))
        return [_binary(media, headers, body)]
    raise EventError(
        f"Send Content-Type {STRUCTURED} or {BATCH}, or the attributes as ce- headers (binary mode);"
        f" {media or 'no content type'} without ce- headers is none of them."
    )


def event_from_json(value: Any, prefix: str = "") -> CloudEvent:
    """Read one event in the JSON format; `prefix` is the pointer to it. Raises EventError."""
    if not isinstance(value, dict):
        raise _invalid(prefix, "An event is a JSON object.")
    fields = {k: v for k, v in value.items() if v is not None or k == "data"}
    if "data" in fields and "data_base64" in fields:
        raise _invalid(f"{prefix}/data_base64", "An event has `data` or `data_base64`, not both.")
    attributes = {k: _scalar(v, f"{prefix}/{k}") for k, v in fields.items() if k not in ("data", "data_base64")}
    data = fields.get("data")
    if "data_base64" in fields:
        data = _decoded(fields["data_base64"], attributes, prefix)
    return _event(attributes, data, prefix)


def load_json(body: bytes) -> Any:
    """Read JSON that PostgreSQL can keep: no NaN, no NUL, no lone surrogates, bounded depth. Raises EventError."""
    try:
        value = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise EventError("The body is not JSON in UTF-8.", errors=[FieldError("", "not JSON")]) from error
    _storable(value, "", 0)
    return value


def _batch(value: Any) -> list[CloudEvent]:
    if not isinstance(value, list):
        raise _invalid("", f"A body of type {BATCH} is a JSON array of events.")
    if len(value) > MAX_BATCH:
        raise EventTooLargeError(f"The batch has {len(value)} events; the limit is {MAX_BATCH}. Send it in parts.")
    for item in value:
        _fits(len(json.dumps(item, ensure_ascii=False).encode()))
    return [event_from_json(item, f"/{index}") for index, item in enumerate(value)]


def _binary(media: str, headers: Mapping[str, str], body: bytes) -> CloudEvent:
    attributes = {k[3:]: unquote(v) for k, v in headers.items() if k.startswith("ce-")}
    for name, text in attributes.items():
        _storable(text, f"/{name}", 0)
    if media:
        attributes["datacontenttype"] = media
    return _event(attributes, _body_data(body, attributes), "")


def _event(attributes: dict[str, str], data: JsonValue, prefix: str) -> CloudEvent:
    missing = [name for name in _REQUIRED if not attributes.get(name)]
    if missing:
        errors = [FieldError(f"{prefix}/{name}", "is required and not empty") for name in missing]
        raise EventError(f"The event lacks {', '.join(missing)}. Nothing was stored.", errors=errors)
    if attributes["specversion"] != "1.0":
        raise _invalid(f"{prefix}/specversion", 'Seawall reads CloudEvents "1.0".')
    for name, text in attributes.items():
        _attribute(name, text, prefix)
    time = attributes.get("time")
    return CloudEvent(
        id=attributes["id"],
        source=attributes["source"],
        type=attributes["type"],
        subject=attributes.get("subject", ""),
        time=_time(time, f"{prefix}/time") if time else None,
        data=data,
        attributes={k: v for k, v in attributes.items() if k not in _KNOWN},
    )


def _attribute(name: str, text: str, prefix: str) -> None:
    where = f"{prefix}/{name}"
    if not (name.isascii() and name.isalnum() and name == name.lower()):
        raise _invalid(where, "The name of an attribute has lower-case letters and digits only.")
    limit = MAX_ID if name in ("id", "type") else MAX_ATTRIBUTE
    if len(text) > limit:
        raise _invalid(where, f"It has {len(text)} characters; the limit is {limit}.")
    if any(ord(c) < 0x20 or 0x7F <= ord(c) <= 0x9F for c in text):
        raise _invalid(where, "It holds control characters.")


def _time(text: str, where: str) -> datetime:
    try:
        value = datetime.fromisoformat(text)
    except ValueError as error:
        raise _invalid(where, "It is not an RFC 3339 time such as 2026-11-24T22:00:00Z.") from error
    if value.tzinfo is None:
        raise _invalid(where, "It has no time zone; write Z or an offset.")
    return value


def _scalar(value: Any, where: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int):
        return str(value)
    raise _invalid(where, "An attribute is text, a whole number or a boolean.")


def _decoded(value: Any, attributes: dict[str, str], prefix: str) -> JsonValue:
    try:
        raw = base64.b64decode(value, validate=True)
    except (ValueError, TypeError, binascii.Error) as error:
        raise _invalid(f"{prefix}/data_base64", "It is not base64.") from error
    return _body_data(raw, attributes)


def _body_data(raw: bytes, attributes: dict[str, str]) -> JsonValue:
    """JSON as its value, text as text, anything else as base64 text marked `datacontentencoding`."""
    media = attributes.get("datacontenttype", "application/json").split(";")[0].strip().lower()
    if not raw:
        return None
    if media == "application/json" or media.endswith("+json"):
        loaded: JsonValue = load_json(raw)
        return loaded
    with contextlib.suppress(UnicodeDecodeError):  # not text after all: kept as base64 below
        text = raw.decode()
        if media.startswith("text/") and "\x00" not in text:
            return text
    attributes["datacontentencoding"] = "base64"
    return base64.b64encode(raw).decode()


def _storable(value: Any, where: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _invalid("", f"The body is nested more than {MAX_DEPTH} deep.")
    match value:
        case str():
            if "\x00" in value or any(0xD800 <= ord(c) <= 0xDFFF for c in value):
                raise _invalid(where, "It holds a NUL character or half of a surrogate pair.")
        case float() if not math.isfinite(value):
            raise _invalid(where, "It is not a finite number.")
        case int() if not -(2**63) <= value < 2**64:
            raise _invalid(where, "The number has more than 64 bits; send it as text.")
        case dict():
            for key, item in value.items():
                _storable(key, where, depth)
                _storable(item, f"{where}/{key}", depth + 1)
        case list():
            for index, item in enumerate(value):
                _storable(item, f"{where}/{index}", depth + 1)
        case _:
            return


def _no_constant(text: str) -> None:
    raise ValueError(text)


def _fits(size: int) -> None:
    if size > MAX_EVENT_BYTES:
        raise EventTooLargeError(
            f"The event has {size} bytes; the limit is {MAX_EVENT_BYTES}. Send a reference to its data instead."
        )


def _invalid(where: str, detail: str) -> EventError:
    return EventError(f"{where or 'The body'}: {detail} Nothing was stored.", errors=[FieldError(where, detail)])


def newest_first(events: Sequence[tuple[datetime | None, datetime, str]]) -> list[int]:
    """Indexes of (time, received at, id), newest first: by the sender's time where it gives one, for events arrive in any order."""
    return sorted(
        range(len(events)), key=lambda i: ((events[i][0] or events[i][1]), events[i][1], events[i][2]), reverse=True
    )

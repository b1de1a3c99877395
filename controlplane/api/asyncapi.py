"""The description of everything asynchronous, made from the event catalogue: AsyncAPI 3.0."""

from __future__ import annotations

from typing import Any

import yaml

from controlplane.domain.event_catalogue import CATALOGUE, EventType
from controlplane.domain.events import MAX_EVENT_BYTES
from controlplane.ports.bus import EVENT_PREFIX, INBOUND_PREFIX

_TEXT = {"type": "string"}


def describe() -> dict[str, Any]:
    """The document: events out on the bus and to webhooks, events in."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Seawall events",
            "version": "1",
            "description": "Every change of state as a CloudEvent 1.0, at least once, numbered per subject (`sequence`)."
            " A reader tells repetitions by (source, id).",
        },
        "defaultContentType": "application/json",
        "channels": _channels(),
        "operations": _operations(),
        "components": {"messages": {_name(e): _message(e) for e in CATALOGUE} | {"Inbound": _inbound()}},
    }


def as_yaml() -> bytes:
    """The document as stable bytes."""
    return yaml.safe_dump(describe(), sort_keys=True, allow_unicode=True, width=120).encode()


def _channels() -> dict[str, Any]:
    messages = {_name(e): {"$ref": f"#/components/messages/{_name(e)}"} for e in CATALOGUE}
    tenant = {"description": "The tenant's name, or `_fleet` for what concerns no single one."}
    return {
        "bus": {
            "address": f"{EVENT_PREFIX}{{tenant}}.{{thing}}.{{change}}",
            "description": "JetStream stream SW_EVENT, kept 72 hours; CloudEvents in binary mode (ce- headers).",
            "parameters": {
                "tenant": tenant,
                "thing": {"enum": sorted({e.thing for e in CATALOGUE})},
                "change": {"description": "The change, as in the type."},
            },
            "messages": messages,
        },
        "webhooks": {
            "address": None,
            "description": "POST to subscribers (`PUT /v1/webhooks/NAME`): CloudEvents in the JSON format, signed as"
            " Standard Webhooks 1.0 (webhook-id, webhook-timestamp, webhook-signature), in order per subject, retried.",
            "messages": messages,
        },
        "inbound": {
            "address": f"{INBOUND_PREFIX}{{sender}}",
            "description": "JetStream stream SW_IN: CloudEvents from others, structured, binary or batched.",
            "parameters": {"sender": {"description": "Any name; it is kept as where the event came from."}},
            "messages": {"Inbound": {"$ref": "#/components/messages/Inbound"}},
        },
    }


def _operations() -> dict[str, Any]:
    return {
        "publishEvents": {"action": "send", "channel": {"$ref": "#/channels/bus"}},
        "callSubscribers": {"action": "send", "channel": {"$ref": "#/channels/webhooks"}},
        "takeEvents": {"action": "receive", "channel": {"$ref": "#/channels/inbound"}},
    }


def _name(event: EventType) -> str:
    words = f"{event.thing}-{event.change}".split("-")
    return "".join(word[:1].upper() + word[1:] for word in words)


def _message(event: EventType) -> dict[str, Any]:
    attributes = {
        "ce-specversion": {"const": "1.0"},
        "ce-id": _TEXT,
        "ce-source": {**_TEXT, "description": f"/seawall/{event.thing}/<id>"},
        "ce-type": {"const": event.type},
        "ce-time": {**_TEXT, "format": "date-time"},
        "ce-subject": _TEXT,
        "ce-sequence": {**_TEXT, "description": "Counts the changes of one subject, without gaps."},
        "ce-tenant": _TEXT,
    }
    required = [name for name in attributes if name != "ce-tenant"]
    fields: dict[str, Any] = {name: {} for name in event.data}
    return {
        "name": event.type,
        "title": event.says,
        "headers": {"type": "object", "required": required, "properties": attributes},
        "payload": {"type": "object", "properties": fields},
    }


def _inbound() -> dict[str, Any]:
    required = ["specversion", "id", "source", "type"]
    return {
        "name": "any CloudEvent",
        "contentType": "application/cloudevents+json",
        "description": f"At most {MAX_EVENT_BYTES} bytes.",
        "payload": {"type": "object", "required": required, "properties": dict.fromkeys(required, _TEXT)},
    }

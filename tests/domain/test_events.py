"""CloudEvents in: the library's own messages are read back, and what can't be told apart is refused."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings.http import to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent as LibraryEvent
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.events import (
    BATCH,
    MAX_BATCH,
    MAX_BODY_BYTES,
    MAX_EVENT_BYTES,
    STRUCTURED,
    CloudEvent,
    EventError,
    EventTooLargeError,
    event_from_json,
    newest_first,
    read_events,
)

EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "1",
    "source": "https://ci.acme.example/odoo",
    "type": "release.published",
    "data": {"tag": "17.0.4"},
}


def read(event: Any, content_type: str = STRUCTURED) -> list[CloudEvent]:
    return read_events(content_type, {}, json.dumps(event).encode())


def library_event(data: Any) -> LibraryEvent:
    attributes = {
        "id": "a 1%",
        "source": "/odoo",
        "type": "release.published",
        "subject": "odoo/17.0.4 é",
        "time": datetime(2026, 11, 23, 9, tzinfo=UTC),
        "datacontenttype": "application/json",
        "ring": "pilot",
    }
    return LibraryEvent(attributes, data)


@pytest.mark.parametrize("encode", [to_structured, to_binary])
def test_what_the_cloudevents_library_writes_is_read_back_whole(encode: Any) -> None:
    message = encode(library_event({"tag": "17.0.4", "n": [1, None, "ü"]}), JSONFormat())
    headers = {k.lower(): v for k, v in message.headers.items()}
    [event] = read_events(headers["content-type"], headers, message.body)
    assert (event.id, event.source, event.type) == ("a 1%", "/odoo", "release.published")
    assert event.subject == "odoo/17.0.4 é"
    assert event.time == datetime(2026, 11, 23, 9, tzinfo=UTC)
    assert event.data == {"tag": "17.0.4", "n": [1, None, "ü"]}
    assert event.attributes["ring"] == "pilot"


def test_a_batch_is_read_in_its_order() -> None:
    events = read([{**EVENT, "id": str(i)} for i in range(3)], BATCH)
    assert [e.id for e in events] == ["0", "1", "2"]


@pytest.mark.parametrize("missing", ["id", "source", "type", "specversion"])
def test_an_event_without_a_required_attribute_is_refused_with_its_pointer(missing: str) -> None:
    with pytest.raises(EventError) as caught:
        read({k: v for k, v in EVENT.items() if k != missing})
    assert caught.value.status == 400
    assert caught.value.code == "event-invalid"
    assert [e.pointer for e in caught.value.errors] == [f"/{missing}"]


def test_the_pointer_into_a_batch_names_the_event() -> None:
    with pytest.raises(EventError) as caught:
        read([EVENT, {**EVENT, "id": ""}], BATCH)
    assert [e.pointer for e in caught.value.errors] == ["/1/id"]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"specversion": "0.3"}, "/specversion"),
        ({"time": "yesterday"}, "/time"),
        ({"time": "2026-11-23T09:00:00"}, "/time"),
        ({"Upper": "x"}, "/Upper"),
        ({"ext": {"a": 1}}, "/ext"),
        ({"id": "x" * 257}, "/id"),
        ({"subject": "a\nb"}, "/subject"),
        ({"data": {"deep": {"nul": "a\x00b"}}}, "/data/deep/nul"),
        ({"data": ["\ud800"]}, "/data/0"),
        ({"data": {"n": 2**64}}, "/data/n"),
        ({"data_base64": "aGk="}, "/data_base64"),
    ],
)
def test_a_wrong_attribute_is_refused_with_its_pointer(change: dict[str, Any], pointer: str) -> None:
    with pytest.raises(EventError) as caught:
        read({**EVENT, **change})
    assert [e.pointer for e in caught.value.errors] == [pointer]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"a": NaN}', b"[" * 100_000, b'{"n": 1e999}', b"7"])
def test_a_body_that_is_no_storable_json_is_refused(body: bytes) -> None:
    with pytest.raises(EventError):
        read_events(STRUCTURED, {}, body)


def test_a_request_in_no_content_mode_says_which_there_are() -> None:
    with pytest.raises(EventError, match="application/cloudevents-batch"):
        read_events("application/json", {}, json.dumps(EVENT).encode())


def test_what_is_too_large_is_refused_before_it_is_read() -> None:
    with pytest.raises(EventTooLargeError):
        read_events(STRUCTURED, {}, b" " * (MAX_BODY_BYTES + 1))
    with pytest.raises(EventTooLargeError):
        read({**EVENT, "data": "x" * MAX_EVENT_BYTES})
    with pytest.raises(EventTooLargeError):
        read([{**EVENT, "id": str(i)} for i in range(MAX_BATCH + 1)], BATCH)


def test_base64_data_is_json_if_it_says_so_and_stays_base64_if_it_is_nothing_we_know() -> None:
    [as_json] = read({k: v for k, v in EVENT.items() if k != "data"} | {"data_base64": "eyJhIjoxfQ=="})
    assert as_json.data == {"a": 1}
    raw = {k: v for k, v in EVENT.items() if k != "data"} | {"datacontenttype": "image/png", "data_base64": "/w=="}
    [binary] = read(raw)
    assert binary.data == "/w=="
    assert binary.attributes["datacontentencoding"] == "base64"


def test_a_retry_with_a_new_time_or_trace_is_the_same_event_but_other_data_is_not() -> None:
    first = event_from_json(EVENT)
    retry = event_from_json({**EVENT, "time": "2026-11-23T09:00:00Z", "traceparent": "00-1-2-01"})
    other = event_from_json({**EVENT, "data": {"tag": "17.0.5"}})
    assert first.digest == retry.digest != other.digest


def test_newest_goes_by_the_senders_time_not_by_arrival() -> None:
    early, late = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    assert newest_first([(late, early, "a"), (early, late, "b")]) == [0, 1]
    assert newest_first([(None, early, "a"), (None, late, "b")]) == [1, 0]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from([*EVENT, "time", "subject", "data_base64", "ext"]) | st.text(), json_values))
def test_any_object_is_an_event_or_a_clear_refusal(value: dict[str, Any]) -> None:
    with contextlib.suppress(EventError):
        [event] = read_events(STRUCTURED, {}, json.dumps(value).encode())
        assert event.id
        assert event.digest.startswith("sha256:")

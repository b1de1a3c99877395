"""The committed description of events is what the code sends."""

from __future__ import annotations

from pathlib import Path

import yaml

from controlplane.api.asyncapi import as_yaml, describe
from controlplane.domain.event_catalogue import CATALOGUE

COMMITTED = Path(__file__).parents[2] / "openapi" / "asyncapi.yaml"


def test_the_committed_description_is_current() -> None:
    assert COMMITTED.read_bytes() == as_yaml(), "run `make openapi` and commit the result"


def test_every_event_of_the_catalogue_is_a_message_of_both_ways_out() -> None:
    document = yaml.safe_load(COMMITTED.read_bytes())
    names = {message["name"] for message in document["components"]["messages"].values()}
    assert {event.type for event in CATALOGUE} <= names
    for channel in ("bus", "webhooks"):
        assert len(document["channels"][channel]["messages"]) == len(CATALOGUE)


def test_every_reference_leads_somewhere() -> None:
    document = describe()
    for channel in document["channels"].values():
        for reference in channel["messages"].values():
            assert reference["$ref"].rpartition("/")[2] in document["components"]["messages"]
    for operation in document["operations"].values():
        assert operation["channel"]["$ref"].rpartition("/")[2] in document["channels"]

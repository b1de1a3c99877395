"""Triggers: what an event asks for, and why it asks for nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from controlplane.domain.errors import InvalidError
from controlplane.domain.events import CloudEvent
from controlplane.domain.triggers import Match, Miss, Trigger, fill, match

SPEC: dict[str, Any] = {
    "source": "github-acme",
    "filter": "event.type == 'release.published' && !event.data.prerelease",
    "release": {"app": "odoo", "version": "${event.data.tag}"},
    "rollout": {"environment": "production", "selector": "tier in (standard,premium)", "strategy": "careful"},
    "mode": "plan",
    "coalesce": "PT5M",
    "whenBusy": "supersede",
}


def event(**data: Any) -> CloudEvent:
    return CloudEvent(id="1", source="github-acme", type="release.published", data=data)


def yes(expression: str, variables: Mapping[str, Any]) -> bool:
    return True


def no(expression: str, variables: Mapping[str, Any]) -> bool:
    return False


def broken(expression: str, variables: Mapping[str, Any]) -> bool:
    raise InvalidError("There is no field 'prerelease'.")


def trigger(**changes: Any) -> Trigger:
    return Trigger.model_validate({**SPEC, **changes})


def test_the_documented_trigger_is_read_and_written_back_as_it_was() -> None:
    assert trigger().model_dump(mode="json") == SPEC


def test_an_event_that_passes_the_filter_names_its_release() -> None:
    [found] = match({"odoo-stable": trigger()}, event(tag="17.0.4"), "api:ci", yes)
    assert isinstance(found, Match)
    assert (found.trigger, found.app, found.version) == ("odoo-stable", "odoo", "17.0.4")


@pytest.mark.parametrize(("evaluate", "code"), [(no, "filtered"), (broken, "filter-error")])
def test_a_filter_that_is_false_or_fails_is_a_miss_that_says_so(evaluate: Any, code: str) -> None:
    [found] = match({"t": trigger()}, event(tag="1"), "", evaluate)
    assert isinstance(found, Miss)
    assert found.code == code
    assert found.reason


@pytest.mark.parametrize("data", [{}, {"tag": None}, {"tag": ["1"]}, {"tag": "a/b"}, {"tag": ""}])
def test_a_template_that_gives_no_version_is_a_miss(data: dict[str, Any]) -> None:
    [found] = match({"t": trigger()}, event(**data), "", yes)
    assert isinstance(found, Miss)
    assert found.code == "template-error"


def test_triggers_of_other_sources_are_not_asked_and_the_rest_come_in_order_of_name() -> None:
    rules = {"b": trigger(), "a": trigger(), "c": trigger(source="elsewhere")}
    assert [m.trigger for m in match(rules, event(tag="1"), "api:x", yes)] == ["a", "b"]


def test_an_event_that_came_through_a_signed_source_is_heard_under_that_sources_name() -> None:
    pushed = CloudEvent(id="1", source="/subscriptions/1/registries/acme", type="t", data={"tag": "1"})
    assert len(match({"t": trigger(source="acr")}, pushed, "hooks/acr", yes)) == 1
    assert match({"t": trigger(source="acr")}, pushed, "api:acr", yes) == []


def test_places_reach_into_objects_lists_and_odd_names() -> None:
    variables = {"event": {"data": {"images": [{"tag.name": "7"}], "n": 3, "ok": True}}}
    assert fill('v${event.data.images[0]["tag.name"]}-${event.data.n}-${event.data.ok}', variables) == "v7-3-true"


@pytest.mark.parametrize(
    "changes",
    [
        {"release": {"app": "odoo", "version": "${event.data.tag"}},
        {"release": {"app": "odoo", "version": "${env.SECRET}"}},
        {"release": {"app": "odoo", "version": "${event.data.tag + 1}"}},
        {"rollout": {"strategy": "careful@0"}},
        {"rollout": {"strategy": "Not A Name"}},
        {"rollout": {"strategy": "careful", "selector": "tier in ("}},
        {"coalesce": "PT0S"},
        {"coalesce": "5m"},
        {"mode": "go"},
        {"whenBusy": "maybe"},
        {"unknown": 1},
    ],
)
def test_a_trigger_with_a_mistake_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        trigger(**changes)

"""A trigger: the rule that turns an event into a plan or a rollout. Pure: filters are evaluated by a function that is passed in."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError, model_validator

from controlplane.domain.errors import InvalidError, SeawallError
from controlplane.domain.events import CloudEvent
from controlplane.domain.names import Name, Version
from controlplane.domain.quantities import Duration
from controlplane.domain.selectors import SelectorText
from controlplane.domain.strategies import WhenBusy
from controlplane.domain.wire import Wire

Mode = Literal["plan", "start"]
type Evaluate = Callable[[str, Mapping[str, Any]], bool]
"""Evaluate a CEL expression over variables; raises a SeawallError where it can't, or where the result is no boolean."""

MAX_FILTER = 2000
MAX_COALESCE = timedelta(days=7)
_PLACE = re.compile(r"\$\{([^}]*)\}")
_PATH = re.compile(r"^event(\.[A-Za-z_][A-Za-z0-9_]*|\[(0|[1-9]\d{0,3})\]|\[\"[^\"\\\]]+\"\])+$")
_PART = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)|\[(\d+)\]|\[\"([^\"]+)\"\]")
_NAME: TypeAdapter[str] = TypeAdapter(Name)
_VERSION: TypeAdapter[str] = TypeAdapter(Version)


def _template(text: str) -> str:
    rest = _PLACE.sub("", text)
    if "${" in rest:
        raise ValueError("a template's ${ has no closing }")
    for path in _PLACE.findall(text):
        if not _PATH.match(path):
            raise ValueError(f"${{{path}}} is not a path such as ${{event.data.tag}}")
    return text


def _strategy(text: str) -> str:
    name, at, version = text.partition("@")
    try:
        _NAME.validate_python(name)
    except ValidationError as error:
        raise ValueError(f"{text!r} does not name a strategy, such as careful or careful@7") from error
    if at and not (version.isdigit() and int(version) > 0):
        raise ValueError(f"{text!r}: the version is a number from 1, such as careful@7")
    return text


Template = Annotated[str, Field(min_length=1, max_length=512), AfterValidator(_template)]
"""Text with places such as `${event.data.tag}`; without places it is itself."""


class TriggerRelease(Wire):
    """Which release the event is about."""

    app: Template = Field(description="An app's name, or a template such as ${event.data.app}.")
    version: Template = Field(description="A version, usually a template such as ${event.data.tag}.")


class TriggerRollout(Wire):
    """What is planned for it."""

    environment: Name = "production"
    selector: SelectorText = ""
    strategy: Annotated[str, AfterValidator(_strategy)] = Field(description="A strategy's name, or careful@7.")


class Trigger(Wire):
    """`PUT /v1/triggers/NAME`."""

    source: str = Field(
        min_length=1, max_length=2048, description="A source's name, or the `source` attribute of a CloudEvent."
    )
    filter: str = Field(
        default="true", min_length=1, max_length=MAX_FILTER, description="CEL over `event`; true starts it."
    )
    release: TriggerRelease
    rollout: TriggerRollout
    mode: Mode = Field(default="plan", description="plan: a person starts it; start: it starts by itself.")
    coalesce: Duration | None = Field(default=None, description="Wait this long for newer events; the newest one wins.")
    when_busy: WhenBusy = Field(default="queue", description="What happens while an environment has an active change.")

    @model_validator(mode="after")
    def _bounded(self) -> Trigger:
        if self.coalesce is not None and not timedelta(0) < self.coalesce <= MAX_COALESCE:
            raise ValueError("coalesce is more than PT0S and at most P7D")
        return self


@dataclass(frozen=True)
class Match:
    """A trigger that fires: which release, under which rule."""

    trigger: str
    rule: Trigger
    app: str
    version: str


@dataclass(frozen=True)
class Miss:
    """A trigger that listens to the event's source but does not fire, and why."""

    trigger: str
    code: Literal["filtered", "filter-error", "template-error"]
    reason: str


def listens(trigger: Trigger, event: CloudEvent, received_from: str) -> bool:
    """Whether a trigger is about this event's source: its `source` attribute, or the signed source it came through."""
    return trigger.source == event.source or received_from == f"hooks/{trigger.source}"


def match(
    triggers: Mapping[str, Trigger], event: CloudEvent, received_from: str, evaluate: Evaluate
) -> list[Match | Miss]:
    """Decide, trigger by trigger in the order of their names, what an event asks for.

    A trigger that listens to another source is left out; a filter that can't be evaluated is a miss that says so, never a match.
    """
    heard = [(name, triggers[name]) for name in sorted(triggers) if listens(triggers[name], event, received_from)]
    variables = {"event": event.variables()}
    return [_match_one(name, rule, variables, evaluate) for name, rule in heard]


def _match_one(name: str, rule: Trigger, variables: Mapping[str, Any], evaluate: Evaluate) -> Match | Miss:
    try:
        fires = evaluate(rule.filter, variables)
    except SeawallError as error:
        return Miss(name, "filter-error", f"Its filter could not be evaluated: {error.detail}")
    if not fires:
        return Miss(name, "filtered", f"Its filter is false for this event: {rule.filter}")
    try:
        app = _checked(_NAME, fill(rule.release.app, variables), "app", rule.release.app)
        version = _checked(_VERSION, fill(rule.release.version, variables), "version", rule.release.version)
    except InvalidError as error:
        return Miss(name, "template-error", error.detail)
    return Match(name, rule, app, version)


def fill(template: str, variables: Mapping[str, Any]) -> str:
    """Put values in a template's places. Raises InvalidError where a place has no text, number or boolean."""
    return _PLACE.sub(lambda place: _value(place[1], variables), template)


def _value(path: str, variables: Mapping[str, Any]) -> str:
    value: Any = variables["event"]
    for name, index, quoted in _PART.findall(path.removeprefix("event")):
        try:
            value = value[int(index)] if index else value[name or quoted]
        except (KeyError, IndexError, TypeError) as error:
            raise InvalidError(f"The event has no {path}, which the trigger's template asks for.") from error
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise InvalidError(f"{path} of the event is not text or a number; the trigger's template can't use it.")


def _checked(kind: TypeAdapter[str], text: str, what: str, template: str) -> str:
    try:
        return kind.validate_python(text)
    except ValidationError as error:
        raise InvalidError(
            f"The trigger's template {template} gives {text[:80]!r}, which can't be the release's {what}."
        ) from error


def sources_heard(triggers: Mapping[str, Trigger]) -> Sequence[str]:
    """The sources that triggers listen to, each once, sorted."""
    return sorted({t.source for t in triggers.values()})

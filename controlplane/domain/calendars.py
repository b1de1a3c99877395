"""A calendar (`PUT /v1/calendars/{name}`): when forward work may or may not start."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from controlplane.domain.selectors import SelectorText
from controlplane.domain.tree import PlainText
from controlplane.domain.wire import Wire

MAX_ICS = 1_000_000


class CalendarSpec(Wire):
    """An iCalendar (RFC 5545) text whose events allow or deny forward work on what the selector matches; deny beats allow.

    It may mark them, too, or only mark them: as campaigns of tenants, or maintenance of what they run on.
    """

    description: PlainText = ""
    effect: Literal["allow", "deny", "none"] = Field(
        default="allow", description="none: it opens and closes nothing, it only marks."
    )
    marks: Literal["", "campaign", "maintenance"] = Field(
        default="",
        description="What its events are besides: when tenants fall ill after one began, it is a candidate for blame.",
    )
    selector: SelectorText = Field(default="", description="Which targets it is about; empty: all.")
    ics: Annotated[str, Field(min_length=1, max_length=MAX_ICS)] = Field(description="A VCALENDAR.")
    source: PlainText = Field(default="", description="Who keeps it, such as a cloud's maintenance feed.")
    read_only: bool = Field(
        default=False, description="Only its source replaces it: a PUT that names another source, or none, is refused."
    )

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.read_only and not self.source:
            raise ValueError("a read-only calendar says its source")
        if self.effect == "none" and not self.marks:
            raise ValueError("a calendar of effect none says what its events mark, or it would mean nothing")
        return self

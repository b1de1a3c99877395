"""A risk rule (`PUT /v1/rules/{name}`): CEL that may refuse a rollout, ask an approval, or require a strategy."""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from controlplane.domain.names import Name
from controlplane.domain.tree import PlainText
from controlplane.domain.wire import Wire

VARIABLES: Final = ("release", "values", "calendar", "tenant", "rollout")
"""What a rule's expression sees."""


class AskApproval(Wire):
    """So many people of a group must agree."""

    group: Name
    count: Annotated[int, Field(ge=1, le=10)] = 1


class RuleThen(Wire):
    """What follows where the rule is true: exactly one."""

    refuse: bool | None = None
    approval: AskApproval | None = None
    strategy: Name | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(x is not None and x is not False for x in (self.refuse, self.approval, self.strategy)) != 1:
            raise ValueError("then says exactly one of: refuse: true, approval, strategy")
        return self


class RuleSpec(Wire):
    """The body of `PUT /v1/rules/{name}`."""

    description: PlainText = ""
    when: Annotated[str, Field(min_length=1, max_length=2000)] = Field(
        description="CEL over release, values, calendar, tenant, rollout.", examples=['"payments" in release.risks']
    )
    then: RuleThen
    reason: Annotated[PlainText, Field(min_length=1)] = Field(description="Shown to whoever it stops.")

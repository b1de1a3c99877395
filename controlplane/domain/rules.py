"""A risk rule (`PUT /v1/rules/{name}`): CEL that may refuse a rollout, ask an approval, require a strategy, or add a gate."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from controlplane.domain.names import Name
from controlplane.domain.strategies import GateSpec
from controlplane.domain.tree import PlainText
from controlplane.domain.wire import Wire

VARIABLES: Final = ("release", "values", "calendar", "tenant", "rollout")
"""What a rule's expression sees."""


class AskApproval(Wire):
    """So many people of a group must agree: before each wave that has such a tenant, or only before the first of them."""

    group: Name
    count: Annotated[int, Field(ge=1, le=10)] = 1
    waves: Literal["first", "each"] = "first"


class Require(Wire):
    """How such a rollout must be done: by the strategy of this name, or by any that has all the gates and limits named here."""

    strategy: Name | None = None
    gates: tuple[Name, ...] = Field(
        default=(), max_length=10, description="Kinds of gate that must stand before every wave with such a tenant."
    )
    in_flight: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="So many targets at once, at most, after percents were resolved."
    )

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.strategy is None and not self.gates and self.in_flight is None:
            raise ValueError("require names a strategy, gates or inFlight")
        return self


class RuleThen(Wire):
    """What follows where the rule is true: exactly one."""

    refuse: bool | None = Field(default=None, description="The tenants it is true of stay out of the plan.")
    approval: AskApproval | None = Field(default=None, description="People must agree.")
    strategy: Name | None = Field(default=None, description="The rollout must use this strategy.")
    require: Require | None = Field(default=None, description="The rollout must be done like this.")
    gate: GateSpec | None = Field(
        default=None, description="One more gate before each wave that has such a tenant, as in a strategy."
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = (self.refuse, self.approval, self.strategy, self.require, self.gate)
        if sum(x is not None and x is not False for x in given) != 1:
            raise ValueError("then says exactly one of: refuse: true, approval, strategy, require, gate")
        if self.gate is not None and len(self.gate) != 1:
            raise ValueError("a gate is an object with one key, its kind")
        return self

    @property
    def required(self) -> Require | None:
        """`strategy: x` is short for `require: {strategy: x}`."""
        return Require(strategy=self.strategy) if self.strategy is not None else self.require


class RuleSpec(Wire):
    """The body of `PUT /v1/rules/{name}`."""

    description: PlainText = ""
    when: Annotated[str, Field(min_length=1, max_length=2000)] = Field(
        description="CEL over release, values, calendar, tenant, rollout.", examples=['"payments" in release.risks']
    )
    then: RuleThen
    reason: Annotated[PlainText, Field(min_length=1)] = Field(description="Shown to whoever it stops.")

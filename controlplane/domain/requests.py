"""What a caller asks for: the body of `POST /v1/rollouts:preview` and `POST /v1/rollouts`, checked as a whole."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from controlplane.domain.emergencies import EmergencyRequest
from controlplane.domain.errors import FieldError, InvalidError
from controlplane.domain.names import RELEASE_REF_PATTERN, VERSIONED_NAME_PATTERN, Digest, Name
from controlplane.domain.strategies import Strategy, WhenBusy
from controlplane.domain.targets import RolloutKind
from controlplane.domain.wire import Wire

ReleaseRef = Annotated[str, StringConstraints(pattern=RELEASE_REF_PATTERN)]
StrategyRef = Annotated[str, StringConstraints(pattern=VERSIONED_NAME_PATTERN)]
Sentence = Annotated[str, StringConstraints(max_length=1000)]
RevisionNumber = Annotated[int, Field(ge=1, le=2**31 - 1)]

_EARLIEST, _LATEST = 2000, 2200
_REF = re.compile(r"^([^@]+)(?:@(\d+))?$")


class RolloutRequest(Wire):
    """A wish: which change, for whom, how. Preview and start take the same."""

    kind: RolloutKind = Field(default="deploy", description="deploy a release, roll back, or apply changed values.")
    release: ReleaseRef | None = Field(
        default=None,
        description="`app/version`. For a rollback: only tenants that run it, and only if it is their newest change.",
        examples=["odoo/17.0.4"],
    )
    app: Name | None = Field(default=None, description="For rollback and values without a release: the app.")
    environment: Name = "production"
    selector: str = Field(default="", max_length=2000, description="Kubernetes label selector; empty selects all.")
    strategy: StrategyRef = Field(description="`name` (its newest version) or `name@version`.", examples=["careful@7"])
    to: Literal["lastVerified"] | RevisionNumber | None = Field(
        default=None, description="For a rollback: where to. Default: the newest verified revision before this one."
    )
    reason: Sentence = ""
    change_ref: Annotated[str, StringConstraints(max_length=200)] = ""
    not_before: AwareDatetime | None = None
    when_busy: WhenBusy | None = Field(default=None, description="Overrides the strategy's.")
    emergency: EmergencyRequest | None = Field(
        default=None,
        description="Take the emergency lane: what it leaves out is named, and somebody else looks at it later.",
    )


NoWayBackWord = Annotated[
    Sentence,
    Field(
        description="Why it may start although some targets can't go back to what they run (the preview's note `no-way-back`). Kept."
    ),
]


class StartRequest(RolloutRequest):
    """The same, to be started. `if_plan_hash` binds it to a preview; `mode: plan` leaves the start to a person."""

    if_plan_hash: Digest | None = None
    mode: Literal["plan", "start"] = Field(
        default="start", description="plan: the rollout is a draft until somebody starts it."
    )
    accept_no_way_back: NoWayBackWord = ""


@dataclass(frozen=True)
class BuiltInStrategy:
    """A strategy that is part of Seawall and not configured; its version is 0."""

    name: str
    strategy: Strategy


@dataclass(frozen=True)
class Ask:
    """A request with what only Seawall's own parts may add.

    `tenants` replaces the selector by an explicit list; `built_in` replaces the strategy's name; `installing` takes
    tenants that are still being onboarded; `contents` (tenant to content hash) repeats what an earlier rollout gave.
    """

    request: RolloutRequest
    tenants: frozenset[str] | None = None
    built_in: BuiltInStrategy | None = None
    installing: bool = False
    contents: Mapping[str, RepeatedContent] | None = None

    @property
    def app(self) -> str:
        """The app that changes."""
        return self.request.app or (self.request.release or "").partition("/")[0]

    @property
    def version(self) -> str | None:
        """The release's version, if the request names one."""
        return self.request.release.partition("/")[2] if self.request.release else None


@dataclass(frozen=True, slots=True)
class RepeatedContent:
    """What an earlier rollout gave a tenant, to be given again unchanged, for the `attempt`-th time."""

    content: str
    version: str
    values_hash: str
    attempt: int = 2


def check_request(request: RolloutRequest) -> None:
    """Check what single fields can't say. Raises InvalidError `invalid-rollout` with a pointer for each thing wrong."""
    found = [*_app_errors(request), *_kind_errors(request), *_time_errors(request)]
    if found:
        detail = f"The rollout can't be planned: {found[0].pointer}: {found[0].detail}"
        raise InvalidError(detail, code="invalid-rollout", errors=found)


def strategy_name(reference: str) -> tuple[str, int | None]:
    """Split `careful@7` into name and version; without `@` the version is None (the newest)."""
    match = _REF.match(reference)
    if match is None:
        raise ValueError(f"{reference!r} is no strategy reference")
    return match[1], int(match[2]) if match[2] else None


def _app_errors(request: RolloutRequest) -> list[FieldError]:
    if request.release is None and request.app is None:
        needed = "release" if request.kind == "deploy" else "app"
        return [FieldError(f"/{needed}", f"a rollout of kind {request.kind} needs {needed}")]
    if request.release and request.app and request.release.partition("/")[0] != request.app:
        return [FieldError("/app", f"is not the app of release {request.release}")]
    return []


def _time_errors(request: RolloutRequest) -> list[FieldError]:
    if request.not_before is not None and request.emergency is not None:
        return [FieldError("/notBefore", "an emergency starts now; what can wait is none")]
    if request.not_before is not None and not _EARLIEST < request.not_before.year < _LATEST:
        return [FieldError("/notBefore", f"must lie between the years {_EARLIEST} and {_LATEST}")]
    return []


def _kind_errors(request: RolloutRequest) -> list[FieldError]:
    found = []
    if request.kind == "deploy" and request.release is None and request.app is not None:
        found.append(FieldError("/release", "a rollout of kind deploy needs release"))
    if request.kind == "values" and request.release is not None:
        found.append(FieldError("/release", "a change of values keeps each tenant's release; name the app instead"))
    if request.to is not None and request.kind != "rollback":
        found.append(FieldError("/to", f"only a rollback goes back to a revision, and this is a {request.kind}"))
    return found

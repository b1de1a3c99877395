"""What a risk rule's expression sees. Pure.

- `release`: `app version risks modules database.change images repository commit authors proven`, and `evidence[kind]` with `passed`, `results` and
  `ageHours` of the newest attestation of each kind (what is claimed; whose signature it bears is for the gates)
- `values`: the effective values that the tenant would get
- `calendar`: `active` (names of the calendars with an event now that select the tenant), `endsIn` and `startsIn` (hours, by name)
- `tenant`: `name tier region cluster environment labels ordersPerHour running`
- `rollout`: `kind app environment strategy selector reason changeRef`
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from controlplane.domain.names import digest_of
from controlplane.domain.releases import ReleaseSpec
from controlplane.domain.requests import RolloutRequest
from controlplane.domain.ruling import Case
from controlplane.domain.selectors import Selector, parse_selector


@dataclass(frozen=True, slots=True)
class CalendarTime:
    """A calendar at a moment: whether an event is on, until when, and when the next one begins (as far as was looked ahead)."""

    active: bool
    ends: datetime | None = None
    starts: datetime | None = None


type TimesByZone = Mapping[str, Mapping[str, CalendarTime]]
"""Time zone -> calendar -> what it says there: times without a zone are the tenant's own."""
UTC_ZONE: Final = "UTC"


def release_variable(
    spec: ReleaseSpec | None, evidence: Mapping[str, Mapping[str, Any]], *, proven: bool, now: datetime
) -> dict[str, Any]:
    """`release`; without a registered one (an app that nobody releases) it is there and empty."""
    if spec is None:
        empty = {"app": "", "version": "", "repository": "", "commit": ""}
        return {
            **empty,
            "risks": [],
            "modules": [],
            "database": {"change": "none"},
            "authors": [],
            "evidence": {},
            "proven": False,
        }
    return {
        "app": spec.app,
        "version": spec.version,
        "risks": list(spec.risks),
        "modules": list(spec.modules),
        "database": {"change": spec.database.change},
        "images": dict(spec.images),
        "repository": spec.provenance.repository or "",
        "commit": spec.provenance.commit or "",
        "authors": list(spec.provenance.authors),
        "proven": proven,
        "evidence": {kind: _attested(body, now) for kind, body in evidence.items()},
    }


def calendar_variable(times: Mapping[str, CalendarTime], selecting: Iterable[str], now: datetime) -> dict[str, Any]:
    """`calendar`, of those calendars that select the tenant."""
    mine = {name: times[name] for name in sorted(selecting) if name in times}
    return {
        "active": [name for name, time in mine.items() if time.active],
        "endsIn": {name: _hours(time.ends, now) for name, time in mine.items() if time.active and time.ends},
        "startsIn": {name: _hours(time.starts, now) for name, time in mine.items() if time.starts},
    }


def tenant_variable(
    seen: Mapping[str, str], labels: Mapping[str, str], *, orders: float, running: str
) -> dict[str, Any]:
    """`tenant`. `seen`: what selectors see; `labels`: its own; `running`: the version it runs now, empty for none."""
    where = {key: seen[key] for key in ("tier", "region", "cluster", "environment")}
    return {"name": seen["tenant"], **where, "labels": dict(labels), "ordersPerHour": orders, "running": running}


def rollout_variable(app: str, request: RolloutRequest, strategy: str) -> dict[str, Any]:
    """`rollout`."""
    return {
        "kind": request.kind,
        "app": app,
        "environment": request.environment,
        "strategy": strategy,
        "selector": request.selector,
        "reason": request.reason,
        "changeRef": request.change_ref,
    }


class CaseMaker:
    """Makes the cases of one rollout; what many tenants share is made and hashed once."""

    def __init__(
        self,
        releases: Mapping[str, Mapping[str, Any]],
        rollout: Mapping[str, Any],
        calendars: Mapping[str, str],
        times: TimesByZone | str,
        now: datetime,
    ) -> None:
        self._releases = {version: (one, digest_of(one)) for version, one in releases.items()}
        self._rollout = (rollout, digest_of(rollout))
        self._selectors: dict[str, Selector] = {name: parse_selector(text) for name, text in calendars.items()}
        self._calendars: dict[tuple[str, tuple[str, ...]], tuple[Mapping[str, Any], str]] = {}
        self._times = times
        self._now = now

    def case(
        self,
        tenant: Mapping[str, Any],
        seen: Mapping[str, str],
        version: str,
        values_hash: str,
        values: Mapping[str, Any] | None,
        zone: str = UTC_ZONE,
    ) -> Case:
        """One tenant's case. `values` None, or calendars that nobody can read: a rule that asks for them is unclear."""
        known: dict[str, tuple[Mapping[str, Any], str]] = {
            "tenant": (tenant, digest_of(tenant)),
            "rollout": self._rollout,
        }
        unknown = {}
        if version in self._releases:
            known["release"] = self._releases[version]
        else:
            unknown["release"] = f"release {version} is not registered"
        if values is not None:
            known["values"] = (values, values_hash)
        else:
            unknown["values"] = "the values it was given are not kept any more"
        if isinstance(self._times, str):
            unknown["calendar"] = self._times
        else:
            known["calendar"] = self._calendar(self._times.get(zone, {}), seen, zone)
        variables = {name: one for name, (one, _) in known.items()}
        return Case(str(tenant["name"]), variables, {name: same for name, (_, same) in known.items()}, unknown)

    def _calendar(
        self, times: Mapping[str, CalendarTime], seen: Mapping[str, str], zone: str
    ) -> tuple[Mapping[str, Any], str]:
        mine = tuple(name for name, selector in self._selectors.items() if selector.matches(seen))
        if (zone, mine) not in self._calendars:
            made = calendar_variable(times, mine, self._now)
            self._calendars[zone, mine] = (made, digest_of(made))
        return self._calendars[zone, mine]


def _attested(body: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    at = datetime.fromisoformat(str(body["at"]))
    return {
        "passed": bool(body.get("passed", True)),
        "results": dict(body.get("results") or {}),
        "ageHours": max(0.0, _hours(now, at)),
    }


def _hours(moment: datetime, since: datetime) -> float:
    return (moment - since).total_seconds() / 3600

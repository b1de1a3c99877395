"""Every target of a previewed plan, in order, and those left out: what `targetsUrl` lists."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

from controlplane.domain.plans import Plan, Waiting, WayBack
from controlplane.domain.wire import Wire


class LeftOutBecause(Wire):
    """Why a selected target is not in the plan."""

    code: str
    detail: str
    until: datetime | None = None


class PreviewTarget(Wire):
    """One selected target. `number` counts from 1 over all; one that is left out has `excluded` and no wave."""

    number: int
    tenant: str
    environment: str
    wave: str | None = None
    cluster: str | None = None
    region: str | None = None
    tier: str | None = None
    from_version: str | None = None
    base_revision: int | None = None
    content: str | None = None
    way_back: WayBack | None = None
    waiting_for: tuple[Waiting, ...] = ()
    excluded: LeftOutBecause | None = None


def preview_targets(plan: Plan) -> list[PreviewTarget]:
    """List planned targets wave by wave, then the excluded ones by name."""
    waits: defaultdict[tuple[str, str], list[Waiting]] = defaultdict(list)
    for wait in plan.waiting_for:
        waits[wait.tenant, wait.environment].append(wait)
    planned = [(wave.name, target) for wave in plan.waves for target in wave.targets]
    found = [
        PreviewTarget(
            number=number,
            tenant=target.tenant,
            environment=target.environment,
            wave=wave,
            cluster=target.cluster,
            region=target.region,
            tier=target.tier,
            from_version=target.from_version,
            base_revision=target.base_revision,
            content=target.content,
            way_back=target.way_back,
            waiting_for=tuple(waits[target.key]),
        )
        for number, (wave, target) in enumerate(planned, start=1)
    ]
    found += [
        PreviewTarget(
            number=len(planned) + number,
            tenant=out.tenant,
            environment=out.environment,
            excluded=LeftOutBecause(code=out.code, detail=out.detail, until=out.until),
        )
        for number, out in enumerate(plan.excluded, start=1)
    ]
    return found

"""The jury: takes the vote on a rollout's ill tenants, keeps it, stops the guilty rollout, and tells the others.

Asked by the driver whose targets would fail, before they do. It reads in one transaction, works calendars out outside of any, and acts in
another, where it looks again at what it acts on. Fewer than two changes on the ill tenants cost one read and no vote.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import structlog

from controlplane.domain.blame import WINDOWS, Judged, Signal, Touch, judge
from controlplane.domain.blame_acts import (
    ROLLOUT,
    UPGRADE,
    BlamePolicy,
    Case,
    Pair,
    Ruling,
    evidence_of,
    rests_on_something_new,
    rule,
)
from controlplane.domain.names import digest_of
from controlplane.domain.rollouts import ROLLOUT_OVER, RolloutState
from controlplane.ports.calendars import Calendars
from controlplane.ports.stores.blames import BlameRecord
from controlplane.ports.uow import Transactions, UnitOfWork
from controlplane.services.blame import MOST_ROWS
from controlplane.services.campaigns import Campaigns, campaigns_of
from controlplane.services.limits import fleet_limits

ACTOR: Final = "seawall"
MOST_TOLD: Final = 200
"""So many tenants get a line in their own history for one verdict; the verdict itself names all."""
_ACTS: Final = {"stop": "stopped", "stopped": "stopped", "hold": "held", "tell": "told"}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Hearing:
    """What was read for one vote."""

    touches: Sequence[Touch]
    signals: Sequence[Signal]
    campaigns: Campaigns


class Jury:
    """See `controlplane.ports.blames.Blames`."""

    def __init__(self, transactions: Transactions, calendars: Calendars) -> None:
        self._transactions = transactions
        self._calendars = calendars

    async def weigh(self, rollout: uuid.UUID, ill: Mapping[str, datetime]) -> Mapping[str, str]:
        """Weigh ill tenants; gives those that another change is blamed for, with the reason."""
        heard = await self._hear(ill)
        if len({touch.change for touch in heard.touches}) < 2:
            return {}
        signals = [*heard.signals, *(Signal(tenant, at) for tenant, at in ill.items())]
        judged = judge(heard.touches, signals, ill.keys())
        async with self._transactions.engine() as uow:
            ruling = await conclude(uow, rollout, judged, heard, ill)
        return dict.fromkeys(ruling.excused, f"{judged.reason} {ruling.why}")

    async def _hear(self, ill: Mapping[str, datetime]) -> Hearing:
        async with self._transactions.engine() as uow:
            since, now = uow.now - WINDOWS[-1], uow.now
            touches = await uow.blames.touches(ill.keys(), since, now, MOST_ROWS)
            marked = await uow.windows.marked("production")
        campaigns = await campaigns_of(marked, self._calendars, since, now)
        touches = [*touches, *campaigns.reaching(ill.keys())]
        if len({touch.change for touch in touches}) < 2:
            return Hearing(touches, (), campaigns)
        async with self._transactions.engine() as uow:
            reached = {touch.tenant for touch in touches}
            return Hearing(touches, await uow.blames.signals(reached, since, now, MOST_ROWS), campaigns)


async def conclude(
    uow: UnitOfWork, asker: uuid.UUID, judged: Judged, heard: Hearing, ill: Mapping[str, datetime]
) -> Ruling:
    """Let follow from a vote what must, once: keep it, stop the guilty rollout, tell the others and the tenants."""
    evidence = evidence_of(judged, heard.touches, ill)
    ruling = rule(await _case(uow, asker, judged, heard, evidence))
    if ruling.act == "none":
        return ruling
    record = _record(uow, asker, judged, ruling, heard, evidence, ill)
    if not await uow.blames.add(record):
        return ruling
    log.warning("a vote on blame", verdict=judged.verdict, act=record.act, reason=judged.reason, id=str(record.id))
    for other in sorted(record.rollouts):
        await _tell(uow, uuid.UUID(other), judged, record, ruling)
    await _tell_tenants(uow, judged, record, ill)
    return ruling


async def _case(uow: UnitOfWork, asker: uuid.UUID, judged: Judged, heard: Hearing, evidence: Sequence[Pair]) -> Case:
    guilty = judged.blamed[0] if judged.verdict == "blamed" else ""
    mine = await uow.blames.accused(asker)
    accused = await uow.blames.accused(uuid.UUID(guilty.removeprefix(ROLLOUT))) if guilty.startswith(ROLLOUT) else None
    policies: set[BlamePolicy] = {(await fleet_limits(uow)).blame, *([mine.policy] if mine else [])}
    fresh = bool(guilty) and rests_on_something_new(evidence, await uow.blames.rested_on(guilty))
    goes_on = heard.campaigns.goes_on(guilty) or await _upgrade_goes_on(uow, guilty)
    return Case(judged, str(asker), policies, accused, goes_on, fresh, uow.now)


async def _upgrade_goes_on(uow: UnitOfWork, guilty: str) -> bool:
    """Whether the accused is the upgrade of a cluster that has not ended."""
    cluster = guilty.removeprefix(UPGRADE).rpartition("@")[0]
    return guilty.startswith(UPGRADE) and cluster in await uow.blames.upgrading([cluster])


def _record(
    uow: UnitOfWork,
    asker: uuid.UUID,
    judged: Judged,
    ruling: Ruling,
    heard: Hearing,
    evidence: Sequence[Pair],
    ill: Mapping[str, datetime],
) -> BlameRecord:
    reached = {t.change for t in heard.touches if t.tenant in ill and t.change.startswith(ROLLOUT)}
    rests_on = tuple(evidence) or tuple(sorted((tenant, "") for tenant in ill))
    what = [judged.verdict, sorted(judged.blamed), [list(pair) for pair in rests_on]]
    return BlameRecord(
        id=uow.new_id(),
        at=uow.now,
        asker=asker,
        verdict=judged.verdict,
        blamed=judged.blamed,
        rollouts=tuple(
            sorted({*(change.removeprefix(ROLLOUT) for change in reached), *([str(asker)] if asker.int else [])})
        ),
        reason=judged.reason,
        act=_ACTS[ruling.act],
        why=ruling.why,
        rests_on=rests_on,
        votes=[vote.model_dump(mode="json", by_alias=True) for vote in judged.votes],
        digest=digest_of(what),
    )


async def _tell(uow: UnitOfWork, rollout: uuid.UUID, judged: Judged, record: BlameRecord, ruling: Ruling) -> None:
    """Write a verdict to the history of a rollout that it concerns, and halt the guilty one. One that is over only hears of its own blame."""
    locked = await uow.rollouts.lock(rollout)
    if locked is None:
        return
    guilty = f"{ROLLOUT}{rollout}" in record.blamed
    over = RolloutState(locked.state) in ROLLOUT_OVER
    if over and not guilty:
        return
    change = "suspected" if judged.verdict != "blamed" else "blamed" if guilty else "acquitted"
    data = _facts(judged, record, guilty=guilty)
    await uow.rollouts.record(rollout, await uow.record("rollout", str(rollout), change, data=data))
    if guilty and ruling.act == "stop" and not over:
        body = {"reason": f"blamed: {record.reason}", "tenants": sorted(judged.harmed), "verdict": str(record.id)}
        seq = await uow.rollouts.command(rollout, "halt", body, ACTOR)
        await uow.audit(ACTOR, "rollout.halt", f"rollouts/{rollout}", detail={**body, "commandSeq": seq})
        await uow.wake("rollout", str(rollout))


def _facts(judged: Judged, record: BlameRecord, *, guilty: bool) -> dict[str, Any]:
    """What a rollout's history says of a verdict; the guilty one's has the votes."""
    facts: dict[str, Any] = {
        "id": str(record.id),
        "verdict": record.verdict,
        "reason": record.reason,
        "why": record.why,
    }
    tenants = [tenant for tenant, _ in record.rests_on]
    if judged.verdict != "blamed":
        return {**facts, "among": list(record.blamed)}
    if guilty:
        return {**facts, "act": record.act, "tenants": tenants, "votes": list(record.votes)}
    return {**facts, "by": record.blamed[0], "what": judged.what, "act": record.act, "tenants": tenants}


async def _tell_tenants(uow: UnitOfWork, judged: Judged, record: BlameRecord, ill: Mapping[str, datetime]) -> None:
    """A line in the ill tenants' own histories, which name no other tenant and no number of them."""
    if judged.verdict == "blamed":
        whom, cause = sorted(judged.harmed), judged.what
        reason = f"{cause} is the likely cause of its ill health"
    elif judged.verdict == "tied":
        whom, cause = sorted(ill), ""
        reason = "several changes overlap, and none is the likelier cause of its ill health"
    else:
        return
    for tenant in whom[:MOST_TOLD]:
        if await uow.tenants.get(tenant, lock=True) is not None:
            data = {"cause": cause, "verdict": record.verdict, "reason": reason, "id": str(record.id)}
            await uow.record("tenant", tenant, "fellIll", tenant=tenant, data=data)

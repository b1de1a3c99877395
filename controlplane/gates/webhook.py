"""webhook: another system says whether the rollout may go on, at once or (a change advisory board, an ITSM) later.

At once: a signed POST whose answer must be exactly `{"verdict": "pass|wait|fail", "reason": "..."}`. Later: the POST carries an address for
the answer, which comes back signed with the same secret and names the plan's hash. No answer, a slow one, a redirect, HTML or anything
else is `unknown`: never health, never the release's fault.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import Field

from controlplane.domain.endpoints import Answer, read_answer
from controlplane.domain.gating import Judged, Verdict
from controlplane.domain.names import Name
from controlplane.domain.quantities import Duration
from controlplane.domain.wire import Wire
from controlplane.ports.endpoints import AskRecord
from controlplane.ports.gates import Evidence, GatePorts, GateScene

from .metric import UnknownLimit

TENANTS_SENT = 100


class WebhookSpec(Wire):
    """`{"webhook": {"use": "change-board", "answer": "later"}}`."""

    use: Name = Field(description="Name of an endpoint (`PUT /v1/endpoints/NAME`).")
    answer: Literal["now", "later"] = Field(
        default="now", description="now: in the response; later: to the callback that the question names."
    )
    interval: Duration = Field(
        default=timedelta(seconds=30), ge=timedelta(seconds=1), description="Time between two looks."
    )
    expires: Duration = Field(
        default=timedelta(days=2), gt=timedelta(0), description="Of a question that is answered later."
    )
    unknown: UnknownLimit = Field(default_factory=UnknownLimit)


class WebhookGate:
    """See the module."""

    kind = "webhook"
    spec = WebhookSpec

    def interval(self, spec: WebhookSpec) -> float:
        """As the spec says; an answer that comes to us is seen within a second."""
        return spec.interval.total_seconds() if spec.answer == "now" else 1.0

    async def observe(self, spec: WebhookSpec, scene: GateScene, ports: GatePorts) -> Evidence:
        """Ask, or look whether the answer has come. Nobody is asked before a yes would let something proceed."""
        if ports.endpoints is None or ports.asks is None:
            return {"endpoint": spec.use, "error": "this process can't ask endpoints"}
        if spec.answer == "later":
            return await _observe_later(spec, scene, ports)
        if scene.blocked:
            return {"endpoint": spec.use, "asked": False}
        reply = await ports.endpoints.ask(spec.use, str(uuid.uuid4()), question(scene))
        answer = reply.error or read_answer(reply.status, reply.media_type, reply.body)
        if isinstance(answer, Answer):
            return {"endpoint": spec.use, "asked": True, "verdict": answer.verdict, "reason": answer.reason}
        return {"endpoint": spec.use, "asked": True, "error": answer}

    def judge(self, spec: WebhookSpec, scene: GateScene, evidence: Evidence) -> Judged:
        """What was answered, if anything was."""
        who = f"endpoint {spec.use}"
        if verdict := evidence.get("verdict", ""):
            by = f" ({evidence['by']})" if evidence.get("by") else ""
            said = f"{spec.use}{by}: {evidence.get('reason') or verdict}"
            return Judged(Verdict(verdict), said, who=who if verdict == "wait" else "")
        if evidence.get("error"):
            return Judged(Verdict.UNKNOWN, f"could not ask {spec.use}: {evidence['error']}")
        if not evidence.get("asked", False):
            return Judged(Verdict.WAIT, f"not asked yet: {scene.blocked}")
        expires = datetime.fromisoformat(evidence["expires"])
        if scene.now >= expires:
            return Judged(Verdict.UNKNOWN, f"{spec.use} did not answer until {expires:%Y-%m-%dT%H:%MZ}", who=who)
        news = f"; it says: {evidence['reason']}" if evidence.get("reason") else ""
        return Judged(Verdict.WAIT, f"asked {spec.use}, which answers later{news}", until=expires, who=who)


async def _observe_later(spec: WebhookSpec, scene: GateScene, ports: GatePorts) -> dict[str, Any]:
    """A question is written down before it is sent, so that an answer always finds it; sent again until the endpoint has it."""
    if ports.asks is None or ports.endpoints is None:
        raise ValueError("the caller checks both")
    hash_ = scene.plan.plan_hash
    ask = await ports.asks.find(scene.rollout_id, scene.key, hash_)
    if ask is None and scene.blocked:
        return {"endpoint": spec.use, "asked": False}
    ask = ask or await ports.asks.open(scene.rollout_id, scene.key, hash_, spec.use, spec.expires)
    shown = {"endpoint": spec.use, "ask": str(ask.id), "planHash": hash_, "expires": ask.expires_at.isoformat()}
    if not ask.callback:
        return {**shown, "asked": False, "error": "this process does not know its own address: set SEAWALL_PUBLIC_URL"}
    if ask.sent_at is None and not ask.verdict:
        error = await _send(ask, spec, scene, ports)
        if error:
            return {**shown, "asked": False, "error": error}
    said = {"verdict": ask.verdict, "reason": ask.reason, "by": ask.by}
    return {**shown, "asked": True, **{name: value for name, value in said.items() if value}}


async def _send(ask: AskRecord, spec: WebhookSpec, scene: GateScene, ports: GatePorts) -> str:
    if ports.asks is None or ports.endpoints is None:
        raise ValueError("the caller checks both")
    later = {"ask": str(ask.id), "callback": ask.callback, "expires": ask.expires_at.isoformat()}
    reply = await ports.endpoints.ask(spec.use, str(ask.id), {**question(scene), **later})
    if reply.error or not 200 <= reply.status < 300:
        return reply.error or f"it answered {reply.status}"
    await ports.asks.sent(ask.id)
    return ""


def question(scene: GateScene) -> dict[str, Any]:
    """What an endpoint is told; fields are added, never changed."""
    plan, key = scene.plan, scene.key
    targets = [target.tenant for target in plan.waves[key.wave].targets]
    return {
        "type": "dev.seawall.gate.asked.v1",
        "rollout": str(scene.rollout_id),
        "kind": plan.kind,
        "release": f"{plan.app}/{plan.release}" if plan.release else None,
        "app": plan.app,
        "environment": plan.environment,
        "wave": plan.waves[key.wave].name,
        "place": key.place,
        "planHash": plan.plan_hash,
        "changeRef": scene.change_ref,
        "reason": scene.reason,
        "requestedBy": scene.requested_by,
        "authors": list(scene.authors),
        "targets": len(targets),
        "tenants": targets[:TENANTS_SENT],
        "changed": list(scene.changed[:TENANTS_SENT]),
    }

"""How an operation has apps installed: through a rollout of its own, so that an installation is as careful as any change."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from controlplane.domain.requests import Ask, RolloutRequest
from controlplane.services.rollouts.builtin import ONBOARDING
from controlplane.services.rollouts.start import plan_and_start
from controlplane.services.rollouts.tools import RolloutTools


@dataclass(frozen=True)
class InstallWish:
    """One rollout: a release, an environment, and all tenants of the operation that are to get it."""

    operation_id: uuid.UUID
    requested_by: str
    app: str
    version: str
    environment: str
    tenants: Sequence[str]


@dataclass(frozen=True)
class Excluded:
    """A tenant that the plan left out, and why."""

    tenant: str
    code: str
    detail: str


class Installer(Protocol):
    """Starts installations."""

    async def install(self, wish: InstallWish) -> Sequence[Excluded]:
        """Start the rollout, with `origin: {"onboarding": <operation id>}`.

        Returns who was left out. Raises what starting a rollout raises.
        """
        ...


class RolloutInstaller:
    """Installs through the rollout services, with the built-in strategy for first installations."""

    def __init__(self, tools: RolloutTools) -> None:
        self._tools = tools

    async def install(self, wish: InstallWish) -> Sequence[Excluded]:
        """Start the rollout."""
        request = RolloutRequest(
            release=f"{wish.app}/{wish.version}",
            environment=wish.environment,
            strategy=ONBOARDING.name,
            reason="Onboarding",
        )
        ask = Ask(request, tenants=frozenset(wish.tenants), built_in=ONBOARDING, installing=True)
        origin = {"kind": "onboarding", "onboarding": str(wish.operation_id)}
        started = await plan_and_start(self._tools, ask, actor=wish.requested_by, origin=origin)
        return [Excluded(e.tenant, e.code, e.detail) for e in started.plan.excluded]

"""Strategies that are part of Seawall."""

from __future__ import annotations

from controlplane.domain.requests import BuiltInStrategy
from controlplane.domain.strategies import parse_strategy

ONBOARDING = BuiltInStrategy(
    "onboarding",
    parse_strategy(
        {
            "waves": [{"name": "install", "cut": {"percent": "100%"}, "soak": {"for": "PT0S", "samples": 1}}],
            "limits": {"inFlight": 200, "perCluster": 100},
            "success": {"min": 1, "maxFailures": "100%", "progressDeadline": "PT15M"},
            "onFailure": {"rollBack": "failed-targets", "then": "continue"},
        }
    ),
)
"""A first installation: one wave, generous limits, no soak. There is no way back from nothing, so nothing rolls back."""

TENANT_ROLLBACK = BuiltInStrategy(
    "tenant-rollback",
    parse_strategy(
        {
            "waves": [{"name": "back", "cut": {"percent": "100%"}, "soak": {"for": "PT0S", "samples": 3}}],
            "limits": {"inFlight": 1},
        }
    ),
)
"""What `POST /v1/tenants/{t}:rollback` uses: one tenant, one wave."""

BUILT_IN = {strategy.name: strategy for strategy in (ONBOARDING, TENANT_ROLLBACK)}

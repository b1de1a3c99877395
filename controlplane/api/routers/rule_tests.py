"""Trying risk rules."""

from __future__ import annotations

from typing import Annotated

from fastapi import Response

from controlplane.api.dependencies import Call, may
from controlplane.api.etags import respond
from controlplane.api.routing import feature_router
from controlplane.services.configuration.kinds import check_rule
from controlplane.services.rule_tests import RuleTestRequest, RuleTestResult, try_rule

router = feature_router("rules")


@router.post("/v1/rules:test", operation_id="testRule", response_model=RuleTestResult)
async def post_rule(body: RuleTestRequest, call: Annotated[Call, may("rules.test")]) -> Response:
    """Say of which tenants a rule is true, and what would follow. Stores nothing."""
    container = call.container
    check_rule(body.rule, container.checkers, prefix="/rule")
    return respond(await try_rule(container.rollout_tools, container.expressions, body))

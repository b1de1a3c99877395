"""The features of the API: one file and one line each.

How to add one (see `keys.py`, the smallest complete example):

1. `router = feature_router("things")`; each route has `operation_id`, a summary (the docstring's first line), a `response_model`.
2. The caller: `call: Annotated[Call, may("things.write")]`; the action is a line in `domain.identity.PERMISSIONS`.
3. A read: `async with call.transaction(tenant) as uow: ...; return respond(model)` (ETag included).
4. A POST: parameter `key: IdempotencyKey`, then `return await once(call, key, effect)`, where `effect(uow)` calls one service and
   returns `Answer(201, body, headers)`; long work returns `accepted(request, operation_id)`.
5. A PUT or PATCH: parameter `if_match: IfMatch = None`, then `check_if_match(if_match, etag_of(current) or None)` in the transaction.
6. A list: `limit: Limit = 50, cursor: Cursor = None`; read `limit + 1` rows from `decode(cursor, ...)`, answer `respond(page(...))`.
7. Errors: raise `domain.errors` classes; nothing else is needed.
8. One line below, then `make openapi`.
"""

from fastapi import APIRouter

from . import (
    approvals,
    audit,
    breakglass,
    budgets,
    calendars,
    configuration,
    emergencies,
    events,
    evidence,
    freezes,
    gates,
    insight,
    keys,
    looks,
    machine,
    operations,
    releases,
    rollout_commands,
    rollout_events,
    rollouts,
    rule_tests,
    self_service,
    tenants,
    timeline,
    values,
)

ROUTERS: tuple[APIRouter, ...] = (
    keys.router,
    rule_tests.router,
    calendars.router,
    *configuration.ROUTERS,
    releases.artifacts,
    releases.router,
    evidence.router,
    events.router,
    events.hooks,
    freezes.router,
    emergencies.router,
    budgets.router,
    looks.router,
    timeline.router,
    insight.router,
    audit.router,
    breakglass.router,
    machine.router,
    operations.router,
    tenants.batches,
    tenants.router,
    self_service.router,
    values.router,
    rollouts.router,
    rollout_commands.router,
    approvals.router,
    gates.router,
    gates.answers,
    rollout_events.router,
)

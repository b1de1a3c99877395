"""One effect per `Idempotency-Key`: the first answer is stored in the transaction of its effect and given again for 24 hours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Annotated, Any

import orjson
from fastapi import Header, Response
from pydantic import BaseModel

from controlplane.domain.errors import InvalidError
from controlplane.domain.names import digest_of
from controlplane.ports.faults import fault_point
from controlplane.ports.stores.intents import IntentKey, StoredAnswer
from controlplane.ports.uow import UnitOfWork

from .dependencies import Call

IdempotencyKey = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="Yours, such as a UUID. The same key and body give the first answer again, for 24 hours.",
    ),
]
"""A parameter of each POST that creates or acts; give it to `once`."""


@dataclass(frozen=True)
class Answer:
    """What a handler answers. `secret` is shown in the first answer only, and stored nowhere."""

    status: int
    body: BaseModel | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    secret: Mapping[str, str] = field(default_factory=dict)


type Effect = Callable[[UnitOfWork], Awaitable[Answer]]


async def once(
    call: Call, key: str, effect: Effect, *, transaction: AbstractAsyncContextManager[UnitOfWork] | None = None
) -> Response:
    """Carry out `effect` in one transaction with the intent, or give the first answer again.

    Unique on (principal, method and path, key). `transaction`: default `call.transaction()`. Raises InvalidError
    `idempotency-key-reused` if the key came with another body, ConflictError `idempotency-key-in-use`.
    An error of the effect stores nothing: the same key may be sent again.
    """
    request = call.request
    intent = IntentKey(call.principal.id, f"{request.method} {request.url.path}", key)
    body_hash = _body_hash(await request.body(), request.url.query)
    async with transaction or call.transaction() as uow:
        earlier = await uow.intents.claim(intent, body_hash)
        if earlier is not None:
            return _again(earlier, body_hash)
        answer = await effect(uow)
        body = answer.body.model_dump(mode="json", by_alias=True) if answer.body is not None else None
        stored = StoredAnswer(body_hash, answer.status, dict(answer.headers), body)
        await uow.intents.complete(intent, stored)
    fault_point("api:after-commit")
    return _response(stored, answer.secret)


def _body_hash(body: bytes, query: str) -> str:
    try:
        content = orjson.loads(body) if body else None
    except orjson.JSONDecodeError:
        content = digest_of(body)
    return digest_of([content, query])


def _again(earlier: StoredAnswer, body_hash: str) -> Response:
    if earlier.body_hash != body_hash:
        detail = "This Idempotency-Key came before with another body. Use a new key for a new request."
        raise InvalidError(detail, code="idempotency-key-reused")
    response = _response(earlier, {})
    response.headers["Idempotency-Replayed"] = "true"
    return response


def _response(answer: StoredAnswer, secret: Mapping[str, Any]) -> Response:
    if answer.body is None:
        return Response(status_code=answer.status, headers=answer.headers)
    content = orjson.dumps({**answer.body, **secret}, option=orjson.OPT_SORT_KEYS)
    return Response(content, answer.status, answer.headers, media_type="application/json")

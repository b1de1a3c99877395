"""Asking endpoints over HTTP: signed, guarded as webhooks are, tried a few times, never more read than an answer needs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import aiohttp
import orjson
import stamina

from controlplane.adapters.postgres.database import Database
from controlplane.adapters.webhooks import UNREACHABLE, failure_of, guarded_post, signed
from controlplane.domain.endpoints import MOST_BYTES, Endpoint
from controlplane.domain.errors import DependencyError
from controlplane.ports.endpoints import EndpointReply
from controlplane.ports.secrets import Secrets

TRIES = 3
_BUSY = frozenset({429, 502, 503, 504})


class _AgainError(Exception):
    """Worth another try; `reply` is what to say if there is none."""

    def __init__(self, reply: EndpointReply) -> None:
        super().__init__(reply.error)
        self.reply = reply


class HttpEndpoints:
    """See `controlplane.ports.endpoints.Endpoints`. `wait`: seconds before the second try."""

    def __init__(self, database: Database, secrets: Secrets, *, wait: float = 0.5) -> None:
        self._database = database
        self._secrets = secrets
        self._wait = wait

    async def ask(self, endpoint: str, question: str, body: Mapping[str, Any]) -> EndpointReply:
        """POST, again where nothing or a busy server answered."""
        async with self._database.engine() as uow:
            record = await uow.configuration.current("endpoints", endpoint)
        if record is None:
            return EndpointReply(error="there is no such endpoint; make it with PUT /v1/endpoints/NAME")
        spec, content = Endpoint.model_validate(record.spec), orjson.dumps(body, default=str)
        try:
            async for attempt in stamina.retry_context(
                on=_AgainError, attempts=TRIES, timeout=None, wait_initial=self._wait
            ):
                with attempt:
                    return await self._once(spec, question, content)
        except _AgainError as error:
            return error.reply
        except DependencyError as error:
            return EndpointReply(error=f"the question can't be signed: {error.detail}")
        raise AssertionError("the last try returns or raises")

    async def _once(self, spec: Endpoint, question: str, content: bytes) -> EndpointReply:
        headers = signed(spec.secrets, self._secrets, question, datetime.now(UTC), content, "application/json")
        timeout = aiohttp.ClientTimeout(total=spec.timeout.total_seconds())
        try:
            async with guarded_post(
                spec.url, content, headers, allow_private=spec.allow_private, limit=timeout
            ) as answer:
                read = await _read(answer)
        except UNREACHABLE as error:
            raise _AgainError(EndpointReply(error=failure_of(error, timeout))) from error
        if read is None:
            return EndpointReply(error=f"its answer is longer than {MOST_BYTES // 1024} KiB")
        reply = EndpointReply(answer.status, answer.headers.get("content-type", ""), read)
        if answer.status in _BUSY:
            raise _AgainError(reply)
        return reply


async def _read(answer: aiohttp.ClientResponse) -> bytes | None:
    """The body, or None if it is too long: the rest is not read."""
    read = bytearray()
    async for chunk in answer.content.iter_chunked(16_384):
        read += chunk
        if len(read) > MOST_BYTES:
            return None
    return bytes(read)

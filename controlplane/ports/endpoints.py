"""Asking endpoints, and remembering what was asked of those that answer later."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from controlplane.domain.gating import GateKey


@dataclass(frozen=True, slots=True)
class EndpointReply:
    """What came back. `error`: why nothing did: it hung, is unknown, its address is refused, the secret is missing."""

    status: int = 0
    media_type: str = ""
    body: bytes = b""
    error: str = ""


class Endpoints(Protocol):
    """Sends signed questions."""

    async def ask(self, endpoint: str, question: str, body: Mapping[str, Any]) -> EndpointReply:
        """POST once answered, tried a few times; `question` is its id, the same in every try. Never raises for what a network does."""
        ...


@dataclass(frozen=True, slots=True)
class AskRecord:
    """A question to an endpoint that answers later. `callback`: where; empty if this installation has no public address.

    `verdict` empty: no answer that decides yet; `reason`: the newest that came.
    """

    id: uuid.UUID
    rollout_id: uuid.UUID
    key: GateKey
    plan_hash: str
    endpoint: str
    asked_at: datetime
    expires_at: datetime
    sent_at: datetime | None = None
    callback: str = ""
    verdict: str = ""
    reason: str = ""
    by: str = ""


class Asks(Protocol):
    """Questions of drivers."""

    async def open(
        self, rollout_id: uuid.UUID, key: GateKey, plan_hash: str, endpoint: str, lasts: timedelta
    ) -> AskRecord:
        """The gate's question about this plan with its answers so far; made if there is none."""
        ...

    async def find(self, rollout_id: uuid.UUID, key: GateKey, plan_hash: str) -> AskRecord | None:
        """The question if it was made."""
        ...

    async def sent(self, ask_id: uuid.UUID) -> None:
        """Note that the endpoint has it."""
        ...


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """One answer on record."""

    id: uuid.UUID
    ask_id: uuid.UUID
    message_id: str
    verdict: str
    reason: str
    by: str
    at: datetime | None = None


class AnswerStore(Protocol):
    """Questions and answers in one transaction of the API."""

    async def ask(self, ask_id: uuid.UUID) -> AskRecord | None:
        """A question, without its answers."""
        ...

    async def answers(self, ask_id: uuid.UUID) -> Sequence[AnswerRow]:
        """Its answers, oldest first."""
        ...

    async def add(self, answer: AnswerRow) -> None:
        """Write an answer."""
        ...

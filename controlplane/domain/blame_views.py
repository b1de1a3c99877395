"""What users see of a verdict of blame. Pure."""

from __future__ import annotations

import uuid
from datetime import datetime

from pydantic import Field

from controlplane.domain.blame import Vote
from controlplane.domain.wire import Wire


class VerdictView(Wire):
    """A verdict that was taken while changes overlapped, and what followed."""

    id: uuid.UUID
    at: datetime
    verdict: str = Field(description="blamed, tied, unclear.")
    role: str = Field(description="What it says of this rollout: blamed, acquitted (another one is), suspected.")
    blamed: tuple[str, ...]
    act: str = Field(
        description="stopped: the guilty rollout was; held: a campaign is waited out; told: nothing else changed."
    )
    reason: str
    why: str = Field(description="Why that followed.")
    tenants: tuple[str, ...] = Field(description="The ill tenants.")
    votes: tuple[Vote, ...]

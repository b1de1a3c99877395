"""Backups as a backup system reports them (`PUT /v1/tenants/{t}/environments/{e}/backups/{id}`). Seawall takes none itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final, Literal, Self

from pydantic import AwareDatetime, Field, StringConstraints, model_validator

from controlplane.domain.tree import PlainText
from controlplane.domain.wire import Wire

BACKUPS_KEPT: Final = 100
"""So many reports are kept for each environment, the newest."""
DRILLS_KEPT: Final = 100
"""So many restore drills are kept for each environment, the newest."""
DRILL_COUNTS_FOR: Final = timedelta(days=30)
"""A restore drill says something about today for so long after it ended."""
BackupId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]


class BackupReport(Wire):
    """One backup. It never changes, but may be reported again once it was checked."""

    taken_at: AwareDatetime = Field(description="The moment whose data it holds.")
    size: int = Field(ge=0, le=2**62, description="Bytes; 0 is no backup that a gate counts.")
    checked_at: AwareDatetime | None = Field(
        default=None, description="When it was proven readable (listed, or restored elsewhere); none: not yet."
    )
    location: PlainText = Field(default="", description="Where it lies, for people; never a credential.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.checked_at is not None and self.checked_at < self.taken_at:
            raise ValueError("checkedAt lies before takenAt")
        return self


class RestoreDrill(Wire):
    """A backup was restored somewhere to see whether it can be. What is reported once never changes."""

    started_at: AwareDatetime
    ended_at: AwareDatetime = Field(description="Its age counts from then.")
    result: Literal["succeeded", "failed"] = Field(
        description="succeeded: somebody or something worked with what came back."
    )
    backup: BackupId | None = Field(default=None, description="The backup that was restored, under its reported id.")
    note: PlainText = Field(default="", description="For people: what was looked at, what went wrong.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.ended_at < self.started_at:
            raise ValueError("endedAt lies before startedAt")
        return self

"""PostgreSQL's timelines as they were seen, and what comparing each cluster with the registry found."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint
from sqlmodel import Field, SQLModel

from .columns import big, instant


class TimelineRow(SQLModel, table=True):
    """A timeline that was seen. The row with the empty cluster says when; one per cluster says whether it was compared."""

    __tablename__ = "timelines"
    timeline: int = Field(primary_key=True)
    cluster: str = Field(primary_key=True)
    found_at: datetime = instant(default_now=True)
    compared_at: datetime | None = instant()
    environments: int = 0
    differences: int = 0


class TimelineDifference(SQLModel, table=True):
    """One difference between a cluster and the registry. `tenant` is NULL for a namespace of nobody; `revision`: of a rebuilt app."""

    __tablename__ = "timeline_differences"
    __table_args__ = (CheckConstraint("tenant <> ''", name="timeline_difference_tenant_named"),)
    timeline: int = Field(primary_key=True)
    cluster: str = Field(primary_key=True)
    namespace: str = Field(primary_key=True)
    app: str = Field(primary_key=True)
    kind: str
    tenant: str | None = None
    environment: str = ""
    registry_epoch: int = big()
    seal_epoch: int = big()
    step: str = ""
    revision: int = 0
    at: datetime = instant(default_now=True)

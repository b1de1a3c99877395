"""People who are logged in to the web console."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from .columns import instant, json_field


class ConsoleSession(SQLModel, table=True):
    """One login: the hash of what the browser's cookie holds, and whom it stands for. `key_id` None: logged in with a token."""

    __tablename__ = "console_sessions"
    __table_args__ = (Index("ix_console_sessions_expires", "expires_at"),)
    hash: str = Field(primary_key=True)
    principal: dict[str, Any] = json_field()
    key_id: uuid.UUID | None = None
    created_at: datetime = instant(default_now=True)
    expires_at: datetime = instant(default_now=True)

"""PostgreSQL's timeline as a number: it rises when a standby is promoted or a backup restored, and epochs with it."""

from __future__ import annotations

TIMELINE = "('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int"
"""SQL: the first 8 hex digits of a WAL file's name are its timeline."""

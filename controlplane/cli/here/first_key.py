"""The first key of an installation on this machine, and files that only their owner may read."""

from __future__ import annotations

import asyncio
import contextlib
import os
from datetime import timedelta
from pathlib import Path

from controlplane.domain.errors import UnauthenticatedError

_LIFE = timedelta(days=365)


def admin_key(database_url_platform: str, note: Path) -> str:
    """The platform-admin key in `note` while it is accepted, else a new one, kept there."""
    before = note.read_text() if note.exists() else ""
    key = asyncio.run(_checked_or_new(database_url_platform, before))
    if key != before:
        write_secret(note, key)
    return key


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner may read, from its first byte on."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)


async def _checked_or_new(url: str, before: str) -> str:
    from controlplane.bootstrap import Container
    from controlplane.services.keys import KeyWish, issue_key
    from controlplane.settings import Settings

    container = Container(Settings(database_url_platform=url))
    try:
        if before:
            with contextlib.suppress(
                UnauthenticatedError
            ):  # expired or revoked: whoever owns this machine gets a new one
                await container.authenticator.authenticate(before)
                return before
        wish = KeyWish("seawall up", frozenset({"platform-admin"}), life=_LIFE)
        async with container.database.platform() as uow:
            return (await issue_key(uow, wish, actor="seawall up"))[1]
    finally:
        await container.close()

"""What a process says of the parts it stands on."""

from __future__ import annotations

from typing import Literal

from controlplane.domain.wire import Wire


class Part(Wire):
    """One part. A `needed` one that is not `ok` makes the process not ready."""

    name: str
    state: Literal["ok", "away", "wrong", "notRequired"]
    needed: bool = True
    detail: str = ""

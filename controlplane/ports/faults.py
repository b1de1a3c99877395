"""Places where a test may end or stop the process: between any two effects that must not both be lost.

`SEAWALL_FAULT=<name>[@<what>][:<nth>][=kill|stop]` sends this process SIGKILL (or SIGSTOP) when it passes the named point for the
nth time (default: the first), with `@` only where it is about that: a phase (`back`) or an effect (`seal`, `delete`). Without the
variable every call is one dictionary look-up. Names are listed in `FAULT_POINTS`.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Collection

FAULT_POINTS = frozenset(
    {
        "ledger:before-issue",
        "ledger:after-issue",
        "effect:before",
        "effect:after",
        "ledger:before-observe",
        "ledger:after-observe",
        "relay:after-claim",
        "relay:after-publish",
        "relay:after-delete",
        "api:after-commit",
        "operation:before-issue",
        "operation:after-issue",
        "operation:after-effect",
        "operation:after-observe",
        "events:after-commit",
    }
)

_armed = os.environ.get("SEAWALL_FAULT", "")
_passed: Counter[str] = Counter()


def fault_point(name: str, about: Collection[str] = ()) -> None:
    """Pass a named point, that is about these phases or effects; ends or stops the process if a test armed it."""
    if not _armed:
        return
    if name not in FAULT_POINTS:
        raise LookupError(f"unknown fault point {name}")
    spec, _, action = _armed.partition("=")
    wanted, _, nth = spec.rpartition(":") if spec.rpartition(":")[2].isdigit() else (spec, "", "1")
    point, _, only = wanted.partition("@")
    if point != name or (only and only not in about):
        return
    _passed[name] += 1
    if _passed[name] == int(nth):
        os.kill(os.getpid(), signal.SIGSTOP if action == "stop" else signal.SIGKILL)

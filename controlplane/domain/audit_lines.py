"""The audit trail as lines of JSON: an export that can be checked without Seawall, and the anchors that were written outside.

An export begins with a line `{"audit": "seawall.dev/v1", "start": {"seal", "hash"}, "checkpoint"}` and ends with one `{"end": {"seal",
"hash"}, "unsealed"}`, so that a file that was cut is known by its missing end. Each line between is a sealed row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

from controlplane.domain.audit_chain import Anchor, AuditFields, ChainCheck, Checkpoint, Seal, Walk
from controlplane.domain.errors import InvalidError

FORMAT: Final = "seawall.dev/v1"
_STEP = 1000


def first_line(start: Seal, checkpoint: Checkpoint | None) -> dict[str, Any]:
    """How an export begins."""
    removed = {"rows": checkpoint.rows, "removedAt": _time(checkpoint.removed_at)} if checkpoint else None
    return {"audit": FORMAT, "start": seal_as_json(start), "checkpoint": removed}


def last_line(head: Seal, unsealed: int) -> dict[str, Any]:
    """How an export ends; `unsealed`: rows that were committed and not sealed yet, which it leaves out."""
    return {"end": seal_as_json(head), "unsealed": unsealed}


def row_as_json(seal: Seal, row: AuditFields) -> dict[str, Any]:
    """A sealed row."""
    return {
        **seal_as_json(seal),
        "id": row.id,
        "at": _time(row.at),
        "actor": row.actor,
        "action": row.action,
        "subject": row.subject,
        "tenant": row.tenant,
        "detail": row.detail,
        "traceId": row.trace_id,
    }


def seal_as_json(seal: Seal) -> dict[str, Any]:
    """A seal."""
    return {"seal": seal.number, "hash": seal.hash}


def anchor_line(anchor: Anchor) -> bytes:
    """A line of JSON as `read_anchors` reads it, with its end."""
    found = {"at": anchor.at, **seal_as_json(anchor.seal), **({"checkpoint": True} if anchor.checkpoint else {})}
    return (json.dumps(found, separators=(",", ":")) + "\n").encode()


def read_anchors(lines: Iterable[str]) -> Iterator[Anchor]:
    """Read heads from an anchor file, or from a worker's log (`audit sealed`): each line of JSON with `seal` and `hash`; others are passed over."""
    for line in lines:
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict) and isinstance(found.get("seal"), int) and isinstance(found.get("hash"), str):
            at = str(found.get("at") or found.get("timestamp") or "")
            yield Anchor(Seal(found["seal"], found["hash"]), at, found.get("checkpoint") is True)


def check_export(lines: Iterable[str], anchors: Iterable[Anchor] = ()) -> tuple[ChainCheck, Anchor | None]:
    """Follow an export from its first line to its last. Raises InvalidError `not-an-export` for anything else."""
    numbered = enumerate((line for line in lines if line.strip()), start=1)
    walk = _begin(next(numbered, (1, ""))[1], anchors)
    batch: list[tuple[Seal, AuditFields]] = []
    for number, line in numbered:
        found = _read(number, line)
        if "end" in found:
            walk.feed(batch)
            return _at_end(walk, _seal(number, found["end"])), walk.anchored
        batch.append(_row(number, found))
        if len(batch) == _STEP:
            walk.feed(batch)
            batch = []
    walk.feed(batch)
    head = walk.found.head.number
    cut = ChainCheck(walk.found.head, head + 1, f"The file ends after seal {head} without its last line: it was cut.")
    return (walk.found if walk.found.broken_at is not None else cut), walk.anchored


def _begin(line: str, anchors: Iterable[Anchor]) -> Walk:
    first = _read(1, line)
    if first.get("audit") != FORMAT:
        raise _not_an_export(1, "it does not begin as one")
    walk = Walk(_seal(1, first.get("start")), anchors)
    walk.begin(first=True)
    return walk


def _at_end(walk: Walk, said: Seal) -> ChainCheck:
    found = walk.end()
    if found.broken_at is None and said != found.head:
        problem = f"The last line says that the chain ends at seal {said.number}, but it ends at {found.head.number}."
        return ChainCheck(found.head, found.head.number + 1, problem)
    return found


def _read(number: int, line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise _not_an_export(number, "it is not JSON") from error
    if not isinstance(found, dict):
        raise _not_an_export(number, "it is no object")
    return found


def _seal(number: int, found: Any) -> Seal:
    try:
        return Seal(int(found["seal"]), str(found["hash"]))
    except (KeyError, TypeError, ValueError) as error:
        raise _not_an_export(number, "it has no seal") from error


def _row(number: int, found: dict[str, Any]) -> tuple[Seal, AuditFields]:
    try:
        row = AuditFields(
            id=found["id"],
            at=datetime.fromisoformat(found["at"]),
            trace_id=found["traceId"],
            **{name: found[name] for name in ("actor", "action", "subject", "tenant", "detail")},
        )
        return _seal(number, found), row
    except (KeyError, TypeError, ValueError) as error:
        raise _not_an_export(number, f"it is no audit row ({error})") from error


def _not_an_export(number: int, why: str) -> InvalidError:
    return InvalidError(
        f"Line {number} is not of an export of the audit trail: {why}. Make one with `seawall audit export`.",
        code="not-an-export",
    )


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")

"""The history of a cluster as its API server tells it: who wrote what, with which epoch, and whether anything changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from controlplane.domain.names import EPOCH_ANNOTATION, STEP_ANNOTATION


@dataclass(frozen=True, slots=True)
class Write:
    """One mutating call that the API server finished.

    `user` is whom the call was made as (the impersonated one), `epoch` what it carried. `changed`: the object is another one than
    after the write before; where a generation tells that, status written in between does not count. `at` is when the server had
    it, `done` when it answered.
    """

    at: datetime
    done: datetime
    user: str
    epoch: int | None
    verb: str
    resource: str
    namespace: str
    name: str
    code: int
    step: str
    uid: str
    resource_version: str
    changed: bool
    dry_run: bool
    subresource: str = ""

    @property
    def accepted(self) -> bool:
        """The server carried it out."""
        return self.code < 400


def read_audit_log(path: Path) -> list[Write]:
    """All finished writes of one API server, in the order of its log. A last line that is still being written is left out."""
    versions: dict[tuple[str, str, str], str] = {}
    return [_write(event, versions) for event in _events(path)]


def by_seawall(writes: list[Write]) -> list[Write]:
    """The writes that carried an epoch: Seawall's own."""
    return [one for one in writes if one.epoch is not None]


def _events(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as lines:
        for line in lines:
            if not line.endswith(b"\n"):
                return
            event = orjson.loads(line)
            if event["stage"] == "ResponseComplete" and "objectRef" in event:
                yield event


def _write(event: dict[str, Any], versions: dict[tuple[str, str, str], str]) -> Write:
    user = event.get("impersonatedUser") or event["user"]
    epochs = (user.get("extra") or {}).get(EPOCH_ANNOTATION)
    ref, response = event["objectRef"], event.get("responseObject") or {}
    meta = response.get("metadata") or {} if response.get("kind") != "Status" else {}
    asked = (event.get("requestObject") or {}).get("metadata") or {}
    name = ref.get("name") or meta.get("name") or asked.get("name", "")
    key = (ref["resource"], ref.get("namespace", ""), name)
    version = _version(meta)
    notes = {**(asked.get("annotations") or {}), **(meta.get("annotations") or {})}
    code = (event.get("responseStatus") or {}).get("code", 0)
    dry_run = "dryRun=All" in event["requestURI"]
    changed = code < 400 and (event["verb"] == "delete" or versions.get(key) != version)
    if code < 400 and not dry_run:
        versions[key] = version
    return Write(
        at=datetime.fromisoformat(event["requestReceivedTimestamp"]),
        done=datetime.fromisoformat(event["stageTimestamp"]),
        user=user["username"],
        epoch=int(epochs[0]) if epochs else None,
        verb=event["verb"],
        resource=ref["resource"],
        namespace=ref.get("namespace", ""),
        name=name,
        code=code,
        step=str(notes.get(STEP_ANNOTATION, "")),
        uid=str(meta.get("uid", "") or ref.get("uid", "")),
        resource_version=str(meta.get("resourceVersion", "")),
        changed=changed,
        dry_run=dry_run,
        subresource=ref.get("subresource", ""),
    )


def _version(meta: dict[str, Any]) -> str:
    """What a write of ours moves: the generation and our marks where there is a generation, else the resourceVersion.

    Controllers write status, and annotations of their own, in between.
    """
    if "generation" not in meta:
        return str(meta.get("resourceVersion", ""))
    ours = sorted((k, v) for k, v in (meta.get("annotations") or {}).items() if k.startswith("seawall.dev/"))
    return f"{meta.get('uid')}/{meta['generation']}/{ours}"

"""The door of a simulated fleet: latency, the troubles a test or demo switches on, and the stream of changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

from controlplane.adapters.fleet.cache import WATCHED
from controlplane.adapters.fleet.signs import OURS
from controlplane.adapters.simulated.clock import sleep
from controlplane.adapters.simulated.profile import Profile
from controlplane.adapters.simulated.world import World
from controlplane.ports.clusters import ClusterUnavailableError, Manifest

type Mode = Literal["unavailable", "busy", "error", "hang", "lost-answer"]
type Listener = Callable[[str, Manifest], None]
"""Called with ADDED, MODIFIED, DELETED and the object, or BEAT and `{"kind": ...}`."""

CALL_TIMEOUT = 5.0
"""Seconds after which a call is given up, as for a real cluster."""


@dataclass(slots=True)
class Trouble:
    """What goes wrong with matching calls: `times` of them, or all (None). `lost-answer` takes effect, but nobody hears of it."""

    mode: Mode
    times: int | None = None
    namespace: str = "*"
    operation: str = "*"
    retry_after: int = 1

    def meets(self, operation: str, args: Mapping[str, Any]) -> bool:
        """Whether this call is hit; counts it."""
        where = str(args.get("namespace", args.get("name", "")))
        if self.times == 0 or not (fnmatchcase(operation, self.operation) and fnmatchcase(where, self.namespace)):
            return False
        if self.times is not None:
            self.times -= 1
        return True


class Front:
    """Calls into a world as if over a network, and its watch."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.troubles: list[Trouble] = []
        self._serial = 0
        self._stalled = False
        self._pending: list[tuple[str, Manifest]] = []
        self._listeners: list[Listener] = []
        world.store.watch(self._changed)

    async def call(self, operation: str, args: Mapping[str, Any]) -> Any:
        """Do one operation of the world (`_OPERATIONS`) or of the controls (`control`)."""
        if operation == "control":
            return self.control(**args)
        if operation not in _OPERATIONS:
            raise ClusterUnavailableError(
                f"The simulated fleet knows no operation {operation!r}. Use one version for all processes."
            )
        self._serial += 1
        await asyncio.sleep(0)  # a call over a network always lets others run
        await sleep(self.world.clock, self.world.call_seconds(self._serial))
        trouble = next((one for one in self.troubles if one.meets(operation, args)), None)
        if trouble is None:
            return getattr(self.world, operation)(**args)
        return await self._trouble(trouble, operation, args)

    async def _trouble(self, trouble: Trouble, operation: str, args: Mapping[str, Any]) -> Any:
        if trouble.mode == "unavailable":
            raise unavailable("refuses connections", sent=False)
        if trouble.mode == "busy":
            detail = "The simulated API server is busy (429). Wait as long as it says."
            raise ClusterUnavailableError(
                detail, code="cluster-busy", retry_after=trouble.retry_after, extra={"sent": False}
            )
        if trouble.mode == "lost-answer":
            getattr(self.world, operation)(**args)
        if trouble.mode in ("lost-answer", "hang"):
            await sleep(self.world.clock, CALL_TIMEOUT if trouble.mode == "hang" else 0)
            raise unavailable("did not answer within 5 s", sent=True)
        raise unavailable("answered 500", sent=True)

    def control(self, do: str, **args: Any) -> Any:
        """Switch troubles on and off from another process: `trouble`, `calm`, `stall`, `resume`, `profile`, `foreign_write`, ..."""
        if do == "trouble":
            self.troubles.append(Trouble(**args))
        elif do == "calm":
            self.troubles.clear()
        elif do == "stall":
            self._stalled = True
        elif do == "resume":
            self._stalled = False
            self._schedule()
        elif do == "profile":
            self.world.profile = Profile.model_validate(args["profile"])
        elif do == "dump":
            return self.world.dump()
        elif do in ("foreign_write", "foreign_delete", "terminate"):
            return getattr(self.world, do)(**args)
        else:
            raise ValueError(f"unknown control {do!r}")
        return None

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Tell `listener` of every later change; returns the call that ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def snapshot(self) -> Iterator[Manifest]:
        """The marked objects of the watched kinds."""
        return (obj for obj in self.world.store.marked() if obj["kind"] in _KINDS)

    def beat(self) -> None:
        """Touch the heartbeat of every kind; the echo comes back through the watch, unless it stalls or nobody answers."""
        if any(
            one.mode in ("unavailable", "hang") and one.times is None and one.operation == "*" for one in self.troubles
        ):
            return
        for kind in _KINDS:
            self._pending.append(("BEAT", {"kind": kind}))
        self._schedule()

    def _changed(self, what: str, obj: Manifest) -> None:
        if obj["kind"] in _KINDS:
            self._put(what, obj)
        if what == "DELETED" or self._foreign(obj):
            self._put("GONE" if what == "DELETED" else "WRITTEN", self._written(obj))

    def _put(self, what: str, obj: Manifest) -> None:
        self._pending.append((what, obj))
        if len(self._pending) == 1:
            self._schedule()

    def _foreign(self, obj: Manifest) -> list[str]:
        meta = obj["metadata"]
        found = self.world.store.find(meta.get("namespace", ""), obj["kind"], meta["name"])
        return [name for name in found.owners if name not in OURS] if found else []

    def _written(self, obj: Manifest) -> Manifest:
        """An object's metadata with its foreign managers, as a watch for drift tells it; a version stands for the time."""
        meta = obj["metadata"]
        at = str(meta.get("generation", meta["resourceVersion"]))
        kept = {key: meta[key] for key in ("name", "namespace") if key in meta}
        managers = [{"manager": name, "time": at} for name in self._foreign(obj)]
        return {"kind": obj["kind"], "metadata": {**kept, "managedFields": managers}}

    def _schedule(self) -> None:
        if not self._stalled and self._pending:
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        if self._stalled:
            return
        events, self._pending = self._pending, []
        for what, obj in events:
            for listener in tuple(self._listeners):
                listener(what, obj)


def unavailable(what: str, *, sent: bool) -> ClusterUnavailableError:
    """The API server did not do its part; `sent`: it may have got the request all the same."""
    return ClusterUnavailableError(
        f"The simulated API server {what}. Look at the object before repeating.", extra={"sent": sent}
    )


_KINDS = tuple(kind for _, kind in WATCHED)
_OPERATIONS = frozenset(
    [
        "install",
        "prove_fence",
        "epoch_of",
        "read_namespace",
        "create_namespace",
        "seal",
        "ensure_priority_class",
        "apply",
        "create",
        "delete",
        "delete_namespace",
        "release_finalizer",
        "get",
        "list_objects",
    ]
)

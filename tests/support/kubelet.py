"""A kubelet for the pods of Jobs on the local control plane: it runs a container's command as a process of this machine.

kwok plays all other pods. A Job's pod with the annotation `seawall.test/kubelet` it leaves running (stage `job-by-kubelet`), and this stand-in
does with it what a kubelet would: reads the environment from the pod and the Secrets it names, starts the command, keeps the first 4,096
bytes of its termination message, reports the exit code, and ends the process when the pod is deleted (a Job past its deadline). The
image is not looked at: programs come from this machine. The word `/dev/termination-log` in a command becomes the file that a kubelet would
mount there.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from controlplane.adapters.embedded.postgres import binaries
from controlplane.adapters.kubernetes.local.stages import KUBELET_ANNOTATION
from controlplane.domain.probes import MAX_MESSAGE
from tests.cluster.kube import Json, Kube

BY_KUBELET = {KUBELET_ANNOTATION: "process"}
"""Annotations of a Job's pod that is run."""
TERMINATION_LOG = "/dev/termination-log"
_PODS = "/api/v1/pods?labelSelector=batch.kubernetes.io/job-name"


@dataclass
class Kubelet:
    """Runs pods until its context ends. `ran` has (namespace, Job, exit code) in the order of their ends."""

    admin: Kube
    ran: list[tuple[str, str, int]] = field(default_factory=list)
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    async def serve(self) -> None:
        """Follow the Jobs' pods of the whole cluster."""
        async with self.admin.watching(_PODS) as events:
            async for event in events:
                self._heard(event["type"], event["object"])

    def _heard(self, what: str, pod: Json) -> None:
        meta, uid = pod["metadata"], pod["metadata"]["uid"]
        if KUBELET_ANNOTATION not in (meta.get("annotations") or {}):
            return
        if what == "DELETED" or meta.get("deletionTimestamp"):
            if (task := self._tasks.get(uid)) is not None:
                task.cancel()
        elif (pod.get("status") or {}).get("phase") == "Running" and uid not in self._tasks:
            self._tasks[uid] = asyncio.create_task(self._run(pod), name=f"pod {meta['namespace']}/{meta['name']}")

    async def _run(self, pod: Json) -> None:
        meta, container = pod["metadata"], pod["spec"]["containers"][0]
        with tempfile.NamedTemporaryFile() as log:
            try:
                env = await asyncio.to_thread(self._environment, meta["namespace"], container)
                code = await _ended([word.replace(TERMINATION_LOG, log.name) for word in container["command"]], env)
            except KeyError as error:
                code, said = 128, f"no key {error} in a Secret"  # a kubelet would not start it either
            else:
                said = log.read(MAX_MESSAGE).decode(errors="replace")
        self.ran.append((meta["namespace"], meta["labels"]["batch.kubernetes.io/job-name"], code))
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/status"
        await asyncio.to_thread(self.admin.merge, path, {"status": _status(container, code, said)})

    def _environment(self, namespace: str, container: Json) -> dict[str, str]:
        """What the pod says and what its Secrets hold, and where this machine has its programs. Raises KeyError for what is missing."""
        found = {"PATH": os.pathsep.join([str(binaries()), str(Path(sys.executable).parent), os.defpath])}
        for source in container.get("envFrom") or []:
            found |= self._secret(namespace, source["secretRef"]["name"])
        for one in container.get("env") or []:
            ref = (one.get("valueFrom") or {}).get("secretKeyRef")
            found[one["name"]] = self._secret(namespace, ref["name"])[ref["key"]] if ref else one.get("value", "")
        return found

    def _secret(self, namespace: str, name: str) -> dict[str, str]:
        answer = self.admin.get(f"/api/v1/namespaces/{namespace}/secrets/{name}")
        if not answer.is_success:
            raise KeyError(name)
        return {key: base64.b64decode(value).decode() for key, value in (answer.json().get("data") or {}).items()}

    async def close(self) -> None:
        """End what runs, and raise what went wrong in it."""
        for task in self._tasks.values():
            task.cancel()
        for ended in await asyncio.gather(*self._tasks.values(), return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended


@asynccontextmanager
async def kubelet(admin: Kube) -> AsyncIterator[Kubelet]:
    """A kubelet for as long as the context lasts; what it could not do is raised when the context ends."""
    made = Kubelet(admin)
    serving = asyncio.create_task(made.serve())
    try:
        yield made
    finally:
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        await made.close()


async def _ended(command: list[str], env: Mapping[str, str]) -> int:
    """Run a command to its end; one that this machine does not have ends with 127, as in a shell. Cancelled: the process is killed."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command, env=dict(env), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
    except FileNotFoundError:
        return 127
    try:
        return await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _status(container: Json, code: int, said: str) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    ended = {"exitCode": code, "reason": "Completed" if code == 0 else "Error", "startedAt": now, "finishedAt": now}
    shown = {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "started": False,
        "state": {"terminated": {**ended, **({"message": said} if said else {})}},
    }
    return {"phase": "Succeeded" if code == 0 else "Failed", "containerStatuses": [shown]}

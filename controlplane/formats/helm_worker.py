"""The limited process that runs Helm's engine: no network, no files to write, bounded memory and CPU time.

Run as a script by `sandbox.py`, never imported by it: loading Helm's library takes half a second and 70 MB, and a hostile
chart may end the process. It reads requests and writes answers as length-prefixed JSON on its own pipes, and ends with them.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import resource
import struct
import sys
from typing import Any, BinaryIO

MEMORY_BYTES = 768 << 20
OPEN_FILES = 64
KEPT_CHARTS = 12
# The separator of Helm's own `releaseutil.SplitManifests`.
_SEPARATOR = re.compile(r"(?:^|\s*\n)---[^\n\S]*(?=\n|$|#)")


def confine() -> bool:
    """Give up what rendering does not need; true when that includes the network.

    Where the kernel allows no new namespace the limits still hold, and the engine opens no connection by itself.
    """
    isolated = False
    if hasattr(os, "unshare"):
        with contextlib.suppress(PermissionError):
            os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNET)
            isolated = True
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return isolated


def allow_cpu(seconds: float) -> None:
    """Allow this much more CPU time from now on; the kernel ends the process that takes more."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


class Renderer:
    """Answers requests; keeps the charts it read last."""

    def __init__(self) -> None:
        import helm_python
        from helm_python import _native

        self._helm = helm_python
        self._native = _native
        self._charts: dict[str, Any] = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what `op` says; problems of the chart come back as `error`, they are data here."""
        try:
            operation = {"render": self._render, "inspect": self._inspect, "validate": self._validate}
            if request["op"] == "parse":
                return {"documents": self._documents(request["text"], request["name"])}
            return operation[request["op"]](self._chart(request), request)
        except _BadDocumentError as error:
            return {"error": "document", "detail": str(error)}
        except self._helm.HelmError as error:
            return {"error": type(error).__name__, "detail": str(error)[:4000]}

    def _chart(self, request: dict[str, Any]) -> Any:
        chart = self._charts.pop(request["chart"], None) or self._load(request["chart"], request.get("archive"))
        self._charts[request["chart"]] = chart
        while len(self._charts) > KEPT_CHARTS:
            self._charts.pop(next(iter(self._charts))).close()
        return chart

    def _load(self, key: str, archive: str | None) -> Any:
        if archive is None:
            raise _MissingArchiveError(key)
        return self._helm.Chart.load_archive(base64.b64decode(archive))

    def _inspect(self, chart: Any, request: dict[str, Any]) -> dict[str, Any]:
        metadata = chart.metadata
        loaded = {one.get("name") for one in chart.dependencies}
        wanted = {one.get("name") for one in metadata.get("dependencies") or []}
        return {"metadata": metadata, "values": chart.merge_values({}), "missing": sorted(wanted - loaded)}

    def _validate(self, chart: Any, request: dict[str, Any]) -> dict[str, Any]:
        chart.validate_schema(request["values"])
        return {}

    def _render(self, chart: Any, request: dict[str, Any]) -> dict[str, Any]:
        """Check the values once, then render twice under different circumstances.

        `first` and `second` are the chart without its schema, which the engine would check at each rendering (and which
        takes longer than the rendering); in `second` the clock may be a year ahead.
        """
        chart.validate_schema(request["values"])
        first_chart = self._chart({"chart": request["first"], "archive": request.get("firstArchive")})
        second_chart = self._chart({"chart": request["second"], "archive": request.get("secondArchive")})
        first = self._once(first_chart, request, {"revision": 1, "is_install": True, "is_upgrade": False})
        second = self._once(second_chart, request, {"revision": 2, "is_install": False, "is_upgrade": True})
        if first == second:
            return {"documents": self._all(first)}
        return {"documents": self._all(first), "second": self._all(second)}

    def _once(self, chart: Any, request: dict[str, Any], circumstances: dict[str, Any]) -> dict[str, str]:
        # The Python wrapper passes no capabilities; the library's own entry point does, and checks the option names.
        options = {"name": request["name"], "namespace": request["namespace"], "kube_version": request["kubeVersion"]}
        handle = chart._raw()  # noqa: SLF001 - see above
        text = self._native.call_string(
            "helm_render", handle, json.dumps(request["values"]), json.dumps(options | circumstances)
        )
        rendered: dict[str, str] = json.loads(text)
        return {path: body for path, body in rendered.items() if not path.endswith("NOTES.txt")}

    def _all(self, rendered: dict[str, str]) -> list[dict[str, Any]]:
        return [doc for path in sorted(rendered) for doc in self._documents(rendered[path], path)]

    def _documents(self, text: str, name: str) -> list[dict[str, Any]]:
        found = []
        for body in _SEPARATOR.split(text):
            if not body.strip():
                continue
            try:
                document = self._helm.values_from_yaml(body)
            except self._helm.HelmValuesError as error:
                raise _BadDocumentError(f"{name}: {error}") from error
            if document:
                found.append({"source": name, "object": document})
        return found


class _BadDocumentError(Exception):
    """A rendered text is no YAML object."""


class _MissingArchiveError(Exception):
    """The caller thinks we know this chart, and we don't."""


def _read(stream: BinaryIO) -> dict[str, Any] | None:
    header = stream.read(8)
    if len(header) < 8:
        return None
    return dict(json.loads(stream.read(struct.unpack(">Q", header)[0])))


def _write(stream: BinaryIO, value: dict[str, Any]) -> None:
    data = json.dumps(value).encode()
    stream.write(struct.pack(">Q", len(data)) + data)
    stream.flush()


def main() -> None:
    """Serve until the pipe ends. Each message is a batch; a chart we do not know any more is asked for."""
    isolated = confine()
    allow_cpu(30)
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    renderer = Renderer()
    _write(answers, {"ready": True, "isolated": isolated})
    while (batch := _read(requests)) is not None:
        allow_cpu(batch["cpuSeconds"])
        try:
            _write(answers, {"answers": [renderer.answer(request) for request in batch["requests"]]})
        except _MissingArchiveError as missing:
            _write(answers, {"missing": str(missing)})


if __name__ == "__main__":
    main()

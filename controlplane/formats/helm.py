"""Helm charts: rendered offline by Helm's own engine, twice, and refused when the two differ.

The second rendering happens a year later, as an upgrade, as revision 2: what depends on time, chance or history shows.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from controlplane.domain.errors import FieldError, InvalidError
from controlplane.domain.manifests import Rendered
from controlplane.domain.names import digest_of
from controlplane.domain.values import Values, helm_overrides
from controlplane.domain.wire import pointer
from controlplane.formats.archive import GZIP_MAGIC, read_tar, write_tar
from controlplane.formats.base import ArtifactInfo, RenderInputs, build
from controlplane.formats.sandbox import Message, Sandbox
from controlplane.formats.templates import functions_in, with_clock_ahead

CACHED_RENDERINGS = 256
BATCH = 32

_SCHEMA_LINE = re.compile(r"^\s*- at '(?P<pointer>[^']*)': (?P<what>.+)$", re.MULTILINE)


@dataclass(frozen=True)
class _Chart:
    """A chart that may be rendered: `digest` names its bytes in `archives`, `first` and `second` what is rendered of it.

    Both lack the schema, which is checked once on the chart itself; `second` has its clock a year ahead.
    """

    digest: str
    first: str
    second: str
    archives: Mapping[str, bytes]
    defaults: Values
    info: ArtifactInfo


class HelmFormat:
    """The format `helm`: a chart archive (`helm package`), subcharts included. Thread-safe, keeps what it rendered last."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._charts = lru_cache(maxsize=16)(self._read_chart)
        self._rendered: OrderedDict[str, Rendered] = OrderedDict()

    async def inspect(self, artifact: bytes) -> ArtifactInfo:
        """Name, version and default values (subcharts' included); refuses `lookup`, `crds/` and missing subcharts."""
        return (await self._chart(artifact)).info

    async def check_values(self, artifact: bytes, values: Values) -> None:
        """Check effective values against `values.schema.json`, that of each subchart included."""
        chart = await self._chart(artifact)
        request = {"op": "validate", "chart": chart.digest, "values": helm_overrides(chart.defaults, values)}
        answers = await self._sandbox.run(self._sandbox.call, [request], chart.archives)
        _raise_error(answers[0])

    async def render(self, artifact: bytes, inputs: RenderInputs) -> Rendered:
        """Render one environment; an equal call is answered from memory."""
        result = (await self.render_many(artifact, [inputs]))[0]
        if isinstance(result, InvalidError):
            raise result
        return result

    async def render_many(self, artifact: bytes, inputs: Sequence[RenderInputs]) -> list[Rendered | InvalidError]:
        """Render many environments, in batches of one call to the engine each; no more at once than there are processes."""
        chart = await self._chart(artifact)
        turns = asyncio.Semaphore(self._sandbox.size)

        async def batch(start: int) -> list[Rendered | InvalidError]:
            async with turns:
                return await self._batch(chart, inputs[start : start + BATCH])

        batches = await asyncio.gather(*(batch(start) for start in range(0, len(inputs), BATCH)))
        return [result for results in batches for result in results]

    async def _batch(self, chart: _Chart, inputs: Sequence[RenderInputs]) -> list[Rendered | InvalidError]:
        keys = [_cache_key(chart, one) for one in inputs]
        wanted = {key: one for key, one in zip(keys, inputs, strict=True) if key not in self._rendered}
        outcomes = await self._sandbox.run(self._outcomes, chart, list(wanted.values())) if wanted else []
        fresh = dict(zip(wanted, outcomes, strict=True))
        results = [fresh[key] if key in fresh else self._remembered(key) for key in keys]
        for key, result in fresh.items():
            if isinstance(result, Rendered):
                self._remember(key, result)
        return results

    def _outcomes(self, chart: _Chart, inputs: Sequence[RenderInputs]) -> list[Rendered | InvalidError]:
        """One outcome per input; when a batch is stopped by its limits, each is tried alone to find the one to blame."""
        try:
            answers = self._sandbox.call([_request(chart, one) for one in inputs], chart.archives)
        except InvalidError as error:
            if len(inputs) == 1:
                return [error]
            return [outcome for one in inputs for outcome in self._outcomes(chart, [one])]
        return [_outcome(answer, one) for answer, one in zip(answers, inputs, strict=True)]

    def _remember(self, key: str, rendered: Rendered) -> None:
        self._rendered[key] = rendered
        while len(self._rendered) > CACHED_RENDERINGS:
            self._rendered.popitem(last=False)

    def _remembered(self, key: str) -> Rendered:
        self._rendered.move_to_end(key)
        return self._rendered[key]

    async def _chart(self, artifact: bytes) -> _Chart:
        return await self._sandbox.run(self._charts, artifact)

    def _read_chart(self, artifact: bytes) -> _Chart:
        files = chart_files(artifact)
        _refuse_crds(files)
        uses_clock = _refuse_functions(files)
        digest = digest_of(artifact)
        bare = {path: body for path, body in files.items() if not path.endswith("/values.schema.json")}
        archives = {digest: artifact}
        first = digest if len(bare) == len(files) else _add(archives, bare)
        second = _add(archives, {path: _clock_ahead(body) for path, body in bare.items()}) if uses_clock else first
        answer = self._sandbox.call([{"op": "inspect", "chart": digest}], archives)[0]
        _raise_error(answer)
        if answer["missing"]:
            raise InvalidError(
                f"The chart names subcharts that are not in its archive: {', '.join(answer['missing'])}. "
                "Run `helm dependency update` before `helm package`.",
                code="chart-does-not-render",
            )
        metadata: dict[str, Any] = answer["metadata"]
        info = ArtifactInfo(str(metadata.get("name")), str(metadata.get("version")), answer["values"])
        return _Chart(digest, first, second, archives, answer["values"], info)


def chart_files(artifact: bytes) -> dict[str, bytes]:
    """All files of a chart archive by path; archives of subcharts are opened in place, so that nothing hides in them."""
    files: dict[str, bytes] = {}
    for path, body in read_tar(artifact, "The chart").items():
        if path.endswith((".tgz", ".tar.gz")) and body.startswith(GZIP_MAGIC):
            folder = path.rpartition("/")[0]
            files |= {f"{folder}/{inner}": content for inner, content in read_tar(body, f"The subchart {path}").items()}
        else:
            files[path] = body
    return files


def _add(archives: dict[str, bytes], files: dict[str, bytes]) -> str:
    packed = write_tar(files)
    digest = digest_of(packed)
    archives[digest] = packed
    return digest


def _refuse_crds(files: Mapping[str, bytes]) -> None:
    found = sorted(path for path in files if "crds" in path.split("/")[:-1])
    if found:
        raise InvalidError(
            f"The chart brings custom resource definitions ({found[0]}). They act on the whole cluster: have the platform "
            "team install them and remove the folder crds/ from the chart.",
            code="chart-has-crds",
            errors=[FieldError(pointer((path,)), "a definition acts on the whole cluster") for path in found],
        )


def _refuse_functions(files: Mapping[str, bytes]) -> bool:
    """Refuse what makes a rendering depend on the cluster or can't be shifted in time; say whether `now` is used."""
    uses_clock = False
    for path, body in sorted(files.items()):
        used = functions_in(body.decode(errors="replace")) if b"{{" in body else set()
        uses_clock = uses_clock or "now" in used
        if "lookup" in used:
            raise InvalidError(
                f"{path} uses `lookup`: what it renders would depend on the cluster at that moment, and the plan could not "
                "promise it. Take the value from the values instead.",
                code="chart-uses-lookup",
                errors=[FieldError(pointer((path,)), "uses lookup")],
            )
        if "ago" in used:
            raise InvalidError(
                f"{path} uses `ago`, which renders differently every second. Remove it.",
                code="chart-renders-differently",
                errors=[FieldError(pointer((path,)), "uses ago")],
            )
    return uses_clock


def _clock_ahead(body: bytes) -> bytes:
    if b"now" not in body or b"{{" not in body:
        return body
    return with_clock_ahead(body.decode(errors="surrogateescape")).encode(errors="surrogateescape")


def _request(chart: _Chart, inputs: RenderInputs) -> Message:
    return {
        "op": "render",
        "chart": chart.digest,
        "first": chart.first,
        "second": chart.second,
        "name": inputs.app,
        "namespace": inputs.namespace,
        "kubeVersion": inputs.kube_version,
        "values": helm_overrides(chart.defaults, inputs.values),
    }


def _cache_key(chart: _Chart, inputs: RenderInputs) -> str:
    hosts = None if inputs.hosts is None else sorted(inputs.hosts)
    rules = [sorted(inputs.allowed_custom), hosts, sorted(inputs.shared_fields)]
    return digest_of([chart.digest, inputs.app, inputs.namespace, inputs.kube_version, rules, inputs.values])


def _outcome(answer: Message, inputs: RenderInputs) -> Rendered | InvalidError:
    try:
        _raise_error(answer)
        if "second" in answer:
            raise _differs(answer["documents"], answer["second"])
        return build(answer["documents"], inputs)
    except InvalidError as error:
        return error


def _raise_error(answer: Message) -> None:
    if "error" not in answer:
        return
    detail = str(answer["detail"]).strip()
    fields = [FieldError(m["pointer"], m["what"]) for m in _SCHEMA_LINE.finditer(detail) if "failed" not in m["what"]]
    if answer["error"] == "HelmValuesError" and fields:
        raise InvalidError(
            f"The values break the chart's schema at {fields[0].pointer or '/'}: {fields[0].detail}.",
            code="values-refused",
            errors=fields,
        )
    first = " ".join(detail.split())[:400]
    raise InvalidError(f"The chart does not render: {first}.", code="chart-does-not-render")


def _differs(first: Sequence[Message], second: Sequence[Message]) -> InvalidError:
    left, right = _by_object(first), _by_object(second)
    for name in [*left, *right]:
        where = first_difference(left.get(name), right.get(name))
        if where is not None:
            return InvalidError(
                f"{name} renders differently each time at {where or '/'}: it depends on the time, on chance, or on whether "
                "this is an installation or an upgrade. Give the value in the values instead.",
                code="chart-renders-differently",
                errors=[FieldError(f"/{name}{where}", "differs between two renderings of the same input")],
            )
    return InvalidError("The chart renders its objects in another order each time.", code="chart-renders-differently")


def _by_object(documents: Sequence[Message]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for document in documents:
        item = document["object"]
        metadata = item.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        label = f"{item.get('kind', 'object')}/{name or document['source']}"
        found[label if label not in found else f"{label}#{len(found)}"] = item
    return found


def first_difference(left: Any, right: Any, at: str = "") -> str | None:
    """The JSON pointer of the first place where two values differ; None when they are equal."""
    if left == right:
        return None
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted({*left, *right}):
            where = first_difference(left.get(key), right.get(key), at + pointer((key,)))
            if where is not None:
                return where
    if isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for index, (one, other) in enumerate(zip(left, right, strict=True)):
            where = first_difference(one, other, f"{at}/{index}")
            if where is not None:
                return where
    return at

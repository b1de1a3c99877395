"""Plain manifests: a YAML stream, or a `.tar.gz` of YAML files. Objects as they are; nothing is put in.

There is no templating and no values: whoever needs them packs a chart. Images stand in the manifests, pinned by digest;
a Job with Helm's hook annotation becomes the migration, as in a chart.
"""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.domain.errors import FieldError, InvalidError
from controlplane.domain.manifests import Rendered
from controlplane.domain.values import Values
from controlplane.domain.wire import pointer
from controlplane.formats.archive import GZIP_MAGIC, MAX_BYTES, read_tar
from controlplane.formats.base import ArtifactInfo, RenderInputs, build
from controlplane.formats.sandbox import Message, Sandbox

IMAGE_KEYS = frozenset({"images", "global"})
"""What the release layer always sets; it means nothing here and is no reason to refuse."""


class ManifestsFormat:
    """The format `manifests`. YAML is read by the library Kubernetes uses, in the same limited process as charts."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def inspect(self, artifact: bytes) -> ArtifactInfo:
        """Nothing to know beyond that it can be read."""
        await self._documents(artifact)
        return ArtifactInfo()

    async def check_values(self, artifact: bytes, values: Values) -> None:
        """Refuse any value (`values-not-supported`): it would be set and do nothing."""
        _check_values(values)

    async def render(self, artifact: bytes, inputs: RenderInputs) -> Rendered:
        """The objects as they are, in the environment's namespace."""
        result = (await self.render_many(artifact, [inputs]))[0]
        if isinstance(result, InvalidError):
            raise result
        return result

    async def render_many(self, artifact: bytes, inputs: Sequence[RenderInputs]) -> list[Rendered | InvalidError]:
        """The same objects for each environment."""
        documents = await self._documents(artifact)
        return [await self._sandbox.run(_outcome, documents, one) for one in inputs]

    async def _documents(self, artifact: bytes) -> list[Message]:
        requests: list[Message] = [
            {"op": "parse", "name": name, "text": text} for name, text in _texts(artifact).items()
        ]
        answers = await self._sandbox.run(self._sandbox.call, requests)
        for answer in answers:
            if "error" in answer:
                raise InvalidError(f"The manifests can't be read: {answer['detail']}.", code="manifest-invalid")
        return [document for answer in answers for document in answer["documents"]]


def _outcome(documents: Sequence[Message], inputs: RenderInputs) -> Rendered | InvalidError:
    try:
        _check_values(inputs.values)
        return build(documents, inputs)
    except InvalidError as error:
        return error


def _check_values(values: Values) -> None:
    given = sorted(set(values) - IMAGE_KEYS)
    if given:
        raise InvalidError(
            f"Releases of plain manifests take no values, and {', '.join(given)} would do nothing. "
            "Remove them, or pack a chart.",
            code="values-not-supported",
            errors=[FieldError(pointer((key,)), "this release takes no values") for key in given],
        )


def _texts(artifact: bytes) -> dict[str, str]:
    if not artifact.startswith(GZIP_MAGIC):
        if len(artifact) > MAX_BYTES:
            raise InvalidError(f"The artifact has more than {MAX_BYTES >> 20} MB.", code="artifact-invalid")
        files = {"artifact": artifact}
    else:
        unpacked = read_tar(artifact)
        files = {path: body for path, body in sorted(unpacked.items()) if path.endswith((".yaml", ".yml", ".json"))}
    try:
        return {path: body.decode() for path, body in files.items()}
    except UnicodeDecodeError as error:
        raise InvalidError(
            "The artifact is neither UTF-8 text nor a .tar.gz archive. Upload YAML, or a .tar.gz of YAML files.",
            code="artifact-invalid",
        ) from error

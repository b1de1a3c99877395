"""The break-glass export: what every tenant runs, as files for plain `kubectl apply`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Query
from fastapi.responses import StreamingResponse

from controlplane.api.dependencies import Call, may
from controlplane.api.routing import feature_router
from controlplane.domain.breakglass import README
from controlplane.domain.names import Name
from controlplane.services.breakglass import folders

router = feature_router("break glass")


@router.get(
    "/v1/breakglass",
    operation_id="exportBreakGlass",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}}},
)
async def export_breakglass(
    call: Annotated[Call, may("tenants.export")],
    tenant: Annotated[Name | None, Query(description="One tenant only.")] = None,
) -> StreamingResponse:
    """Download a line of JSON for each folder: `{"folder", "files": {name: text}}`; `seawall breakglass export` writes them to a directory."""

    async def lines() -> AsyncIterator[bytes]:
        yield _line("", {"README.txt": README})
        async for _, wanted in folders(call.container.database.platform, None if tenant is None else {tenant}):
            for folder, files in wanted:
                yield _line(folder, dict(files))

    return StreamingResponse(lines(), media_type="application/x-ndjson", headers={"Cache-Control": "no-store"})


def _line(folder: str, files: dict[str, str]) -> bytes:
    return json.dumps({"folder": folder, "files": files}, ensure_ascii=False).encode() + b"\n"

"""Small releases for tests: one Deployment as plain manifests."""

from __future__ import annotations

from typing import Any

import httpx

from controlplane.domain.names import digest_of

IMAGE = "registry.example/odoo@sha256:" + "1" * 64
MANIFEST = f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      automountServiceAccountToken: false
      containers:
        - name: web
          image: {IMAGE}
"""


def body(version: str, digest: str, **more: Any) -> dict[str, Any]:
    """The body of a release of app `odoo`."""
    source = {"format": "manifests", "artifact": digest}
    return {"app": "odoo", "version": version, "source": source, "images": {"web": IMAGE}, **more}


async def upload(client: httpx.AsyncClient, content: str | bytes) -> str:
    """Upload an artifact; returns its digest."""
    data = content.encode() if isinstance(content, str) else content
    digest = digest_of(data)
    answer = await client.put(f"/v1/artifacts/{digest}", content=data)
    assert answer.status_code in (200, 201), answer.text
    return digest

"""Prometheus' HTTP API (also Azure Monitor workspaces, Mimir, Thanos): instant queries.

Protocol: https://prometheus.io/docs/prometheus/latest/querying/api/ (instant queries, `vector` and `scalar` results).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx

from controlplane.ports.gates import MetricsError, Series

TIMEOUT_SECONDS = 10.0


class Prometheus:
    """One query endpoint. `token` gives a bearer token for each request, or an empty string for none."""

    def __init__(self, url: str, token: Callable[[], str] = str) -> None:
        self._client = httpx.AsyncClient(
            base_url=url.rstrip("/"), timeout=TIMEOUT_SECONDS, follow_redirects=False, trust_env=False
        )
        self._token = token

    async def query(self, promql: str, at: datetime) -> Sequence[Series]:
        """Evaluate an instant query at a moment."""
        token = self._token()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        form = {"query": promql, "time": f"{at.timestamp():.3f}"}
        try:
            answer = await self._client.post("/api/v1/query", data=form, headers=headers)
        except httpx.HTTPError as error:
            raise MetricsError(f"the metric source did not answer ({type(error).__name__})") from error
        return _series(answer)

    async def close(self) -> None:
        """Close connections."""
        await self._client.aclose()


def _series(answer: httpx.Response) -> list[Series]:
    try:
        body = answer.json()
    except ValueError as error:
        raise MetricsError(f"the metric source answered {answer.status_code} and no JSON") from error
    if answer.status_code != httpx.codes.OK or not isinstance(body, dict) or body.get("status") != "success":
        said = body.get("error", "") if isinstance(body, dict) else ""
        raise MetricsError(f"the metric source answered {answer.status_code}: {said or 'no reason given'}")
    data = body.get("data") or {}
    if data.get("resultType") == "scalar":
        return [_one({}, data["result"])]
    if data.get("resultType") != "vector":
        raise MetricsError(f"the query gives a {data.get('resultType')}, not an instant vector")
    return [_one(item["metric"], item["value"]) for item in data["result"]]


def _one(labels: dict[str, str], value: Sequence[Any]) -> Series:
    return Series(labels, float(value[1]), datetime.fromtimestamp(float(value[0]), UTC))

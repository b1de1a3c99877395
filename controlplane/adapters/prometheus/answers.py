"""What the HTTP API answers, read: envelopes, vectors, scalars, matrices. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from controlplane.ports.gates import MetricsError, RangeSeries, Series

EVERYBODYS = frozenset({401, 403, 429})
"""What a source answers with these is about us, not about a query."""


class QueryError(MetricsError):
    """No answer to this query, which says nothing about another one."""


def data_of(status: int, text: bytes) -> Mapping[str, Any]:
    """The `data` of an answer; raises MetricsError (`QueryError` where it may be the query's fault) for anything but a success."""
    wrong = MetricsError if status in EVERYBODYS else QueryError
    try:
        body = orjson.loads(text)
    except ValueError as error:
        raise wrong(f"the metric source answered {status} and no JSON") from error
    if status != 200 or not isinstance(body, dict) or body.get("status") != "success":
        said = body.get("error", "") if isinstance(body, dict) else ""
        raise wrong(f"the metric source answered {status}: {said or 'no reason given'}")
    data = body.get("data")
    return data if isinstance(data, dict) else {}


def series_of(data: Mapping[str, Any]) -> list[Series]:
    """An instant query's values: a vector's, or a scalar as a series without labels."""
    if data.get("resultType") not in ("scalar", "vector"):
        raise QueryError(f"the query gives a {data.get('resultType')}, not an instant vector")
    try:
        if data["resultType"] == "scalar":
            return [_one({}, data["result"])]
        return [_one(item["metric"], item["value"]) for item in data["result"]]
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise QueryError("the metric source answered a result that can't be read") from error


def matrix_of(data: Mapping[str, Any]) -> list[RangeSeries]:
    """A range query's series."""
    if data.get("resultType") != "matrix":
        raise QueryError(f"the range query gives a {data.get('resultType')}, not a matrix")
    try:
        return [
            RangeSeries(item["metric"], [(float(at), float(value)) for at, value in item["values"]])
            for item in data["result"]
        ]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise QueryError("the metric source answered a result that can't be read") from error


def _one(labels: Mapping[str, str], value: Sequence[Any]) -> Series:
    return Series(labels, float(value[1]), datetime.fromtimestamp(float(value[0]), UTC))

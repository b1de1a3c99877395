"""Signals on a timeline: named queries of the catalogue over a span. A source that can't answer gives `unknown`, with its reason."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, timedelta
from typing import Final

from controlplane.domain.correlation import Signal, SignalSeries, Span, finite
from controlplane.domain.errors import FieldError, InvalidError
from controlplane.gates.catalogue import CATALOGUE, Named, named
from controlplane.gates.signals import Question, fill, owners_of
from controlplane.ports.gates import Metrics, MetricsError, RangeSeries

USUAL: Final = ("traefik-5xx", "response-time", "orders")
"""What is shown if nothing else is asked for: errors, slowness, business."""
MOST_SIGNALS: Final = 8
MOST_SERIES: Final = 10
"""Of a fleet, the tenants with the worst values of the span are shown."""


def checked_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names of the catalogue, the usual ones for none. Raises InvalidError for others, and for too many."""
    wanted = tuple(dict.fromkeys(names)) or USUAL
    if unknown := [name for name in wanted if name not in CATALOGUE]:
        detail = f"There is no named query {', '.join(unknown)}. There are {', '.join(CATALOGUE)}."
        raise InvalidError(detail, errors=[FieldError("query/signal", "is not in the catalogue")])
    if len(wanted) > MOST_SIGNALS:
        detail = f"{len(wanted)} signals were asked for; {MOST_SIGNALS} are shown at most. Ask again for the others."
        raise InvalidError(detail, errors=[FieldError("query/signal", "are too many")])
    return wanted


async def lines(
    names: Sequence[str], tenants: Sequence[str], environment: str, span: Span, source: Metrics | str
) -> tuple[Signal, ...]:
    """Ask all at once. `tenants`: whom it is about; of more than ten, those with the worst values are shown.

    `source`: a text says why there is none.
    """
    return tuple(await asyncio.gather(*(_line(named(name), tenants, environment, span, source) for name in names)))


async def _line(query: Named, tenants: Sequence[str], environment: str, span: Span, source: Metrics | str) -> Signal:
    if isinstance(source, str):
        return _signal(query, source)
    try:
        shown = tenants if len(tenants) <= MOST_SERIES else await _worst(query, tenants, environment, span, source)
        text = _text(query, shown, environment, span)
        found = await source.range(text, span.since, span.until, span.step)
    except MetricsError as error:
        return _signal(query, str(error))
    series = _series(found, shown, environment)
    return _signal(query, "" if series else "the query gives no series", series)


async def _worst(query: Named, tenants: Sequence[str], environment: str, span: Span, source: Metrics) -> list[str]:
    """The tenants with the worst values of the span: one more query, so that the answer stays small whatever the fleet."""
    inner = _text(query, tenants, environment, span)
    over = f"[{_seconds(span.until - span.since)}:{_seconds(span.step)}]"
    pick, worst = ("topk", "max_over_time") if query.max is not None else ("bottomk", "min_over_time")
    text = f"{pick}({MOST_SERIES}, {worst}(({inner}){over}))"
    owners = owners_of(tenants, environment)
    found = await source.range(text, span.until, span.until, span.step)
    return sorted(filter(None, (owners.of(one.labels) for one in found)))


def _text(query: Named, tenants: Sequence[str], environment: str, span: Span) -> str:
    """The query as it is asked; what counts since a wave began counts over one step here."""
    return fill(Question(query.query, query.window, span.step, query.filling), tenants, environment, span.step)


def _series(found: Sequence[RangeSeries], tenants: Sequence[str], environment: str) -> tuple[SignalSeries, ...]:
    owners = owners_of(tenants, environment)
    owned = [(owners.of(one.labels), finite(one.points, UTC)) for one in found]
    kept = sorted(((tenant, points) for tenant, points in owned if tenant is not None and points), key=lambda o: o[0])
    return tuple(SignalSeries(tenant=tenant or None, points=points) for tenant, points in kept)


def _signal(query: Named, unknown: str, series: tuple[SignalSeries, ...] = ()) -> Signal:
    return Signal(
        name=query.name,
        says=query.says,
        unit=query.unit,
        max=query.max,
        min=query.min,
        state="unknown" if unknown else "measured",
        reason=unknown,
        series=series,
    )


def _seconds(span: timedelta) -> str:
    return f"{max(1, round(span.total_seconds()))}s"

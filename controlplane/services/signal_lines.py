"""Signals on a timeline: named queries of the catalogue over a span. A source that can't answer gives `unknown`, with its reason."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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

_WORD: Final = re.compile(r"[A-Za-z0-9][-A-Za-z0-9_]{0,62}")


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


def checked_filling(pairs: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """What fills the queries' own placeholders, from `name=value`. Raises InvalidError.

    Values are plain words: what an owner writes here goes into a query that is asked with our rights.
    """
    known = {one for name in names for one in named(name).filling}
    found = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        if name not in known or not _WORD.fullmatch(value):
            listed = ", ".join(sorted(known)) or "none"
            detail = f"{pair!r} fills nothing: write name=value, a word of letters, digits and -. These queries have: {listed}."
            raise InvalidError(detail, errors=[FieldError("query/with", "fills nothing")])
        found[name] = value
    return found


@dataclass(frozen=True, slots=True)
class Asked:
    """Whom signals are about, when, and what fills the queries' own placeholders. Of more than ten tenants the worst are shown."""

    tenants: Sequence[str]
    environment: str
    span: Span
    filling: Mapping[str, str] = field(default_factory=dict)

    def text(self, query: Named, tenants: Sequence[str]) -> str:
        """The query for some of them; what counts since a wave began counts over one step here."""
        step = self.span.step
        filling = {**query.filling, **{k: v for k, v in self.filling.items() if k in query.filling}}
        return fill(Question(query.query, query.window, step, filling), tenants, self.environment, step)


async def lines(names: Sequence[str], asked: Asked, source: Metrics | str) -> tuple[Signal, ...]:
    """Ask all at once. `source`: a text says why there is none."""
    return tuple(await asyncio.gather(*(_line(named(name), asked, source) for name in names)))


async def _line(query: Named, asked: Asked, source: Metrics | str) -> Signal:
    if isinstance(source, str):
        return _signal(query, source)
    span = asked.span
    try:
        shown = asked.tenants if len(asked.tenants) <= MOST_SERIES else await _worst(query, asked, source)
        found = await source.range(asked.text(query, shown), span.since, span.until, span.step)
    except MetricsError as error:
        return _signal(query, str(error))
    series = _series(found, shown, asked.environment)
    return _signal(query, "" if series else "the query gives no series", series)


async def _worst(query: Named, asked: Asked, source: Metrics) -> list[str]:
    """The tenants with the worst values of the span: one more query, so that the answer stays small whatever the fleet."""
    span = asked.span
    over = f"[{_seconds(span.until - span.since)}:{_seconds(span.step)}]"
    pick, worst = ("topk", "max_over_time") if query.max is not None else ("bottomk", "min_over_time")
    text = f"{pick}({MOST_SERIES}, {worst}(({asked.text(query, asked.tenants)}){over}))"
    owners = owners_of(asked.tenants, asked.environment)
    found = await source.range(text, span.until, span.until, span.step)
    return sorted(filter(None, (owners.of(one.labels) for one in found)))


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

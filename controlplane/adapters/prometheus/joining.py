"""Several instant queries as one, and its answer told apart again. Pure.

    label_replace((query 0), "seawall_query", "0", "", "") or label_replace((query 1), "seawall_query", "1", "", "")

`label_replace` with an empty source label marks every series of its query (https://prometheus.io/docs/prometheus/latest/querying/functions/),
so that no two queries have a series in common and `or` keeps all of them, NaN too. An instant answer's samples carry the moment it was
evaluated at, whatever the query, and the lookback is the request's: both are the same joined or alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from .answers import QueryError

MARK = "seawall_query"
MOMENT = timedelta(milliseconds=100)
"""What is asked for moments no further apart (the shortest interval between two looks of a gate) is asked for the latest of them."""
MOST_TEXT = 16_384
"""Characters of a joined query: servers take long forms, proxies before them and their logs less so."""
MOST_QUERIES = 100
AT_ONCE = 16
"""So few queries go out side by side, as they are; more share so many requests. Prometheus evaluates 20 at a time by default
(`--query.max-concurrency`), and those of one request in a row: sharing beyond that takes nobody's turn away.
"""

_LEX = re.compile(r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|[()\[\]{}]|[^\"'`#()\[\]{}]+")
_CLOSES = {")": "(", "]": "[", "}": "{"}


@dataclass(frozen=True, slots=True)
class Instant:
    """A query at a moment; no sample older than `stale`."""

    promql: str
    at: datetime
    stale: timedelta | None = None


def joinable(promql: str) -> bool:
    """Whether a text stays within the parentheses it is put in, so that it can't reach another query: its brackets match, its strings end, and it has
    neither comments nor raw strings (which PromQL knows, and the gates' queries can do without).
    """
    open_, end = [], 0
    for found in _LEX.finditer(promql):
        if found.start() != end:
            return False
        end, piece = found.end(), found[0]
        if piece in "([{":
            open_.append(piece)
        elif piece in _CLOSES and (not open_ or open_.pop() != _CLOSES[piece]):
            return False
    return end == len(promql) and not open_ and bool(promql.strip())


def joined(queries: Sequence[str]) -> str:
    """One query that gives the series of all of these (`joinable`) ones, each marked with the number of its query.

    The tree of `or`s is balanced: each one walks through all series of its left side.
    """
    return _either([f'label_replace(({text}),"{MARK}","{number}","","")' for number, text in enumerate(queries)])


def _either(parts: Sequence[str]) -> str:
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return f"({_either(parts[:middle])} or {_either(parts[middle:])})"


def told_apart(data: Mapping[str, Any], queries: int) -> list[dict[str, Any]]:
    """The `data` that each of so many queries would have had alone; raises QueryError if a series is nobody's."""
    if data.get("resultType") != "vector":
        raise QueryError(f"the joined query gives a {data.get('resultType')}, not an instant vector")
    found: list[list[dict[str, Any]]] = [[] for _ in range(queries)]
    try:
        for item in data["result"]:
            labels = dict(item["metric"])
            found[int(labels.pop(MARK))].append({**item, "metric": labels})
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise QueryError("the metric source's answer to a joined query can't be told apart") from error
    return [{"resultType": "vector", "result": result} for result in found]


def requests(asked: Sequence[Instant], alone: Callable[[str], bool] = lambda _: False) -> list[list[int]]:
    """What goes into one request each, by its place in `asked`; `alone`: whether a text must not be joined.

    A request's queries are of one moment (`MOMENT`) and one `stale`. Equal texts come together and are counted once.
    """
    most = min(MOST_QUERIES, math.ceil(len({one.promql for one in asked}) / AT_ONCE))
    made: list[_Request] = []
    filling: dict[tuple[timedelta | None, str | None], _Request] = {}
    for number, one in enumerate(asked):
        shut = alone(one.promql) or not joinable(one.promql)
        key = one.stale, one.promql if shut else None
        current = filling.get(key)
        if current is None or not current.takes(one):
            current = filling[key] = _Request(one, most)
            made.append(current)
        current.numbers.append(number)
    return [one.numbers for one in made]


class _Request:
    """A request that may take more: up to `most` different texts."""

    def __init__(self, first: Instant, most: int) -> None:
        self.numbers: list[int] = []
        self._texts = {first.promql}
        self._most = most
        self._room = MOST_TEXT - len(first.promql)
        self._first = self._last = first.at

    def takes(self, one: Instant) -> bool:
        """Whether it fits, and if so make room for it."""
        if one.at - self._first > MOMENT or self._last - one.at > MOMENT:
            return False
        if one.promql not in self._texts:
            if len(self._texts) >= self._most or len(one.promql) > self._room:
                return False
            self._texts.add(one.promql)
            self._room -= len(one.promql)
        self._first, self._last = min(self._first, one.at), max(self._last, one.at)
        return True

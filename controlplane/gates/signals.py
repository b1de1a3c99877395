"""Signals: what gates over time series have in common. A PromQL query with placeholders, asked once for all tenants of a wave, and its answer.

An answer is one value for all, or one per tenant: label `tenant`, or `namespace` (the environment's). Series of anybody who isn't asked
for are left out, so that no tenant is judged by another one's.

Placeholders: `{tenants}` and `{namespaces}` are regular expressions of those asked for; `{ingress}` the namespaces as Traefik writes them
in its service names (every run of other characters one hyphen); `{since}` the time since the wave began, `{window}` the spec's.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from controlplane.domain.names import namespace_name
from controlplane.ports.gates import GatePorts, GateScene, MetricsError, Series

PLACEHOLDERS = frozenset({"tenants", "namespaces", "ingress", "since", "window"})
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_NOBODY = "__none__"


SHOWN, SHOWN_QUERY = 50, 2000
"""Values (or looks, or tenants) and characters of a query that are stored with a verdict: a wave may have thousands of tenants."""


@dataclass(frozen=True, slots=True)
class Question:
    """A query to ask: its text with placeholders, what fills those of its own, the window, and how old a sample may be."""

    text: str
    window: timedelta
    stale: timedelta
    filling: Mapping[str, str]
    source: str | None = None


def unknown_placeholders(text: str, own: Iterable[str] = ()) -> list[str]:
    """Placeholders of a query that nothing fills, as written."""
    known = PLACEHOLDERS | set(own)
    return [f"{{{name}}}" for name in _PLACEHOLDER.findall(text) if name not in known]


def filled(question: Question, scene: GateScene) -> str:
    """The query as it is asked."""
    return fill(question, scene.asked, scene.environment, scene.now - scene.since)


def fill(question: Question, tenants: Sequence[str], environment: str, since: timedelta) -> str:
    """A query with its placeholders filled, for these tenants of an environment."""
    names = _namespaces(tenants, environment)
    values = {
        "tenants": _one_of(tenants),
        "namespaces": _one_of(names),
        "ingress": _one_of(_plain(name) for name in names),
        "since": seconds(since),
        "window": seconds(question.window),
        **question.filling,
    }
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), question.text)


def seconds(span: timedelta) -> str:
    """A PromQL duration of at least a second."""
    return f"{max(1, int(span.total_seconds()))}s"


def namespaces(scene: GateScene) -> dict[str, str]:
    """Namespace -> tenant of everybody asked for."""
    return _namespaces(scene.asked, scene.environment)


def _namespaces(tenants: Iterable[str], environment: str) -> dict[str, str]:
    return {namespace_name(tenant, environment): tenant for tenant in tenants}


async def ask(questions: Sequence[Question], scene: GateScene, ports: GatePorts) -> list[dict[str, Any]]:
    """Ask all at once. Each answer is evidence: `query` and `values` (`tenant`, `value`, `at`), or `error` when it could not be measured."""
    return list(await asyncio.gather(*(_ask(question, scene, ports) for question in questions)))


async def _ask(question: Question, scene: GateScene, ports: GatePorts) -> dict[str, Any]:
    query = filled(question, scene)
    source = ports.metrics if question.source is None else ports.sources.get(question.source)
    if source is None:
        named = f"source {question.source}" if question.source else "source"
        return {"query": query, "error": f"no metric {named} is configured", "values": []}
    try:
        found = await source.query(query, scene.now, question.stale)
    except MetricsError as error:
        return {"query": query, "error": str(error), "values": []}
    owners = owners_of(scene.asked, scene.environment)
    values = [_value(one, owners) for one in found]
    return {"query": query, "values": [value for value in values if value is not None]}


def apart(values: Sequence[Mapping[str, Any]]) -> str:
    """Empty if values can be told apart: one for all, or one per tenant; else what is wrong with them."""
    names = [value["tenant"] for value in values]
    if len(values) > 1 and not all(names):
        return f"the query gives {len(values)} series that no tenant or namespace label tells apart"
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    return f"the query gives several series of {some(twice)}" if twice else ""


def worst_first(answer: Mapping[str, Any], *, high: bool) -> dict[str, Any]:
    """What is stored of an answer: the start of its query, the values that can't be used, then the worst; `of`: how many there were."""
    sign = -1 if high else 1
    values = sorted(answer["values"], key=lambda one: (one["value"] is not None, sign * (one["value"] or 0.0)))
    return {"query": answer["query"][:SHOWN_QUERY], "values": values[:SHOWN], "of": len(values)}


def some(names: Sequence[str], most: int = 3) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


@dataclass(frozen=True, slots=True)
class Owners:
    """Whose series is whose."""

    tenants: frozenset[str]
    namespaces: Mapping[str, str]

    def of(self, labels: Mapping[str, str]) -> str | None:
        """The tenant; empty if it is nobody's in particular, None if a stranger's."""
        if tenant := labels.get("tenant"):
            return tenant if tenant in self.tenants else None
        if namespace := labels.get("namespace"):
            return self.namespaces.get(namespace)
        return ""


def owners_of(tenants: Iterable[str], environment: str) -> Owners:
    """Who may own a series that was asked for these tenants of an environment."""
    listed = frozenset(tenants)
    names = _namespaces(listed, environment)
    return Owners(listed, {**{_plain(name): tenant for name, tenant in names.items()}, **names})


def _value(one: Series, owners: Owners) -> dict[str, Any] | None:
    """A value as evidence; None if it is of somebody who isn't asked for."""
    tenant = owners.of(one.labels)
    if tenant is None:
        return None
    value = None if math.isnan(one.value) or math.isinf(one.value) else one.value
    return {"tenant": tenant, "value": value, "at": one.at.isoformat()}


def _plain(namespace: str) -> str:
    """As Traefik's Kubernetes providers write a namespace within a service's name (`provider.Normalize`)."""
    return re.sub(r"[^a-z0-9]+", "-", namespace).strip("-")


def _one_of(names: Iterable[str]) -> str:
    """A regular expression that matches exactly these; names are DNS labels, which need no escape in RE2."""
    return "|".join(sorted(names)) or _NOBODY

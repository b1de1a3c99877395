"""Every named query against a real Prometheus, with series as the exporters name them: healthy, ill, and none at all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from controlplane.adapters.prometheus import Prometheus
from controlplane.domain.gating import Verdict
from controlplane.gates.catalogue import CATALOGUE, FAMILIES
from controlplane.gates.metric import MetricGate, MetricSpec
from tests.gates.scenes import ports, scene
from tests.plugins.prometheus import PrometheusServer
from tests.support.otlp import Written, write

TODAY = datetime.now(UTC).replace(microsecond=0)
HEALTHY, ILL, NOTHING = TODAY - timedelta(hours=1), TODAY - timedelta(hours=6), TODAY - timedelta(hours=12)
WEEK = timedelta(days=7)
STEP = timedelta(seconds=30)


def times(until: datetime, span: timedelta) -> list[datetime]:
    return [until - span + STEP * n for n in range(span // STEP + 1)]


def flat(at: datetime, name: str, value: float, **labels: str) -> Written:
    """A value that stayed the same for twenty minutes."""
    return Written(name, [(t, value) for t in times(at, timedelta(minutes=20))], labels)


def rising(at: datetime, name: str, per_second: float, **labels: str) -> Written:
    """A counter that rose evenly for 80 minutes."""
    points = times(at, timedelta(minutes=80))
    return Written(name, [(t, per_second * (t - points[0]).total_seconds()) for t in points], labels)


def traefik(at: datetime, name: str, per_second: float, tenant: str, **labels: str) -> Written:
    """A counter of Traefik, of a Service found through an Ingress of the chart."""
    service = f"{tenant}-odoo-web-http@kubernetes"
    return rising(
        at,
        f"traefik_service_{name}",
        per_second,
        service=service,
        method="GET",
        protocol="http",
        **{"code": "200"} | labels,
    )


def slow_or_fast(at: datetime, name: str, ill: bool, **labels: str) -> list[Written]:
    """A histogram of ten answers a second: nearly all within 0.3 s, or nearly none."""
    fast = 1.0 if ill else 9.9
    buckets = {"0.1": fast, "0.3": fast, "1.2": fast, "5": 10.0, "+Inf": 10.0}
    return [rising(at, f"{name}_bucket", rate, le=le, **labels) for le, rate in buckets.items()]


def of_the_week(at: datetime, name: str, ill: bool, tenant: str) -> list[Written]:
    """A count of business: 360 an hour last week, now as many or a fifth."""
    return [rising(at - WEEK, name, 0.1, tenant=tenant), rising(at, name, 0.02 if ill else 0.1, tenant=tenant)]


type Series = Callable[[datetime, bool, str], Sequence[Written]]

POD = {"pod": "odoo-web-1", "container": "web"}
SERIES: dict[str, Series] = {
    "traefik-5xx": lambda at, ill, t: [
        traefik(at, "requests_total", 10, t),
        *([traefik(at, "requests_total", 1, t, code="503")] if ill else []),
    ],
    "traefik-latency": lambda at, ill, _t: slow_or_fast(
        at,
        "traefik_entrypoint_request_duration_seconds",
        ill,
        entrypoint="websecure",
        code="200",
        method="GET",
        protocol="http",
    ),
    "response-time": lambda at, ill, t: [
        traefik(at, "requests_total", 10, t),
        *slow_or_fast(
            at, "traefik_service_request_duration_seconds", ill, service=f"{t}-odoo-web-http@kubernetes", code="200"
        ),
    ],
    "response-time-growth": lambda at, ill, t: [
        traefik(at, "request_duration_seconds_sum", 4 if ill else 2, t),
        traefik(at, "request_duration_seconds_count", 10, t),
        traefik(at - WEEK, "request_duration_seconds_sum", 2, t),
        traefik(at - WEEK, "request_duration_seconds_count", 10, t),
    ],
    "worker-cpu": lambda at, ill, t: [
        rising(at, "container_cpu_usage_seconds_total", 0.98 if ill else 0.2, namespace=t, **POD),
        flat(at, "kube_pod_container_resource_limits", 1, namespace=t, resource="cpu", unit="core", **POD),
    ],
    "worker-memory": lambda at, ill, t: [
        flat(at, "container_memory_working_set_bytes", 980e6 if ill else 300e6, namespace=t, **POD),
        flat(at, "kube_pod_container_resource_limits", 1e9, namespace=t, resource="memory", unit="byte", **POD),
    ],
    "worker-restarts": lambda at, ill, t: [
        (rising if ill else flat)(
            at, "kube_pod_container_status_restarts_total", 0.01 if ill else 3, namespace=t, **POD
        )
    ],
    "postgres-connections": lambda at, ill, _t: [
        flat(at, "pg_stat_database_numbackends", 60 if ill else 20, instance="pg-1", datname="a"),
        flat(at, "pg_stat_database_numbackends", 30 if ill else 20, instance="pg-1", datname="b"),
        flat(at, "pg_settings_max_connections", 100, instance="pg-1"),
    ],
    "postgres-transaction-age": lambda at, ill, t: [
        flat(at, "pg_stat_activity_max_tx_duration", 3600 if ill else 2, datname=t, state="active", usename="odoo")
    ],
    "postgres-deadlocks": lambda at, ill, t: [
        (rising if ill else flat)(at, "pg_stat_database_deadlocks", 0.01 if ill else 2, datname=t, datid="1")
    ],
    "redis-memory": lambda at, ill, _t: [
        flat(at, "redis_memory_used_bytes", 950 if ill else 300, instance="redis-1"),
        flat(at, "redis_memory_max_bytes", 1000, instance="redis-1"),
    ],
    "redis-evictions": lambda at, ill, _t: [
        (rising if ill else flat)(at, "redis_evicted_keys_total", 2, instance="redis-1")
    ],
    "queue-depth": lambda at, ill, t: [
        flat(at, "odoo_queue_jobs", 900 if ill else 10, tenant=t, state="pending"),
        flat(at, "odoo_queue_jobs", 100_000, tenant=t, state="done"),
    ],
    "queue-age": lambda at, ill, t: [flat(at, "odoo_queue_oldest_seconds", 4000 if ill else 12, tenant=t)],
    "queue-failed": lambda at, ill, t: [
        (rising if ill else flat)(at, "odoo_queue_jobs", 0.5 if ill else 3, tenant=t, state="failed")
    ],
    "node-pressure": lambda at, ill, _t: [
        flat(at, "kube_node_status_condition", float(ill), node="n1", condition="MemoryPressure", status="true"),
        flat(at, "kube_node_status_condition", 0, node="n2", condition="DiskPressure", status="true"),
    ],
    "nodes-not-ready": lambda at, ill, _t: [
        flat(at, "kube_node_status_condition", 1, node="n1", condition="Ready", status="true"),
        flat(at, "kube_node_status_condition", float(not ill), node="n2", condition="Ready", status="true"),
    ],
    "quota-used": lambda at, ill, t: [
        flat(at, "kube_resourcequota", 8, namespace=t, resourcequota="seawall", resource="cpu", type="hard"),
        flat(
            at, "kube_resourcequota", 8 if ill else 3, namespace=t, resourcequota="seawall", resource="cpu", type="used"
        ),
        flat(at, "kube_resourcequota", 0, namespace=t, resourcequota="seawall", resource="pods", type="hard"),
        flat(at, "kube_resourcequota", 0, namespace=t, resourcequota="seawall", resource="pods", type="used"),
    ],
    "cron-lag": lambda at, ill, t: [flat(at, "odoo_cron_lag_seconds", 5000 if ill else 30, tenant=t)],
    "reporting-query-age": lambda at, ill, t: [
        flat(
            at, "pg_stat_activity_max_tx_duration", 5000 if ill else 3, datname=t, state="active", usename="reporting"
        ),
        flat(at, "pg_stat_activity_max_tx_duration", 1e6, datname=t, state="active", usename="odoo"),
    ],
    "filestore-used": lambda at, ill, t: [
        flat(at, "kubelet_volume_stats_used_bytes", 95 if ill else 40, namespace=t, persistentvolumeclaim="filestore"),
        flat(at, "kubelet_volume_stats_capacity_bytes", 100, namespace=t, persistentvolumeclaim="filestore"),
    ],
    "attachments-written": lambda at, ill, t: of_the_week(at, "odoo_attachments_total", ill, t),
    "orders": lambda at, ill, t: of_the_week(at, "odoo_orders_total", ill, t),
    "stock-moves": lambda at, ill, t: of_the_week(at, "odoo_stock_moves_total", ill, t),
    "payments": lambda at, ill, t: of_the_week(at, "odoo_payments_total", ill, t),
}


@pytest.fixture
async def metrics(metric_store: PrometheusServer) -> AsyncIterator[Prometheus]:
    client = Prometheus(metric_store.url)
    yield client
    await client.close()


def test_each_family_has_a_query_and_each_query_is_tried_here() -> None:
    assert {entry.family for entry in CATALOGUE.values()} == set(FAMILIES)
    assert set(SERIES) == set(CATALOGUE)


@pytest.mark.parametrize("name", list(CATALOGUE))
async def test_a_named_query_passes_when_healthy_fails_when_ill_and_holds_without_data(
    name: str, metric_store: PrometheusServer, metrics: Prometheus
) -> None:
    write(metric_store.url, [*SERIES[name](HEALTHY, False, name), *SERIES[name](ILL, True, name)])
    names_tenants = any(f"{{{mark}}}" in CATALOGUE[name].query for mark in ("tenants", "namespaces", "ingress"))
    if names_tenants:  # a stranger whose name begins with ours is as ill as can be: none of our business
        write(metric_store.url, SERIES[name](HEALTHY, True, f"{name}-odoo"))
    gate, spec = MetricGate(), MetricSpec.model_validate({"use": name, "samples": 1})
    verdicts = {}
    for at in (HEALTHY, ILL, NOTHING):
        here = scene(name, now=at)
        evidence = await gate.observe(spec, here, ports(metrics))
        assert not evidence.get("error"), evidence
        verdicts[at] = gate.judge(spec, here, evidence)
    said = {at: judged.verdict for at, judged in verdicts.items()}
    assert said == {HEALTHY: Verdict.PASS, ILL: Verdict.FAIL, NOTHING: Verdict.UNKNOWN}, verdicts
    assert verdicts[ILL].tenants == ((name,) if names_tenants else ())

"""The table of metrics, from the metrics themselves."""

from __future__ import annotations

from types import ModuleType

from prometheus_client.metrics import MetricWrapperBase


def metrics_table() -> str:
    """Give every metric with its type, labels and meaning."""
    from controlplane.adapters import engine_metrics, event_metrics, metrics
    from controlplane.adapters.kubernetes import call_metrics

    rows = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    found = [m for module in (metrics, engine_metrics, event_metrics, call_metrics) for m in _metrics(module)]
    for metric in sorted(found, key=_name):
        (family,) = metric.describe()
        labels = ", ".join(f"`{label}`" for label in metric._labelnames)  # noqa: SLF001 -- the library shows them nowhere else
        rows.append(f"| `{_name(metric)}` | {family.type} | {labels} | {family.documentation} |")
    return "\n".join(rows)


def _metrics(module: ModuleType) -> list[MetricWrapperBase]:
    return [value for value in vars(module).values() if isinstance(value, MetricWrapperBase)]


def _name(metric: MetricWrapperBase) -> str:
    (family,) = metric.describe()
    return f"{family.name}_total" if family.type == "counter" else str(family.name)

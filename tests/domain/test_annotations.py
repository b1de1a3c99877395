"""Changes as Grafana's annotations."""

from __future__ import annotations

from controlplane.domain.annotations import MOST_TEXT, annotation_of
from controlplane.domain.events_out import Change


def change(what: str, tenant: str | None = None, **data: object) -> Change:
    return Change(
        "rollout", "r1", 1, f"dev.seawall.rollout.{what}.v1", tenant, "2026-11-25T08:00:00.123456+00:00", data
    )


def test_a_failed_tenant_is_marked_where_it_failed_with_tags_to_filter_by() -> None:
    made = annotation_of(change("target-failed", "acme-fr", code="unhealthy", reason="web <b>not</b> ready"))
    assert made["time"] == 1795593600123
    assert made["tags"] == ["seawall", "signal", "rollout", "target-failed", "tenant:acme-fr"]
    assert made["text"].startswith("rollout r1, tenant acme-fr: A tenant&#x27;s change failed;")
    assert made["text"].endswith("web &lt;b&gt;not&lt;/b&gt; ready")


def test_the_app_is_a_tag_where_it_is_known_and_texts_have_an_end() -> None:
    assert "app:odoo" in annotation_of(change("drafted", release="odoo/17.0.5"))["tags"]
    assert "app:odoo" in annotation_of(change("started", app="odoo"))["tags"]
    assert len(annotation_of(change("paused", reason="x" * 5000))["text"]) == MOST_TEXT

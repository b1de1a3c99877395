"""Webhook subscribers: what they want, when we stop trying, and where we never call."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from controlplane.domain.webhooks import RETRIES, Webhook, refused_address, retry_after

SPEC: dict[str, Any] = {"url": "https://hooks.acme.example/seawall", "secrets": [{"file": "acme"}]}


def test_patterns_choose_types() -> None:
    hook = Webhook.model_validate({**SPEC, "types": ["dev.seawall.rollout.*", "dev.seawall.tenant.suspended.v1"]})
    assert hook.wants("dev.seawall.rollout.failed.v1")
    assert hook.wants("dev.seawall.tenant.suspended.v1")
    assert not hook.wants("dev.seawall.tenant.active.v1")
    assert Webhook.model_validate(SPEC).wants("dev.seawall.anything.at-all.v1")


def test_waits_grow_and_end() -> None:
    waits = [retry_after(n) for n in range(1, len(RETRIES) + 1)]
    assert waits == sorted(w for w in waits if w is not None)
    assert waits[0] == timedelta(seconds=1)
    assert retry_after(len(RETRIES) + 1) is None


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.170.2",
        "::ffff:169.254.169.254",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "100.100.100.200",
        "168.63.129.16",
        "0.0.0.0",
        "224.0.0.1",
        "::",
    ],
)
def test_metadata_services_and_no_hosts_are_never_called(address: str) -> None:
    assert refused_address(address, allow_private=True)


def test_private_addresses_are_called_unless_the_webhook_says_no() -> None:
    for address in ("10.0.0.7", "127.0.0.1", "::1", "192.168.1.1"):
        assert not refused_address(address, allow_private=True)
        assert refused_address(address, allow_private=False)
    assert not refused_address("93.184.216.34", allow_private=False)


@pytest.mark.parametrize(
    "change",
    [
        {"url": "ftp://x"},
        {"url": "https://"},
        {"url": "https://user:pw@x.example"},
        {"url": "https://x.example/#a"},
        {"secrets": []},
        {"types": []},
        {"secret": "whsec_inline"},
    ],
)
def test_a_subscriber_with_a_mistake_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Webhook.model_validate({**SPEC, **change})


GRAFANA: dict[str, Any] = {
    "url": "https://grafana.acme.example/api/annotations",
    "format": "grafana",
    "token": {"file": "grafana"},
}


def test_grafana_is_known_by_a_token_and_others_by_a_signature() -> None:
    assert Webhook.model_validate(GRAFANA).token is not None
    for url in ("http://grafana.monitoring.svc:3000/api/annotations", "http://127.0.0.1:3000/api/annotations"):
        assert Webhook.model_validate({**GRAFANA, "url": url})
    assert set(Webhook.model_validate(SPEC).model_dump(by_alias=True)) == {
        "url",
        "secrets",
        "types",
        "filter",
        "allowPrivate",
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {**GRAFANA, "secrets": [{"file": "a"}]},
        {**GRAFANA, "token": None},
        {**GRAFANA, "url": "http://grafana.acme.example/api/annotations"},
        {**SPEC, "token": {"file": "a"}},
        {**SPEC, "secrets": []},
    ],
)
def test_a_subscriber_without_its_means_or_with_a_token_in_the_clear_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Webhook.model_validate(wrong)

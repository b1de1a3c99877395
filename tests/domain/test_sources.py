"""Signed sources: who is believed, and what their requests become."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest

from controlplane.domain.events import EventError
from controlplane.domain.sources import BadSignatureError, Source, authenticate, read_hook

SECRETS = (b"new", b"old")
RELEASE = {
    "action": "published",
    "release": {"tag_name": "17.0.4", "prerelease": False, "draft": False},
    "repository": {"full_name": "acme/odoo"},
}


def source(kind: str) -> Source:
    return Source.model_validate({"kind": kind, "secrets": [{"env": "SEAWALL_SECRET_A"}]})


def signature(body: bytes, secret: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}={hmac.new(secret, body, getattr(hashlib, algorithm)).hexdigest()}"


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(("kind", "header"), [("github", "x-hub-signature-256"), ("flux", "x-signature")])
def test_a_body_signed_with_either_secret_is_believed(kind: str, header: str, secret: bytes) -> None:
    authenticate(source(kind), SECRETS, {header: signature(b"body", secret)}, {}, b"body")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-hub-signature-256": ""},
        {"x-hub-signature-256": "sha256="},
        {"x-hub-signature-256": signature(b"other", b"new")},
        {"x-hub-signature-256": signature(b"body", b"wrong")},
        {"x-hub-signature-256": signature(b"body", b"new", "sha1")},
        {"x-hub-signature-256": "sha256=é"},
        {"x-signature": signature(b"body", b"new")},
    ],
)
def test_a_request_that_is_not_signed_as_it_should_be_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(BadSignatureError) as caught:
        authenticate(source("github"), SECRETS, headers, {}, b"body")
    assert (caught.value.status, caught.value.code) == (401, "bad-signature")


def test_azure_presents_its_secret_as_bearer_or_code() -> None:
    authenticate(source("azure"), SECRETS, {"authorization": "Bearer old"}, {}, b"")
    authenticate(source("azure"), SECRETS, {}, {"code": "new"}, b"")
    for headers, query in (
        ({}, {}),
        ({"authorization": "Bearer "}, {}),
        ({"authorization": "Basic new"}, {}),
        ({}, {"code": "x"}),
    ):
        with pytest.raises(BadSignatureError):
            authenticate(source("azure"), SECRETS, headers, query, b"")


def test_a_github_release_becomes_an_event_with_its_tag_on_top() -> None:
    headers = {"x-github-event": "release", "x-github-delivery": "d-1"}
    [event] = read_hook("github-acme", source("github"), headers, json.dumps(RELEASE).encode())
    assert (event.source, event.id, event.type, event.subject) == (
        "github-acme",
        "d-1",
        "release.published",
        "acme/odoo",
    )
    assert isinstance(event.data, dict)
    assert (event.data["tag"], event.data["prerelease"]) == ("17.0.4", False)
    assert event.data["release"] == RELEASE["release"]


@pytest.mark.parametrize("payload", [{"ref": "refs/tags/v1"}, {"ref": "v1", "ref_type": "tag"}])
def test_a_pushed_or_created_tag_is_found(payload: dict[str, Any]) -> None:
    headers = {"x-github-event": "push", "x-github-delivery": "d"}
    [event] = read_hook("gh", source("github"), headers, json.dumps(payload).encode())
    assert isinstance(event.data, dict)
    assert event.data["tag"] == "v1"


@pytest.mark.parametrize("headers", [{"x-github-event": "push"}, {"x-github-delivery": "d"}])
def test_a_github_request_without_its_headers_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(EventError):
        read_hook("gh", source("github"), headers, b"{}")


def test_a_flux_notification_is_named_by_its_content_so_that_a_retry_is_the_same_event() -> None:
    body = {
        "involvedObject": {"kind": "HelmRelease", "namespace": "acme", "name": "odoo"},
        "reason": "UpgradeSucceeded",
    }
    raw = json.dumps(body).encode()
    [one], [two] = (read_hook("flux", source("flux"), {}, raw) for _ in range(2))
    assert (one.type, one.subject) == ("flux.HelmRelease.UpgradeSucceeded", "acme/odoo")
    assert one.id == two.id


@pytest.mark.parametrize(
    "ref", [{}, {"env": "SEAWALL_SECRET_A", "file": "a"}, {"env": "PATH"}, {"file": "../x"}, {"file": "/x"}]
)
def test_a_secret_is_named_in_one_way_and_never_reaches_beyond_the_secrets(ref: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="secrets"):
        Source.model_validate({"kind": "github", "secrets": [ref]})

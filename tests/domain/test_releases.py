from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from controlplane.domain.errors import InvalidError
from controlplane.domain.releases import (
    ReleaseSpec,
    check_release,
    is_pinned,
    kubernetes_allowed,
    release_digest,
    upgrade_allowed,
)

A = "sha256:" + "a" * 64
B = "sha256:" + "b" * 64


def body(**changes: Any) -> dict[str, Any]:
    return {
        "app": "odoo",
        "version": "17.0.4",
        "source": {"format": "helm", "artifact": A},
        "images": {"web": f"acme.azurecr.io/odoo@{B}"},
        "risks": ["tax"],
        "database": {"change": "none"},
        "upgradeFrom": ">=17.0.2",
        "requires": {"kubernetes": ">=1.31"},
        "provenance": {"repository": "github.com/acme/odoo", "commit": "4c1d", "authors": ["mia@acme.example"]},
    } | changes


def spec(**changes: Any) -> ReleaseSpec:
    return ReleaseSpec.model_validate(body(**changes))


def test_the_documented_body_is_read_and_written_back_unchanged() -> None:
    release = spec()
    check_release(release)
    assert release.database.change == "none"
    assert release.model_dump(mode="json", by_alias=True) == body()


@pytest.mark.parametrize(
    "change",
    [
        {"surprise": 1},
        {"app": "Not A Name"},
        {"version": "17/0"},
        {"source": {"format": "kustomize", "artifact": A}},
        {"source": {"format": "helm", "artifact": "latest"}},
        {"database": {"change": "maybe"}},
    ],
)
def test_a_body_with_an_unknown_field_or_a_wrong_value_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        spec(**change)


@pytest.mark.parametrize("ref", ["odoo:17", "odoo", "odoo@sha256:abc", "odoo:17@sha256:" + "z" * 64, f"@{A}"])
def test_an_image_that_is_not_pinned_is_refused_by_its_name(ref: str) -> None:
    with pytest.raises(InvalidError) as caught:
        check_release(spec(images={"web": ref}))
    assert caught.value.code == "image-not-pinned"
    assert caught.value.errors[0].pointer == "/images/web"


def test_a_reference_with_registry_port_and_tag_is_pinned_when_it_has_a_digest() -> None:
    assert is_pinned(f"localhost:5000/a/b_c:17.0-RC1@{A}")


def test_the_same_bytes_under_another_version_tag_or_mirror_have_the_same_digest() -> None:
    other = spec(version="17.0.4-again", images={"web": f"mirror.example/odoo:renamed@{B}"}, risks=[])
    assert release_digest(spec()) == release_digest(other)


def test_another_image_or_another_artifact_is_another_digest() -> None:
    assert release_digest(spec()) != release_digest(spec(images={"web": f"acme.azurecr.io/odoo@{A}"}))
    assert release_digest(spec()) != release_digest(spec(source={"format": "helm", "artifact": B}))


@pytest.mark.parametrize(
    ("allowed_from", "current", "allowed"),
    [
        (None, "anything", True),
        (">=17.0.2", None, True),
        (">=17.0.2", "17.0.2", True),
        (">=17.0.2", "17.0.1", False),
        (">=17.0.2", "17.0.3-rc2", True),
        (">=17.0.2, <18", "18.0", False),
        (">=17.0.2 <18", "17.9", True),
        ("=17.0.2", "17.0.2", True),
        (">= 17.0.2", "v17.1", True),
    ],
)
def test_upgrade_from_allows_exactly_the_versions_in_its_range(
    allowed_from: str | None, current: str | None, allowed: bool
) -> None:
    check = upgrade_allowed(allowed_from, current)
    assert bool(check) is allowed
    assert (check.reason is None) is allowed


def test_a_current_version_that_cannot_be_compared_is_excluded_with_the_reason() -> None:
    check = upgrade_allowed(">=17.0.2", "spring-sale")
    assert not check
    assert check.reason is not None
    assert "spring-sale" in check.reason


@pytest.mark.parametrize("change", [{"upgradeFrom": "newer"}, {"requires": {"kubernetes": "1.31+"}}])
def test_a_range_that_is_none_is_refused_at_registration(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidError) as caught:
        check_release(spec(**change))
    assert caught.value.code == "version-range-invalid"


@pytest.mark.parametrize(
    ("required", "cluster", "allowed"),
    [
        (None, "?", True),
        (">=1.31", "v1.36.2", True),
        (">=1.31", "1.31.4-gke.100", True),
        (">=1.31", "1.30.9", False),
        (">=1.31", "unknown", False),
    ],
)
def test_a_cluster_must_satisfy_the_required_kubernetes_version(
    required: str | None, cluster: str, allowed: bool
) -> None:
    assert bool(kubernetes_allowed(required, cluster)) is allowed

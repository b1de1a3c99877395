"""Releases, artifacts, holds."""

from __future__ import annotations

import asyncio
import uuid

import httpx
import psycopg
import pytest

from controlplane.domain.names import digest_of
from tests.api.problems import pointers, problem
from tests.api.releases import IMAGE, MANIFEST, body, upload
from tests.plugins.api import Api
from tests.plugins.database import Database
from tests.support.charts import chart, job

ABSENT = "sha256:" + "0" * 64


@pytest.fixture
async def admin(api: Api) -> httpx.AsyncClient:
    return await api.as_("platform-admin")


async def test_an_artifact_is_stored_once_and_comes_back_as_it_was(admin: httpx.AsyncClient) -> None:
    data = bytes(range(256)) * 100
    digest = digest_of(data)
    first = await admin.put(f"/v1/artifacts/{digest}", content=data, headers={"content-type": "application/gzip"})
    again = await admin.put(f"/v1/artifacts/{digest}", content=data)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert first.json()["size"] == len(data)
    back = await admin.get(f"/v1/artifacts/{digest}")
    assert back.content == data
    assert back.headers["etag"] == f'"{digest}"'
    assert back.headers["content-disposition"] == "attachment"


async def test_bytes_that_do_not_have_the_digest_are_refused(admin: httpx.AsyncClient) -> None:
    problem(await admin.put(f"/v1/artifacts/{ABSENT}", content=b"else"), 422, "artifact-mismatch")
    problem(await admin.get(f"/v1/artifacts/{ABSENT}"), 404, "not-found")


async def test_an_artifact_over_20_mb_is_refused(admin: httpx.AsyncClient) -> None:
    data = b"x" * (20 * 1024 * 1024 + 1)
    problem(await admin.put(f"/v1/artifacts/{digest_of(data)}", content=data), 413, "body-too-large")


async def test_an_empty_artifact_is_refused(admin: httpx.AsyncClient) -> None:
    problem(await admin.put(f"/v1/artifacts/{digest_of(b'')}", content=b""), 422, "artifact-empty")


async def test_a_release_is_registered_shown_and_listed_newest_first(admin: httpx.AsyncClient) -> None:
    digest = await upload(admin, MANIFEST)
    answer = await admin.post("/v1/releases", json=body("17.0.4", digest, risks=["tax"], upgradeFrom=">=17.0.2"))
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"].endswith("/v1/releases/odoo/17.0.4")
    shown = (await admin.get("/v1/releases/odoo/17.0.4")).json()
    assert shown == answer.json()
    assert (shown["risks"], shown["hold"], shown["provenAt"]) == (["tax"], None, None)
    await admin.post("/v1/releases", json=body("17.0.5", digest))
    listed = (await admin.get("/v1/releases?app=odoo")).json()["items"]
    assert [r["version"] for r in listed] == ["17.0.5", "17.0.4"]
    assert listed[0]["digest"] == listed[1]["digest"]


async def test_a_release_never_changes(admin: httpx.AsyncClient) -> None:
    digest = await upload(admin, MANIFEST)
    await admin.post("/v1/releases", json=body("1", digest))
    same = await admin.post("/v1/releases", json=body("1", digest))
    assert same.status_code == 200
    problem(await admin.post("/v1/releases", json=body("1", digest, risks=["tax"])), 409, "release-exists")


async def test_two_bodies_for_one_version_at_once_make_one_release(admin: httpx.AsyncClient) -> None:
    digest = await upload(admin, MANIFEST)
    bodies = [body("1", digest, risks=[f"r{n}"]) for n in range(4)]
    answers = await asyncio.gather(*(admin.post("/v1/releases", json=one) for one in bodies))
    assert sorted(a.status_code for a in answers) == [201, 409, 409, 409]


async def test_releases_page_by_page_are_all_releases(admin: httpx.AsyncClient) -> None:
    digest = await upload(admin, MANIFEST)
    for version in "abcde":
        await admin.post("/v1/releases", json=body(version, digest))
    seen: list[str] = []
    url: str | None = "/v1/releases?limit=2"
    while url:
        page = (await admin.get(url)).json()
        seen += [r["version"] for r in page["items"]]
        url = page.get("next")
    assert seen == list("edcba")


async def test_a_release_without_its_artifact_is_refused(admin: httpx.AsyncClient) -> None:
    answer = await admin.post("/v1/releases", json=body("1", ABSENT))
    assert pointers(problem(answer, 422, "unknown-artifact")) == ["/source/artifact"]


async def test_an_image_without_a_digest_is_refused(admin: httpx.AsyncClient) -> None:
    answer = await admin.post("/v1/releases", json=body("1", ABSENT, images={"web": "registry.example/odoo:17"}))
    assert pointers(problem(answer, 422, "image-not-pinned")) == ["/images/web"]


async def test_a_range_that_is_none_is_refused(admin: httpx.AsyncClient) -> None:
    answer = await admin.post("/v1/releases", json=body("1", ABSENT, upgradeFrom="newer"))
    assert pointers(problem(answer, 422, "version-range-invalid")) == ["/upgradeFrom"]


async def test_a_version_with_a_slash_or_colon_is_refused(admin: httpx.AsyncClient) -> None:
    for version in ("1/2", "a:b", "", "x" * 129):
        assert pointers(problem(await admin.post("/v1/releases", json=body(version, ABSENT)), 422, "invalid")) == [
            "/version"
        ]


OTHER = MANIFEST.replace("metadata: {name: web}", "metadata: {name: other}")
CROSSINGS = {
    "cluster-scoped": "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: root}\n",
    "chart-has-secret": "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: hunter2}\n",
    "foreign-namespace": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: kube-system}\n",
    "image-not-pinned": OTHER.replace(IMAGE, "registry.example/odoo:17"),
    "host-access": OTHER.replace("      containers:", "      hostNetwork: true\n      containers:"),
    "manifest-invalid": "kind: [",
}


@pytest.mark.parametrize("code", CROSSINGS)
async def test_content_that_crosses_a_wall_is_refused_before_it_is_stored(admin: httpx.AsyncClient, code: str) -> None:
    digest = await upload(admin, MANIFEST + "---\n" + CROSSINGS[code])
    answer = await admin.post("/v1/releases", json=body("1", digest))
    assert "hunter2" not in str(problem(answer, 422, code))
    problem(await admin.get("/v1/releases/odoo/1"), 404, "not-found")


async def test_custom_kinds_that_the_app_allows_are_taken(admin: httpx.AsyncClient) -> None:
    digest = await upload(admin, MANIFEST + "---\napiVersion: acme.example/v1\nkind: Shop\nmetadata: {name: s}\n")
    problem(await admin.post("/v1/releases", json=body("1", digest)), 422, "unknown-kind")
    await admin.put("/v1/apps/odoo", json={"customKinds": ["acme.example/Shop"]})
    assert (await admin.post("/v1/releases", json=body("1", digest))).status_code == 201


def _hold(database: Database, digest: str) -> None:
    with psycopg.connect(database.owner) as connection:
        connection.execute(
            "insert into holds (id, app, version, digest, reason, created_by, lifted_by, lift_reason)"
            " values (%s, 'odoo', '1', %s, '5xx', 'driver', '', '')",
            (uuid.uuid4(), digest),
        )


async def test_a_hold_shows_on_every_version_of_the_bytes_until_it_is_lifted(
    admin: httpx.AsyncClient, database: Database
) -> None:
    digest = await upload(admin, MANIFEST)
    first = (await admin.post("/v1/releases", json=body("1", digest))).json()
    _hold(database, first["digest"])
    again = (await admin.post("/v1/releases", json=body("1-renamed", digest))).json()
    assert again["hold"]["reason"] == "5xx"
    assert [h["version"] for h in (await admin.get("/v1/holds")).json()["items"]] == ["1"]
    lifted = await admin.post("/v1/releases/odoo/1-renamed:lift", json={"reason": "fixed in the ingress"})
    assert (lifted.status_code, lifted.json()["hold"]) == (200, None)
    assert (await admin.get("/v1/holds")).json()["items"] == []
    past = (await admin.get("/v1/holds?lifted=true")).json()["items"]
    assert past[0]["liftReason"] == "fixed in the ingress"
    problem(await admin.post("/v1/releases/odoo/1:lift", json={"reason": "again"}), 409, "not-held")


async def test_lifting_a_hold_needs_a_reason_and_the_role(api: Api) -> None:
    admin, auditor = await api.as_("platform-admin"), await api.as_("auditor")
    assert pointers(problem(await admin.post("/v1/releases/odoo/1:lift", json={}), 422, "invalid")) == ["/reason"]
    problem(await auditor.post("/v1/releases/odoo/1:lift", json={"reason": "x"}), 403, "forbidden")


async def test_ci_registers_and_sees_its_own_apps_only(api: Api) -> None:
    admin = await api.as_("platform-admin")
    ci = await api.as_("ci", apps=["odoo"])
    digest = await upload(ci, MANIFEST)
    assert (await ci.post("/v1/releases", json=body("1", digest))).status_code == 201
    problem(await ci.post("/v1/releases", json={**body("1", digest), "app": "pos"}), 404, "not-found")
    await admin.post("/v1/releases", json={**body("1", digest), "app": "pos"})
    assert [r["app"] for r in (await ci.get("/v1/releases")).json()["items"]] == ["odoo"]
    assert (await ci.get("/v1/releases?app=pos")).json()["items"] == []
    problem(await ci.get("/v1/releases/pos/1"), 404, "not-found")


_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"
CHARTS = {
    "chart-does-not-render": _MAP + "data: {x: {{ .Values.missing.deep }}}\n",
    "chart-renders-differently": _MAP + "data: {x: {{ randAlphaNum 8 }}}\n",
    "chart-uses-lookup": _MAP + 'data: {x: {{ lookup "v1" "Secret" "kube-system" "x" | toJson | quote }}}\n',
    "chart-unknown-hook": job(hook="post-install"),
    "chart-has-secret": CROSSINGS["chart-has-secret"],
    "cluster-scoped": CROSSINGS["cluster-scoped"],
}


@pytest.mark.parametrize("code", CHARTS)
async def test_a_chart_that_could_not_be_trusted_is_refused_before_it_is_stored(
    admin: httpx.AsyncClient, code: str
) -> None:
    digest = await upload(admin, chart({"bad.yaml": CHARTS[code]}))
    wish = {**body("1", digest), "source": {"format": "helm", "artifact": digest}}
    told = problem(await admin.post("/v1/releases", json=wish), 422, code)
    assert "hunter2" not in str(told)
    problem(await admin.get("/v1/releases/odoo/1"), 404, "not-found")


async def test_bytes_that_are_no_chart_are_refused_as_one(admin: httpx.AsyncClient) -> None:
    digest = await upload(admin, b"\x1f\x8b not a gzip archive")
    wish = {**body("1", digest), "source": {"format": "helm", "artifact": digest}}
    problem(await admin.post("/v1/releases", json=wish), 422, "artifact-invalid")


async def test_a_release_names_the_modules_it_changes(api: Api) -> None:
    client = await api.as_("platform-admin")
    wish = {**body("1", await upload(client, MANIFEST)), "modules": ["stock_account", "sale"]}
    made = await client.post("/v1/releases", json=wish)
    assert (made.status_code, made.json()["modules"]) == (201, ["stock_account", "sale"]), made.text
    problem(await client.post("/v1/releases", json={**wish, "modules": []}), 409, "release-exists")
    problem(await client.post("/v1/releases", json={**wish, "version": "2", "modules": ["no module"]}), 422, "invalid")

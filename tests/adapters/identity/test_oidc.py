"""Bearer tokens, checked against a real issuer over HTTP."""

from __future__ import annotations

import stat
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

from controlplane.adapters.identity.jwks import MIN_INTERVAL, USABLE_AGE, IssuerKeys, is_safe
from controlplane.adapters.identity.local_issuer import LocalIssuer
from controlplane.adapters.identity.oidc import OidcTokens
from controlplane.adapters.identity.workloads import read_workloads
from controlplane.domain.errors import DependencyError, ForbiddenError, InvalidError, UnauthenticatedError
from controlplane.domain.federation import Workload

MIA = {"sub": "mia", "name": "Mia", "email": "mia@acme.example", "roles": ["release-manager", "approver:business"]}


@pytest.fixture
async def tokens(issuer: LocalIssuer) -> AsyncIterator[OidcTokens]:
    checking = OidcTokens(issuer.issuer, "seawall", now=lambda: datetime.now(UTC))
    yield checking
    await checking.close()


async def refused(tokens: OidcTokens, token: str, code: str) -> None:
    with pytest.raises((UnauthenticatedError, ForbiddenError)) as caught:
        await tokens.authenticate(token)
    assert caught.value.code == code


async def test_a_signed_token_says_who_and_with_which_roles(issuer: LocalIssuer, tokens: OidcTokens) -> None:
    who = await tokens.authenticate(issuer.sign(MIA))
    assert (who.id, who.name, who.email, who.kind) == (f"oidc:{issuer.issuer}#mia", "Mia", "mia@acme.example", "person")
    assert who.roles == {"release-manager", "approver:business"}
    assert who.groups == {"business"}


async def test_scopes_are_read_as_roles_and_unknown_words_are_not(issuer: LocalIssuer, tokens: OidcTokens) -> None:
    who = await tokens.authenticate(issuer.sign({"sub": "a", "scp": "openid auditor king"}))
    assert who.roles == {"auditor"}


async def test_a_tenant_owner_is_bound_to_the_tenants_of_the_token(issuer: LocalIssuer, tokens: OidcTokens) -> None:
    claims = {"sub": "o", "roles": ["tenant-owner"], "seawall_tenants": ["acme-fr"]}
    assert (await tokens.authenticate(issuer.sign(claims))).tenants == {"acme-fr"}


async def test_a_token_without_a_known_role_is_refused_by_name(issuer: LocalIssuer, tokens: OidcTokens) -> None:
    await refused(tokens, issuer.sign({"sub": "a", "roles": ["king"]}), "no-role")


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"exp": -120}, "expired-token"),
        ({"exp": None}, "invalid-token"),
        ({"nbf": 120}, "invalid-token"),
        ({"iat": 120}, "invalid-token"),
        ({"aud": "another"}, "invalid-token"),
        ({"aud": None}, "invalid-token"),
        ({"iss": "https://evil.example"}, "unknown-issuer"),
        ({"iss": None}, "unknown-issuer"),
        ({"sub": None}, "invalid-token"),
        ({"sub": ""}, "invalid-token"),
        ({"exp": "soon"}, "invalid-token"),
    ],
)
async def test_a_token_with_a_wrong_claim_is_refused(
    issuer: LocalIssuer, tokens: OidcTokens, claims: dict[str, Any], code: str
) -> None:
    now = int(time.time())
    relative = {k: now + v if k in ("exp", "nbf", "iat") and isinstance(v, int) else v for k, v in claims.items()}
    await refused(tokens, issuer.sign({**MIA, **relative}), code)


async def test_clocks_may_differ_by_less_than_a_minute(issuer: LocalIssuer, tokens: OidcTokens) -> None:
    now = int(time.time())
    await tokens.authenticate(issuer.sign({**MIA, "exp": now - 30}))
    await tokens.authenticate(issuer.sign({**MIA, "nbf": now + 30, "iat": now + 30}))


async def test_an_audience_among_several_is_enough(issuer: LocalIssuer, tokens: OidcTokens) -> None:
    await tokens.authenticate(issuer.sign({**MIA, "aud": ["other", "seawall"]}))


async def test_a_foreign_signature_is_refused(issuer: LocalIssuer, tokens: OidcTokens) -> None:
    own = issuer.sign(MIA)
    kid = (await _published(issuer))[0]["kid"]
    claims = {**MIA, "iss": issuer.issuer, "aud": "seawall", "exp": int(time.time()) + 600}
    forged = jwt.encode({"alg": "ES256", "kid": kid}, claims, ECKey.generate_key("P-256"))
    await refused(tokens, forged, "invalid-token")
    head, body, signature = own.split(".")
    await refused(tokens, f"{head}.{body[:-4]}AAAA.{signature}", "unknown-credential")
    await refused(tokens, f"{head}.{body}.{signature[:-8]}AAAAAAAA", "invalid-token")


async def test_unsigned_and_shared_secret_tokens_are_refused(issuer: LocalIssuer, tokens: OidcTokens) -> None:
    public = (await _published(issuer))[0]
    claims = {**MIA, "iss": issuer.issuer, "aud": "seawall", "exp": int(time.time()) + 600}
    confused = jwt.encode({"alg": "HS256", "kid": public["kid"]}, claims, OctKey.import_key(str(public)))
    await refused(tokens, confused, "invalid-token")
    unsigned = issuer.sign(MIA).split(".")
    none = jwt.encode({"alg": "HS256"}, claims, OctKey.import_key("x" * 32)).split(".")[1]
    await refused(tokens, f"eyJhbGciOiJub25lIn0.{none}.", "invalid-token")
    await refused(tokens, f"{unsigned[0]}.{unsigned[1]}.", "invalid-token")


@pytest.mark.parametrize("text", ["", "x", "a.b", "a.b.c", "é.é.é", "." * 3, "e30.e30.e30", "W10.W10.x", "a" * 20_000])
async def test_what_is_no_token_is_refused(tokens: OidcTokens, text: str) -> None:
    with pytest.raises(UnauthenticatedError):
        await tokens.authenticate(text)


async def _published(issuer: LocalIssuer) -> list[dict[str, Any]]:
    async with httpx.AsyncClient(trust_env=False) as client:
        keys: list[dict[str, Any]] = (await client.get(f"{issuer.issuer}/jwks.json")).json()["keys"]
    return keys


async def test_no_private_key_is_published_and_its_file_is_the_owner_s(issuer: LocalIssuer) -> None:
    assert all("d" not in key for key in await _published(issuer))
    files = [*issuer.folder.iterdir()]
    assert files
    assert [f.name for f in files if stat.S_IMODE(f.stat().st_mode) != 0o600] == []


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_rotated_key_is_fetched_when_first_seen_and_a_withdrawn_one_ends(issuer: LocalIssuer) -> None:
    clock = Clock()
    async with httpx.AsyncClient(trust_env=False) as client:
        keys = IssuerKeys(issuer.issuer, client, clock=clock)
        old = (await _published(issuer))[0]["kid"]
        assert (await keys.find(old)).kid == old
        issuer.rotate(keep_old=False)
        new = (await _published(issuer))[0]["kid"]
        clock.now += MIN_INTERVAL
        assert (await keys.find(new)).kid == new
        with pytest.raises(UnauthenticatedError, match="does not publish"):
            await keys.find(old)


async def test_invented_key_ids_do_not_become_load_on_the_issuer(tmp_path: Path) -> None:
    served = 0

    async def count(_: web.Request) -> web.Response:
        nonlocal served
        served += 1
        return web.json_response({"issuer": address, "jwks_uri": f"{address}/keys"})

    async def none(_: web.Request) -> web.Response:
        return web.json_response({"keys": [ECKey.generate_key("P-256", auto_kid=True).as_dict(private=False)]})

    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", count)
    app.router.add_get("/keys", none)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with httpx.AsyncClient(trust_env=False) as client:
        keys = IssuerKeys(address, client, clock=Clock())
        for number in range(50):
            with pytest.raises(UnauthenticatedError):
                await keys.find(f"invented-{number}")
    await runner.cleanup()
    assert served == 1


async def test_known_keys_outlive_an_issuer_s_absence_for_a_day(issuer: LocalIssuer) -> None:
    clock = Clock()
    async with httpx.AsyncClient(trust_env=False) as client:
        keys = IssuerKeys(issuer.issuer, client, clock=clock)
        kid = (await _published(issuer))[0]["kid"]
        await keys.find(kid)
        await issuer.stop()
        clock.now = USABLE_AGE - 1
        assert (await keys.find(kid)).kid == kid
        clock.now = USABLE_AGE + MIN_INTERVAL
        with pytest.raises(DependencyError, match="can't be fetched"):
            await keys.find(kid)


async def test_a_discovery_document_of_another_issuer_is_not_believed(issuer: LocalIssuer) -> None:
    alias = issuer.issuer + "/"
    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(DependencyError):
            await IssuerKeys(alias, client).find("x")


def test_keys_are_fetched_over_https_or_on_this_machine_only() -> None:
    assert is_safe("https://login.example/keys")
    assert is_safe("http://127.0.0.1:8080/keys")
    for unsafe in ("http://login.example/keys", "file:///etc/passwd", "http://169.254.169.254/", "https://", "x"):
        assert not is_safe(unsafe)


async def test_the_issuer_keeps_its_key_over_a_restart(issuer: LocalIssuer) -> None:
    again = LocalIssuer(issuer.folder)
    again.issuer = issuer.issuer
    checking = OidcTokens(issuer.issuer, "seawall", now=lambda: datetime.now(UTC))
    assert (await checking.authenticate(again.sign(MIA))).name == "Mia"
    await checking.close()


async def test_the_token_endpoint_takes_the_secret_only(issuer: LocalIssuer, tokens: OidcTokens) -> None:
    form = {"grant_type": "client_credentials", "client_id": "me", "scope": "platform-admin auditor"}
    async with httpx.AsyncClient(base_url=issuer.issuer, trust_env=False) as client:
        wrong = await client.post("/token", data={**form, "client_secret": "guess"})
        assert (wrong.status_code, wrong.json()) == (401, {"error": "invalid_client"})
        right = {**form, "client_secret": issuer.secret}
        assert (await client.post("/token", data={**right, "scope": "king"})).json() == {"error": "invalid_scope"}
        assert (await client.post("/token", data={**right, "grant_type": "password"})).status_code == 400
        rebound = await client.post("/token", data=right, headers={"host": "evil.example"})
        assert rebound.status_code == 403
        token = (await client.post("/token", data=right)).json()["access_token"]
    assert (await tokens.authenticate(token)).roles == {"platform-admin", "auditor"}


def workload(issuer: LocalIssuer) -> Workload:
    return Workload(issuer=issuer.issuer, subject="repo:acme/*:ref:refs/heads/main", apps=("odoo",))


async def test_a_trusted_workload_is_ci_for_its_apps_whatever_roles_it_claims(issuer: LocalIssuer) -> None:
    checking = OidcTokens("", "seawall", workloads=[workload(issuer)], now=lambda: datetime.now(UTC))
    claims = {"sub": "repo:acme/odoo:ref:refs/heads/main", "actor": "mia", "roles": ["platform-admin"]}
    who = await checking.authenticate(issuer.sign(claims))
    assert (who.kind, who.name) == ("workload", "mia")
    assert (sorted(who.roles), sorted(who.apps)) == (["ci"], ["odoo"])
    for other in (
        "repo:evil/odoo:ref:refs/heads/main",
        "repo:acme/odoo:pull_request",
        "repo:acme/a:b:ref:refs/heads/main",
    ):
        await refused(checking, issuer.sign({**claims, "sub": other}), "unknown-workload")
    await checking.close()


def test_workload_rules_are_read_from_a_file_and_refused_with_the_place(tmp_path: Path) -> None:
    path = tmp_path / "workloads.yaml"
    path.write_text("- issuer: https://token.example\n  subject: repo:acme/odoo:*\n  apps: [odoo]\n")
    assert read_workloads(path)[0].apps == ("odoo",)
    for broken in ("- issuer: https://token.example\n", "- [", "issuer: x"):
        path.write_text(broken)
        with pytest.raises(InvalidError, match=str(path)):
            read_workloads(path)

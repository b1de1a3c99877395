"""Tokens and keys at the door."""

from __future__ import annotations

from pathlib import Path

from controlplane.adapters.identity.local_issuer import LocalIssuer
from controlplane.bootstrap import Container
from tests.api.problems import problem
from tests.plugins.api import Api, serving, settings_for
from tests.plugins.database import Database


async def test_a_person_with_a_token_is_let_in_with_the_token_s_roles(database: Database, tmp_path: Path) -> None:
    issuer = LocalIssuer(tmp_path)
    settings = settings_for(database).model_copy(update={"oidc_issuer": await issuer.start()})
    async with serving(Container(settings)) as api:
        mia = api.client(issuer.sign({"sub": "mia", "name": "Mia", "roles": ["release-manager"]}))
        who = (await mia.get("/v1/whoami")).json()
        assert (who["name"], who["kind"], who["roles"]) == ("Mia", "person", ["release-manager"])
        assert (await mia.put("/v1/clusters/c", json={})).status_code == 403
        expired = issuer.sign({"sub": "mia", "roles": ["auditor"], "exp": 1})
        problem(await api.client(expired).get("/v1/whoami"), 401, "expired-token")
        nobody = issuer.sign({"sub": "guest"})
        problem(await api.client(nobody).get("/v1/whoami"), 403, "no-role")
        await issuer.stop()
        assert (await mia.get("/v1/whoami")).status_code == 200


async def test_an_issuer_that_is_away_is_a_503_and_keys_still_work(database: Database) -> None:
    settings = settings_for(database).model_copy(update={"oidc_issuer": "http://127.0.0.1:9"})
    async with serving(Container(settings)) as api:
        token = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwOi8vMTI3LjAuMC4xOjkifQ.AAAA"
        answer = await api.client(token).get("/v1/whoami")
        problem(answer, 503, "issuer-unavailable")
        assert answer.headers["retry-after"]
        assert (await (await api.as_("auditor")).get("/v1/whoami")).status_code == 200


async def test_without_an_issuer_a_token_is_refused_with_what_to_use(api: Api) -> None:
    body = problem(await api.client("a.b.c").get("/v1/whoami"), 401, "unknown-credential")
    assert "sw_" in str(body["detail"])


async def test_a_credential_of_another_scheme_is_no_credential(api: Api) -> None:
    for header in ("Basic YTpi", "Bearer", "sw_x"):
        answer = await api.client().get("/v1/whoami", headers={"authorization": header})
        problem(answer, 401, "unauthenticated")


async def test_only_the_hash_of_a_key_is_stored(api: Api, database: Database) -> None:
    import psycopg

    admin = await api.as_("platform-admin")
    secret = (await admin.post("/v1/keys", json={"name": "x", "roles": ["auditor"]})).json()["secret"]
    with psycopg.connect(database.owner) as connection:
        tables = [r[0] for r in connection.execute("select tablename from pg_tables where schemaname = 'public'")]
        for table in tables:
            row = connection.execute(
                f"select count(*) from {table} t where t::text like '%%' || %s || '%%'",
                (secret[3:],),
            ).fetchone()
            assert row == (0,), table

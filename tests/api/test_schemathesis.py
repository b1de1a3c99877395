"""Generated requests against the live API: whatever is sent, the answer is one that the description promises."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import orjson
import psycopg
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from controlplane.adapters.embedded.postgres import EmbeddedPostgres
from controlplane.adapters.telemetry import set_up_tracing
from controlplane.api.app import create_app
from controlplane.api.export import openapi_bytes
from controlplane.api.server import server_config
from controlplane.bootstrap import Container
from controlplane.services.keys import KeyWish, issue_key
from tests.plugins.api import Quiet, settings_for
from tests.plugins.database import Database

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
    ignored_auth,
]
ROLES = frozenset({"platform-admin", "approver:business"})
EXAMPLES = 6


@schemathesis.serializer("application/x-ndjson")
def lines_of_json(_: Any, value: Any) -> bytes:
    """Write a list as one JSON text per line; anything else as it is."""
    if isinstance(value, str | bytes):
        return value.encode() if isinstance(value, str) else value
    return b"\n".join(orjson.dumps(line, default=str) for line in (value if isinstance(value, list) else [value]))


config = SchemathesisConfig.from_dict({"phases": {"coverage": {"enabled": False}}})
described = schemathesis.openapi.from_dict(orjson.loads(openapi_bytes()), config=config)
# A stream that does not end has tests of its own.
generated = described.exclude(operation_id=["watchRollout"])


@pytest.fixture(scope="module")
def base(postgres: EmbeddedPostgres) -> Iterator[tuple[str, str]]:
    """(address, key) of an API on a thread of its own: generated tests are not asynchronous."""
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute("drop database if exists generated")
        connection.execute("create database generated template seawall strategy file_copy")
    name = "generated"
    database = Database(
        owner=postgres.url(name),
        platform=postgres.url(name, "sw_platform"),
        tenant=postgres.url(name, "sw_tenant"),
        engine=postgres.url(name, "sw_engine"),
    )
    set_up_tracing("seawall-tests")
    listener = socket.create_server(("127.0.0.1", 0))
    started: list[str] = []
    server: list[Quiet] = []

    async def serve() -> None:
        container = Container(settings_for(database))
        async with container.database.platform() as uow:
            started.append((await issue_key(uow, KeyWish("generated", ROLES), actor="tests"))[1])
        server.append(Quiet(server_config(create_app(container), "127.0.0.1", 0, drain_seconds=2)))
        await server[0].serve(sockets=[listener])

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    while not (server and server[0].started):
        assert thread.is_alive()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", started[0]
    server[0].should_exit = True
    thread.join()
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute("drop database generated with (force)")


@generated.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_the_api_answers_as_described(case: schemathesis.Case[Any], base: tuple[str, str]) -> None:
    url, key = base
    # A body of lines has no wrong type: each line is judged, and answered, by itself.
    checks = [c for c in CHECKS if c is not negative_data_rejection or case.media_type != "application/x-ndjson"]
    with requests.Session() as session:
        session.trust_env = False
        case.call_and_validate(
            base_url=url, session=session, headers={"Authorization": f"Bearer {key}"}, checks=checks, timeout=20
        )

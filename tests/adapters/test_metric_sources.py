"""Signing in at metric sources: bearer tokens that change, an authority of one's own, and a workload identity's token."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from aiohttp import web

from controlplane.adapters.metric_sources import read_sources
from controlplane.adapters.prometheus import Prometheus
from controlplane.adapters.secrets import LocalSecrets
from controlplane.domain.errors import InvalidError
from controlplane.ports.gates import MetricsError
from tests.support.query_api import QueryApi, Tls, always, query_api

CLIENT_TOKEN = "eyJ-a-token-of-the-directory"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[QueryApi]:
    async with query_api(Tls(tmp_path)) as running:
        yield running


def sources(folder: Path, **listed: object) -> dict[str, Prometheus]:
    path = folder / "sources.yaml"
    path.write_text(yaml.safe_dump(listed))
    return read_sources(path, LocalSecrets(folder))


async def test_a_bearer_token_from_a_file_is_read_again_when_it_was_replaced(api: QueryApi, tmp_path: Path) -> None:
    secret = tmp_path / "prometheus-token"
    source = sources(tmp_path, main={"url": api.url, "ca": str(api.ca), "token": {"file": secret.name}})["main"]
    for token in ("first", "second"):
        secret.write_text(token + "\n")
        await source.query("up", datetime.now(UTC))
    assert api.asked == ["Bearer first", "Bearer second"]
    secret.unlink()
    with pytest.raises(MetricsError, match="can't be read from file prometheus-token"):
        await source.query("up", datetime.now(UTC))
    assert len(api.asked) == 2, "nothing is asked without the token"
    await source.close()


async def test_a_server_whose_authority_nobody_named_is_not_asked(api: QueryApi, tmp_path: Path) -> None:
    (tmp_path / "t").write_text("secret")
    source = sources(tmp_path, main={"url": api.url, "token": {"file": "t"}})["main"]
    with pytest.raises(MetricsError, match="Certificate"):
        await source.query("up", datetime.now(UTC))
    assert api.asked == []
    await source.close()
    lost = sources(tmp_path, main={"url": api.url, "ca": str(tmp_path / "none.pem")})["main"]
    with pytest.raises(MetricsError, match="CA file none"):
        await lost.query("up", datetime.now(UTC))
    await lost.close()


@pytest.fixture
async def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[QueryApi]:
    """A token endpoint of Entra ID's shape, and this process's environment as a pod with a workload identity has it."""
    folder = tmp_path / "directory"
    folder.mkdir()
    async with query_api(Tls(folder)) as running:
        federated = folder / "federated-token"
        federated.write_text("token-of-the-service-account")
        for name, value in {
            "AZURE_AUTHORITY_HOST": running.url,
            "AZURE_TENANT_ID": "11111111-2222-3333-4444-555555555555",
            "AZURE_CLIENT_ID": "66666666-7777-8888-9999-000000000000",
            "AZURE_FEDERATED_TOKEN_FILE": str(federated),
        }.items():
            monkeypatch.setenv(name, value)

        async def issue(request: web.Request) -> web.StreamResponse:
            form = running.forms[-1]
            right = (
                request.path == "/11111111-2222-3333-4444-555555555555/oauth2/v2.0/token"
                and form.get("client_assertion") == "token-of-the-service-account"
                and form.get("scope") == "https://prometheus.monitor.azure.com/.default"
            )
            if not right:
                return web.json_response({"error": "invalid_client", "error_description": "AADSTS700021"}, status=401)
            return web.json_response({"token_type": "Bearer", "expires_in": 3600, "access_token": CLIENT_TOKEN})

        running.answer = issue
        yield running


async def test_a_workload_identity_signs_in_at_an_azure_monitor_workspace(
    api: QueryApi, directory: QueryApi, tmp_path: Path
) -> None:
    source = sources(tmp_path, azure={"url": api.url, "ca": str(api.ca), "entra": {"ca": str(directory.ca)}})["azure"]
    for _ in range(3):
        await source.query("up", datetime.now(UTC))
    assert api.asked == [f"Bearer {CLIENT_TOKEN}"] * 3
    assert len(directory.forms) == 1, "the token is kept until it ends"
    await source.close()


async def test_a_workload_that_the_directory_refuses_measures_nothing_and_tells_no_secret(
    api: QueryApi, directory: QueryApi, tmp_path: Path
) -> None:
    directory.answer = always(lambda: web.json_response({"error": "invalid_client"}, status=401))
    entra = {"ca": str(directory.ca)}
    source = sources(tmp_path, azure={"url": api.url, "ca": str(api.ca), "entra": entra})["azure"]
    with pytest.raises(MetricsError, match="no token for the metric source from Entra ID") as refused:
        await source.query("up", datetime.now(UTC))
    assert "token-of-the-service-account" not in str(refused.value)
    assert api.asked == []
    assert len(directory.forms) > 0
    await source.close()


async def test_a_process_without_a_workload_identity_says_so(
    api: QueryApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    source = sources(tmp_path, azure={"url": api.url, "ca": str(api.ca), "entra": {}})["azure"]
    with pytest.raises(MetricsError, match="no token"):
        await source.query("up", datetime.now(UTC))
    await source.close()


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"main": {"url": "ftp://x"}}, "/main/url"),
        ({"main": {"url": "https://user:word@x"}}, "/main"),
        ({"main": {"url": "http://x", "token": {"file": "t"}}}, "/main"),
        ({"main": {"url": "https://x", "token": {"file": "t"}, "entra": {}}}, "/main"),
        ({"main": {"url": "https://x", "token": {"file": "../t"}}}, "/main/token/file"),
        ({"main": {"url": "https://x", "password": "p"}}, "/main/password"),
        ({"Main": {"url": "https://x"}}, "/Main"),
        (["https://x"], ""),
    ],
)
def test_a_file_of_sources_that_makes_no_sense_is_refused(tmp_path: Path, body: object, pointer: str) -> None:
    path = tmp_path / "sources.yaml"
    path.write_text(yaml.safe_dump(body))
    with pytest.raises(InvalidError) as refused:
        read_sources(path, LocalSecrets(tmp_path))
    assert refused.value.code == "invalid-metric-sources"
    assert refused.value.errors[0].pointer.startswith(pointer)


def test_a_file_of_sources_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="can't be read"):
        read_sources(tmp_path / "none.yaml", LocalSecrets(tmp_path))

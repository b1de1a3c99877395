"""Files in Azure Blob Storage (a real Azurite): how it signs in, and what it says when it is not let in."""

from __future__ import annotations

import secrets as random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web
from joserfc import jwt
from joserfc.jwk import OctKey

from controlplane.adapters.blob import BlobContainer
from controlplane.adapters.secrets import LocalSecrets
from controlplane.domain.errors import DependencyError
from controlplane.domain.secret_refs import SecretRef
from controlplane.settings import Settings
from tests.contract.fleets import fresh_name
from tests.support.azurite import Azurite
from tests.support.query_api import QueryApi, Tls, query_api

TENANT = "11111111-2222-3333-4444-555555555555"
FILES = {"about.txt": "which release"}


@dataclass
class Place:
    name: str
    address: str


@pytest.fixture
def place(azurite: Azurite) -> Place:
    name = fresh_name("kept")
    return Place(name, azurite.make(name))


def signed(azurite: Azurite, place: Place, folder: Path, sas: str) -> BlobContainer:
    (folder / "sas").write_text(sas)
    return BlobContainer(place.address, LocalSecrets(folder), SecretRef(file="sas"), ca=azurite.ca)


@pytest.mark.parametrize(
    ("allowed", "hours", "says"),
    [("rwdl", -1, "403"), ("rl", 1, "403"), ("wd", 1, "403")],
    ids=["late", "reads", "blind"],
)
async def test_a_signature_that_does_not_allow_it_is_said_without_the_signature(
    azurite: Azurite, place: Place, tmp_path: Path, allowed: str, hours: float, says: str
) -> None:
    sas = azurite.sas(place.name, allowed, hours)
    blobs = signed(azurite, place, tmp_path, sas)
    with pytest.raises(DependencyError, match=says) as refused:
        await blobs.replace("f", FILES)
    assert refused.value.code == "blobs-unavailable"
    secret = sas.partition("sig=")[2].partition("&")[0]
    assert secret not in refused.value.detail
    await blobs.close()


async def test_a_renewed_signature_counts_at_the_next_call(azurite: Azurite, place: Place, tmp_path: Path) -> None:
    blobs = signed(azurite, place, tmp_path, azurite.sas(place.name, hours=-1))
    with pytest.raises(DependencyError):
        await blobs.replace("f", FILES)
    (tmp_path / "sas").write_text(azurite.sas(place.name))
    assert await blobs.replace("f", FILES) == 1
    (tmp_path / "sas").unlink()
    with pytest.raises(DependencyError, match="file sas can't be read"):
        await blobs.replace("f", FILES)
    await blobs.close()


async def test_a_container_that_is_not_there_or_a_server_that_is_away_is_said(
    azurite: Azurite, place: Place, tmp_path: Path
) -> None:
    (tmp_path / "sas").write_text(azurite.sas("nowhere"))
    ref, known = SecretRef(file="sas"), LocalSecrets(tmp_path)
    missing = BlobContainer(f"{azurite.url}/nowhere", known, ref, ca=azurite.ca)
    with pytest.raises(DependencyError, match="404 ContainerNotFound"):
        await missing.replace("f", FILES)
    distrusted = BlobContainer(place.address, known, ref)
    with pytest.raises(DependencyError, match="ServiceRequestError"):
        await distrusted.replace("f", FILES)
    for one in (missing, distrusted):
        await one.close()


@pytest.fixture
async def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[QueryApi]:
    """A token endpoint of Entra ID's shape, and this process's environment as a pod with a workload identity has it."""
    folder = tmp_path / "directory"
    folder.mkdir()
    federated = folder / "federated-token"
    federated.write_text("token-of-the-service-account")
    key = OctKey.import_key(random.token_hex(32))
    async with query_api(Tls(folder)) as running:
        environment = {"AZURE_AUTHORITY_HOST": running.url, "AZURE_TENANT_ID": TENANT, "AZURE_CLIENT_ID": TENANT}
        for name, value in {**environment, "AZURE_FEDERATED_TOKEN_FILE": str(federated)}.items():
            monkeypatch.setenv(name, value)

        async def issue(_request: web.Request) -> web.StreamResponse:
            form, now = running.forms[-1], int(time.time())
            if form.get("client_assertion") != "token-of-the-service-account":
                return web.json_response({"error": "invalid_client"}, status=401)
            claims = {
                "aud": form["scope"].removesuffix("/.default"),
                "iss": f"https://sts.windows.net/{TENANT}/",
                "iat": now,
                "nbf": now - 60,
                "exp": now + 3600,
                "oid": TENANT,
            }
            token = jwt.encode({"alg": "HS256"}, claims, key)
            return web.json_response({"token_type": "Bearer", "expires_in": 3600, "access_token": token})

        running.answer = issue
        yield running


@pytest.fixture
def both(azurite: Azurite, directory: QueryApi, tmp_path: Path) -> Path:
    """Certificates of the storage and of the directory in one file."""
    assert directory.ca is not None
    path = tmp_path / "both.pem"
    path.write_text(azurite.ca.read_text() + directory.ca.read_text())
    return path


async def test_a_workload_identity_signs_in(azurite: Azurite, place: Place, directory: QueryApi, both: Path) -> None:
    blobs = BlobContainer(place.address, LocalSecrets(), ca=both)
    assert await blobs.replace("f", FILES) == 1
    assert await blobs.replace("f", FILES) == 0
    assert azurite.files(place.name) == {"f/about.txt": "which release"}
    assert [form["scope"] for form in directory.forms] == ["https://storage.azure.com/.default"]
    await blobs.close()


async def test_a_workload_that_the_directory_refuses_keeps_nothing_and_tells_no_secret(
    azurite: Azurite, place: Place, directory: QueryApi, both: Path, tmp_path: Path
) -> None:
    (tmp_path / "directory" / "federated-token").write_text("token-of-somebody-else")
    blobs = BlobContainer(place.address, LocalSecrets(), ca=both)
    with pytest.raises(DependencyError, match=r"ClientAuthenticationError|401") as refused:
        await blobs.replace("f", FILES)
    assert "token-of" not in refused.value.detail
    assert azurite.files(place.name) == {}
    await blobs.close()


async def test_a_process_without_a_workload_identity_says_so(
    azurite: Azurite, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    blobs = BlobContainer(place.address, LocalSecrets(), ca=azurite.ca)
    with pytest.raises(DependencyError) as refused:
        await blobs.replace("f", FILES)
    assert refused.value.code == "blobs-unavailable"
    await blobs.close()


@pytest.mark.parametrize(
    "address",
    [
        "http://acme.blob.core.windows.net/x",
        "https://acme.blob.core.windows.net",
        "https://acme.example/x?sig=secret",
        "x",
    ],
)
def test_an_address_that_carries_a_signature_or_is_no_container_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="must be https"):
        Settings(breakglass_container=address)

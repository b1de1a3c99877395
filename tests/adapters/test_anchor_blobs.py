"""Heads of the audit chain in Azure Blob Storage (a real Azurite): sealed, anchored, and compared when the database's owner made the chain anew."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from controlplane.adapters.anchor_blobs import AnchorBlobs
from controlplane.adapters.secrets import LocalSecrets
from controlplane.domain.audit_chain import GENESIS, Anchor, Seal, seals
from controlplane.domain.errors import DependencyError
from controlplane.domain.secret_refs import SecretRef
from tests.api.problems import problem
from tests.contract.fleets import fresh_name
from tests.plugins.api import Api
from tests.plugins.database import Database
from tests.support.azurite import Azurite
from workers.sealing import Sealer


@pytest.fixture
def container(api: Api, azurite: Azurite, tmp_path: Path) -> str:
    """A container that this process is told to keep heads in, with a signature that adds and reads and changes nothing."""
    name = fresh_name("heads")
    settings = api.container.settings
    settings.audit_anchors_container, settings.audit_anchors_ca = azurite.make(name), azurite.ca
    settings.secrets, settings.audit_anchors_sas = tmp_path, "adds"
    (tmp_path / "adds").write_text(azurite.sas(name, "racl"))
    return name


async def work(api: Api, count: int) -> None:
    async with api.container.database.platform() as uow:
        for n in range(count):
            await uow.audit("key:a", "test.act", f"thing/{n}")


async def test_a_chain_that_the_owner_made_anew_is_found_by_the_heads_in_the_container(
    api: Api, azurite: Azurite, database: Database, container: str
) -> None:
    sealer = Sealer(api.container)
    for _ in range(3):
        await work(api, 2)
        await sealer.step()
    (lines,) = azurite.files(container).values()
    assert lines.count("\n") == 3
    auditor = await api.as_("auditor")
    found = (await auditor.get("/v1/audit:verify")).json()
    assert (found["brokenAt"], found["anchored"]["seal"]) == (None, 6)
    with psycopg.connect(database.owner) as owner:
        owner.execute("update audit set actor = 'key:somebody-else' where seal = 4")
    await _made_anew(api, database)
    found = (await auditor.get("/v1/audit:verify")).json()
    assert found["brokenAt"] == 4
    assert "made anew" in found["problem"]


async def _made_anew(api: Api, database: Database) -> None:
    """What an owner does who knows the rule: every hash again, from the start."""
    async with api.container.database.platform() as uow:
        rows = [row for _, row in await uow.audit_chain.sealed(0, 100)]
    with psycopg.connect(database.owner) as owner:
        for seal in seals(Seal(0, GENESIS), rows):
            owner.execute("update audit set hash = %s where seal = %s", (seal.hash, seal.number))


async def test_a_signature_that_runs_out_delays_no_seal_and_the_head_comes_later(
    api: Api, azurite: Azurite, container: str, tmp_path: Path
) -> None:
    sealer = Sealer(api.container)
    (tmp_path / "adds").write_text(azurite.sas(container, "racl", hours=-1))
    await work(api, 2)
    with pytest.raises(DependencyError) as refused:
        await sealer.step()
    assert (refused.value.code, azurite.files(container)) == ("anchor-unavailable", {})
    auditor = await api.as_("auditor")
    problem(await auditor.get("/v1/audit:verify"), 503, "anchor-unavailable")
    (tmp_path / "adds").write_text(azurite.sas(container, "racl"))
    await sealer.step()
    found = (await auditor.get("/v1/audit:verify")).json()
    assert (found["verifiedTo"]["seal"], found["anchored"]["seal"]) == (3, 3)  # the auditor's key is a row too


async def test_what_signs_in_to_add_can_not_take_a_line_away(azurite: Azurite, container: str, tmp_path: Path) -> None:
    from azure.core.credentials import AzureSasCredential
    from azure.core.exceptions import HttpResponseError
    from azure.storage.blob import ContainerClient

    address = f"{azurite.url}/{container}"
    heads = AnchorBlobs(address, LocalSecrets(tmp_path), SecretRef(file="adds"), ca=azurite.ca)
    await heads.put(Anchor(Seal(1, "sha256:1"), "2026-11-25T08:00:00+00:00"))
    credential = AzureSasCredential((tmp_path / "adds").read_text())
    with ContainerClient.from_container_url(address, credential=credential, connection_verify=str(azurite.ca)) as thief:
        blob = thief.get_blob_client("audit-heads/2026-11-25-08.ndjson")
        with pytest.raises(HttpResponseError):
            blob.delete_blob()
        with pytest.raises(HttpResponseError):
            blob.upload_blob(b"", overwrite=True)
    assert [one.seal.number for one in await heads.read()] == [1]
    await heads.close()


async def test_a_container_that_is_not_there_is_said(azurite: Azurite, tmp_path: Path) -> None:
    (tmp_path / "adds").write_text(azurite.sas("nowhere", "racl"))
    heads = AnchorBlobs(f"{azurite.url}/nowhere", LocalSecrets(tmp_path), SecretRef(file="adds"), ca=azurite.ca)
    with pytest.raises(DependencyError, match="404 ContainerNotFound"):
        await heads.put(Anchor(Seal(1, "sha256:1"), "2026-11-25T08:00:00+00:00"))
    with pytest.raises(DependencyError, match="404 ContainerNotFound"):
        await heads.read()
    await heads.close()

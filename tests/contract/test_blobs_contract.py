"""The contract of places for files, on each of them: exactly what was named, whole or not at all, and said when it can't be kept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from controlplane.adapters.blob import BlobContainer
from controlplane.adapters.folder import Folder
from controlplane.adapters.secrets import LocalSecrets
from controlplane.domain.errors import DependencyError
from controlplane.domain.secret_refs import SecretRef
from controlplane.ports.blobs import Blobs
from tests.contract.fleets import fresh_name
from tests.support.azurite import Azurite


@dataclass
class Kept:
    """A place under contract: what is in it as others see it, and the same place where nothing can be written."""

    blobs: Blobs
    files: Callable[[], dict[str, str]]
    put: Callable[[str, str], object]
    away: Blobs


@pytest.fixture(params=["folder", "blobs"])
async def kept(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kept]:
    if request.param == "folder":
        yield _folder(tmp_path)
        return
    azurite: Azurite = request.getfixturevalue("azurite")
    name = fresh_name("files")
    address = azurite.make(name)
    (tmp_path / "sas").write_text(f"?{azurite.sas(name)}\n")
    (tmp_path / "reads").write_text(azurite.sas(name, "rl"))
    secrets = LocalSecrets(tmp_path)
    blobs = BlobContainer(address, secrets, SecretRef(file="sas"), ca=azurite.ca)
    away = BlobContainer(address, secrets, SecretRef(file="reads"), ca=azurite.ca)
    yield Kept(blobs, lambda: azurite.files(name), lambda path, text: _upload(azurite, name, path, text), away)
    await blobs.close()
    await away.close()


def _folder(tmp_path: Path) -> Kept:
    root = tmp_path / "made"
    (tmp_path / "file").write_text("x")

    def files() -> dict[str, str]:
        return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}

    def put(path: str, text: str) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)

    return Kept(Folder(root), files, put, Folder(tmp_path / "file"))


def _upload(azurite: Azurite, container: str, path: str, text: str) -> None:
    from azure.storage.blob import ContainerClient

    from tests.support.azurite import KEY

    address = f"{azurite.url}/{container}"
    with ContainerClient.from_container_url(address, credential=KEY, connection_verify=str(azurite.ca)) as client:
        client.upload_blob(path, text, overwrite=True)


HOME = "clusters/aks-1/shop"


async def test_a_folder_holds_exactly_what_it_was_given_last(kept: Kept) -> None:
    assert await kept.blobs.replace(HOME, {"a": "1", "b": "2"}) == 2
    assert await kept.blobs.replace(HOME, {"a": "1", "c": "3"}) == 2
    assert kept.files() == {f"{HOME}/a": "1", f"{HOME}/c": "3"}
    assert await kept.blobs.replace(HOME, {"a": "1", "c": "3"}) == 0
    assert await kept.blobs.replace(HOME, {}) == 2
    assert kept.files() == {}
    assert await kept.blobs.replace(HOME, {}) == 0


async def test_other_folders_are_left_alone_also_one_whose_name_begins_alike_or_that_lies_below(kept: Kept) -> None:
    for folder in (HOME, f"{HOME}-2", f"{HOME}/below"):
        await kept.blobs.replace(folder, {"a": folder})
    await kept.blobs.replace(HOME, {"b": "new"})
    assert kept.files() == {f"{HOME}/b": "new", f"{HOME}-2/a": f"{HOME}-2", f"{HOME}/below/a": f"{HOME}/below"}


async def test_files_that_others_keep_at_the_top_are_left_alone(kept: Kept) -> None:
    kept.put("mine", "x")
    assert await kept.blobs.replace("", {"README.txt": "how"}) == 1
    assert kept.files() == {"mine": "x", "README.txt": "how"}
    assert await kept.blobs.replace("", {"README.txt": "how"}) == 0


async def test_what_somebody_changed_is_put_right_and_what_is_not_ascii_comes_back_as_it_was(kept: Kept) -> None:
    await kept.blobs.replace(HOME, {"a": "Größe: 5 €\n"})
    kept.put(f"{HOME}/a", "tampered")
    assert await kept.blobs.replace(HOME, {"a": "Größe: 5 €\n"}) == 1
    assert kept.files() == {f"{HOME}/a": "Größe: 5 €\n"}


async def test_a_place_that_can_not_be_written_to_is_said(kept: Kept) -> None:
    with pytest.raises(DependencyError) as refused:
        await kept.away.replace(HOME, {"a": "1"})
    assert refused.value.code == "blobs-unavailable"
    assert kept.files() == {}

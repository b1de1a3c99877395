"""The loop that keeps break-glass files: each place on its own, so that one that is away holds no other up."""

from __future__ import annotations

import asyncio
from pathlib import Path

from controlplane.bootstrap import Container
from controlplane.services.onboarding import onboard
from controlplane.settings import Settings
from tests.contract.fleets import fresh_name, until, until_read
from tests.plugins.database import Database
from tests.plugins.operations import Works, spec
from tests.support.azurite import Azurite
from workers.breakglass import keep_forever


async def test_files_are_kept_in_a_container_outside_while_the_folder_is_away_and_in_both_once_it_is_back(
    works: Works, database: Database, azurite: Azurite, tmp_path: Path
) -> None:
    works.fleet.config("apps", "odoo", {})
    operation = await works.accept(lambda uow: onboard(uow, spec("one", apps={"odoo": {}}), actor="mia"))
    assert (await works.finish(operation)).state == "succeeded"
    works.fleet.runs(["one"], "17.0.3")
    name, folder = fresh_name("outside"), tmp_path / "share" / "files"
    (tmp_path / "share").write_text("not mounted")
    address = azurite.make(name)
    (tmp_path / "sas").write_text(azurite.sas(name))
    settings = Settings(
        database_url_engine=database.engine,
        secrets=tmp_path,
        breakglass=folder,
        breakglass_container=address,
        breakglass_sas="sas",
        breakglass_ca=azurite.ca,
    )
    container, draining = Container(settings), asyncio.Event()
    keeping = asyncio.create_task(keep_forever(container, draining))

    async def whole() -> dict[str, str]:
        found = await asyncio.to_thread(azurite.files, name)
        return found if len(found) == 4 else {}

    kept = await until_read(whole)
    assert sorted(kept) == [
        "README.txt",
        "clusters/aks-1/one/00-walls.json",
        "clusters/aks-1/one/about.txt",
        "clusters/aks-1/one/app-odoo.json",
    ]
    assert "17.0.3" in kept["clusters/aks-1/one/app-odoo.json"]
    assert not folder.exists()
    (tmp_path / "share").unlink()
    await until((folder / "clusters/aks-1/one/app-odoo.json").is_file)
    assert {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()} == kept
    draining.set()
    await keeping
    await container.close()

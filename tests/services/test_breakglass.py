"""Break-glass files follow what was verified last: nothing that failed, nobody who left."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from controlplane.adapters.folder import Folder
from controlplane.domain.errors import DependencyError
from controlplane.services.breakglass import Keeper
from controlplane.services.onboarding import onboard
from controlplane.services.tenant_life import offboard, suspend
from tests.plugins.operations import Works, spec

APPS: dict[str, Any] = {"odoo": {}}


def _files(root: Path) -> dict[Path, str]:
    return {path.relative_to(root): path.read_text() for path in root.rglob("*") if path.is_file()}


async def _onboarded(works: Works, *names: str) -> None:
    works.fleet.config("apps", "odoo", {})
    for name in names:
        operation = await works.accept(lambda uow, n=name: onboard(uow, spec(n, apps=APPS), actor="mia"))  # type: ignore[misc]
        assert (await works.finish(operation)).state == "succeeded"


def _keeper(works: Works, root: Path) -> Keeper:
    return Keeper(works.transactions.engine, Folder(root))


def _version(root: Path, tenant: str, kind: str = "clusters") -> str:
    found = json.loads((root / kind / "aks-1" / tenant / "app-odoo.json").read_text())
    return str(found["items"][0]["data"]["version"])


def _told(works: Works, tenant: str, change: str) -> None:
    works.fleet.run(
        "insert into history (subject_kind, subject_id, seq, type, tenant) select 'rollout', 'r', coalesce(max(seq), 0) + 1, %s, %s"
        " from history where subject_kind = 'rollout' and subject_id = 'r'",
        f"dev.seawall.rollout.target-{change}.v1",
        tenant,
    )


async def test_files_show_the_newest_verified_revision_and_follow_it(works: Works, tmp_path: Path) -> None:
    await _onboarded(works, "one", "two")
    works.fleet.runs(["one", "two"], "17.0.3")
    keeper = _keeper(works, tmp_path)
    assert await keeper.step() == 7  # the README, and three files each
    assert (_version(tmp_path, "one"), _version(tmp_path, "two")) == ("17.0.3", "17.0.3")
    works.fleet.runs(["one"], "17.0.4", verified=False)
    _told(works, "one", "rolled-back")
    assert await keeper.step() == 0
    works.fleet.runs(["one"], "17.0.5")
    _told(works, "one", "verified")
    assert await keeper.step() == 2  # the app and what is said about it
    assert (_version(tmp_path, "one"), _version(tmp_path, "two")) == ("17.0.5", "17.0.3")
    assert "17.0.5" in (tmp_path / "clusters" / "aks-1" / "one" / "about.txt").read_text()


async def test_a_suspended_tenants_files_move_and_an_offboarded_ones_go(works: Works, tmp_path: Path) -> None:
    await _onboarded(works, "one")
    works.fleet.runs(["one"], "17.0.3")
    keeper = _keeper(works, tmp_path)
    await keeper.step()
    async with works.transactions.platform() as uow:
        record = await uow.tenants.get("one")
        assert record is not None
        await suspend(uow, record, actor="mia", reason="unpaid")
    await keeper.step()
    assert not (tmp_path / "clusters" / "aks-1" / "one").exists()
    assert _version(tmp_path, "one", "suspended") == "17.0.3"
    works.fleet.run("update operations set state = 'succeeded'")
    async with works.transactions.platform() as uow:
        record = await uow.tenants.get("one")
        assert record is not None
        await offboard(uow, record, actor="mia")
    await keeper.step()
    assert list(_files(tmp_path)) == [Path("README.txt")]


async def test_a_keeper_that_starts_anew_mends_what_is_missing(works: Works, tmp_path: Path) -> None:
    await _onboarded(works, "one")
    works.fleet.runs(["one"], "17.0.3")
    await _keeper(works, tmp_path).step()
    shutil.rmtree(tmp_path / "clusters")
    assert await _keeper(works, tmp_path).step() == 3
    assert await _keeper(works, tmp_path).step() == 0


async def test_what_could_not_be_written_is_written_once_the_place_is_back(works: Works, tmp_path: Path) -> None:
    await _onboarded(works, "one")
    works.fleet.runs(["one"], "17.0.3")
    keeper = _keeper(works, tmp_path / "mount" / "files")
    (tmp_path / "mount").write_text("not a folder")
    with pytest.raises(DependencyError):
        await keeper.step()
    (tmp_path / "mount").unlink()
    assert await keeper.step() == 4

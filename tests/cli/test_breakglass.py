"""The break-glass export: the same files that workers keep."""

from __future__ import annotations

from pathlib import Path

from controlplane.adapters.folder import Folder
from controlplane.services.breakglass import Keeper
from controlplane.services.onboarding import onboard
from tests.api.problems import problem
from tests.cli.conftest import Cli
from tests.plugins.api import Api
from tests.plugins.operations import Works, spec


def _files(root: Path) -> dict[Path, str]:
    return {path.relative_to(root): path.read_text() for path in root.rglob("*") if path.is_file()}


async def test_the_export_gives_the_files_that_workers_keep_to_who_may_export(
    works: Works, api: Api, cli: Cli, tmp_path: Path
) -> None:
    works.fleet.config("apps", "odoo", {})
    operation = await works.accept(lambda uow: onboard(uow, spec("one", apps={"odoo": {}}), actor="mia"))
    assert (await works.finish(operation)).state == "succeeded"
    works.fleet.runs(["one"], "17.0.3")
    await Keeper(works.transactions.engine, Folder(tmp_path / "kept")).step()
    auditor = Cli(cli.home, {"SEAWALL_URL": api.url, "SEAWALL_KEY": await api.key("auditor")})
    result = await auditor("breakglass", "export", str(tmp_path / "export"))
    assert (result.code, "1 environments" in result.err) == (0, True), result.err
    assert len(_files(tmp_path / "export")) == 4
    assert _files(tmp_path / "export") == _files(tmp_path / "kept")
    operator = await api.as_("operator")
    problem(await operator.get("/v1/breakglass"), 403, "forbidden")

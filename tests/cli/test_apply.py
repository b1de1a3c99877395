"""One declarative door for configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from tests.cli.conftest import Cli


def _document(kind: str, name: str, spec: Mapping[str, object]) -> str:
    return yaml.safe_dump(
        {"apiVersion": "seawall.dev/v1", "kind": kind, "metadata": {"name": name}, "spec": dict(spec)}
    )


async def test_a_folder_is_applied_in_an_order_in_which_references_exist(admin: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "platform"
    (folder / "deep").mkdir(parents=True)
    strategy = {"waves": [{"name": "all", "cut": {"percent": "100%"}}]}
    (folder / "a-strategy.yaml").write_text(_document("strategy", "careful", strategy))
    (folder / "deep" / "z-app.yml").write_text(_document("app", "odoo", {"description": "Odoo"}))
    (folder / "ignored.txt").write_text("not a document")
    result = await admin("apply", "-f", str(folder))
    assert result.out.splitlines() == ["app/odoo created", "strategy/careful created"], result.err


async def test_a_change_makes_a_new_version_and_the_old_one_can_still_be_read(admin: Cli) -> None:
    await admin("apply", "-f", "-", stdin=_document("app", "odoo", {"description": "one"}))
    result = await admin("apply", "-f", "-", stdin=_document("app", "odoo", {"description": "two"}))
    assert result.out == "app/odoo changed to version 2\n"
    assert "description: one" in (await admin("get", "app", "odoo@1")).out


async def test_a_file_that_is_not_there_is_a_usage_error(admin: Cli) -> None:
    result = await admin("apply", "-f", "/nowhere/at-all.yaml")
    assert (result.code, result.out) == (2, "")

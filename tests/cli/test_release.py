"""Releases from a chart's folder."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Cli
from tests.support.signing import new_key, sign, statement

CHART = Path(__file__).parents[2] / "helm" / "odoo-tenant"
IMAGE = "web=registry.example/odoo@sha256:" + "1b7e" * 16


async def test_a_charts_folder_is_packed_uploaded_and_registered_and_again_it_changes_nothing(admin: Cli) -> None:
    first = await admin("release", "register", "odoo/17.0.4", str(CHART), "--image", IMAGE, "--risk", "tax")
    assert first.code == 0, first.err
    again = await admin("release", "register", "odoo/17.0.4", str(CHART), "--image", IMAGE, "--risk", "tax")
    assert (again.code, again.out) == (0, first.out)
    shown = json.loads((await admin("release", "show", "odoo/17.0.4", "-o", "json")).out)
    assert (shown["risks"], shown["source"]["format"], shown["hold"]) == (["tax"], "helm", None)
    assert "not proven" in (await admin("release", "list")).out


async def test_another_body_under_a_version_is_refused(admin: Cli) -> None:
    await admin("release", "register", "odoo/17.0.4", str(CHART), "--image", IMAGE)
    result = await admin("release", "register", "odoo/17.0.4", str(CHART), "--image", IMAGE, "--risk", "payments")
    assert result.code == 1
    assert "odoo/17.0.4" in result.err


async def test_a_loose_image_is_refused_with_the_pointer_to_it(admin: Cli) -> None:
    result = await admin("release", "register", "odoo/17.0.4", str(CHART), "--image", "web=registry.example/odoo:17")
    assert result.code == 1
    assert "/images/web: " in result.err
    assert "code image-not-pinned" in result.err


async def test_a_name_that_is_no_release_is_a_usage_error(admin: Cli) -> None:
    assert (await admin("release", "show", "odoo")).code == 2


async def test_what_ci_attests_is_listed_with_its_results(admin: Cli, tmp_path: Path) -> None:
    await admin("release", "register", "odoo/17.0.4", str(CHART), "--image", IMAGE)
    made = await admin(
        "release", "attest", "odoo/17.0.4", "--kind", "security", "--result", "critical=0", "--result", "tool=trivy"
    )
    assert made.code == 0, made.err
    file = tmp_path / "attestation.json"
    file.write_text(
        json.dumps(sign(new_key(), statement(["sha256:" + "a" * 64], {}, "https://slsa.dev/provenance/v1")))
    )
    signed = await admin("release", "attest", "odoo/17.0.4", "--kind", "provenance", "--envelope", str(file))
    assert signed.code == 0, signed.err
    listed = await admin("release", "evidence", "odoo/17.0.4")
    assert "critical=0" in listed.out
    shown = json.loads((await admin("release", "evidence", "odoo/17.0.4", "--kind", "security", "-o", "json")).out)
    assert shown["items"][0]["results"] == {"critical": 0, "tool": "trivy"}
    wrong = await admin("release", "attest", "odoo/17.0.4", "--kind", "security", "--result", "critical")
    assert (wrong.code, "--result 'critical' is not name=value" in wrong.err) == (2, True)

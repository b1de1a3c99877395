"""Data on stdout in four forms, messages on stderr."""

from __future__ import annotations

import json

import yaml

from tests.cli.conftest import Cli

TIERS = """
apiVersion: seawall.dev/v1
kind: tier
metadata: {name: standard}
spec: {description: Most shops, quota: {requests.cpu: "2", pods: "20"}}
---
apiVersion: seawall.dev/v1
kind: tier
metadata: {name: starter}
spec: {quota: {requests.cpu: "1", pods: "10"}}
"""


async def test_a_list_is_a_table_for_people_and_nothing_else_is_on_stdout(admin: Cli) -> None:
    assert (await admin("apply", "-f", "-", stdin=TIERS)).code == 0
    result = await admin("get", "tiers")
    lines = result.out.splitlines()
    assert lines[0].split() == ["NAME", "VERSION", "SINCE", "BY"]
    assert [line.split()[0] for line in lines[1:]] == ["standard", "starter"]
    assert result.err == ""


async def test_names_are_one_a_line_for_scripts(admin: Cli) -> None:
    await admin("apply", "-f", "-", stdin=TIERS)
    assert (await admin("get", "tiers", "-o", "name")).out == "tier/standard\ntier/starter\n"


async def test_json_is_what_the_api_says(admin: Cli) -> None:
    await admin("apply", "-f", "-", stdin=TIERS)
    found = json.loads((await admin("get", "tier", "standard", "-o", "json")).out)
    assert found["spec"]["quota"] == {"requests.cpu": "2", "pods": "20"}


async def test_yaml_goes_through_apply_again_and_changes_nothing(admin: Cli) -> None:
    await admin("apply", "-f", "-", stdin=TIERS)
    written = (await admin("get", "tier", "standard", "-o", "yaml")).out
    assert yaml.safe_load(written)["metadata"] == {"name": "standard"}
    again = await admin("apply", "-f", "-", stdin=written)
    assert (again.code, again.out) == (0, "tier/standard unchanged\n")


async def test_an_empty_list_is_said_on_stderr_and_leaves_stdout_empty(admin: Cli) -> None:
    result = await admin("release", "list")
    assert (result.code, result.out, result.err) == (0, "", "There is none.\n")


async def test_a_new_keys_secret_alone_is_on_stdout_and_it_works(admin: Cli) -> None:
    made = await admin("key", "create", "nightly export", "--role", "auditor", "--expires-in", "2d")
    secret = made.out.strip()
    assert secret.startswith("sw_")
    assert secret not in made.err
    listed = await admin("key", "list", SEAWALL_KEY=secret)
    assert listed.code == 4, "an auditor may not see keys"
    assert (await admin("audit", SEAWALL_KEY=secret)).code == 0

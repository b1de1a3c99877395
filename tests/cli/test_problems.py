"""Errors read aloud, and the exit codes that scripts rely on."""

from __future__ import annotations

from tests.cli.conftest import Cli, MakeCli


async def test_without_an_address_the_command_says_how_to_get_one_and_ends_with_2(cli: Cli) -> None:
    result = await cli("tenant", "list")
    assert result.code == 2
    assert "seawall login" in result.err
    assert "seawall up" in result.err
    assert result.out == ""


async def test_an_unknown_option_is_a_usage_error_with_2(cli: Cli) -> None:
    assert (await cli("tenant", "list", "--nope")).code == 2


async def test_nobody_at_the_address_is_a_failure_with_1_and_no_traceback(cli: Cli) -> None:
    result = await cli("tenant", "list", SEAWALL_URL="http://127.0.0.1:9", SEAWALL_KEY="sw_x")
    assert result.code == 1
    assert "No answer from the API at http://127.0.0.1:9" in result.err
    assert "Traceback" not in result.err


async def test_what_is_not_there_ends_with_4_and_code_and_trace_are_told(admin: Cli) -> None:
    result = await admin("get", "strategy", "bold")
    assert result.code == 4
    assert "There is no 'bold' among the strategies." in result.err
    assert "code not-found, trace " in result.err


async def test_a_wrong_key_ends_with_4_and_says_how_to_give_another(admin: Cli) -> None:
    result = await admin("tenant", "list", SEAWALL_KEY="sw_wrong")
    assert result.code == 4
    assert "SEAWALL_KEY" in result.err
    assert "code invalid-key" in result.err


async def test_a_role_that_may_not_act_ends_with_4_and_names_the_roles_that_may(cli_as: MakeCli) -> None:
    auditor = await cli_as("auditor")
    result = await auditor("freeze", "--all", "--reason", "trying")
    assert result.code == 4
    assert "platform-admin" in result.err


async def test_each_wrong_field_is_told_with_its_pointer_and_the_file_it_came_from(admin: Cli) -> None:
    document = """
    apiVersion: seawall.dev/v1
    kind: strategy
    metadata: {name: careless}
    spec: {waves: [{name: all, cut: {percent: "0%"}}], limits: {inFlight: 0}}
    """
    result = await admin("apply", "-f", "-", stdin=document)
    assert result.code == 1
    assert "strategy/careless in stdin" in result.err
    assert "/waves/0/cut/percent: " in result.err


async def test_a_document_of_another_kind_is_refused_before_anything_is_sent(admin: Cli) -> None:
    result = await admin("apply", "-f", "-", stdin="apiVersion: v1\nkind: ConfigMap\n")
    assert result.code == 2
    assert "seawall.dev/v1" in result.err


async def test_a_duration_that_cant_be_read_is_a_usage_error(admin: Cli) -> None:
    result = await admin("key", "create", "x", "--role", "auditor", "--expires-in", "soon")
    assert result.code == 2
    assert "90s, 30m, 4h" in result.err

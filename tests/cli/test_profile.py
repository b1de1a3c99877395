"""Where the address and the key come from."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from controlplane.cli.failures import CommandError, UsageError
from controlplane.cli.profile import Profile, current_profile, profile_file, save_profile
from tests.cli.conftest import Cli
from tests.plugins.api import Api


def _home(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(tmp_path)}


def test_the_environment_comes_before_any_profile(tmp_path: Path) -> None:
    save_profile("local", Profile("http://one", "sw_1"), use=True, environ=_home(tmp_path))
    environ = {**_home(tmp_path), "SEAWALL_URL": "http://two/", "SEAWALL_KEY": "sw_2"}
    assert current_profile(environ) == Profile("http://two", "sw_2")


def test_a_started_stack_does_not_take_the_place_of_the_profile_in_use(tmp_path: Path) -> None:
    save_profile("default", Profile("https://production", "sw_1"), use=True, environ=_home(tmp_path))
    save_profile("local", Profile("http://here", "sw_2"), use=False, environ=_home(tmp_path))
    assert current_profile(_home(tmp_path)).url == "https://production"
    assert current_profile({**_home(tmp_path), "SEAWALL_PROFILE": "local"}).url == "http://here"


def test_only_its_owner_may_read_the_file(tmp_path: Path) -> None:
    path = save_profile("local", Profile("http://one", "sw_1"), use=True, environ=_home(tmp_path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_an_unknown_profile_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'nope'"):
        current_profile({**_home(tmp_path), "SEAWALL_PROFILE": "nope"})


def test_a_broken_file_is_named_and_not_a_traceback(tmp_path: Path) -> None:
    path = profile_file(_home(tmp_path))
    path.parent.mkdir(parents=True)
    path.write_text("[]")
    with pytest.raises(CommandError, match="can't be read"):
        current_profile(_home(tmp_path))


async def test_login_checks_the_key_before_it_keeps_it(api: Api, cli: Cli) -> None:
    wrong = await cli("login", api.url, "--key-file", "-", stdin="sw_wrong\n")
    assert wrong.code == 4
    assert not profile_file({"XDG_CONFIG_HOME": str(cli.home)}).exists()
    key = await api.key("auditor")
    right = await cli("login", api.url, "--key-file", "-", stdin=key + "\n")
    assert right.code == 0
    assert "auditor" in right.err
    assert key not in right.out + right.err
    assert (await cli("audit")).code == 0
    assert json.loads(profile_file({"XDG_CONFIG_HOME": str(cli.home)}).read_text())["current"] == "default"

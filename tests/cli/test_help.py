"""Help is complete and fast."""

from __future__ import annotations

import subprocess
import sys

import pytest

from controlplane.cli.reference import commands

HEAVY = ("httpx", "rich.table", "sqlalchemy", "fastapi", "kubernetes", "alembic", "psycopg", "yaml")


def test_help_imports_no_client_of_anything() -> None:
    script = (
        "import sys; from controlplane.cli.app import app\n"
        f"heavy = [m for m in {HEAVY!r} if m in sys.modules]\n"
        "print(heavy)"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("path", sorted(commands()))
def test_every_command_says_what_it_does(path: str) -> None:
    command = commands()[path]
    assert command.help
    for parameter in command.params:
        if getattr(parameter, "param_type_name", "") == "option" and parameter.name != "help":
            assert parameter.help, f"{path} --{parameter.name} has no help"

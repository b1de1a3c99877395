"""Help is complete, fast, and the reference is written from it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from controlplane.cli.reference import commands, reference

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"
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
        if getattr(parameter, "param_type_name", "") == "option" and parameter.name not in ("help",):
            assert parameter.help or parameter.name in _PLAIN, f"{path} --{parameter.name} has no help"


_PLAIN = frozenset({"tier", "region", "app", "cluster", "tenant", "actor", "action", "time_zone", "subject"})
"""Options whose name says it all."""


def test_the_reference_in_the_docs_is_what_the_code_says() -> None:
    assert REFERENCE.read_text() == reference(), "run `make docs`"

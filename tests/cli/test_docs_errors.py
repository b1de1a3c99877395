"""The reference of error codes knows what the code says."""

from __future__ import annotations

import re
from pathlib import Path

from controlplane.cli.docs_errors import codes, error_codes
from controlplane.domain.errors import SeawallError

ROOT = Path(__file__).parents[2]


def test_every_code_that_a_test_of_the_api_expects_is_listed() -> None:
    listed = {one.code for one in codes()}
    expected: set[str] = set()
    for path in (ROOT / "tests" / "api").glob("test_*.py"):
        expected |= set(re.findall(r"problem\(.*?, \d{3}, \"([a-z0-9-]+)\"\)", path.read_text()))
    assert len(expected) > 30
    assert expected <= listed


def test_codes_are_kebab_case_and_have_a_status_of_an_error() -> None:
    for one in codes():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9…]+)*", one.code), one
        assert 400 <= one.status < 600


def test_the_base_of_all_errors_is_listed_as_ours() -> None:
    assert f"| `{SeawallError.code}` | 500 |" in error_codes()

"""Each gate is explained: an example that can be copied as it stands, what it does without data, and how it fails."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controlplane.domain.strategies import parse_strategy
from controlplane.gates import GATES, check_gates

DOCS = Path(__file__).parents[2] / "docs"
PAGES = (
    "explanation/gates.md",
    "explanation/evidence-gates.md",
    "explanation/control-group.md",
    "explanation/risk-rules.md",
)
PLACES = ("before", "beforeEach", "during", "after")
_BLOCK = re.compile(r"(?m)^ {4}.+(?:\n(?: {4}.*|(?=\n {4})))*|```json\n(?:.|\n)*?```")
_START = re.compile(rf'"(?:{"|".join(PLACES)})": \[')


def examples() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(page, place, gate) of everything in the pages that a strategy's `before`, `beforeEach`, `during` or `after` may hold."""
    for page in PAGES:
        for block in _BLOCK.findall((DOCS / page).read_text()):
            for start in _START.finditer(block):
                gates, _ = json.JSONDecoder().raw_decode(block[start.end() - 1 :])
                place = block[start.start() + 1 : start.end()].partition('"')[0]
                for gate in gates:
                    yield page, place, gate


FOUND = list(examples())


@pytest.mark.parametrize("kind", sorted(GATES))
def test_each_kind_of_gate_has_an_example(kind: str) -> None:
    assert [gate for _, _, gate in FOUND if kind in gate]


@pytest.mark.parametrize("example", FOUND, ids=[f"{page}-{place}-{'-'.join(gate)}" for page, place, gate in FOUND])
def test_each_example_may_stand_in_a_strategy_as_it_is(example: tuple[str, str, dict[str, Any]]) -> None:
    _, place, gate = example
    wave: dict[str, Any] = {"name": "all", "cut": {"percent": "100%"}}
    if "invariants" in gate and place not in ("before", "beforeEach"):
        wave["beforeEach"] = [gate]
    body = {"waves": [wave], "during": [gate]} if place == "during" else {"waves": [{**wave, place: [gate]}]}
    check_gates(parse_strategy(body, gates=GATES))


@pytest.mark.parametrize("page", PAGES)
def test_each_page_says_what_happens_without_data(page: str) -> None:
    text = (DOCS / page).read_text()
    assert re.search(r"(?i)without (data|votes|an answer|evidence)|no data", text)


@pytest.mark.parametrize("kind", sorted(GATES))
def test_each_kind_of_gate_has_a_row_that_says_what_it_does_without_data_and_when_it_fails(kind: str) -> None:
    text = "".join((DOCS / page).read_text() for page in PAGES)
    tables = re.findall(r"\| gate \| without data \| fails when \| blames \|\n\|[-|]+\|\n((?:\|.*\n)+)", text)
    rows = [row for table in tables for row in table.splitlines() if row.startswith(f"| `{kind}` |")]
    assert len(rows) == 1, rows
    cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", rows[0])[1:-1]]
    assert len(cells) == 4
    assert all(cells)

"""No change is recorded that the catalogue does not list: found in the code itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from controlplane.domain.event_catalogue import CATALOGUE, CONFIGURATION, KNOWN
from controlplane.domain.operations import OperationKind, OperationState
from controlplane.domain.rollouts import RolloutState
from controlplane.services.configuration.kinds import KINDS

ROOT = Path(__file__).parents[2]
ENDS = (RolloutState.SUCCEEDED, RolloutState.FAILED, RolloutState.ABORTED)
KINDS_OF_OPERATION = OperationKind.__args__  # type: ignore[attr-defined]  # the arguments of a Literal
COMPUTED: dict[str, set[str]] = {
    # Changes that code computes: the expression as written, and what it can give.
    "str(state)": {str(s) for s in ENDS},
    "state.value": {s.value for s in (OperationState.SUCCEEDED, OperationState.FAILED, OperationState.CANCELLED)},
    "f'{operation.kind}Accepted'": {f"{k}Accepted" for k in KINDS_OF_OPERATION},
    "f'{run.operation.kind}Failed'": {f"{k}Failed" for k in KINDS_OF_OPERATION},
    "_CHANGES[state]": {"closed", "opened", "halfOpened"},
    "_WORDS[phase]": {"activated", "observed", "suspended", "offboarded"},
}
IN_SQL = {("notice", "given")}
"""Written in one statement for many tenants."""
PASSED_ON = {"change", "event"}
"""A parameter or local that hands on what another of these places gave."""


def changes_of(node: ast.expr, where: str) -> set[str]:
    """What an expression can give; fails for one that is not listed above."""
    if isinstance(node, ast.Constant):
        return {str(node.value)} - {""}
    if isinstance(node, ast.IfExp):
        return changes_of(node.body, where) | changes_of(node.orelse, where)
    text = ast.unparse(node)
    if text in PASSED_ON:
        return set()
    assert text in COMPUTED, f"{where}: {text} is a computed change; list what it can give in this test"
    return COMPUTED[text]


def recorded_in(tree: ast.AST, where: str) -> Iterator[tuple[str, str]]:
    """(thing, change) of every place that records a change."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "change" and "services" in where:
            thing = "tenant" if "operations/" in where else "rollout"
            yield from ((thing, change) for change in changes_of(node.value, where))
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called.endswith("uow.record"):
            things = {node.args[0].value} if isinstance(node.args[0], ast.Constant) else set(CONFIGURATION)
            yield from ((str(t), c) for t in things for c in changes_of(node.args[2], where))
        elif called.endswith("audit_chain.publish"):
            yield from (("audit", c) for c in changes_of(node.args[0], where))
        elif called.endswith(".tell"):
            yield from (("rollout", c) for c in changes_of(node.args[0], where))
        elif called.endswith("TenantEvent"):
            yield from (("tenant", c) for c in changes_of(node.args[1], where))
        elif called.endswith((".move", "move")):
            found = [k.value for k in node.keywords if k.arg == "event"]
            yield from (("rollout", c) for value in found for c in changes_of(value, where))


def recorded() -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set(IN_SQL)
    for path in [*ROOT.glob("controlplane/**/*.py"), *ROOT.glob("workers/**/*.py")]:
        found |= set(recorded_in(ast.parse(path.read_text()), str(path.relative_to(ROOT))))
    return found


def test_every_change_that_code_records_is_in_the_catalogue() -> None:
    found = recorded()
    assert len(found) > 40
    assert found - KNOWN == set(), "add it to controlplane/domain/event_catalogue.py, then `make openapi`"


def test_the_catalogue_lists_nothing_that_nobody_records() -> None:
    assert KNOWN - recorded() == set()


def test_each_kind_of_configuration_has_its_events() -> None:
    assert {kind.singular for kind in KINDS} == set(CONFIGURATION)


def test_types_are_unique_and_can_be_subjects_of_the_bus() -> None:
    types = [event.type for event in CATALOGUE]
    assert len(types) == len(set(types))
    assert all(re.fullmatch(r"dev\.seawall\.[a-z]+\.[a-zA-Z-]+\.v1", t) for t in types)
    assert all(event.says.endswith(".") for event in CATALOGUE)

"""The reference of error codes, read from the source: every class of error, and every place that gives one a code of its own."""

from __future__ import annotations

import ast
import functools
import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import controlplane
from controlplane.domain.errors import SeawallError

ROOT = Path(controlplane.__file__).parent
LAYERS = ("domain", "ports", "formats", "gates", "services", "adapters", "api")
FINDING_STATUS = 422
"""What a crossing of a wall is refused with."""


@dataclass(frozen=True, order=True)
class Code:
    """One code: its HTTP status, and a sentence that is said with it (`…` stands for a name or number)."""

    code: str
    status: int
    says: str


BY_VALUE = (
    Code("release-held", 409, "Nothing can start: all targets are left out. The release is held."),
    Code("rule-refused", 409, "Nothing can start: a risk rule refuses every target."),
    Code("rule-unclear", 409, "Nothing can start: a risk rule can't be evaluated for any target."),
    Code("suspended", 409, "Nothing can start: all targets are left out. The tenant is suspended."),
    Code("would-undo-another-change", 409, "Nothing can start: going back would undo a newer change."),
    Code("unknown-cluster", 422, "There is no cluster …. Create it with PUT /v1/clusters/…."),
    Code("unknown-app", 422, "There is no app …. Create it with PUT /v1/apps/…."),
)
"""Codes that the source makes from a value."""


def error_codes() -> str:
    """Give the table of codes."""
    rows = ["| code | status | says, for example |", "|---|---|---|"]
    return "\n".join(
        [*rows, *(f"| `{c.code}` | {c.status} | {' '.join(c.says.split()).replace('|', '/')} |" for c in codes())]
    )


@functools.cache
def codes() -> tuple[Code, ...]:
    """Every code, once: the shortest sentence of those said with it."""
    found: dict[str, Code] = {}
    for one in [*_of_classes(), *_of_calls(), *BY_VALUE]:
        known = found.get(one.code)
        if known is None or (bool(one.says), -len(one.says)) > (bool(known.says), -len(known.says)):
            found[one.code] = one
    return tuple(sorted(found.values()))


def _classes() -> dict[str, type[SeawallError]]:
    for layer in LAYERS:
        package = importlib.import_module(f"controlplane.{layer}")
        for module in pkgutil.walk_packages(package.__path__, f"controlplane.{layer}."):
            if not module.name.rpartition(".")[2].startswith("_"):
                importlib.import_module(module.name)
    return {kind.__name__: kind for kind in _below(SeawallError)}


def _below(kind: type[SeawallError]) -> Iterator[type[SeawallError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _below(child)


def _of_classes() -> Iterator[Code]:
    for kind in _classes().values():
        if "code" in vars(kind) and kind.__module__.startswith("controlplane.") and ".cli" not in kind.__module__:
            yield Code(kind.code, kind.status, " ".join((kind.__doc__ or "").split("\n\n")[0].split()))


def _of_calls() -> Iterator[Code]:
    classes = _classes()
    for layer in LAYERS:
        for path in sorted((ROOT / layer).rglob("*.py")):
            tree = ast.parse(path.read_text())
            for function in ast.walk(tree):
                if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield from _in_function(function, classes)


def _in_function(function: ast.AST, classes: dict[str, type[SeawallError]]) -> Iterator[Code]:
    said: dict[str, str] = {}
    nodes = [n for n in ast.walk(function) if isinstance(n, ast.Assign | ast.Call)]
    for node in sorted(nodes, key=lambda n: (n.lineno, isinstance(n, ast.Call))):
        if isinstance(node, ast.Assign):
            if isinstance(node.targets[0], ast.Name):
                said[node.targets[0].id] = _text(node.value)
        elif isinstance(node.func, ast.Name):
            given = [_text(a) or said.get(getattr(a, "id", ""), "") for a in node.args]
            yield from _of_call(node, node.func.id, given, classes)


def _of_call(call: ast.Call, name: str, given: list[str], classes: dict[str, type[SeawallError]]) -> Iterator[Code]:
    if name in classes:
        code = next((_text(k.value) for k in call.keywords if k.arg == "code"), "")
        if code and "…" not in code:
            yield Code(code, classes[name].status, given[0] if given else "")
    elif name == "WallFinding" and given and given[0]:
        yield Code(given[0], FINDING_STATUS, given[-1])


def _text(node: ast.expr) -> str:
    """A text's literal form, with `…` where a value goes."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(v) if isinstance(v, ast.Constant) else "…" for v in node.values).replace("……", "…")
    return ""

"""CEL by the library `common-expression-language`, within limits.

The library runs in this process and can't be interrupted, so the work is bounded before it starts: expression length, and for
comprehensions (the only loops CEL has) the size of the input to the power of their nesting, times what a look through its longest text costs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from controlplane.domain.errors import FieldError
from controlplane.ports.expressions import ExpressionError

if TYPE_CHECKING:
    import cel  # brings a command line of its own along, which costs each of our processes a tenth of its start

MAX_LENGTH: Final = 2000
MAX_STEPS: Final = 500_000
"""About 0.1 s: one step of a comprehension takes 0.2 microseconds."""
TEXT_OF_A_STEP: Final = 500
"""Characters that `contains` or `matches` looks through in the time of a step."""

_LOOP = re.compile(r"\.\s*(all|exists|exists_one|map|filter|existsOne|transformList|transformMap)\s*\(")
_BINDS = re.compile(_LOOP.pattern + r"\s*([A-Za-z_]\w*)\s*,")
_TEXT = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'", re.DOTALL)


class Cel:
    """See `controlplane.ports.expressions.Expressions`."""

    def check(self, expression: str, variables: tuple[str, ...], pointer: str) -> None:
        """Compile; raises ExpressionError."""
        program = _compiled(expression, pointer)
        known = {*variables, *_bound(expression)}
        unknown = sorted(set(program.variables()) - known)
        if unknown:
            detail = f"It uses {', '.join(unknown)}, which is not known here; known: {', '.join(sorted(variables))}."
            raise ExpressionError(detail, errors=[FieldError(pointer, detail)])

    def uses(self, expression: str) -> frozenset[str]:
        """The variables it looks at, those that comprehensions bind left out; raises ExpressionError."""
        return frozenset(_compiled(expression, "").variables()) - _bound(expression)

    def test(self, expression: str, variables: Mapping[str, Any]) -> bool:
        """Evaluate; raises ExpressionError."""
        program = _compiled(expression, "")
        depth = nesting(expression)
        if depth and _steps(variables, len(expression), depth) > MAX_STEPS:
            raise ExpressionError("The expression would take too many steps over data of this size.")
        try:
            result = program.execute(dict(variables))
        except KeyError as error:
            raise ExpressionError(f"There is no field {error}. Use has(...) where it may be missing.") from error
        except (RuntimeError, TypeError, ValueError, OverflowError, IndexError, ArithmeticError) as error:
            raise ExpressionError(f"It can't be evaluated: {_first_line(error)}") from error
        if not isinstance(result, bool):
            raise ExpressionError(f"It gives {type(result).__name__}, not true or false.")
        return result


@lru_cache(maxsize=1024)
def _program(expression: str) -> cel.Program:
    import cel

    return cel.compile(expression)


def _compiled(expression: str, pointer: str) -> cel.Program:
    if len(expression) > MAX_LENGTH:
        detail = f"It has {len(expression)} characters; the limit is {MAX_LENGTH}."
        raise ExpressionError(detail, errors=[FieldError(pointer, detail)])
    try:
        return _program(expression)
    except ValueError as error:
        detail = f"It is not a CEL expression: {_first_line(error)}"
        raise ExpressionError(detail, errors=[FieldError(pointer, detail)]) from error


@lru_cache(maxsize=1024)
def nesting(expression: str) -> int:
    """How deep comprehensions lie in each other (text literals left out)."""
    code = _TEXT.sub('""', expression)
    starts = {found.end() - 1 for found in _LOOP.finditer(code)}
    opened: list[bool] = []
    deepest = 0
    for position, char in enumerate(code):
        if char == "(":
            opened.append(position in starts)
            deepest = max(deepest, sum(opened))
        elif char == ")" and opened:
            opened.pop()
    return deepest


def _bound(expression: str) -> set[str]:
    """Names that comprehensions bind: the `x` of `list.map(x, ...)`."""
    return {found[2] for found in _BINDS.finditer(_TEXT.sub('""', expression))}


def _steps(variables: Mapping[str, Any], length: int, depth: int) -> int:
    """The most steps that loops so deep in each other can take over the values; stops counting where it is too much anyhow."""
    values, longest = length, 0
    left: list[Any] = [variables]
    while left and values <= MAX_STEPS:
        value = left.pop()
        values += 1
        if isinstance(value, Mapping):
            left.extend(value.values())
            longest = max(longest, *(len(str(name)) for name in value), 0)
        elif isinstance(value, list | tuple):
            left.extend(value)
        elif isinstance(value, str):
            longest = max(longest, len(value))
    return int(values**depth * (1 + longest // TEXT_OF_A_STEP))


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    marked = [line for line in text if "ERROR:" in line]
    line = (marked or text or [type(error).__name__])[0]
    return line.rpartition("ERROR: ")[2][:300]

"""Expressions that people write (CEL): compiled when they are stored, evaluated within limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from controlplane.domain.errors import InvalidError


class ExpressionError(InvalidError):
    """The expression does not compile, is too large, or could not be evaluated over these variables."""

    code = "expression-invalid"


class Expressions(Protocol):
    """A language for filters and rules."""

    def check(self, expression: str, variables: tuple[str, ...], pointer: str) -> None:
        """Compile it; raises ExpressionError with `pointer` where it doesn't, or where it names anything but `variables`."""
        ...

    def uses(self, expression: str) -> frozenset[str]:
        """The variables an expression looks at; raises ExpressionError."""
        ...

    def test(self, expression: str, variables: Mapping[str, Any]) -> bool:
        """Evaluate it; raises ExpressionError where it fails, takes too many steps, or gives no boolean."""
        ...

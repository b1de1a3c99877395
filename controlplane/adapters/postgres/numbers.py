"""Numbers on their way into arrays."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal


def numerics(numbers: Iterable[int | Decimal | None]) -> list[Decimal | None]:
    """Whole numbers and decimals as `numeric[]` wants them: psycopg sends no list of mixed types."""
    return [None if number is None else Decimal(number) for number in numbers]

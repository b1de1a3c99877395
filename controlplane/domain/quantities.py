"""Things with a unit: durations, limits in numbers and percent, Kubernetes quantities, money."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_CEILING, Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, GetCoreSchemaHandler, PlainSerializer, StringConstraints, WithJsonSchema
from pydantic_core import CoreSchema, core_schema

from controlplane.domain.wire import Wire

_ISO = re.compile(
    r"^P(?!$)(?:(?P<w>[0-9]+(?:\.[0-9]+)?)W)?(?:(?P<d>[0-9]+(?:\.[0-9]+)?)D)?"
    r"(?:T(?=[0-9])(?:(?P<h>[0-9]+(?:\.[0-9]+)?)H)?(?:(?P<m>[0-9]+(?:\.[0-9]+)?)M)?(?:(?P<s>[0-9]+(?:\.[0-9]+)?)S)?)?$"
)
_SHORT = re.compile(
    r"^(?=[0-9])(?:(?P<w>[0-9]+)w)?(?:(?P<d>[0-9]+)d)?(?:(?P<h>[0-9]+)h)?(?:(?P<m>[0-9]+)m)?(?:(?P<s>[0-9]+(?:\.[0-9]+)?)s)?$"
)
_PERCENT = re.compile(r"^([0-9]{1,3}(?:\.[0-9]{1,4})?)%$")
MAX_DURATION = timedelta(days=3660)
MAX_COUNT = 1_000_000
"""The largest limit: far beyond any fleet, and safe for every column that stores one."""


def parse_duration(text: str, *, short: bool = False) -> timedelta:
    """Read an ISO 8601 duration of weeks, days and time (`PT4H`, `P2D`); with `short` also `1h30m`.

    Years and months have no fixed length and are refused. Raises ValueError with what to write instead.
    """
    match = _ISO.fullmatch(text) or (_SHORT.fullmatch(text) if short else None)
    if match is None:
        hint = "such as PT30M, PT4H or P2D (years and months have no fixed length)"
        raise ValueError(f"{text!r} is not an ISO 8601 duration {hint}")
    part = {name: float(value or 0) for name, value in match.groupdict().items()}
    try:
        result = timedelta(weeks=part["w"], days=part["d"], hours=part["h"], minutes=part["m"], seconds=part["s"])
    except OverflowError:
        result = timedelta.max
    if result > MAX_DURATION:
        raise ValueError(f"{text!r} is longer than ten years")
    return result


def format_duration(value: timedelta) -> str:
    """Write an ISO 8601 duration with days and time parts; zero is `PT0S`. Negative durations are refused."""
    if value < timedelta(0):
        raise ValueError("a duration can't be negative")
    hours, rest = divmod(value.seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    fraction = f".{value.microseconds:06d}".rstrip("0") if value.microseconds else ""
    time = "".join((f"{hours}H" if hours else "", f"{minutes}M" if minutes else ""))
    if seconds or fraction:
        time += f"{seconds}{fraction}S"
    days = f"{value.days}D" if value.days else ""
    return f"P{days}T{time}" if time else (f"P{days}" if days else "PT0S")


def _duration_in(value: object) -> object:
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, timedelta):
        return value
    raise ValueError("a duration is a string such as PT30M")


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration_in),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "format": "duration", "examples": ["PT30M"]}),
]
"""A span of time; ISO 8601 in JSON."""


def parse_percent(text: str) -> Decimal:
    """Read `"10%"` as 10; more than 0, at most 100, up to four decimals. Raises ValueError."""
    match = _PERCENT.fullmatch(text)
    if match is None:
        raise ValueError(f'{text!r} is not a percent such as "10%"')
    value = Decimal(match[1])
    if value == 0:
        raise ValueError('"0%" would never let anything start; leave it out, or use a number')
    if value > 100:
        raise ValueError(f"{text!r} is above 100%")
    return value


def share_of(percent: Decimal, total: int, *, up: bool = False) -> int:
    """Take `percent` of `total` targets: rounded down and at least 1, or rounded up (failure limits)."""
    exact = percent * total / 100
    return int(exact.to_integral_value(ROUND_CEILING)) if up else max(1, int(exact))


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit as a person writes it: a number, a percent, or a list of them of which the smallest wins."""

    terms: tuple[int | str, ...]

    @classmethod
    def parse(cls, value: object) -> Limit:
        """Read an int, a percent string or a non-empty list of both. Raises ValueError."""
        if isinstance(value, Limit):
            return value
        items: Sequence[object] = value if isinstance(value, list | tuple) else [value]
        if not items:
            raise ValueError("an empty list limits nothing; leave the field out instead")
        return cls(tuple(_term(item) for item in items))

    def resolve(self, total: int, *, up: bool = False) -> int:
        """Turn it into a count for `total` targets. `up` rounds percents up: for failure limits."""
        return min(t if isinstance(t, int) else share_of(parse_percent(t), total, up=up) for t in self.terms)

    def percent(self) -> Decimal | None:
        """The percent, if that is all it is."""
        only = self.terms[0]
        return parse_percent(only) if len(self.terms) == 1 and isinstance(only, str) else None

    def to_json(self) -> int | str | list[int | str]:
        """Give back what was written."""
        return self.terms[0] if len(self.terms) == 1 else list(self.terms)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let pydantic read and write the JSON form."""
        return core_schema.no_info_plain_validator_function(
            cls.parse, serialization=core_schema.plain_serializer_function_ser_schema(cls.to_json)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: Any) -> dict[str, Any]:
        """Describe the JSON form in OpenAPI."""
        term = {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": MAX_COUNT},
                {"type": "string", "pattern": _PERCENT.pattern},
            ]
        }
        listed = {"type": "array", "items": term, "minItems": 1}
        return {"anyOf": [*term["anyOf"], listed], "examples": ["10%", 20, ["10%", 20]]}


def _term(value: object) -> int | str:
    if isinstance(value, str):
        parse_percent(value)
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT:
        return value
    raise ValueError(f'a limit is a whole number from 0 to {MAX_COUNT}, a percent such as "10%", or a list of both')


def resolve(limit: int | str | Sequence[int | str] | Limit, total: int, *, up: bool = False) -> int:
    """Resolve a limit as written (`3`, `"10%"`, `["10%", 20]`) for `total` targets; see `Limit.resolve`."""
    return Limit.parse(limit).resolve(total, up=up)


_QUANTITY = re.compile(
    r"^([+-]?[0-9]+(?:\.[0-9]*)?|[+-]?\.[0-9]+)(?:(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE])|[eE]([+-]?[0-9]{1,2}))?$"
)
_SUFFIX: dict[str | None, Decimal] = {
    None: Decimal(1),
    **{
        s: Decimal(10) ** e
        for s, e in {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}.items()
    },
    **{s: Decimal(1024) ** e for e, s in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)},
}


def parse_quantity(text: str | int) -> Decimal:
    """Read a Kubernetes resource quantity (`250m`, `1.5Gi`, `2e3`) in base units: cores, bytes, pieces.

    Grammar: apimachinery's `resource.Quantity`. Raises ValueError.
    """
    match = _QUANTITY.fullmatch(str(text))
    if match is None:
        raise ValueError(f"{text!r} is not a Kubernetes quantity such as 250m, 2 or 1.5Gi")
    number, suffix, exponent = match.groups()
    return Decimal(number) * (Decimal(10) ** int(exponent) if exponent else _SUFFIX[suffix])


def format_quantity(value: Decimal, *, binary: bool = False) -> str:
    """Write a quantity shortly: `binary` for memory (`1536Mi`), else cores and counts (`250m`, `3.2`)."""
    if binary:
        for suffix in ("Ei", "Pi", "Ti", "Gi", "Mi", "Ki"):
            if value and value % _SUFFIX[suffix] == 0:
                return f"{int(value / _SUFFIX[suffix])}{suffix}"
        return str(int(value.to_integral_value(ROUND_CEILING)))
    if value == value.to_integral_value():
        return str(int(value))
    millis = int((value * 1000).to_integral_value(ROUND_CEILING))
    return f"{millis}m" if millis < 1000 or millis % 100 else str(Decimal(millis) / 1000)


_AMOUNT = r"^-?[0-9]{1,15}(\.[0-9]{1,4})?$"


def _amount_in(value: object) -> object:
    if isinstance(value, Decimal) or (isinstance(value, str) and re.fullmatch(_AMOUNT, value)):
        return value
    raise ValueError('an amount is a decimal string such as "61.50"; a JSON number would lose cents')


Amount = Annotated[
    Decimal,
    BeforeValidator(_amount_in),
    PlainSerializer(lambda d: format(d, "f"), return_type=str),
    WithJsonSchema({"type": "string", "pattern": _AMOUNT, "examples": ["61.50"]}),
]
"""A decimal that travels as a string."""


class Money(Wire):
    """An amount in one currency (ISO 4217 code)."""

    amount: Amount
    currency: Annotated[str, StringConstraints(pattern="^[A-Z]{3}$")]

    def __add__(self, other: Money) -> Money:
        if other.currency != self.currency:
            raise ValueError(f"{self.currency} and {other.currency} can't be added without a rate")
        return Money(amount=self.amount + other.amount, currency=self.currency)

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"

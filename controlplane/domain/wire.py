"""The base of everything that has a JSON form: camelCase outside, snake_case inside, unknown fields refused."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from controlplane.domain.errors import FieldError


class Wire(BaseModel):
    """A frozen value with a JSON form. Python code uses snake_case, JSON uses camelCase, in both directions."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        extra="forbid",
        frozen=True,
    )


def pointer(parts: Sequence[str | int]) -> str:
    """Write a JSON pointer (RFC 6901): `("waves", 0, "cut")` becomes `/waves/0/cut`."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def field_errors(error: ValidationError, prefix: Sequence[str | int] = ()) -> tuple[FieldError, ...]:
    """Turn pydantic's complaints into ours, one per place, without the values (they may be secrets)."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return tuple(FieldError(pointer([*prefix, *e["loc"]]), e["msg"].removeprefix("Value error, ")) for e in found)

"""The base of everything that has a JSON form: camelCase outside, snake_case inside, unknown fields refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from controlplane.domain.errors import FieldError
from controlplane.domain.names import (
    DIGEST_PATTERN,
    NAME_PATTERN,
    RELEASE_REF_PATTERN,
    VERSION_PATTERN,
    VERSIONED_NAME_PATTERN,
)

_LABEL: Final = "lower-case letters, digits and '-', at most 63 characters, a letter or digit first and last"
_PATTERNS: Final = {
    NAME_PATTERN: f"is no DNS-1123 label: {_LABEL}",
    VERSIONED_NAME_PATTERN: f"is neither a name ({_LABEL}) nor one with a version, such as careful@7",
    VERSION_PATTERN: "is no version: up to 128 characters without '/' and ':', the first of them no blank",
    DIGEST_PATTERN: "is no digest: 'sha256:' and 64 hexadecimal digits in lower case",
    RELEASE_REF_PATTERN: "is no release: app/version, such as odoo/17.0.4",
}
_SAID: Final = {
    "extra_forbidden": "there is no field of this name here; correct its spelling or leave it out",
    "missing": "is required; add it",
    "uuid_parsing": "is no UUID; take the id as it was answered",
    "uuid_type": "is no UUID; take the id as it was answered",
}


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
    found = error.errors(include_url=False, include_input=False)
    return tuple(FieldError(pointer([*prefix, *e["loc"]]), said(e)) for e in found)


def said(error: Mapping[str, Any]) -> str:
    """Say one of pydantic's complaints to a person who knows neither pydantic nor regular expressions; without the value."""
    if error["type"] == "string_pattern_mismatch":
        known = _PATTERNS.get(error.get("ctx", {}).get("pattern", ""))
        return known or str(error["msg"])
    return _SAID.get(error["type"]) or str(error["msg"]).removeprefix("Value error, ")

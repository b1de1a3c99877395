"""Label selectors in Kubernetes syntax: `ring=pilot,tier in (standard,premium),!legacy`.

Grammar and meaning are apimachinery's (`k8s.io/apimachinery/pkg/labels`): comma is "and"; `key!=v` and
`key notin (v)` also match where the key is missing; `key` asks for presence, `!key` for absence; `key>3` and
`key<3` compare whole numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, WithJsonSchema

from controlplane.domain.errors import FieldError, InvalidError

Operator = Literal["=", "!=", "in", "notin", "exists", "!", ">", "<"]

BUILT_IN_KEYS = ("tenant", "tier", "region", "cluster", "environment")
"""Keys every target has besides its own labels; they win over a label of the same name."""

MAX_LENGTH = 2000
_TOKEN = re.compile(r"\s*(?:(?P<op>==|!=|=|!|>|<|,|\(|\))|(?P<word>[^\s=!<>,()]+))")
_KEY = re.compile(
    r"^(?:[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
)
_VALUE = re.compile(r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$")


class SelectorError(ValueError):
    """The text is not a selector. `position` counts characters from 0."""

    def __init__(self, text: str, position: int, problem: str) -> None:
        super().__init__(f"{problem} at character {position + 1} of the selector {text!r}")
        self.position = position


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one key."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels meet this condition."""
        value = labels.get(self.key)
        match self.operator:
            case "=" | "in":
                return value in self.values
            case "!=" | "notin":
                return value not in self.values
            case "exists":
                return value is not None
            case "!":
                return value is None
            case _:
                return value is not None and self._compares(value)

    def _compares(self, value: str) -> bool:
        if not re.fullmatch(r"-?[0-9]{1,18}", value):
            return False
        bound = int(next(iter(self.values)))
        return int(value) > bound if self.operator == ">" else int(value) < bound

    def __str__(self) -> str:
        listed = ",".join(sorted(self.values))
        match self.operator:
            case "in" | "notin":
                return f"{self.key} {self.operator} ({listed})"
            case "exists":
                return self.key
            case "!":
                return f"!{self.key}"
            case _:
                return f"{self.key}{self.operator}{listed}"


@dataclass(frozen=True, slots=True)
class Selector:
    """All requirements must hold; a selector without any matches everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels (own and built-in keys together) meet all requirements."""
        return all(r.matches(labels) for r in self.requirements)

    def __str__(self) -> str:
        return ",".join(sorted(map(str, self.requirements)))


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    position: int
    is_word: bool


def _tokens(text: str) -> Iterator[_Token]:
    position = 0
    end = len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:  # the pattern takes any character, so this is a hole in the pattern
            raise SelectorError(text, position, "unreadable text")
        word = match["word"]
        yield _Token(word or match["op"], match.start("word" if word else "op"), bool(word))
        position = match.end()


class _Parser:
    """Recursive descent over the tokens; knows where it is, so that every complaint has a position."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(_tokens(text))
        self.index = 0

    def fail(self, problem: str) -> SelectorError:
        at = self.tokens[self.index].position if self.index < len(self.tokens) else len(self.text)
        return SelectorError(self.text, at, problem)

    def peek(self) -> str | None:
        return self.tokens[self.index].text if self.index < len(self.tokens) else None

    def take(self, *wanted: str) -> str | None:
        if self.peek() in wanted:
            self.index += 1
            return self.tokens[self.index - 1].text
        return None

    def word(self, pattern: re.Pattern[str], what: str) -> str:
        token = self.tokens[self.index] if self.index < len(self.tokens) else None
        if token is None or not token.is_word:
            raise self.fail(f"{what} expected")
        if not pattern.match(token.text):
            raise self.fail(f"{token.text!r} is not a valid {what}")
        self.index += 1
        return token.text

    def selector(self) -> Selector:
        found = []
        while self.peek() is not None:
            found.append(self.requirement())
            if self.peek() is None:
                break
            if not self.take(","):
                raise self.fail("',' expected")
            if self.peek() is None:
                raise self.fail("a requirement expected after ','")
        return Selector(tuple(found))

    def requirement(self) -> Requirement:
        if self.take("!"):
            return Requirement(self.word(_KEY, "label key"), "!")
        key = self.word(_KEY, "label key")
        operator = self.take("=", "==", "!=", ">", "<", "in", "notin")
        match operator:
            case None:
                return Requirement(key, "exists")
            case "in" | "notin":
                return Requirement(key, operator, self.values())
            case ">" | "<":
                return Requirement(key, operator, frozenset({self.word(re.compile(r"^[0-9]{1,18}$"), "whole number")}))
            case _:
                return Requirement(key, "!=" if operator == "!=" else "=", frozenset({self.value()}))

    def value(self) -> str:
        if self.peek() in (None, ",", ")"):
            return ""
        return self.word(_VALUE, "label value")

    def values(self) -> frozenset[str]:
        if not self.take("("):
            raise self.fail("'(' expected")
        found = {self.value()}
        while self.take(","):
            found.add(self.value())
        if not self.take(")"):
            raise self.fail("',' or ')' expected")
        return frozenset(found)


def parse_selector(text: str) -> Selector:
    """Read a selector. Raises SelectorError (a ValueError) that says what was expected and where."""
    if len(text) > MAX_LENGTH:
        raise SelectorError(text[:40] + "...", MAX_LENGTH, f"more than {MAX_LENGTH} characters")
    return _Parser(text).selector()


def selector_from(text: str, pointer: str = "/selector") -> Selector:
    """Read a caller's selector. Raises InvalidError `invalid-selector` that names the field."""
    try:
        return parse_selector(text)
    except SelectorError as error:
        raise InvalidError(
            f"The selector can't be read: {error}. Write it as kubectl takes it, such as 'country=fr,tier in (a,b)'.",
            code="invalid-selector",
            errors=[FieldError(pointer, str(error))],
        ) from error


def _checked(text: str) -> str:
    parse_selector(text)
    return text


SelectorText = Annotated[
    str,
    AfterValidator(_checked),
    WithJsonSchema({"type": "string", "examples": ["country=fr,tier in (standard,premium)"]}),
]
"""A selector as text, checked when read."""


def labels_of(
    labels: Mapping[str, str], *, tenant: str, tier: str, region: str, cluster: str, environment: str
) -> dict[str, str]:
    """Give what selectors see of a target: its own labels and the built-in keys, which win."""
    own = {"tenant": tenant, "tier": tier, "region": region, "cluster": cluster, "environment": environment}
    return {**labels, **own}


def labels_of_placed(one: Any) -> dict[str, str]:
    """The same of whatever has all six: a plan's target, or a row of the registry."""
    where = {"tier": one.tier, "region": one.region, "cluster": one.cluster, "environment": one.environment}
    return labels_of(one.labels, tenant=one.tenant, **where)

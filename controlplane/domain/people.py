"""People by all their names (`PUT /v1/people/NAME`), so that one person is one person whatever she signs in or commits with.

A commit names an e-mail address, a CI token a GitHub login, a sign-in an OpenID Connect subject. Only an administrator can say
that they are one person; without an entry each name stands for itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from controlplane.domain.wire import Wire

OneName = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$")]
PREFIX: Final = "people/"


class Person(Wire):
    """The body of `PUT /v1/people/NAME`."""

    names: tuple[OneName, ...] = Field(
        min_length=1,
        max_length=50,
        description="E-mail addresses, logins at the forge, OpenID Connect ids (`oidc:ISSUER#SUBJECT`), ids of keys (`key:...`).",
    )


def names_of(given: Iterable[str], people: Mapping[str, Person]) -> frozenset[str]:
    """All names, in lower case, of whoever has one of the given ones; `people/NAME` is among them if there is an entry."""
    found = {name.strip().lower() for name in given} - {""}
    entries = {f"{PREFIX}{key}": {name.strip().lower() for name in one.names} for key, one in people.items()}
    while fresh := {key for key, names in entries.items() if names & found and key not in found}:
        found |= fresh.union(*(entries[key] for key in fresh))
    return frozenset(found)


def one_name(given: str, names: Iterable[str]) -> str:
    """The name a person is recorded under: her entry's if she has one (the first, should two entries be hers), else the given one."""
    return min((name for name in names if name.startswith(PREFIX)), default=given)

"""Who is who: the entries of `people` in force."""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.domain.people import Person, names_of
from controlplane.ports.uow import UnitOfWork

_PAGE = 500


async def all_names(uow: UnitOfWork, *groups: Iterable[str]) -> tuple[frozenset[str], ...]:
    """For each group of names: all names of the people they stand for, in lower case."""
    people: dict[str, Person] = {}
    after: str | None = None
    while page := await uow.configuration.page("people", after, _PAGE):
        people |= {record.name: Person.model_validate(record.spec) for record in page}
        after = page[-1].name
    # Each name by itself: two authors are two people, and an entry of one must not lead to the other.
    return tuple(frozenset().union(*(names_of([name], people) for name in group)) for group in groups)

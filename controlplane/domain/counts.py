"""How many targets of each wave stand where, kept change by change, so that a read of a rollout costs nothing per target. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a memory has counts, and counts are of targets
    from controlplane.domain.engine import TargetNow

type _Group = tuple[str, str]
type _Members = dict[str, datetime | None]


@dataclass(frozen=True, slots=True)
class GroupCount:
    """So many targets of a wave in one state for one reason, and one of them. `until`: when the first of them may stop waiting."""

    state: str
    code: str
    number: int
    tenant: str
    until: datetime | None = None


class Counts:
    """Members of each (state, code) of each wave, with the time until which each waits."""

    def __init__(self, targets: Iterable[TargetNow] = ()) -> None:
        self._waves: dict[int, dict[_Group, dict[str, datetime | None]]] = {}
        for target in targets:
            self._add(target)

    def move(self, old: TargetNow, new: TargetNow) -> None:
        """Take in that a target changed."""
        groups = self._waves[old.wave]
        if _group(old) != _group(new):
            members = groups[_group(old)]
            del members[old.tenant]
            if not members:
                del groups[_group(old)]
        self._add(new)

    def of(self, wave: int) -> list[GroupCount]:
        """A wave's groups as they are."""
        return _counted(self._waves.get(wave, {}), {}, frozenset())

    def after(self, changes: Sequence[tuple[TargetNow, TargetNow]]) -> Mapping[int, list[GroupCount]]:
        """The groups of each wave that these changes (before, after; each target once) touch, as they will be."""
        joined: defaultdict[int, defaultdict[_Group, _Members]] = defaultdict(lambda: defaultdict(dict))
        for _, new in changes:
            joined[new.wave][_group(new)][new.tenant] = new.waits_until
        moving = frozenset(new.tenant for _, new in changes)
        return {wave: _counted(self._waves.get(wave, {}), groups, moving) for wave, groups in joined.items()}

    def _add(self, target: TargetNow) -> None:
        self._waves.setdefault(target.wave, {}).setdefault(_group(target), {})[target.tenant] = target.waits_until


def _counted(
    have: Mapping[_Group, Mapping[str, datetime | None]], joined: Mapping[_Group, _Members], moving: frozenset[str]
) -> list[GroupCount]:
    found = []
    for group in sorted(have.keys() | joined.keys()):
        stay, new = have.get(group, {}), joined.get(group, {})
        gone = sum(1 for tenant in moving if tenant in stay)
        number = len(stay) - gone + len(new)
        if number:
            example = next((tenant for tenant in stay if tenant not in moving), None) or next(iter(new))
            found.append(GroupCount(*group, number, example, _first(group, stay, new, moving)))
    return found


def _first(
    group: _Group, stay: Mapping[str, datetime | None], new: _Members, moving: frozenset[str]
) -> datetime | None:
    """When the first of a group may stop waiting. Only who has a reason to wait is looked at: mostly nobody."""
    if not group[1]:
        return None
    times = [until for tenant, until in stay.items() if until is not None and tenant not in moving]
    return min([*times, *(until for until in new.values() if until is not None)], default=None)


def _group(target: TargetNow) -> _Group:
    return str(target.state), target.code

"""Channels: which releases a tenant follows, and which one a new tenant gets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Protocol, Self

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version
from pydantic import Field, model_validator

from controlplane.domain.wire import Wire

STABLE = "stable"


class Candidate(Protocol):
    """A release as far as the choice needs it."""

    @property
    def version(self) -> str:
        """Its version."""

    @property
    def proven(self) -> bool:
        """Whether a rollout of it succeeded."""

    @property
    def held(self) -> bool:
        """Whether its bytes are held."""


class Channel(Wire):
    """A channel's rule: a range of versions (`>=17,<18`; none: all), and whether pre-releases belong to it."""

    versions: Annotated[str, Field(max_length=200)] | None = None
    prereleases: bool = False

    @model_validator(mode="after")
    def _is_range(self) -> Self:
        try:
            SpecifierSet(self.versions or "")
        except InvalidSpecifier as error:
            raise ValueError(f"{self.versions!r} is not a range of versions such as >=17,<18") from error
        return self

    def has(self, version: str) -> bool:
        """Whether a version belongs to the channel. One that can't be read as a version belongs only where no range is set."""
        try:
            parsed = Version(version)
        except InvalidVersion:
            return self.versions is None
        if parsed.is_prerelease and not self.prereleases:
            return False
        return SpecifierSet(self.versions or "").contains(parsed, prereleases=True)


def default_channel(name: str) -> Channel:
    """The rule of a channel that the app's configuration does not name: `stable` has no pre-releases, any other has all."""
    return Channel(prereleases=name != STABLE)


def choose_release[C: Candidate](newest_first: Iterable[C], channel: Channel) -> C | None:
    """Choose what a new tenant gets: the newest proven, not held release of the channel.

    Where no release of the app is proven at all (the very first installation), the newest that is not held.
    """
    known = list(newest_first)
    open_ones = [one for one in known if not one.held and channel.has(one.version)]
    if any(one.proven for one in known):
        open_ones = [one for one in open_ones if one.proven]
    return open_ones[0] if open_ones else None

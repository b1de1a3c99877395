"""Several places for the heads of the audit chain at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from controlplane.domain.audit_chain import Anchor
from controlplane.ports.anchors import Anchors


class Everywhere:
    """See `controlplane.ports.anchors.Anchors`: written to each place, read from all."""

    def __init__(self, places: Sequence[Anchors]) -> None:
        self._places = places

    async def put(self, anchor: Anchor) -> None:
        """Write to each, also when another is away; raises what the first one that failed says."""
        found = await asyncio.gather(*(place.put(anchor) for place in self._places), return_exceptions=True)
        for one in found:
            if isinstance(one, BaseException):
                raise one

    async def read(self) -> Sequence[Anchor]:
        """What any of them holds; a place that can't be read is said, because what it alone holds would be missed."""
        return [anchor for place in self._places for anchor in await place.read()]


def together(places: Sequence[Anchors]) -> Anchors | None:
    """One place out of several; None for none."""
    if len(places) > 1:
        return Everywhere(places)
    return places[0] if places else None

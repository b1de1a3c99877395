"""The contract of places for heads of the audit chain, on each of them: what was put is read, in order, by whoever looks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from controlplane.adapters.anchor_blobs import AnchorBlobs
from controlplane.adapters.anchor_file import AnchorFile
from controlplane.adapters.anchors import together
from controlplane.adapters.secrets import LocalSecrets
from controlplane.domain.audit_chain import Anchor, Seal
from controlplane.domain.errors import DependencyError
from controlplane.domain.secret_refs import SecretRef
from controlplane.ports.anchors import Anchors
from tests.contract.fleets import fresh_name
from tests.support.azurite import Azurite

START = datetime(2026, 11, 25, 7, 59, tzinfo=UTC)


def head(number: int, minutes: float = 0, *, checkpoint: bool = False) -> Anchor:
    return Anchor(Seal(number, f"sha256:{number}"), (START + timedelta(minutes=minutes)).isoformat(), checkpoint)


@dataclass
class Kept:
    """A place under contract: one client of it after another, and one that can't be written to."""

    another: Callable[[], Anchors]
    away: Anchors


@pytest.fixture(params=["file", "blobs", "both"])
async def kept(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kept]:
    file, away = AnchorFile(tmp_path / "heads"), AnchorFile(tmp_path / "no" / "heads")
    if request.param == "file":
        yield Kept(lambda: file, away)
        return
    azurite: Azurite = request.getfixturevalue("azurite")
    name = fresh_name("heads")
    address = azurite.make(name)
    (tmp_path / "adds").write_text(azurite.sas(name, "racl"))
    (tmp_path / "reads").write_text(azurite.sas(name, "rl"))
    made: list[AnchorBlobs] = []

    def blobs(sas: str) -> AnchorBlobs:
        made.append(AnchorBlobs(address, LocalSecrets(tmp_path), SecretRef(file=sas), ca=azurite.ca))
        return made[-1]

    if request.param == "blobs":
        yield Kept(lambda: blobs("adds"), blobs("reads"))
    else:
        both, half = together([file, blobs("adds")]), together([file, blobs("reads")])
        assert both is not None
        assert half is not None
        yield Kept(lambda: both, half)
    for one in made:
        await one.close()


async def test_what_was_put_is_read_in_order_by_whoever_looks(kept: Kept) -> None:
    assert list(await kept.another().read()) == []
    writer, reader = kept.another(), kept.another()
    given = [head(1), head(2, 2), head(3, 3, checkpoint=True), head(4, 500), head(5, 2000)]
    for one in given:
        await writer.put(one)
        assert one in await reader.read()  # also by one that looked before
    found = list(dict.fromkeys(await kept.another().read()))
    assert found == given


async def test_of_many_that_are_put_at_once_by_several_none_is_lost(kept: Kept) -> None:
    writers = [kept.another() for _ in range(4)]
    await asyncio.gather(*(writers[n % 4].put(head(n + 1)) for n in range(24)))
    assert {one.seal.number for one in await kept.another().read()} == set(range(1, 25))


async def test_a_place_that_can_not_be_written_to_is_said_and_keeps_what_it_has(kept: Kept) -> None:
    await kept.another().put(head(1))
    with pytest.raises(DependencyError) as refused:
        await kept.away.put(head(2))
    assert refused.value.code == "anchor-unavailable"
    assert "sig=" not in refused.value.detail
    assert head(1) in await kept.another().read()

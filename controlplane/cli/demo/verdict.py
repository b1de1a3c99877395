"""Whether the demo ended as promised. Pure: it reads what the API said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from controlplane.cli.client import Json

from .scene import BAD, BROKEN, GOOD, WAVES
from .story import Rolled, Standing


def good_run(run: Rolled, tenants: int) -> Iterator[str]:
    """What is not as promised about the good release: nothing, or sentences."""
    view = run.view
    if view["state"] != "succeeded":
        yield f"the rollout of {GOOD} ended as {view['state']}, not as succeeded"
    names = tuple(wave["name"] for wave in view["waves"])
    if names != WAVES:
        yield f"the rollout of {GOOD} had the waves {', '.join(names)}, not {', '.join(WAVES)}"
    verified = _in(run, "verified")
    if len(verified) != tenants:
        yield f"{len(verified)} of {tenants} tenants were verified on {GOOD}"


def bad_run(run: Rolled) -> Iterator[str]:
    """What is not as promised about the bad release."""
    view = run.view
    if view["state"] != "failed":
        yield f"the rollout of {BAD} ended as {view['state']}, not as failed"
    if _in(run, "rolledBack") != BROKEN:
        yield f"rolled back were {_names(_in(run, 'rolledBack'))}, not exactly {_names(BROKEN)}"
    if stuck := _in(run, "stuck"):
        yield f"stuck: {_names(stuck)}"
    waves = [wave["name"] for wave in view["waves"]]
    hit = {t["wave"] for t in run.targets if t["tenant"] in BROKEN}
    if len(hit) != 1:
        yield f"the broken tenants were in the waves {_names(hit)}, not in one"
        return
    position = waves.index(next(iter(hit)))
    yield from _waves(run, position)


def _waves(run: Rolled, position: int) -> Iterator[str]:
    """Waves before the one that was hit passed, it halted, those after it were never touched."""
    for number, wave in enumerate(run.view["waves"]):
        members = [t for t in run.targets if t["wave"] == wave["name"]]
        if number < position and wave["state"] != "done":
            yield f"wave {wave['name']} is {wave['state']}, though nothing broke in it"
        if number == position and wave["state"] != "failed":
            yield f"wave {wave['name']} is {wave['state']}, though three tenants broke in it"
        if number > position:
            touched = {
                t["tenant"] for t in members if t["startedAt"] or t["state"] not in ("pending", "cancelled", "skipped")
            }
            if touched:
                yield f"wave {wave['name']} was touched: {_names(touched)}"


def ending(run: Rolled, standings: Sequence[Standing]) -> Iterator[str]:
    """What is not as promised about what each tenant runs at the end."""
    verified = _in(run, "verified")
    for one in standings:
        wanted = BAD if one.tenant in verified else GOOD
        if one.version != wanted or not one.verified:
            verified_word = "verified" if one.verified else "not verified"
            yield f"{one.tenant} runs {one.version} ({verified_word}), not {wanted}"
        if one.health != "healthy":
            yield f"{one.tenant} is {one.health}"


def held(release: Json, fate: Json) -> Iterator[str]:
    """What is not as promised about the hold of the bad release."""
    if not release.get("hold"):
        yield f"{BAD} is not held"
    outcomes = {one["outcome"] for one in fate["fate"]}
    if outcomes != {"held"}:
        yield f"an event for {BAD} ended as {_names(outcomes)}, not as held"


def _in(run: Rolled, state: str) -> frozenset[str]:
    return frozenset(t["tenant"] for t in run.targets if t["state"] == state)


def _names(names: frozenset[str] | set[str]) -> str:
    return ", ".join(sorted(names)) or "nobody"

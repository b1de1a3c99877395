"""A worker is killed with SIGKILL in the middle of a rollout: how long until another one issues its next step, at the lease of production."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

from controlplane.adapters.embedded.processes import Child
from controlplane.domain.requests import Ask, RolloutRequest
from controlplane.ports.leases import TTL_SECONDS
from controlplane.services.rollouts.start import plan_and_start
from controlplane.services.rollouts.tools import RolloutTools
from tests.bench.bench_engine import CLUSTER, Stand, stand
from tests.bench.rows import Row
from tests.contract.fleets import until

ROUNDS = 3
STRATEGY = {
    "waves": [{"name": "all", "cut": {"percent": "100%"}, "soak": {"for": "PT0.5S", "samples": 1}}],
    "limits": {"inFlight": 4},
}


async def measure() -> list[Row]:
    """The slowest of a few kills."""
    folder = Path(tempfile.mkdtemp(prefix="seawall-takeover-"))
    try:
        async with stand(200) as place:
            place.rows.config("strategies", "slow", STRATEGY)
            taken = [await _kill(place, folder, number) for number in range(ROUNDS)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    worst = max(taken)
    what = f"lease {TTL_SECONDS:g} s, two workers, SIGKILL while 4 of 200 are in flight, simulated fleet"
    spread = f"{min(taken):.3g} to {worst:.3g} ({ROUNDS} kills)"
    return [
        Row(
            "worker killed -> its rollout moves again",
            round(worst, 2),
            "s",
            spread,
            "<= 12 s (the lease)",
            worst <= TTL_SECONDS,
            what,
        )
    ]


async def _kill(place: Stand, folder: Path, number: int) -> float:
    place.rows.release(f"{number + 1}.0")
    ask = Ask(RolloutRequest.model_validate({"release": f"odoo/{number + 1}.0", "strategy": "slow"}))
    rollout = (
        await plan_and_start(RolloutTools(open=place.database.platform), ask, actor="bench", origin={"kind": "person"})
    ).id
    first = _worker(place, folder, f"{number}-first")
    verified = "select count(*) from targets where rollout_id = %s and state = 'verified'"
    await until(lambda: place.rows.ask(verified, rollout)[0][0] > 10, 60)
    second = _worker(place, folder, f"{number}-second")
    guards = "select count(*) from pg_stat_activity where application_name = 'seawall-guard' and state = 'idle'"
    await until(lambda: place.rows.ask(guards)[0][0] == 2, 60)
    issued = "select count(*) from steps where subject_id = %s"
    first.kill()
    first.process.wait(10)
    start, before = time.perf_counter(), place.rows.ask(issued, rollout)[0][0]
    await until(lambda: place.rows.ask(issued, rollout)[0][0] > before, 60)
    taken = time.perf_counter() - start
    over = "select count(*) from rollouts where id = %s and state = 'succeeded'"
    await until(lambda: place.rows.ask(over, rollout)[0][0] == 1, 120)
    second.stop()
    return taken


def _worker(place: Stand, folder: Path, name: str) -> Child:
    clusters = folder / "clusters.yaml"
    clusters.write_text(f"{CLUSTER}: {{kind: simulated, address: '{place.address}'}}\n")
    env = {"SEAWALL_DATABASE_URL_ENGINE": place.engine_url, "SEAWALL_CLUSTERS": str(clusters)}
    return Child(name, [sys.executable, "-m", "workers"], folder / f"{name}.log", env=env)

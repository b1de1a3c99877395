"""The simulated fleet as a process of its own."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import orjson

from controlplane.adapters.simulated import SimulatedCluster
from tests.contract.fleets import deployment, fence, until


async def served(*options: str) -> tuple[asyncio.subprocess.Process, str]:
    command = (sys.executable, "-m", "controlplane.adapters.simulated", "--listen", "127.0.0.1:0", *options)
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode().strip()
    assert line.startswith("listening on 127.0.0.1:")
    return process, line.removeprefix("listening on ")


async def test_it_says_where_it_listens_obeys_its_profile_and_saves_when_it_is_told_to_end(tmp_path: Path) -> None:
    profile, snapshot = tmp_path / "profile.json", tmp_path / "fleet.json"
    profile.write_bytes(orjson.dumps({"ready": [0, 0], "faults": [{"image": "*:bad", "fault": "never-ready"}]}))
    process, address = await served("--profile", str(profile), "--snapshot", str(snapshot), "--seed", "3")
    cluster = SimulatedCluster.at("sim", address)
    await cluster.start()
    await cluster.install()
    for name, image in (("good", "odoo:good"), ("bad", "odoo:bad")):
        made = await cluster.create_namespace(name, {}, {})
        await cluster.seal(name, made.uid, fence())
        await cluster.apply(name, deployment(image=image), fence())
    await until(lambda: (s := cluster.workloads("good").get(("Deployment", "web"))) and s.available == 1)
    await until(lambda: (s := cluster.workloads("bad").get(("Deployment", "web"))) and s.updated == 1)
    assert cluster.workloads("bad")["Deployment", "web"].available == 0
    await cluster.close()
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
    saved = orjson.loads(snapshot.read_bytes())
    assert saved["fenceOn"]
    assert {one["obj"]["metadata"]["name"] for one in saved["objects"]} >= {"good", "bad"}


async def test_a_fault_that_nobody_knows_ends_the_process_with_its_name(tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    profile.write_bytes(orjson.dumps({"faults": [{"fault": "explodes"}]}))
    command = (sys.executable, "-m", "controlplane.adapters.simulated", "--listen", "127.0.0.1:0")
    process = await asyncio.create_subprocess_exec(*command, "--profile", str(profile), stderr=PIPE)
    _, told = await process.communicate()
    assert process.returncode == 2
    assert b"explodes" in told
    assert b"Traceback" not in told

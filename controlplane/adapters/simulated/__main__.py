"""`python -m controlplane.adapters.simulated --listen ADDR`: one simulated fleet for all processes of this machine."""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path

from controlplane.adapters.simulated.front import Front
from controlplane.adapters.simulated.profile import Profile
from controlplane.adapters.simulated.server import FleetServer
from controlplane.adapters.simulated.wire import parse_address
from controlplane.adapters.simulated.world import World

SAVE_EVERY = 10.0
"""Seconds between two snapshots."""


def main() -> None:
    """Serve until SIGTERM or SIGINT; prints `listening on ADDR` once ready."""
    parser = argparse.ArgumentParser(prog="python -m controlplane.adapters.simulated", description=__doc__)
    parser.add_argument("--listen", required=True, help="unix:/path or 127.0.0.1:port (0: any free one)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--profile", type=Path, help="JSON: durations and rules that break releases")
    parser.add_argument("--snapshot", type=Path, help="file to load from and save to")
    args = parser.parse_args()
    try:
        parse_address(args.listen)
        profile = Profile.model_validate_json(args.profile.read_bytes()) if args.profile else Profile()
    except (OSError, ValueError) as error:
        parser.error(str(error))
    asyncio.run(_serve(args, profile))


async def _serve(args: argparse.Namespace, profile: Profile) -> None:
    server = FleetServer(Front(World(seed=args.seed, profile=profile)), args.listen, args.snapshot)
    await server.start()
    print(f"listening on {server.address}", flush=True)  # noqa: T201 # the line that a parent process waits for
    stop = asyncio.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(one, stop.set)
    while not stop.is_set():
        try:
            await asyncio.wait_for(stop.wait(), SAVE_EVERY)
        except TimeoutError:
            server.save()
    await server.close()


if __name__ == "__main__":
    main()

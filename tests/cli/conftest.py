"""The command line as a process of its own, against the API on real PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.plugins.api import Api
from tests.support.forked import Forked


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass
class Cli:
    """Runs `seawall` with a home of its own."""

    home: Path
    environ: dict[str, str] = field(default_factory=dict)

    async def __call__(self, *words: str, stdin: str = "", **environ: str) -> Result:
        """Run one command to its end."""
        if words and words[0] in _STARTS_OTHERS:
            return await self._python(words, stdin, environ)
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write(stdin.encode())
            given.seek(0)
            process = Forked(words, given.fileno(), out.fileno(), err.fileno(), self.environ_with(environ))
            code = await ended(process)
            out.seek(0)
            err.seek(0)
            return Result(code, out.read().decode(), err.read().decode())

    async def _python(self, words: Sequence[str], stdin: str, environ: dict[str, str]) -> Result:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "controlplane.cli",
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.environ_with(environ),
        )
        out, err = await process.communicate(stdin.encode())
        return Result(process.returncode or 0, out.decode(), err.decode())

    def environ_with(self, more: dict[str, str]) -> dict[str, str]:
        """The environment of a command: nobody's profile, `seawall` of this interpreter on the path."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SEAWALL_")}
        kept["PATH"] = f"{Path(sys.executable).parent}:{kept.get('PATH', '')}"
        return {**kept, "XDG_CONFIG_HOME": str(self.home), "COLUMNS": "100", **self.environ, **more}


_STARTS_OTHERS = frozenset({"up", "demo"})
"""Commands that start processes of their own: they begin as a user's do, with Python itself."""


async def ended(process: Forked) -> int:
    """Wait for the end of a process; gives its exit code."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(process.fileno(), over.set)
    try:
        await over.wait()
    finally:
        loop.remove_reader(process.fileno())
    return process.wait()


type MakeCli = Callable[..., Awaitable[Cli]]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder outside of pytest's own, which each run of pytest closes for other users; a database server may be one."""
    made = Path(tempfile.mkdtemp(prefix="seawall-cli-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """A command line that knows no address."""
    return Cli(tmp_path / "config")


@pytest.fixture
async def admin(api: Api, cli: Cli) -> Cli:
    """A command line with a platform-admin's key."""
    key = await api.key("platform-admin")
    return Cli(cli.home, {"SEAWALL_URL": api.url, "SEAWALL_KEY": key})


@pytest.fixture
def cli_as(api: Api, cli: Cli) -> MakeCli:
    """Makes command lines with keys of other roles."""

    async def make(*roles: str, tenants: Sequence[str] = ()) -> Cli:
        key = await api.key(*roles, tenants=tenants)
        return Cli(cli.home, {"SEAWALL_URL": api.url, "SEAWALL_KEY": key})

    return make

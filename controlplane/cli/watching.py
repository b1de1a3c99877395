"""Waiting for the end of a rollout or an operation, showing what happens meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx

from .failures import CommandError, Exit, ProblemError
from .output import say, stdout
from .screens import OVER, rollout_screen, wave_outcome

if TYPE_CHECKING:
    from rich.live import Live

    from .client import Client, Json

POLL_SECONDS = 1.0
"""The longest time between two looks when the stream of events says nothing or can't be had."""


class Bell:
    """Rings when a rollout's stream of events (SSE) says that something changed."""

    def __init__(self, client: Client, rollout_id: str) -> None:
        self._client = client
        self._path = f"/v1/rollouts/{rollout_id}/events"
        self._rung = threading.Event()
        self._last = ""
        threading.Thread(target=self._listen, daemon=True, name="events").start()

    def wait(self, seconds: float) -> None:
        """Return when it rings, at the latest after `seconds`."""
        self._rung.wait(seconds)
        self._rung.clear()

    def _listen(self) -> None:
        """Read the stream once. When it breaks or is refused the bell stays silent: the watcher looks every second anyway."""
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": self._last} if self._last else {})}
        try:
            with self._client.stream(self._path, headers) as lines:
                for line in lines:
                    if line.startswith("id:"):
                        self._last = line[3:].strip()
                        self._rung.set()
        except (httpx.HTTPError, httpx.StreamError, ProblemError):
            return


def watch_rollout(client: Client, rollout_id: str, *, timeout: float | None = None) -> Exit:
    """Show a rollout until it is over or waits for a person. Raises CommandError with code 124 when time runs out."""
    screen = _screen()
    with screen as live:
        view = follow(client, rollout_id, _Teller(live, client), timeout=timeout)
    if live is None:
        stdout().print(rollout_screen(view, client.fleet))
    return exit_of(view)


def follow(client: Client, rollout_id: str, show: Callable[[Json], None], *, timeout: float | None = None) -> Json:
    """Call `show` with each new view of a rollout until it is over or waits for a person; returns the last view."""
    bell = Bell(client, rollout_id)
    deadline = time.monotonic() + timeout if timeout is not None else None
    while True:
        view = client.get(f"/v1/rollouts/{rollout_id}")
        show(view)
        if view["state"] in OVER or waits_for_person(view):
            return view
        left = deadline - time.monotonic() if deadline is not None else POLL_SECONDS
        if left <= 0:
            raise CommandError(
                f"Rollout {rollout_id} is still {view['state']}; it goes on without us.",
                hint=f"Watch on with `seawall rollout watch {rollout_id}`.",
                code=Exit.TIMEOUT,
            )
        bell.wait(min(POLL_SECONDS, left))


def waits_for_person(view: Json) -> bool:
    """Whether nothing will move until a person acts: a draft, a pause, or a gate that names who."""
    if view["state"] in ("draft", "paused"):
        return True
    moving = sum(
        n for state, n in view["counts"].items() if state not in ("pending", "verified", "deferred", "skipped")
    )
    return not moving and any(one.get("who") for one in view.get("waitingFor") or ())


def exit_of(view: Json) -> Exit:
    """The exit code that a rollout's state means."""
    if view["state"] in OVER:
        return Exit.OK if view["state"] == "succeeded" else Exit.FAILED
    return Exit.WAITING


def wait_operation(client: Client, answer: Json, *, timeout: float | None = None) -> Json:
    """Wait for an operation's end. Raises CommandError if it failed (1), waits for a person (3) or time ran out (124)."""
    path, told = f"/v1/operations/{answer['id']}", ""
    deadline = time.monotonic() + timeout if timeout is not None else None
    while True:
        view = client.get(path)
        progress = _progress(view)
        if progress != told:
            say(progress)
            told = progress
        if view["state"] in ("succeeded", "failed", "cancelled"):
            return _ended(view)
        if any(one.get("who") for one in view.get("waitingFor") or ()):
            raise CommandError(f"Operation {view['id']} waits: {_waits(view)}", code=Exit.WAITING)
        if deadline is not None and time.monotonic() > deadline:
            raise CommandError(
                f"Operation {view['id']} is still {view['state']}; it goes on without us.", code=Exit.TIMEOUT
            )
        time.sleep(0.3)


def _progress(view: Json) -> str:
    counts = view["items"]
    done = f" {counts.get('succeeded', 0)} of {sum(counts.values())} done" if counts else ""
    waits = f", waits: {_waits(view)}" if view.get("waitingFor") else ""
    return f"{view['kind']}: {view['state']}{done}{waits}"


def _waits(view: Json) -> str:
    return "; ".join(_wait(one) for one in view.get("waitingFor") or ())


def _wait(one: Json) -> str:
    gate, reason = one.get("gate", ""), one.get("reason", "")
    return reason if reason.startswith(f"{gate} ") else f"{gate} {reason}".strip()


def _ended(view: Json) -> Json:
    if view["state"] == "succeeded":
        return view
    problem = view.get("problem") or {}
    detail = problem.get("detail") or f"Operation {view['id']} {view['state']}."
    raise ProblemError(
        200,
        {
            "title": f"The operation {view['state']}",
            "detail": detail,
            **{k: problem[k] for k in ("code",) if k in problem},
        },
    )


def _screen() -> Any:
    """A live screen on a terminal; otherwise nothing but lines."""
    from contextlib import nullcontext

    from rich.live import Live

    if not stdout().is_terminal:
        return nullcontext(None)
    return Live(console=stdout(), refresh_per_second=8, transient=False)


class _Teller:
    """Shows views: on a terminal by redrawing, elsewhere by a line on stderr for each change of a wave."""

    def __init__(self, live: Live | None, client: Client) -> None:
        self._live = live
        self._client = client
        self._told: dict[str, str] = {}

    def __call__(self, view: Json) -> None:
        if self._live is not None:
            self._live.update(rollout_screen(view, self._client.fleet), refresh=True)
            return
        for wave in view["waves"]:
            outcome = wave_outcome(wave, str(view["state"])).plain
            if outcome and self._told.get(wave["name"]) != outcome:
                say(f"{wave['name']}: {outcome}  {wave.get('reason', '')}".rstrip())
            self._told[wave["name"]] = outcome

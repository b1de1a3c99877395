"""How a command ends: exit codes, and errors read aloud on stderr."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from controlplane.domain.errors import SeawallError


class Exit(IntEnum):
    """Exit codes; scripts rely on them. 124 is what timeout(1) uses."""

    OK = 0
    FAILED = 1
    USAGE = 2
    WAITING = 3
    NOT_FOUND = 4
    TIMEOUT = 124


class CommandError(Exception):
    """A command that ends early: what happened, what to do about it, and the exit code."""

    def __init__(self, message: str, *, hint: str = "", code: Exit = Exit.FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code


class UsageError(CommandError):
    """The command was called in a way that can't work."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint=hint, code=Exit.USAGE)


class UnreachableError(CommandError):
    """Nobody answers at the API's address."""


class ProblemError(CommandError):
    """The API refused or failed: a problem (RFC 9457) or, from something between us and it, a plain status."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.problem = problem
        code = Exit.NOT_FOUND if status in (401, 403, 404) else Exit.FAILED
        super().__init__(str(problem.get("detail") or problem.get("title") or f"HTTP status {status}"), code=code)

    @property
    def problem_code(self) -> str:
        """The stable kebab-case code."""
        return str(self.problem.get("code", ""))


_HINTS = {
    401: "Give a key: `seawall login`, or the environment variable SEAWALL_KEY.",
    403: "Ask for a key with a role that may do this; `seawall doctor` says who you are.",
    412: "Read it again, decide again, then repeat.",
    503: "Try again in a moment; `seawall doctor` says which part is away.",
}


def lines_of(error: CommandError | SeawallError) -> list[str]:
    """Put an error in words: title, detail, each wrong field, what to do, code and trace id."""
    if isinstance(error, ProblemError):
        return _problem_lines(error)
    if isinstance(error, SeawallError):
        fields = [f"  {e.pointer or '/'}: {e.detail}" for e in error.errors]
        return [f"Error: {error.title}", f"  {error.detail}", *fields, f"  code {error.code}"]
    return [f"Error: {error.message}", *([f"  {error.hint}"] if error.hint else [])]


def _problem_lines(error: ProblemError) -> list[str]:
    problem = error.problem
    lines = [f"Error: {problem.get('title') or f'HTTP status {error.status}'}", f"  {error.message}"]
    lines += [f"  {e.get('pointer') or '/'}: {e.get('detail', '')}" for e in problem.get("errors") or ()]
    if hint := _HINTS.get(error.status, ""):
        lines.append(f"  {hint}")
    trace = f", trace {problem['traceId']}" if problem.get("traceId") else ""
    lines.append(f"  code {problem.get('code') or error.status}{trace}")
    return lines

"""Where the API is and which key to use: environment first, then a profile that only its owner can read."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .failures import CommandError, UsageError

DEFAULT = "default"


@dataclass(frozen=True)
class Profile:
    """An address and a key. `fleet` is what the address said it drives when the profile was written."""

    url: str
    key: str
    fleet: str = ""


def profile_file(environ: Mapping[str, str] = os.environ) -> Path:
    """The profile file, under the user's configuration folder."""
    base = environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "seawall" / "profiles.json"


def current_profile(environ: Mapping[str, str] = os.environ) -> Profile:
    """Say whom to call: SEAWALL_URL and SEAWALL_KEY, else the profile SEAWALL_PROFILE names, else the one in use."""
    if environ.get("SEAWALL_URL"):
        return Profile(environ["SEAWALL_URL"].rstrip("/"), environ.get("SEAWALL_KEY", ""))
    known = _read(profile_file(environ))
    name = environ.get("SEAWALL_PROFILE") or str(known.get("current", ""))
    stored = known["profiles"].get(name) if name else None
    if stored is None:
        missing = f"There is no profile {name!r}." if name else "No address of an API is known."
        raise UsageError(
            missing, "Run `seawall login`, start one with `seawall up`, or set SEAWALL_URL and SEAWALL_KEY."
        )
    return Profile(stored["url"], environ.get("SEAWALL_KEY") or stored["key"], stored.get("fleet", ""))


def save_profile(name: str, profile: Profile, *, use: bool, environ: Mapping[str, str] = os.environ) -> Path:
    """Store a profile; `use` makes it the one in use. Without `use` it becomes that only if there is none yet."""
    path = profile_file(environ)
    known = _read(path)
    known["profiles"][name] = asdict(profile)
    if use or not known.get("current"):
        known["current"] = name
    _write(path, json.dumps(known, indent=1))
    return path


def profile_in_use(environ: Mapping[str, str] = os.environ) -> str:
    """The name of the profile in use; empty if there is none."""
    return str(_read(profile_file(environ)).get("current", ""))


def _read(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_text())
        known["profiles"].items()
    except FileNotFoundError:
        return {"profiles": {}}
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise CommandError(
            f"The profile file {path} can't be read: {error}.", hint="Delete it, then `seawall login`."
        ) from error
    return dict(known)


def _write(path: Path, text: str) -> None:
    """Replace the file whole; readable by its owner alone from its first byte on."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent)  # mode 0600
    with os.fdopen(handle, "w") as out:
        out.write(text)
    Path(name).replace(path)

"""Write the committed description: `python -m controlplane.api.export openapi [FOLDER]`."""

from __future__ import annotations

import sys
from pathlib import Path

from controlplane.bootstrap import Container
from controlplane.settings import Settings

from .app import create_app
from .openapi import as_bytes, describe


def openapi_bytes() -> bytes:
    """The description of this code."""
    return as_bytes(describe(create_app(Container(Settings()))))


def main(arguments: list[str]) -> None:
    """Write what is asked for into FOLDER (default: openapi)."""
    if arguments[:1] != ["openapi"]:
        raise SystemExit("usage: python -m controlplane.api.export openapi [FOLDER]")
    folder = Path(arguments[1] if len(arguments) > 1 else "openapi")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "openapi.json").write_bytes(openapi_bytes())


if __name__ == "__main__":
    main(sys.argv[1:])

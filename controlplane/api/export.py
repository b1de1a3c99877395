"""Write the committed descriptions: `python -m controlplane.api.export openapi|asyncapi [FOLDER]`; openapi writes both."""

from __future__ import annotations

import sys
from pathlib import Path

from controlplane.bootstrap import Container
from controlplane.settings import Settings

from .app import create_app
from .asyncapi import as_yaml
from .openapi import as_bytes, describe


def openapi_bytes() -> bytes:
    """The description of this code."""
    return as_bytes(describe(create_app(Container(Settings()))))


def main(arguments: list[str]) -> None:
    """Write what is asked for into FOLDER (default: openapi)."""
    if arguments[:1] not in (["openapi"], ["asyncapi"]):
        raise SystemExit("usage: python -m controlplane.api.export openapi|asyncapi [FOLDER]")
    folder = Path(arguments[1] if len(arguments) > 1 else "openapi")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "asyncapi.yaml").write_bytes(as_yaml())
    if arguments[0] == "openapi":
        (folder / "openapi.json").write_bytes(openapi_bytes())


if __name__ == "__main__":
    main(sys.argv[1:])

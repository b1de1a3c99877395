"""`python -m workers`: a worker with the settings of the environment; `--clusters a,b` narrows what it serves."""

from __future__ import annotations

import sys

from controlplane.settings import Settings

from .app import run


def main(argv: list[str]) -> None:
    """Run until a signal."""
    named = argv[argv.index("--clusters") + 1].split(",") if "--clusters" in argv else None
    run(Settings(), named)


if __name__ == "__main__":
    main(sys.argv[1:])

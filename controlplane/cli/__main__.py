"""Entry of `seawall` and `python -m controlplane.cli`."""

from __future__ import annotations

import os
import sys

from controlplane.domain.errors import SeawallError

from .failures import CommandError, Exit, lines_of


def main() -> None:
    """Run a command; every error we know ends as sentences on stderr and an exit code, never as a traceback."""
    from .app import app

    try:
        app(prog_name="seawall")
    except (CommandError, SeawallError) as error:
        sys.stdout.flush()
        sys.stderr.write("\n".join(lines_of(error)) + "\n")
        sys.exit(error.code if isinstance(error, CommandError) else Exit.FAILED)
    except KeyboardInterrupt:
        sys.exit(130)  # as a shell says of a program ended by SIGINT
    except BrokenPipeError:
        # Whoever read our output left (`seawall audit | head`); the interpreter must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Exit.FAILED)


if __name__ == "__main__":
    main()

"""The command line: one file a verb.  Parses, calls, shows; nothing heavy is imported before a command needs it."""

from __future__ import annotations

import sys

INTERRUPTED = 130


def main() -> None:
    """Run the command; a mistake that a person can mend is one short message and exit code 2."""
    from anchorbench.cli.app import app
    from anchorbench.cli.show import print_error
    from anchorbench.errors import AnchorbenchError

    try:
        app()
    except AnchorbenchError as error:
        print_error(str(error))
        sys.exit(2)
    except (KeyboardInterrupt, SystemExit) as end:
        # typer makes Ctrl-C an exit code of its own
        if isinstance(end, SystemExit) and end.code != INTERRUPTED:
            raise
        print_error("stopped; nothing is lost: the same command goes on from here", label="note")
        sys.exit(INTERRUPTED)
    except Exception:
        print_error("this is a bug of anchorbench: please report it with the lines below and the command", label="bug")
        raise

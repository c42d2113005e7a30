"""The command line: one file a verb.  Parses, calls, shows; nothing heavy is imported before a command needs it."""

from __future__ import annotations

import sys


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
    except KeyboardInterrupt:
        print_error("stopped; nothing is lost: the same command goes on from here", label="note")
        sys.exit(130)

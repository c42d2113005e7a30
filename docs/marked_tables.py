"""Pages whose tables are made by a script: each stands between `<!-- NAME -->` and `<!-- end -->`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path


def with_tables(page: str, table: Callable[[str], str]) -> str:
    """The page with its tables made anew; `table` gives one by its name."""

    def replaced(found: re.Match[str]) -> str:
        return f"<!-- {found[1]} -->\n{table(found[1])}\n<!-- end -->"

    return re.sub(r"<!-- ([a-z0-9_ -]+) -->\n.*?<!-- end -->", replaced, page, flags=re.S)


def write(path: Path, made: Callable[[str], str], *, about: str | None) -> int:
    """The command: writes the page anew, or with --check returns 1 where it is not what would be written."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    page = path.read_text(encoding="utf-8")
    new = made(page)
    if check:
        return int(new != page)
    path.write_text(new, encoding="utf-8")
    return 0

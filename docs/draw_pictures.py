"""Draw docs/pictures/<dataset>-<source>.png: a ladder of every dataset from each source that needs no public set.

    python docs/draw_pictures.py [DATASET ...] [--size small] [--cache DIR] [--out docs/pictures]

What is not in the cache is fetched or generated.  Exit code 1 where one could not be drawn; the others are.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from anchorbench.cli.show import cache_folder
from anchorbench.data.catalog import kind_of
from anchorbench.data.catalog_file import load_catalog
from anchorbench.data.fetch import fetch, request
from anchorbench.errors import AnchorbenchError
from anchorbench.report.ladder_figure import draw_ladder

HERE = Path(__file__).resolve().parent
#: Faces of persons stay in the cache of whoever fetches them.
NEVER = {("mri", "sample")}
DPI = 120  # a page of them stays within a few megabytes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="*")
    parser.add_argument("--size", default="small")
    parser.add_argument("--out", type=Path, default=HERE / "pictures")
    parser.add_argument("--cache", type=Path, default=os.environ.get("ANCHORBENCH_CACHE"))
    asked = parser.parse_args()
    cache = cache_folder(asked.cache)
    catalog = load_catalog()
    failed = 0
    for name in asked.datasets or catalog.names:
        for source in catalog.dataset(name).sources:
            if kind_of(source) not in ("generated", "sample") or (name, source) in NEVER:
                continue
            try:
                ladder = fetch(request(catalog, name, size=asked.size, source=source), cache)
                (path,) = draw_ladder(ladder, asked.out / f"{name}-{source}.png", dpi=DPI)
                print(f"{path}  {path.stat().st_size / 1e3:.0f} kB", flush=True)
            except AnchorbenchError as error:
                failed += 1
                print(f"{name} from {source}: {error}", file=sys.stderr, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""The tables of docs/datasets.md, made from the catalogue: sources, downloads, rungs; producers, terms, how to cite.

python docs/dataset_tables.py           write them anew, between `<!-- NAME -->` and `<!-- end -->`
python docs/dataset_tables.py --check   exit code 1 where the page is not what the catalogue says
"""

from __future__ import annotations

import sys
from pathlib import Path

import marked_tables

from anchorbench.config import SIZES
from anchorbench.data.catalog import DatasetEntry, Source, kind_of
from anchorbench.data.catalog_file import load_catalog

PAGE = Path(__file__).resolve().parent / "datasets.md"


def table_of(entry: DatasetEntry) -> str:
    """Both tables of one dataset, as Markdown."""
    rows = ["| source | it is called | download | " + " | ".join(SIZES) + " |", "|---" * (3 + len(SIZES)) + "|"]
    for name, source in entry.sources.items():
        extra = f", `[{source.extra}]`" if source.extra else ""
        sizes = [_rungs(entry, name, size) for size in SIZES]
        rows.append(f"| `{name}`{extra} | {source.display_name} | {_download(name, source)} | {' | '.join(sizes)} |")
    rows += ["", "| source | producer | terms | cite |", "|---|---|---|---|"]
    for name, source in entry.sources.items():
        producer = f"[{source.producer}]({source.homepage})" if source.homepage else source.producer
        rows.append(f"| `{name}` | {producer} | {source.terms} | {source.cite or '-'} |")
    return "\n".join(rows)


def _rungs(entry: DatasetEntry, source: str, size: str) -> str:
    """`16 **32** 64`: the train rung bold; an asterisk where `auto` takes this source."""
    seen = entry.seen_from(source)
    if size not in seen.sizes:
        return "-"
    found = seen.size(size)
    star = r" \*" if entry.size(size).source == source else ""
    return " ".join(f"**{rung}**" if rung == found.train_rung else str(rung) for rung in found.rungs) + star


def _download(name: str, source: Source) -> str:
    """Megabytes: of a sample once for all sizes, of a public set about, by size."""
    if kind_of(name) == "generated":
        return "none"
    if source.files:
        whole = {file.artefact.name: file.artefact.size for file in source.files if not file.artefact.is_zip}
        parts = sum(min(file.member.size, file.artefact.size) for file in source.files if file.artefact.is_zip)
        return f"{(sum(whole.values()) + parts) / 1e6:.1f} MB"
    known = [source.bytes.get(size) for size in SIZES]
    if not any(known):
        return "your own copy"
    return " / ".join("-" if n is None else f"{n / 1e6:.0f}" for n in known) + " MB"


def with_tables(page: str) -> str:
    """The page with its tables made anew.  Raises KeyError for a marker that names no dataset."""
    catalog = load_catalog()

    return marked_tables.with_tables(page, lambda name: table_of(catalog.datasets[name]))


if __name__ == "__main__":
    sys.exit(marked_tables.write(PAGE, with_tables, about=__doc__))

"""The tables of docs/fresh.md, made from results/reference/fresh/*.csv, and those from the runs of a folder.

python docs/fresh_tables.py RESULTS    make the CSV files from the runs of `anchorbench sweep studies/fresh.yaml`
python docs/fresh_tables.py            write the page's tables anew, between `<!-- NAME -->` and `<!-- end -->`
python docs/fresh_tables.py --check    exit code 1 where the page is not what the CSV files say
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import marked_tables
import pandas as pd

PAGE = Path(__file__).resolve().parent / "fresh.md"
REFERENCE = Path(__file__).resolve().parent.parent / "results" / "reference" / "fresh"
ORDER = ("baseline", "fresh", "grid_search")
NAMES = {"baseline": "default", "fresh": "FreSh", "grid_search": "grid search"}


def with_tables(page: str) -> str:
    """The page with its tables made anew.  Raises KeyError for a marker that names no table."""
    makers = {
        "fresh worth": lambda: worth(read("worth"), "fitted"),
        "fresh finest": lambda: worth(read("worth"), "finest"),
        "fresh told": lambda: told(read("told")),
        "fresh mismatch": lambda: mismatch(read("mismatch")),
        "fresh sensitivity": lambda: plain(read("sensitivity"), {"model": "network"}),
        "fresh rungs": lambda: over_rungs(read("rungs")),
        "fresh agreement": lambda: plain(read("agreement"), {"first": "network", "second": "and", "tau": "τ"}),
        "fresh rest": lambda: rest(read("worth")),
    }
    return marked_tables.with_tables(page, lambda name: makers[name]())


def read(name: str) -> pd.DataFrame:
    table = pd.read_csv(REFERENCE / f"{name}.csv", dtype={"label": str})
    return table.fillna({"label": ""}) if "label" in table else table


def worth(table: pd.DataFrame, where: str) -> str:
    """A line a dataset and network: the three PSNR, and the gains of the second and third over the first."""
    rows = []
    own = table[(table["label"] == "") & table["rung"].isin((16, 32, 40))]
    for (dataset, rung, model), group in own.groupby(["dataset", "rung", "model"], sort=True):
        by = group.set_index("method")
        if "grid_search" not in by.index:
            continue
        at = rung if where == "fitted" else by["finest"].iloc[0]
        cells = [f"{dataset}, {at}", str(model)]
        cells += [number(by, method, f"psnr_{where}") for method in ORDER]
        cells += [gain(by, method, where) for method in ORDER[1:]]
        cells += [str(by["settings"].get(method, "–")) for method in ORDER[1:]]
        rows.append(cells)
    head = [
        "data, rung",
        "network",
        *NAMES.values(),
        "FreSh − default",
        "search − default",
        "FreSh takes",
        "search takes",
    ]
    return markdown(head, rows)


def number(by: pd.DataFrame, method: str, column: str) -> str:
    return f"{by.loc[method, column]:.1f}" if method in by.index else "–"


def gain(by: pd.DataFrame, method: str, where: str) -> str:
    """Mean and interval over fields."""
    if method not in by.index or pd.isna(by.loc[method, f"gain_{where}"]):
        return "–"
    mean, low, high = (by.loc[method, f"gain_{where}{end}"] for end in ("", "_low", "_high"))
    return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"


def told(table: pd.DataFrame) -> str:
    rows = []
    for one in table.itertuples():
        what = f"{one.dataset}, {one.scored}" + (f" ({one.label})" if one.label else "")
        rank = f"{one.rank_psnr:+.2f} [{max(one.rank_psnr_low, -1):+.2f}, {min(one.rank_psnr_high, 1):+.2f}]"
        rows.append([what, one.model, rank, f"{one.rank_ssim:+.2f}", f"{one.lost:.1f}", f"{one.same:.0%}"])
    return markdown(["data, scored on", "network", "rank, PSNR", "rank, SSIM", "lost, dB", "same choice"], rows)


def mismatch(table: pd.DataFrame) -> str:
    columns = ["dataset", "model", "least", "spread", "rank"]
    rows = [[f"{v:.2f}" if isinstance(v, float) else str(v) for v in row] for row in table[columns].values.tolist()]
    return markdown(["data", "network", "least distance, bins", "range over settings, bins", "rank, PSNR"], rows)


def over_rungs(table: pd.DataFrame) -> str:
    rows = []
    for one in table.itertuples():
        cells = [one.dataset, one.model, NAMES[one.method], str(one.rung), f"{one.setting:g}", f"{one.psnr:.1f}"]
        rows.append(cells)
    return markdown(["data", "network", "", "fitted on", "setting (median)", "PSNR on the finest, dB"], rows)


def rest(table: pd.DataFrame) -> str:
    """Video, noise and solids: the labelled rows and those in three dimensions."""
    rows = []
    for one in table[(table["label"] != "")].itertuples():
        gained = "–" if pd.isna(one.gain_fitted) else f"{one.gain_fitted:+.1f}"
        cells = [f"{one.dataset}, {one.label}", one.model, NAMES[one.method], f"{one.psnr_fitted:.1f}", gained]
        rows.append([*cells, f"{one.psnr_finest:.1f}", str(one.settings)])
    return markdown(["data", "network", "", "PSNR, fitted rung", "− default", "PSNR, finest", "setting"], rows)


def plain(table: pd.DataFrame, names: dict[str, str]) -> str:
    rows = [[f"{v:.2f}" if isinstance(v, float) else str(v) for v in row] for row in table.values.tolist()]
    rows = [["–" if cell == "nan" else cell for cell in row] for row in rows]
    return markdown([names.get(str(c), str(c)) for c in table.columns], rows)


def markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])


def make(results: Path) -> None:
    """The CSV files, from finished runs."""
    from anchorbench.cli.show import cache_folder
    from anchorbench.report import selections

    cache = cache_folder(Path(given) if (given := os.environ.get("ANCHORBENCH_CACHE")) else None)
    found = selections.gather(results)
    REFERENCE.mkdir(parents=True, exist_ok=True)
    tables = {
        "worth": selections.worth(found),
        "told": selections.told(found),
        "agreement": selections.agreements(found),
        "rungs": selections.rungs(found),
        "mismatch": selections.mismatch(found),
        "sensitivity": selections.sensitivities(results, cache=cache),
    }
    for name, table in tables.items():
        table.to_csv(REFERENCE / f"{name}.csv", index=False, float_format="%.4g")
        print(REFERENCE / f"{name}.csv")


if __name__ == "__main__":
    if len(sys.argv) == 2 and not sys.argv[1].startswith("-"):
        make(Path(sys.argv[1]))
        sys.argv.pop()
    sys.exit(marked_tables.write(PAGE, with_tables, about=__doc__))

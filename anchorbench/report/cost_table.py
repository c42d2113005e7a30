"""What each curve of a group cost, as a table for a terminal: beside each other where it fits, else in two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from anchorbench.report.document import Curve, is_method
from anchorbench.report.headline import cost_rows

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table

#: Key: header, as in `headline.cost_rows`.
TRAINING = {
    "footing": "footing",
    "seconds": "training",
    "steps": "steps",
    "samples": "samples by rung",
    "points": "points",
    "flops": "FLOPs",
}
DATA = {"data": "making the data", "parameters": "parameters", "device": "device"}


class CostTable:
    """Nothing where fewer than two methods have a cost."""

    def __init__(self, curves: Sequence[Curve]) -> None:
        self.rows = cost_rows([curve for curve in curves if is_method(curve)])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.measure import Measurement
        from rich.text import Text

        if len(self.rows) < 2:
            return
        yield Text("what it cost: one run each; the data as the ladder's solver would make them", style="dim")
        whole = self.table({**TRAINING, **DATA})
        if Measurement.get(console, options.update(width=1000, max_width=1000), whole).maximum <= options.max_width:
            yield whole
        else:
            yield self.table(TRAINING)
            yield self.table(DATA)
        yield Text()

    def table(self, columns: dict[str, str]) -> Table:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
        table.add_column("curve", min_width=12, max_width=20, overflow="fold")
        for name, header in columns.items():
            plain = name in ("footing", "samples", "device")
            table.add_column(header, justify="left" if plain else "right", no_wrap=name != "samples")
        for row in self.rows:
            table.add_row(*(Text(row[name]) for name in ("label", *columns)))
        return table

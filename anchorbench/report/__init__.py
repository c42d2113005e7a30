"""Figures, tables and pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anchorbench.report.build import Report, make_leaderboard, make_report, write_cards

__all__ = ["Report", "make_leaderboard", "make_report", "write_cards"]


def __getattr__(name: str) -> Any:
    # matplotlib and xarray are imported when a report is made, not when a plot is named.
    if name in __all__:
        from anchorbench.report import build

        return getattr(build, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""anchorbench: does a learned model get more accurate on a finer grid, or does its error stay anchored?

    ladder -> samples -> model under a method -> predictions on every rung -> scores -> curve -> verdict -> report

The command line is `anchorbench`; the same verbs are functions in `anchorbench.runs` and `anchorbench.report`.
"""

from __future__ import annotations

__version__ = "0.1.0"

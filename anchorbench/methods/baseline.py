"""`baseline`: the model as it is, trained on the train rung.  Track: zero-shot."""

from __future__ import annotations

from anchorbench.methods.base import Method


class Baseline(Method):
    """Minimise the mean squared error on ρ₀; run the same weights on every rung."""

    name = "baseline"
    tasks = ("forecast", "operator", "super_resolve", "represent")

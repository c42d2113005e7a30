"""A module of the user's own: what it is given, and what its budget adds to the cause."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from anchorbench.analysis import Verdict
from anchorbench.diagnose.causes import Evidence, _largest
from anchorbench.diagnose.loaded import Trial


class Looking(nn.Module):
    def forward(self, x):
        self.seen = x
        return x[:, :1]


def test_a_module_is_given_what_stands_in_the_files(bench):
    """Vorticity and forcing in physical units on each rung; normalised, in units of σ and of the largest."""
    session, module = bench.session(bench.spec()), Looking()
    for rung in (8, 32):
        batch = session.test_windows(rung).batch([0, 1])
        forcing = torch.from_numpy(session.ladder.static(rung))
        out = Trial(module, session, normalised=False)(batch)
        units = session.normaliser
        assert_close(module.seen[:, 0], batch.inputs[:, 0] * units.std[0] + units.mean[0])
        assert_close(module.seen[0, 1], forcing[0].float())
        assert_close(out, batch.inputs[:, :1], atol=1e-5, rtol=1e-5)  # what it gives is brought back to units of σ
        Trial(module, session, normalised=True)(batch)
        assert_close(module.seen[:, 0], batch.inputs[:, 0])
    assert module.seen[0, 1].abs().max() == pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize(
    ("word", "parts", "cause"),
    [
        ("anchored", {"model": 0.9, "grid": 0.02, "information": 0.08}, "model"),
        ("diverging", {"model": 0.5, "grid": 0.1, "information": 0.4}, "information"),
        ("diverging", {"model": 0.5, "grid": 0.6, "information": -0.1}, "grid"),
        ("undecided", {"model": 0.2, "grid": 0.7, "information": 0.1}, "grid"),
    ],
)
def test_the_largest_part_of_the_budget_is_the_cause_and_of_a_rise_never_the_model_itself(word, parts, cause):
    nothing = Evidence(32, None, 0.5, None, None, None, None)
    assert _largest(Verdict(word, None, 8, 0.1), nothing, parts)[0] == cause

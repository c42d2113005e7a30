"""Our FNO against neuraloperator 2.0.0's, with its weights.  Needs the extra `neuralop`."""

from __future__ import annotations

import warnings

import pytest
import torch

from anchorbench.errors import ModelError
from anchorbench.fields.grid import Grid
from anchorbench.models.fno import FNO, load_neuralop_weights
from anchorbench.models.options import FnoOptions

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # theirs, while importing
    theirs = pytest.importorskip("neuralop.models", reason="the extra 'neuralop' is not installed")


def pair(shape: tuple[int, ...], modes: int, embedding: str, width: int = 8) -> tuple[torch.nn.Module, FNO]:
    torch.manual_seed(0)
    reference = theirs.FNO(
        n_modes=(modes,) * len(shape),
        in_channels=2,
        out_channels=1,
        hidden_channels=width,
        n_layers=3,
        positional_embedding="grid" if embedding == "grid" else None,
    )
    ours = FNO(2, 1, Grid(shape), FnoOptions(width=width, layers=3, modes=modes, embedding=embedding))
    load_neuralop_weights(ours, reference.state_dict())
    return reference, ours


@pytest.mark.parametrize("embedding", ["grid", "none"])
@pytest.mark.parametrize(
    ("shape", "modes"),
    [((16, 16), 8), ((16, 16), 7), ((32, 24), 16), ((12, 12), 16), ((24,), 10), ((15,), 10), ((8, 10, 12), 4)],
)
def test_the_outputs_agree_to_1e_5(shape, modes, embedding):
    reference, ours = pair(shape, modes, embedding)
    grid, x = Grid(shape), torch.randn(2, 2, *shape)
    with torch.no_grad():
        want, got = reference(x), ours(x, grid, grid)
    assert (got - want).abs().max() < 1e-5 * want.abs().max()


def test_weights_that_do_not_fit_are_named():
    reference, _ = pair((16, 16), 8, "none")
    with pytest.raises(ModelError, match="do not fit this fno"):
        load_neuralop_weights(FNO(2, 1, Grid((16, 16)), FnoOptions(width=8, layers=3, modes=6)), reference.state_dict())
    with pytest.raises(ModelError, match="lack 'lifting"):
        load_neuralop_weights(FNO(2, 1, Grid((16, 16)), FnoOptions(width=8, layers=3, modes=8)), {})

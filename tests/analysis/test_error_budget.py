import numpy as np
import pytest
import torch
from torch import tensor

from anchorbench.analysis import budget, score, shares
from anchorbench.errors import GridError
from anchorbench.fields import Grid

GRID, BAND = Grid((4,)), Grid((2,))
HAND = {"grid": GRID, "band": BAND, "how": "block_mean", "clusters": torch.zeros(1, dtype=torch.long), "n_clusters": 1}


def line(*values):
    return tensor([[list(values)]])


def test_a_budget_worked_out_by_hand():
    truth = line(1.0, 1.0, 0.0, 0.0)  # Py = 1 1 0 0
    home = line(2.0, 0.0)  # a = 1 1 0 0
    held = line(3.0, 1.0, 3.0, 1.0)  # P = 2 2 2 2, b = 0 0 2 2
    full = line(0.0, 0.0, 3.0, 3.0)  # c = −2 −2 1 1, so Pe = −1 −1 3 3
    found = shares(budget(full, held, home, truth, **HAND), sigma=1.0)
    # means over four points: ⟨a,Pe⟩ = −2/4, ⟨b,Pe⟩ = 12/4, ⟨c,Pe⟩ = (4 + 6)/4, ‖Pe‖² = 20/4
    assert (found.model, found.grid, found.information, found.resolved) == pytest.approx((-0.5, 3.0, 2.5, 5.0))
    assert (found.model_size, found.grid_size, found.information_size) == pytest.approx((0.5, 2.0, 2.5))


def test_sigma_squared_is_the_unit():
    fields = line(0.0, 0.0, 3.0, 3.0), line(3.0, 1.0, 3.0, 1.0), line(2.0, 0.0), line(1.0, 1.0, 0.0, 0.0)
    assert shares(budget(*fields, **HAND), sigma=2.0).grid == pytest.approx(3.0 / 4)


@pytest.mark.parametrize(("how", "masked"), [("spectral", False), ("block_mean", False), ("block_mean", True)])
def test_the_signed_shares_sum_to_the_resolved_error_of_the_score(how, masked):
    g = torch.Generator().manual_seed(3)
    grid, band = Grid((12, 12)), Grid((4, 4))
    full, held, truth = torch.randn(3, 5, 2, 12, 12, generator=g, dtype=torch.float64)
    home = torch.randn(5, 2, 4, 4, generator=g, dtype=torch.float64)
    weights = (torch.rand(5, 1, 12, 12, generator=g) > 0.3).double() if masked else None
    common = {
        "grid": grid,
        "band": band,
        "how": how,
        "weights": weights,
        "clusters": tensor([0, 1, 1, 2, 0]),
        "n_clusters": 3,
    }
    parts, whole = budget(full, held, home, truth, **common), score(full, truth, **common)
    added = parts["budget_model"] + parts["budget_grid"] + parts["budget_information"]
    np.testing.assert_allclose(added, whole["resolved"], rtol=1e-11)
    np.testing.assert_allclose(parts["budget_weight"], whole["weight"], rtol=1e-13)


def test_on_the_train_rung_all_of_it_is_the_model():
    given = {**HAND, "band": GRID}
    home = line(0.0, 0.0, 3.0, 3.0)
    found = shares(budget(home, home, home, line(1.0, 1.0, 0.0, 0.0), **given), sigma=1.0)
    assert (found.grid, found.information) == (0.0, 0.0)
    assert found.model == found.resolved == pytest.approx(5.0)


def test_budgets_of_batches_merge():
    g = torch.Generator().manual_seed(4)
    full, held, truth = torch.randn(3, 4, 1, 4, generator=g)
    home = torch.randn(4, 1, 2, generator=g)
    clusters = tensor([0, 1, 0, 1])
    common = {"grid": GRID, "band": BAND, "how": "block_mean", "n_clusters": 2}
    whole = budget(full, held, home, truth, clusters=clusters, **common)
    first, second = (
        budget(full[i], held[i], home[i], truth[i], clusters=clusters[i], **common) for i in (slice(0, 1), slice(1, 4))
    )
    for name in whole:
        np.testing.assert_allclose((first + second)[name], whole[name], rtol=1e-12, atol=1e-14)


def test_a_coarser_rung_has_no_budget():
    with pytest.raises(GridError, match="no budget"):
        budget(*[line(1.0, 1.0)] * 2, line(1.0, 1.0, 1.0, 1.0), line(1.0, 1.0), **{**HAND, "grid": BAND, "band": GRID})


def test_a_prediction_at_home_of_the_wrong_shape_is_refused():
    four = line(1.0, 1.0, 1.0, 1.0)
    with pytest.raises(GridError, match="train rung"):
        budget(four, four, four, four, **HAND)

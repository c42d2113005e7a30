"""The tables over runs of represent, from selections written by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from anchorbench.errors import RunError
from anchorbench.report import selections
from anchorbench.report.selections import Fits, agreements, gather, rungs, told, with_parts_of_searches, worth


def found(psnr, *, distance=None, chosen=None, knob=None, price=None) -> xr.Dataset:
    """psnr (rung, field, trained) on rungs 32 and 64."""
    psnr = np.asarray(psnr, float)
    _, fields, trained = psnr.shape
    data = xr.Dataset(
        {
            "psnr": (("rung", "field", "trained"), psnr),
            "ssim": (("rung", "field", "trained"), psnr / 100),
            "knob": (
                ("field", "trained"),
                np.full((fields, trained), 30.0) if knob is None else np.asarray(knob, float),
            ),
            "moved": (("field", "trained"), np.full((fields, trained), 0.1)),
            "chosen": ("field", np.zeros(fields, int) if chosen is None else np.asarray(chosen)),
        },
        coords={"rung": [32, 64]},
    )
    if distance is not None:
        data["distance"] = (("field", "setting"), np.asarray(distance, float))
        data = data.assign_coords(setting=np.arange(data.sizes["setting"]))
    if price is not None:
        data.attrs |= {"choosing_seconds": price, "train_seconds": 1.0}
    return data


def family(key, *data) -> dict:
    return {key: Fits(key, usual=30.0, seeds=list(range(len(data))), found=list(data))}


def key(method, *, rung=32, model="siren", label="", dataset="mri"):
    return (dataset, rung, model, label, method)


def test_the_gain_is_taken_field_by_field_over_the_default():
    default = found([[[20], [30]], [[10], [20]]])
    fresh = found([[[21], [33]], [[12], [22]]], distance=[[1, 2], [1, 2]], price=0.05)
    table = worth(family(key("baseline"), default) | family(key("fresh"), fresh)).set_index("method")
    row = table.loc["fresh"]
    # Gains 1 and 3: mean 2, t(0.975, 1) = 12.706, half width 12.706 · √2/√2.
    assert row["gain_fitted"] == 2
    assert row["gain_fitted_high"] == pytest.approx(2 + 12.706, rel=1e-4)
    # Gains 2 and 2: no width at all, though the fields are 10 dB apart.
    assert (row["gain_finest"], row["gain_finest_low"], row["gain_finest_high"]) == (2, 2, 2)
    assert row["psnr_fitted"] == 27
    assert row["price"] == pytest.approx(0.05)
    assert np.isnan(table.loc["baseline", "gain_fitted"])


def test_the_chosen_network_speaks_and_seeds_are_averaged_before_fields_are_spread():
    search = [
        found([[[1, 5], [2, 7]], [[0, 1], [0, 1]]], chosen=[1, 1], distance=[[2, 1], [2, 1]]),
        found([[[3, 9], [6, 1]], [[0, 1], [0, 1]]], chosen=[0, 0], distance=[[2, 1], [2, 1]]),
    ]
    row = worth(family(key("grid_search"), *search)).iloc[0]
    # Fields: (5 + 3)/2 and (7 + 6)/2.
    assert row["psnr_fitted"] == pytest.approx((4 + 6.5) / 2)
    assert row["seeds"] == 2


def test_what_the_distance_told_is_the_mean_rank_over_seeds():
    one = found([[[1, 2, 3]], [[3, 2, 1]]], distance=[[3, 2, 1]])
    two = found([[[2, 1, 3]], [[3, 2, 1]]], distance=[[3, 2, 1]])
    table = told(family(key("grid_search"), one, two)).set_index("where")
    # −1 of the first; ranks (2, 1, 3) against (3, 2, 1): 1 − 6·(1+1+4)/24 = −0.5.
    assert table.loc["fitted", "rank_psnr"] == pytest.approx(-0.75)
    assert table.loc["finest", "rank_psnr"] == pytest.approx(1)
    # The nearest spectrum has the best network on the fitted rung, and the worst, 2 dB below, on the finest.
    assert (table.loc["fitted", "lost"], table.loc["finest", "lost"]) == (0, 2)
    assert told(family(key("fresh"), found([[[1]], [[1]]], distance=[[1, 2]]))).empty


def test_a_search_tells_the_rows_that_were_not_run_by_themselves():
    search = found([[[1, 2, 3]], [[4, 5, 6]]], distance=[[9, 8, 0.5]], chosen=[1]).assign_coords(setting=[10, 30, 50])
    both = with_parts_of_searches(family(key("grid_search"), search, search))
    table = worth(both).set_index("method")
    # Found by the spectrum: 50; by default: 30; by what was held out: the second.
    assert table["psnr_finest"].to_dict() == {"baseline": 5, "fresh": 6, "grid_search": 5}
    assert table.loc["fresh", "gain_fitted"] == 1
    # A run of its own speaks for itself, if it has as many seeds.
    own = found([[[7]], [[8]]], distance=[[9, 8, 0.5]])
    for runs, psnr in (((own,), 6), ((own, own), 8)):
        mixed = with_parts_of_searches(family(key("grid_search"), search, search) | family(key("fresh"), *runs))
        assert worth(mixed).set_index("method").loc["fresh", "psnr_finest"] == psnr
    unknown = {key("grid_search"): Fits(key("grid_search"), usual=None, seeds=[0], found=[search])}
    assert {method for *_, method in with_parts_of_searches(unknown)} == {"fresh", "grid_search"}


def test_networks_agree_by_the_place_of_their_choice_on_their_grids():
    far = np.array([[1.0, 2, 3], [2, 1, 3], [3, 2, 1]])  # places 0, 1, 2
    fields = np.ones((2, 3, 1))
    both = family(key("fresh"), found(fields, distance=far))
    both |= family(key("fresh", model="finer"), found(fields, distance=far[[0, 2, 1]]))  # 0, 2, 1
    table = agreements(both)
    assert table[["first", "second", "fields"]].iloc[0].tolist() == ["finer", "siren", 3]
    # Of three pairs two are in order: (2 − 1)/3.
    assert table["tau"].iloc[0] == pytest.approx(1 / 3)
    other = family(key("fresh", model="wire", dataset="weather"), found(fields, distance=far))
    assert agreements(family(key("fresh"), found(fields, distance=far)) | other).empty


def test_rungs_are_shown_of_what_was_fitted_on_several():
    at = [family(key("fresh", rung=rung), found(np.full((2, 2, 1), float(rung)))) for rung in (16, 32)]
    alone = family(key("baseline"), found(np.ones((2, 2, 1))))
    labelled = family(key("baseline", rung=16, label="noise"), found(np.ones((2, 2, 1))))
    table = rungs(at[0] | at[1] | alone | labelled)
    assert table[["method", "rung", "psnr"]].values.tolist() == [["fresh", 16, 16.0], ["fresh", 32, 32.0]]


def test_a_folder_without_such_runs_says_what_makes_them(tmp_path, monkeypatch):
    other = SimpleNamespace(spec=SimpleNamespace(task="forecast", kind="method"), finished=True, path=tmp_path)
    monkeypatch.setattr(selections, "find_runs", lambda results: [other])
    with pytest.raises(RunError, match="no finished run of represent") as error:
        gather(tmp_path)
    assert "--task represent" in error.value.do

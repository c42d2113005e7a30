"""A pair of factors in words: the ladder that holds it, what is planned and refused, and other factors asked of it."""

from __future__ import annotations

import pytest
import torch

from anchorbench.config import RunSpec
from anchorbench.data.catalog_file import load_catalog
from anchorbench.data.fetch import Request
from anchorbench.errors import ConfigError, LadderError
from anchorbench.runs.factors import implied_task, request_for_factors
from anchorbench.runs.other_factors import in_hours
from anchorbench.runs.plan import group_key, plan_runs


def asked(task: dict, *, data: dict | None = None, dataset: str = "comephore", size: str = "small", **words):
    words = {"task": None, "train_rung": None, "source": "generated", **words}
    return request_for_factors(load_catalog(), dataset, size=size, data=data or {}, settings={"task": task}, **words)


def planned(task: dict, *, method: str = "diffusion", settings: dict | None = None, **words) -> RunSpec:
    wanted, rung = asked(task, **words)
    task_name = implied_task(wanted.entry, None, {"task": task})
    specs = plan_runs(wanted, methods=(method,), seeds=(0,), task=task_name, train_rung=rung,
                      settings={**(settings or {}), "task": task})  # fmt: skip
    return next(spec for spec in specs if spec.kind == "method")


def extent(wanted: Request) -> float:
    return wanted.spec.grid["extent"][0]


def test_without_rungs_a_pair_of_factors_makes_the_published_tile_of_100_cells_of_1_km():
    wanted, rung = asked({"factor": 10, "time_factor": 3})
    assert (wanted.spec.rungs, rung, extent(wanted)) == ((10, 100), 100, 100.0)
    # Of the published pairs (25, 6) reaches furthest back: 3 coarse frames of 6 hours.
    assert wanted.options.frames == 18
    assert asked({"factor": 25, "time_factor": 6})[0].spec.rungs == (4, 100)


def test_the_nearest_multiple_of_an_odd_factor_is_taken_and_what_is_said_of_the_data_holds():
    wanted, rung = asked({"factor": 7}, data={"frames": 30})
    # 14 cells of 7 are 98 points, 15 would be 105.
    assert (wanted.spec.rungs, rung, wanted.options.frames) == ((14, 98), 98, 30)


def test_a_ladder_that_holds_the_factor_already_is_left_as_it_is():
    rungs = load_catalog().dataset("comephore").size("small").rungs
    wanted, rung = asked({"factor": 2, "frames": 2})
    assert (wanted.spec.rungs, rung) == (rungs, None)


def test_rungs_or_a_train_rung_that_are_said_are_not_changed_and_a_factor_that_they_lack_is_refused_in_one_line():
    wanted, rung = asked({"factor": 10}, data={"rungs": [16, 32]})
    assert (wanted.spec.rungs, rung) == ((16, 32), None)
    with pytest.raises(LadderError, match=r"no rung 10 times coarser than 32; factors there: 2, 1") as error:
        planned({"factor": 10}, data={"rungs": [16, 32]})
    assert "\n" not in error.value.what


def test_factors_imply_super_resolve_where_the_dataset_has_it():
    entry = load_catalog().dataset("comephore")
    assert implied_task(entry, None, {"task": {"factor": 10}}) == "super_resolve"
    assert implied_task(entry, None, {"task": {"time_factor": 3}}) == "super_resolve"
    assert implied_task(entry, None, {}) == "forecast"
    assert implied_task(entry, "forecast", {"task": {"factor": 10}}) == "forecast"


@pytest.mark.parametrize(("pair", "frames"), [((10, 1), 10), ((1, 3), 4), ((10, 3), 5), ((25, 6), 3)])
def test_a_run_is_given_as_many_coarse_frames_as_published(pair, frames):
    spec = planned({"factor": pair[0], "time_factor": pair[1]})
    assert (spec.frames_in, spec.time_factor, spec.train_rung // spec.input_rung) == (frames, pair[1], pair[0])
    assert spec.model_options["frames"] == frames
    assert spec.method_options["scale"] == "published"


def test_pairs_of_factors_are_groups_of_their_own():
    one, other = planned({"factor": 10, "time_factor": 1}), planned({"factor": 10, "time_factor": 3})
    assert group_key(one) != group_key(other)


@pytest.mark.parametrize(
    ("task", "data", "said"),
    [
        ({"factor": 10, "input_rung": 10}, {}, "not by both"),
        ({"factor": 10, "time_factor": 3, "frames": 9}, {"frames": 18}, "18 frames a sample are too few for 9 coarse"),
        ({"factor": 0}, {}, "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(task, data, said):
    with pytest.raises(ConfigError, match=said) as error:
        planned(task, data=data)
    assert "\n" not in error.value.what


def test_fields_without_time_have_none_to_refine():
    with pytest.raises(ConfigError, match="has no time"):
        planned({"time_factor": 2}, dataset="turbulence2d", source="sample", method="baseline")


def test_frames_of_a_third_are_read_as_hours_of_a_half_by_how_much_they_overlap():
    frames = torch.tensor([6.0, 12.0, 0.0]).view(1, 1, 3, 1, 1)
    # Halves: (2/3 · 6 + 1/3 · 12) = 8 and (1/3 · 12 + 2/3 · 0) = 4; sixths repeat; the mean, 6, stays.
    assert in_hours(frames, 2).flatten().tolist() == pytest.approx([8.0, 4.0])
    assert in_hours(frames, 6).flatten().tolist() == pytest.approx([6.0, 6.0, 12.0, 12.0, 0.0, 0.0])
    assert in_hours(frames, 1).flatten().tolist() == pytest.approx([6.0])

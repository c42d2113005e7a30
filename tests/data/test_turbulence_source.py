"""turbulence2d, generated: reproducible, its splits apart, its truth twice finer than its finest rung."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
import torch

from anchorbench.config import validated
from anchorbench.data.sources import turbulence
from anchorbench.data.sources.turbulence import Options, check, generate
from anchorbench.errors import ConfigError
from anchorbench.fields import radial_spectrum, restrict
from anchorbench.solvers import box, solve_truth, velocity
from anchorbench.solvers.turbulence import vorticity_of_spectrum

TINY = {
    "truth_rung": 32,
    "viscosity": 1e-2,
    "drag": 0.1,
    "forcing_wavenumber": 2,
    "interval": 0.125,
    "frames": 3,
    "spin_up_rung": 16,
    "spin_up_time": 0.25,
    "settle_time": 0.125,
    "trajectories": {"train": 3, "validation": 1, "test": 2},
    "floor_windows": 1,
}
FINEST = box(16)


@pytest.fixture(scope="module")
def made():
    return generate(Options(**TINY), FINEST, (8, 16))


def test_each_split_has_its_trajectories_on_the_finest_rung(made):
    splits, static, _ = made
    assert {split: fields.values["vorticity"].shape for split, fields in splits.items()} == {
        "train": (3, 3, 16, 16),
        "validation": (1, 3, 16, 16),
        "test": (2, 3, 16, 16),
    }
    assert splits["train"].clusters.tolist() == [0, 1, 2]
    assert splits["train"].valid is None
    assert all(fields.values["vorticity"].dtype == np.float32 for fields in splits.values())
    assert list(static) == ["forcing"]


def test_the_same_parameters_give_the_same_numbers_to_the_last_bit(made):
    again, _, floor = generate(Options(**TINY), FINEST, (8, 16))
    for split, fields in made[0].items():
        np.testing.assert_array_equal(again[split].values["vorticity"], fields.values["vorticity"])
    assert floor == made[2]


def test_no_two_trajectories_of_any_split_are_alike(made):
    starts = [u[0] for fields in made[0].values() for u in fields.values["vorticity"]]
    assert len(starts) == 6
    for a, b in combinations(starts, 2):
        assert np.linalg.norm(a - b) > np.linalg.norm(a) / 4


def test_another_seed_is_another_set(made):
    spec = Options(**{**TINY, "trajectories": {"train": 1, "validation": 1, "test": 1}, "seed": 1, "floor_windows": 0})
    other = generate(spec, FINEST, (8, 16))[0]["train"].values["vorticity"]
    here = made[0]["train"].values["vorticity"][:1]
    assert np.linalg.norm(other[:, 0] - here[:, 0]) > np.linalg.norm(here[:, 0]) / 4


def test_slices_change_nothing(made, monkeypatch):
    monkeypatch.setattr(turbulence, "SLICE", 2)
    again, _, _ = generate(Options(**{**TINY, "floor_windows": 0}), FINEST, (8, 16))
    np.testing.assert_array_equal(again["train"].values["vorticity"], made[0]["train"].values["vorticity"])


def test_the_fields_are_the_restricted_truth(made):
    truth = solve_truth(Options(**TINY).truth(), n_trajectories=1, seed=2_000_000)
    np.testing.assert_allclose(made[0]["test"].values["vorticity"][:1], restrict(truth, FINEST), atol=1e-5)


def test_the_static_field_is_the_forcing_of_kolmogorov(made):
    # the fluid is pushed along x by sin 2y; its curl is −2 cos 2y
    y = 2 * math.pi * np.arange(16) / 16
    np.testing.assert_allclose(made[1]["forcing"], np.broadcast_to(-2 * np.cos(2 * y)[:, None], (16, 16)), atol=1e-6)


def test_the_floor_is_given_for_each_rung_and_far_below_the_flow(made):
    splits, _, floor = made
    assert sorted(floor) == [8, 16]
    deviation = splits["test"].values["vorticity"].std()
    assert 0 <= floor[8] <= floor[16] < 0.01 * deviation  # a wider band holds more error


def test_without_floor_windows_there_is_no_floor():
    spec = Options(**{**TINY, "floor_windows": 0, "trajectories": {"train": 1, "validation": 1, "test": 1}})
    assert generate(spec, FINEST, (16,))[2] == {}


def test_progress_rises_to_one():
    shares: list[float] = []
    spec = Options(**{**TINY, "floor_windows": 0})
    generate(spec, FINEST, (16,), tell=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("truth_rung", "finest", "fits"), [(32, 16, True), (31, 16, False), (128, 64, True), (64, 48, False)]
)
def test_the_truth_is_at_least_twice_finer_than_the_finest_rung(truth_rung, finest, fits):
    options = Options(**{**TINY, "truth_rung": truth_rung})
    if fits:
        check(options, finest=box(finest))
        return
    with pytest.raises(ConfigError, match=f"{truth_rung} is not twice finer than the finest rung {finest}") as caught:
        check(options, finest=box(finest))
    assert caught.value.do == f"--set generator.truth_rung={2 * finest}"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"viscocity": 1e-3}, r"no option 'viscocity'.*Did you mean 'viscosity'"),
        ({"viscosity": -1.0}, "viscosity"),
        ({"viscosity": math.nan}, "viscosity"),
        ({"frames": 1}, "frames"),
        ({"interval": 0}, "interval"),
        ({"seed": -1}, "seed"),
        ({"spin_up_rung": 64}, "spin_up_rung 64 is not between 4 and truth_rung 32"),
        ({"trajectories": {"train": 1, "validation": 1}}, "trajectories lack the split test"),
        ({"trajectories": {"train": 1, "validation": 1, "test": 0}}, "trajectories.test"),
        ({"trajectories": {"trian": 1, "train": 1, "validation": 1, "test": 1}}, "trian"),
    ],
)
def test_a_parameter_that_cannot_be_is_found_before_anything_is_solved(change, named):
    with pytest.raises(ConfigError, match=named):
        validated(Options, {**TINY, **change}, where="turbulence2d generator")


def test_every_parameter_is_in_the_digest():
    other = {
        "truth_rung": 64,
        "spin_up_rung": 24,
        "trajectories": {"train": 4, "validation": 1, "test": 2},
        "forcing_amplitude": 0.5,  # the default is 1
        "seed": 9,
        "initial": "dns_plane",
        "ladder": "solved",
    }
    digests = {Options(**TINY).digest}
    for name in Options.model_fields:
        value = other[name] if name in other else TINY[name] * 2
        digests.add(Options(**{**TINY, name: value}).digest)
    assert len(digests) == 1 + len(Options.model_fields)


def test_options_at_their_defaults_are_not_in_the_digests_of_ladders_that_knew_none():
    assert Options(**TINY).model_dump().keys().isdisjoint({"initial", "ladder"})
    chosen = Options(**TINY, initial="dns_plane", ladder="solved").model_dump()
    assert (chosen["initial"], chosen["ladder"]) == ("dns_plane", "solved")


def test_the_random_state_of_torch_is_left_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    spec = Options(**{**TINY, "floor_windows": 0, "trajectories": {"train": 1, "validation": 1, "test": 1}})
    generate(spec, FINEST, (16,))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_stopped_call_goes_on_with_the_slices_that_it_had_made(made, tmp_path, monkeypatch):
    spec, asked = Options(**TINY), []
    solve = turbulence.solve_truth

    def stops(*args, **words):
        asked.append(words["seed"])
        if len(asked) == 3:
            raise KeyboardInterrupt
        return solve(*args, **words)

    monkeypatch.setattr(turbulence, "solve_truth", stops)
    with pytest.raises(KeyboardInterrupt):
        generate(spec, FINEST, (8, 16), scratch=tmp_path)
    again, _, floor = generate(spec, FINEST, (8, 16), scratch=tmp_path)
    assert asked == [0, 1_000_000, 2_000_000, 2_000_000]  # the two finished splits were not solved again
    for split, fields in made[0].items():
        np.testing.assert_array_equal(again[split].values["vorticity"], fields.values["vorticity"])
    assert floor == made[2]


# -- ladders that are solved on each rung ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def solved():
    return generate(Options(**TINY, ladder="solved"), FINEST, (8, 16))[0]


def test_a_solved_ladder_has_each_rungs_own_solution_but_for_the_test(made, solved):
    for split, n in (("train", 3), ("validation", 1)):
        fields = solved[split]
        assert {r: u["vorticity"].shape for r, u in fields.by_rung.items()} == {8: (n, 3, 8, 8), 16: (n, 3, 16, 16)}
        assert fields.values["vorticity"] is fields.by_rung[16]["vorticity"]
    assert solved["test"].by_rung is None
    np.testing.assert_array_equal(solved["test"].values["vorticity"], made[0]["test"].values["vorticity"])


def test_a_rungs_own_solution_is_not_the_restricted_truth_but_begins_like_it(made, solved):
    truth = made[0]["train"].values["vorticity"]
    error = np.linalg.norm(solved["train"].by_rung[16]["vorticity"][:, 0] - truth[:, 0]) / np.linalg.norm(truth[:, 0])
    assert 1e-4 < error < 0.3


def test_a_rung_is_solved_with_all_its_modes(solved):
    # |k| = 3 is beyond the two-thirds rule of 8 points, and below its Nyquist.
    spectrum = np.abs(np.fft.rfft2(solved["train"].by_rung[8]["vorticity"]))
    assert spectrum[..., 0, 3].min() > 0
    assert spectrum[..., 0, 4].max() < 1e-5 * spectrum.max()


# -- starts with the spectrum of the DNS plane -------------------------------------------------------------------------


def test_starts_with_a_given_spectrum_have_it_in_each_ring():
    energy = (9.0, 1.0, 0.5, 0.25, 0.0, 0.125)
    for n in (12, 13):
        w = vorticity_of_spectrum(energy, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        found = radial_spectrum(velocity(w), box(n)).energy.sum(0) / 2
        torch.testing.assert_close(found[1:6], torch.tensor(energy[1:], dtype=torch.float64), atol=1e-12, rtol=0)
        assert abs(w.mean()) < 1e-12

"""An option chosen by untrained spectra: LIIF's waves, FRL's code, and what cannot be chosen."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from anchorbench.analysis.spectral_distance import wasserstein
from anchorbench.data.catalog_file import load_catalog
from anchorbench.errors import ConfigError
from anchorbench.fields.grid import Grid
from anchorbench.models.liif import LIIF
from anchorbench.models.sr_options import LiifOptions
from anchorbench.runs import Asked
from anchorbench.runs.choose import choose, with_choice

QUICK = {"model": {"width": 4, "layers": 1, "modes": 4, "local_kernel": 0}}


def chosen(bench, asked, option, settings, **words):
    catalog = load_catalog(bench.catalog)
    return choose(asked, option, settings, cache=bench.cache, catalog=catalog, device="cpu", **words)


@pytest.fixture(scope="module")
def of_frl(bench):
    asked = Asked("turbulence2d", size="tiny", methods=("frl",), train_rung=16, settings=QUICK)
    return chosen(bench, asked, "method.waves", [1, 2, 6], draws=3, bins=8)


def test_the_distance_is_that_of_networks_with_the_setting_from_what_training_is_asked_for(bench, of_frl):
    assert of_frl.untrained.shape == (3, 8)
    assert_close(of_frl.untrained.sum(1), np.ones(3, np.float32))
    assert of_frl.chosen == [1, 2, 6][int(of_frl.distance.argmin())]
    # Convexity: the mean of distances is at least the distance of means.
    of_means = wasserstein(torch.tensor(of_frl.untrained), torch.tensor(of_frl.target)).numpy()
    assert (of_frl.distance >= of_means - 1e-6).all()
    assert (of_frl.error > 0).all()


def test_more_waves_in_the_code_move_the_untrained_spectrum_to_finer_bins(of_frl):
    centre = (of_frl.untrained * np.arange(1, 9)).sum(1)
    assert centre[2] > centre[0] + 0.3


def test_what_was_chosen_is_in_the_words_that_train_with_it(of_frl):
    words = with_choice(Asked("turbulence2d", settings={"train": {"steps": 1}}), of_frl)
    assert words.settings == {"train": {"steps": 1}, "method": {"waves": of_frl.chosen}}
    assert json.loads(json.dumps(of_frl.to_dict()))["chosen"] == of_frl.chosen


def test_a_network_that_adds_to_its_input_is_compared_in_what_it_adds(bench):
    asked = Asked("turbulence2d", size="tiny", settings=QUICK)
    found = chosen(bench, asked, "model.modes", [2, 4], draws=1, bins=4)
    session = bench.session(next(s for s in bench.specs("baseline", settings=QUICK) if s.kind == "method"))
    batch = session.training_windows("train", session.spec.train_rung).batch([0])
    assert session.plan.increment
    same = torch.equal(batch.targets, batch.start())
    assert not same
    assert np.isfinite(found.distance).all()
    assert found.error.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("option", "settings", "words", "why"),
    [
        ("train.steps", [1, 2], {}, "is no option to choose"),
        ("model", [1, 2], {}, "is no option to choose"),
        ("model.width", [4], {}, "two settings or more"),
        ("model.width", [4, 8], {"methods": ("baseline", "frl")}, "of one method"),
        ("model.omega", [4, 8], {"task": "represent"}, "chooses within a run"),
    ],
)
def test_what_cannot_be_chosen_is_refused(bench, option, settings, words, why):
    with pytest.raises(ConfigError, match=why):
        chosen(bench, Asked("turbulence2d", size="tiny", **words), option, settings)


# -- the waves of a LIIF's decoder -------------------------------------------------------------------------------------


def liif(**options) -> LIIF:
    torch.manual_seed(0)
    return LIIF(1, 1, Grid((8, 8)), LiifOptions(width=4, blocks=0, hidden=8, layers=1, **options))


def test_the_decoders_code_is_waves_of_the_offset_in_spacings():
    model = liif(sigma=2.0, waves=3)
    rel = torch.tensor([0.5, -1.0])[:, None]  # rel is twice the offset in spacings
    cosines, sines = model.code(rel)
    phase = 2 * torch.pi * 2.0 * (model.waves @ torch.tensor([0.25, -0.5]))
    assert_close(cosines[:, 0], phase.cos())
    assert_close(sines[:, 0], phase.sin())
    assert liif().code(rel) == ()


def test_without_waves_a_liif_and_its_options_are_what_they_were():
    assert "sigma" not in LiifOptions().model_dump()
    assert "waves" not in LiifOptions().model_dump()
    assert LiifOptions(sigma=1.0).model_dump()["sigma"] == 1.0
    assert "waves" not in dict(liif().named_buffers())


def test_faster_waves_make_an_untrained_liif_finer_between_its_points():
    u, coarse, fine = torch.randn(1, 1, 8, 8), Grid((8, 8)), Grid((64, 64))
    with torch.no_grad():
        rough = [liif(sigma=s)(u, coarse, fine).diff(dim=-1).square().mean() for s in (0.1, 4.0)]
    assert rough[1] > 2 * rough[0]


def test_a_liif_with_waves_is_trained_and_predicts_on_any_grid():
    model = liif(sigma=1.0)
    assert model(torch.randn(2, 1, 8, 8), Grid((8, 8)), Grid((24, 24))).shape == (2, 1, 24, 24)

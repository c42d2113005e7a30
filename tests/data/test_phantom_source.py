"""mri, generated: reproducible heads, split by subject, resumed to the same bits, exact on every rung."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

from anchorbench.config import validated
from anchorbench.data.catalog_file import load_catalog
from anchorbench.data.fetch import fetch, request
from anchorbench.data.sources import phantom
from anchorbench.data.sources.phantom import Options, generate
from anchorbench.errors import ConfigError
from anchorbench.fields import Grid, restrict

FINEST = Grid((32, 32), (256.0, 256.0), unit="mm")
FEW = {"subjects": {"train": 3, "validation": 1, "test": 2}, "slices": 4, "folds": 30, "details": 5}


@pytest.fixture(scope="module")
def made():
    return generate(Options(**FEW), FINEST)


def test_each_split_has_its_subjects_and_a_subject_is_a_cluster(made):
    assert {s: f.values["intensity"].shape for s, f in made.items()} == {
        "train": (12, 1, 32, 32),
        "validation": (4, 1, 32, 32),
        "test": (8, 1, 32, 32),
    }
    assert made["train"].clusters.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert made["train"].values["intensity"].dtype == np.float32
    assert made["train"].valid is None
    assert Options(**FEW).most == {"train": 12, "validation": 4, "test": 8}


def test_the_same_options_give_the_same_bits_and_another_seed_other_heads(made):
    again, other = generate(Options(**FEW), FINEST), generate(Options(**FEW, seed=1), FINEST)
    for split, fields in made.items():
        np.testing.assert_array_equal(again[split].values["intensity"], fields.values["intensity"])
    assert not np.allclose(other["test"].values["intensity"], made["test"].values["intensity"], atol=0.01)


def test_no_two_sections_of_any_subject_or_split_are_alike(made):
    images = [image[0] for fields in made.values() for image in fields.values["intensity"]]
    assert all(np.abs(a - b).max() > 0.05 for a, b in combinations(images, 2))


def test_more_training_subjects_leave_the_others_as_they_are(made):
    more = generate(Options(**{**FEW, "subjects": {"train": 4, "validation": 1, "test": 2}}), FINEST)
    np.testing.assert_array_equal(more["test"].values["intensity"], made["test"].values["intensity"])
    np.testing.assert_array_equal(more["train"].values["intensity"][:12], made["train"].values["intensity"])


def test_every_coarser_rung_is_what_would_have_been_drawn_there(made):
    coarse = FINEST.with_rung(16)
    drawn = generate(Options(**FEW), coarse)["validation"].values["intensity"]
    restricted = restrict(torch.from_numpy(made["validation"].values["intensity"]), coarse)
    np.testing.assert_allclose(restricted.numpy(), drawn, atol=1e-6)


def test_what_was_stopped_goes_on_and_ends_with_the_same_bits(made, tmp_path, monkeypatch):
    drawn, draw = [], phantom._subject

    def stop_at_the_fourth(*subject):
        if len(drawn) == 3:
            raise KeyboardInterrupt
        drawn.append(subject[1:3])
        return draw(*subject)

    monkeypatch.setattr(phantom, "_subject", stop_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        generate(Options(**FEW), FINEST, scratch=tmp_path)
    again = []
    monkeypatch.setattr(phantom, "_subject", lambda *s: again.append(s[1:3]) or draw(*s))
    whole = generate(Options(**FEW), FINEST, scratch=tmp_path)
    assert not set(again) & set(drawn)
    for split, fields in made.items():
        np.testing.assert_array_equal(whole[split].values["intensity"], fields.values["intensity"])


def test_subjects_that_lack_a_split_are_refused():
    with pytest.raises(ConfigError, match="subjects lack the split test"):
        validated(Options, {"subjects": {"train": 1, "validation": 1}}, where="here")


def test_a_limit_takes_fewer_slices_of_each_head_and_then_fewer_heads():
    def most(limit: int) -> dict[str, int]:
        return Options(**FEW, limit=limit).most

    assert most(99) == {"train": 12, "validation": 4, "test": 8}
    assert most(6) == {"train": 6, "validation": 4, "test": 6}
    assert most(2) == {"train": 2, "validation": 2, "test": 2}
    limited = generate(Options(**FEW, limit=2), FINEST.with_rung(8))
    assert {split: fields.n_samples for split, fields in limited.items()} == most(2)


def test_a_ladder_is_made_without_a_network(tmp_path):
    small = {"subjects": {"train": 2, "validation": 1, "test": 1}, "slices": 2, "folds": 30}
    asked = request(load_catalog(), "mri", size="tiny", source="generated", settings={"generator": small})
    ladder = fetch(asked, tmp_path, offline=True)
    assert ladder.rungs == (16, 32, 64)
    assert ladder.restriction == "spectral"
    assert not ladder.masked
    assert ladder.array("train", 64, "intensity").shape == (4, 1, 64, 64)
    assert ladder.grid(64).extent == (256.0, 256.0)
    removed = ladder.about["splits"]["test"]["energy_removed"]
    assert 0.01 < removed["r032"] < 0.2
    assert removed["r064"] == pytest.approx(0, abs=1e-6)

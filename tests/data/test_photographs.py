"""photographs: small pictures with the traps of real ones, and dead leaves of known statistics."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.image import imsave
from pydantic import ValidationError

from anchorbench.config import validated
from anchorbench.data.catalog import Artefact, Member, SampleFile, Source
from anchorbench.data.catalog_file import load_catalog
from anchorbench.data.sources import Ask, dead_leaves, photographs
from anchorbench.errors import ConfigError, DownloadError
from anchorbench.fields import Grid

GRID = Grid((4, 4), centring="cell", periodic=(False, False))


def saved(folder: Path, name: str, values: np.ndarray) -> Path:
    path = folder / name
    imsave(path, values, **({"cmap": "gray", "vmin": 0, "vmax": 255} if values.ndim == 2 else {}))
    return path


def coloured(height: int, width: int) -> np.ndarray:
    """Bytes of (y, x, 3) that differ in every plane and row."""
    y, x = np.mgrid[:height, :width]
    return np.stack([10 * y, 10 * x, 5 * (x + y)], axis=-1).astype(np.uint8)


def test_a_picture_is_the_means_over_the_cells_of_its_central_square(tmp_path):
    # 8 x 10 pixels on 4 cells: two pixels a cell, columns 1 to 8.
    values = coloured(8, 10)
    found = photographs.picture(saved(tmp_path, "wide.png", values), GRID)
    square = values[:, 1:9].astype(float) / 255
    expected = square.reshape(4, 2, 4, 2, 3).mean((1, 3))
    np.testing.assert_allclose(found, np.moveaxis(expected, -1, 0), atol=1e-6)
    # Rows run from the top: red grows downward.
    assert found[0, 3, 0] > found[0, 0, 0]


def test_what_does_not_fill_a_whole_number_of_pixels_is_cut_away(tmp_path):
    values = coloured(11, 11)
    # One pixel a cell would need 4, two 8, three 12: two, from pixel 1 on.
    found = photographs.picture(saved(tmp_path, "odd.png", values), GRID)
    expected = values[1:9, 1:9].astype(float).reshape(4, 2, 4, 2, 3).mean((1, 3)) / 255
    np.testing.assert_allclose(found, np.moveaxis(expected, -1, 0), atol=1e-6)


def test_a_grey_picture_is_three_equal_planes_and_opacity_is_none(tmp_path):
    from PIL import Image

    grey = coloured(4, 4)[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    found = photographs.picture(tmp_path / "grey.png", GRID)
    assert found.shape == (3, 4, 4)
    np.testing.assert_allclose(found, np.stack([grey / 255.0] * 3), atol=1e-6)
    veiled = np.concatenate([coloured(4, 4), np.full((4, 4, 1), 7, np.uint8)], axis=-1)
    Image.fromarray(veiled).save(tmp_path / "veiled.png")
    np.testing.assert_allclose(
        photographs.picture(tmp_path / "veiled.png", GRID), np.moveaxis(coloured(4, 4), -1, 0) / 255, atol=1e-6
    )


def test_jpeg_is_bytes_and_ends_between_0_and_1(tmp_path):
    from PIL import Image

    Image.fromarray(np.full((8, 8, 3), 51, np.uint8)).save(tmp_path / "flat.jpg")
    np.testing.assert_allclose(photographs.picture(tmp_path / "flat.jpg", GRID), 0.2, atol=0.01)


def test_what_is_no_picture_or_too_small_says_so(tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(DownloadError, match=r"text.png cannot be read as a picture"):
        photographs.picture(tmp_path / "text.png", GRID)
    with pytest.raises(ConfigError, match=r"small.png has 3 x 9 pixels, fewer than the finest rung r004"):
        photographs.picture(saved(tmp_path, "small.png", coloured(3, 9)), GRID)


def ask(folder: Path, pictures: dict[str, tuple[str, ...]]) -> Ask:
    def file(name: str) -> SampleFile:
        digest = "0" * 64
        member = Member(path=f"p/{name}", size=1, sha256=digest)
        return SampleFile(
            package="p", version="1", artefact=Artefact(name="p.whl", size=1, sha256=digest), member=member
        )

    files = tuple(file(path.name) for path in sorted(folder.iterdir()))
    source = Source(display_name="pictures", producer="us", terms="none", reader="photographs", files=files)
    asked = Ask(
        SimpleNamespace(name="photographs"),
        source,
        validated(photographs.Options, {"pictures": pictures}, where="selection"),
        SimpleNamespace(rungs=(2, 4)),
        GRID,
        folder,
    )
    object.__setattr__(asked, "sample", lambda file: folder / file.member.name)
    return asked


def test_pictures_go_to_the_splits_that_name_them(tmp_path):
    for i, name in enumerate(("a.png", "b.png", "c.png")):
        saved(tmp_path, name, np.full((4, 4, 3), 50 * i, np.uint8))
    loaded = photographs.load(ask(tmp_path, {"train": ("b",), "validation": ("a",), "test": ("c",)}))
    means = {split: float(fields.values["green"].mean()) for split, fields in loaded.splits.items()}
    assert means == pytest.approx({"train": 50 / 255, "validation": 0, "test": 100 / 255}, abs=1e-6)
    assert loaded.splits["test"].values["red"].shape == (1, 1, 4, 4)
    with pytest.raises(ConfigError, match="has no picture d; it has a, b, c"):
        photographs.load(ask(tmp_path, {"train": ("d",), "validation": ("a",), "test": ("c",)}))


@pytest.mark.parametrize(
    ("pictures", "why"),
    [
        ({"train": ("a",), "validation": ("b",), "test": ("a",)}, "twice"),
        ({"train": ("a",), "test": ("b",)}, "each with one at least"),
        ({"train": ("a",), "validation": (), "test": ("b",)}, "each with one at least"),
    ],
)
def test_a_picture_is_in_one_split_and_no_split_is_empty(pictures, why):
    with pytest.raises(ValidationError, match=why):
        photographs.Options(pictures=pictures)


def test_the_catalogue_names_every_file_in_one_split():
    entry = load_catalog().dataset("photographs")
    names = {Path(file.member.path).stem for file in entry.sources["sample"].files}
    for size in ("small", "full"):
        chosen = entry.size(size).selection["pictures"]
        assert names == {name for split in chosen.values() for name in split}


# -- dead leaves -------------------------------------------------------------------------------------------------------


def leaves(**options) -> dead_leaves.Options:
    return dead_leaves.Options(pictures={"train": 1, "validation": 1, "test": 1}, **options)


def test_radii_are_drawn_from_an_inverse_cube():
    r = np.array([dead_leaves.radius(share, 0.01, 0.4) for share in np.linspace(0, 1, 100001)])
    assert (r[0], r[-1]) == pytest.approx((0.01, 0.4))
    # P(r > R) = (R^-2 − 0.4^-2)/(0.01^-2 − 0.4^-2), at R = 0.02: (2500 − 6.25)/(10000 − 6.25) = 0.24953
    assert (r > 0.02).mean() == pytest.approx(0.24953, abs=1e-4)


def test_dead_leaves_have_the_mean_and_variance_of_their_colours():
    grid = Grid((32, 32), centring="cell", periodic=(False, False))
    made = np.stack([dead_leaves.leaves(grid, leaves(least=0.1, oversample=1), seed=(i,)) for i in range(20)])
    assert made.shape == (20, 3, 32, 32)
    # Every point has a colour drawn evenly from 0 to 1: mean ½, variance 1/12; 20 pictures of some dozens of leaves.
    assert made.mean() == pytest.approx(0.5, abs=0.05)
    assert made.var() == pytest.approx(1 / 12, rel=0.15)
    # Leaves are of one colour: most neighbours are equal, and no two pictures are.
    assert (np.diff(made, axis=-1) == 0).mean() > 0.5
    assert not np.array_equal(made[0], made[1])
    again = dead_leaves.leaves(grid, leaves(least=0.1, oversample=1), seed=(0,))
    np.testing.assert_array_equal(again, made[0])


def test_dead_leaves_are_refused_where_they_cannot_be_drawn():
    with pytest.raises(ConfigError, match="squares of cells, not on points"):
        dead_leaves.check(leaves(), finest=Grid((8, 8)))
    with pytest.raises(ConfigError, match=r"radii from 0.5 to 0.4"):
        dead_leaves.check(leaves(least=0.5), finest=GRID)

"""Hold-out of rain in space and in time: who sees which tile, in which hours."""

from __future__ import annotations

import numpy as np
import pytest

from anchorbench.config import validated
from anchorbench.data.rain_maps import RainHours, pick_hours
from anchorbench.data.rain_tiles import TiledBlocks, tiles_of
from anchorbench.data.splits import SPLITS
from anchorbench.errors import ConfigError

HOURS = np.datetime64("2023-01-01T00:00:00") + np.arange(48) * np.timedelta64(3600, "s")
#: Cells of a tile, and tiles an axis.
CROP, N = 3, 4


def record() -> RainHours:
    """Every cell of every hour has a code of its own tile and hour: 100 · tile + hour + 1."""
    tile = np.kron(np.arange(N * N).reshape(N, N), np.ones((CROP, CROP), int))
    return RainHours((100 * tile + np.arange(48)[:, None, None] + 1).astype(np.uint16), HOURS)


def seen(**options):
    """Per split: tiles and hours of its samples, the fields themselves having told."""
    blocks = TiledBlocks(frames=2, tiles=N, **{"period": 6, "gap": 1, **options})
    found = {}
    for split, fields in pick_hours(record(), blocks).items():
        codes = np.rint(fields.values["rainfall_amount"] * 10).astype(int) - 1
        assert codes.shape[1:] == (2, CROP, CROP)
        assert (codes == codes[..., :1, :1]).all()  # one tile each, none cut elsewhere
        hours = codes[:, :, 0, 0] % 100
        np.testing.assert_array_equal(fields.times, HOURS[hours])
        found[split] = set((codes[:, 0, 0, 0] // 100).tolist()), set(hours.ravel().tolist()), fields
    return found


def test_split_in_time_every_tile_is_seen_by_all_and_no_hour_by_two():
    found = seen()
    assert all(tiles == set(range(N * N)) for tiles, *_ in found.values())
    hours = [hours for _, hours, _ in found.values()]
    assert sum(len(h) for h in hours) == len(set().union(*hours))


def test_split_by_tiles_every_hour_is_seen_by_all_and_no_tile_by_two():
    found = seen(split_by="tiles", gap=0)
    assert all(hours == set(range(48)) for _, hours, _ in found.values())
    assert found["validation"][0] | found["test"][0] == {3, 7, 11, 15}  # the eastern column
    assert [len(found[split][0]) for split in SPLITS] == [12, 2, 2]
    # A period is a cluster whatever the tile: 48 hours in periods of 6.
    assert set(found["test"][2].clusters.tolist()) == set(range(8))


def test_split_by_both_neither_tile_nor_hour_is_shared_with_training():
    found = seen(split_by="both")
    tiles, hours, _ = found["train"]
    for split in ("validation", "test"):
        assert not tiles & found[split][0]
        assert not hours & found[split][1]
        assert found[split][0] == {3, 7, 11, 15}


def test_the_folds_of_either_kind_keep_each_tile_once():
    for held_out in ("column", "diagonal"):
        kept = [
            tile
            for fold in range(N)
            for tile in tiles_of("test", TiledBlocks(tiles=N, split_by="both", held_out=held_out, fold=fold))
        ]
        assert sorted(kept) == [(row, column) for row in range(N) for column in range(N)]
    # The published diagonals.
    second = TiledBlocks(tiles=4, split_by="both", held_out="diagonal", fold=1)
    assert tiles_of("test", second) == [(0, 1), (1, 2), (2, 3), (3, 0)]


def test_the_most_of_a_split_are_spread_over_time_and_tiles():
    fields = pick_hours(record(), TiledBlocks(frames=2, tiles=N, period=6, most={"train": 10}))["train"]
    assert fields.n_samples == 10
    assert fields.times[0, 0] < fields.times[-1, 0]
    assert len(fields.attrs["tiles"].split()) > 1


def test_a_dry_tile_gives_nothing_and_a_dry_map_is_an_error():
    wet = record()
    codes = wet.codes.copy()
    codes[:, :CROP, :CROP] = 0
    blocks = TiledBlocks(frames=2, tiles=N, period=6, wet_share=0.5)
    assert "0,0" not in pick_hours(RainHours(codes, HOURS), blocks)["train"].attrs["tiles"].split()
    with pytest.raises(ConfigError, match="no sequence of 2 frames in the train split"):
        pick_hours(RainHours(np.zeros_like(codes), HOURS), blocks)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"split_by": "both"}, "takes 2 tiles an axis or more"),
        ({"tiles": 2, "fold": 2}, "fold is 0 to 1 of 2 tiles an axis, not 2"),
    ],
)
def test_options_that_leave_nothing_to_hold_out_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        validated(TiledBlocks, options, where="selection")


def test_one_tile_leaves_the_digest_of_a_ladder_as_it_was():
    assert not {"tiles", "split_by", "held_out", "fold"} & TiledBlocks().model_dump().keys()

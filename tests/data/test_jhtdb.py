"""turbulence3d, public: cut-outs joined from the tiles of a service on loopback, which can refuse and fail."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import cache
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from anchorbench.config import validated
from anchorbench.data.catalog_file import load_catalog
from anchorbench.data.fetch import fetch, request
from anchorbench.data.sources import jhtdb
from anchorbench.data.sources.jhtdb import MISSING, TOKEN, Options
from anchorbench.errors import ConfigError, DownloadError

#: Read once for all tests here.
catalogue = cache(load_catalog)

SECRET = "edu.example.person-5e7c1d"


def velocity(t, x, y, z):
    """What the service holds at 1-based points: three numbers that say where they are."""
    return x + y / 64, 2 * y + t, -z + 0.5


@dataclass
class Service:
    """How the service behaves, and what it was asked."""

    asked: list[dict[str, str]] = field(default_factory=list)
    missing: set[tuple[int, int, int]] = field(default_factory=set)
    statuses: list[int] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    most: int = 4096
    address: str = ""


def _answer(service: Service, query: dict[str, str]) -> tuple[int, bytes]:
    bounds = {axis: (int(query[f"{axis}s"]), int(query[f"{axis}e"])) for axis in "xyz"}
    x, y, z = (np.arange(first, last + 1) for first, last in bounds.values())  # the last one is inside
    if query["token"] != SECRET:
        return 403, b"the authorization token is not valid"
    if len(x) * len(y) * len(z) > service.most:
        return 400, b"too many points for this token"
    grid = np.meshgrid(z, y, x, indexing="ij")
    data = np.stack(velocity(int(query["ts"]), grid[2], grid[1], grid[0]), axis=-1).astype(float)
    for px, py, pz in service.missing:
        data[(grid[2] == px) & (grid[1] == py) & (grid[0] == pz)] = MISSING
    name = f"velocity_{int(query['ts']):04d}"
    dims = ["zcoor", "ycoor", "xcoor", "values"]
    coords = {"xcoor": {"dims": ["xcoor"], "data": (2 * np.pi / 1024 * (x - 1)).tolist()}}
    answer = {"coords": coords, "attrs": {}, "dims": {}, "data_vars": {name: {"dims": dims, "data": data.tolist()}}}
    return 200, json.dumps(answer).encode()


@pytest.fixture
def service(serve, monkeypatch):
    monkeypatch.setenv(TOKEN, SECRET)
    state = Service()

    def answer(host, request) -> None:
        query = {name: values[0] for name, values in parse_qs(urlsplit(request.path).query).items()}
        state.asked.append(query)
        if state.statuses:
            return request.give(state.statuses.pop(0))
        return request.give(*((200, state.bodies.pop(0)) if state.bodies else _answer(state, query)))

    state.address = serve(answer).url("turbulence-svc/cutout/api/local")
    return state


@pytest.fixture
def ask(service, tmp_path):
    """ask(**options): a small set of boxes of 8 points, on loopback."""

    def wanted(**options):
        settings = {
            "rungs": [4, 8],
            "crop": 8,
            "train": [1, 400],
            "validation": [700, 760],
            "test": [1050, 1300],
            "most": {"train": 2, "validation": 1, "test": 2},
            "query_points": 256,
            **options,
        }
        found = request(catalogue(), "turbulence3d", size="tiny", source="public", settings=settings)
        urls = {"cutout": service.address}
        source = found.described.model_copy(update={"urls": urls})
        return replace(found, entry=found.entry.model_copy(update={"sources": {"public": source}}))

    def asked(**options):
        found = wanted(**options)
        return found.ask(tmp_path / "cache")

    asked.wanted = wanted
    return asked


def test_tiles_are_joined_into_boxes_with_components_apart(ask):
    fields = jhtdb.load(ask(corners=[[5, 11, 101]])).splits["train"]
    assert {name: u.shape for name, u in fields.values.items()} == dict.fromkeys(jhtdb.COMPONENTS, (2, 2, 8, 8, 8))
    z, y, x = np.meshgrid(np.arange(101, 109), np.arange(11, 19), np.arange(5, 13), indexing="ij")
    for row, times in enumerate(((1, 11), (390, 400))):
        for frame, t in enumerate(times):
            for name, expected in zip(jhtdb.COMPONENTS, velocity(t, x, y, z), strict=True):
                np.testing.assert_allclose(fields.values[name][row, frame], expected, rtol=1e-6)
    assert fields.valid is None


def test_indices_begin_with_one_the_last_is_inside_and_no_query_asks_for_too_much(ask, service):
    service.most = 256
    jhtdb.load(ask(most={"train": 1, "validation": 1, "test": 1}, frames=1))
    first = service.asked[0]
    assert [first[name] for name in ("xs", "xe", "ys", "ye", "zs", "ze")] == ["1", "8", "1", "8", "1", "4"]  # 8 x 8 x 4
    assert [first[name] for name in ("ts", "te", "stridex", "filter_width")] == ["1", "1", "1", "1"]
    assert len(service.asked) == 3 * 2
    assert {int(query["ze"]) for query in service.asked} == {4, 8}


def test_a_query_of_the_public_token_is_a_tile_of_64_by_64(ask, service, monkeypatch):
    sizes = []

    def tile(self, time, start, shape):
        sizes.append(shape)
        return np.zeros((*shape, 3), np.float32)

    monkeypatch.setattr(jhtdb._Service, "tile", tile)
    jhtdb._Service(ask(query_points=4096)).box(1, (1, 1, 1), 64)
    assert sizes == [(1, 64, 64)] * 64
    sizes.clear()
    jhtdb._Service(ask(query_points=100)).box(1, (1, 1, 1), 8)  # 8 x 8 x 1: the last two do not fit another plane
    assert sizes == [(1, 8, 8)] * 8


def test_missing_points_become_the_mask(ask, service):
    service.missing = {(3, 1, 8)}
    fields = jhtdb.load(ask()).splits["test"]
    assert np.argwhere(~fields.valid[0, 0]).tolist() == [[7, 0, 2]]
    assert all(u[0, 0, 7, 0, 2] == 0 for u in fields.values.values())
    assert all(np.abs(u).max() < 1400 for u in fields.values.values())


def test_splits_are_blocks_of_time_with_a_gap_and_clusters_stretches_of_it(ask):
    options = ask(most={"train": 5, "validation": 2, "test": 4}, corners=[[1, 1, 1], [513, 513, 513]]).options
    times = {split: [t for t, _ in options.sequences(split)] for split in options.most}
    assert times["train"][0] == 1
    assert times["train"][-1] + options.stride == 400
    assert min(times["validation"]) - (max(times["train"]) + options.stride) > options.gap
    assert min(times["test"]) - (max(times["validation"]) + options.stride) > options.gap
    assert [corner for _, corner in options.sequences("test")][:3] == [(1, 1, 1), (513, 513, 513), (1, 1, 1)]
    clusters = jhtdb.load(ask(most={"train": 5, "validation": 1, "test": 1})).splits["train"].clusters
    assert clusters.tolist() == [0, 0, 0, 1, 1]  # 1, 98, 196, 293, 390 in stretches of 250


def test_what_came_before_a_stop_is_not_asked_for_again(ask, service):
    asked = ask()
    service.statuses = []
    service.bodies = []
    seen = service.asked
    whole = len(jhtdb.load(asked).splits) and len(seen)
    seen.clear()
    again = jhtdb.load(asked)
    assert seen == []
    assert again.splits["train"].n_samples == 2
    tiles = sorted((asked.cache / "files").glob("url-*/tile.json"))
    assert len(tiles) == whole == 5 * 2 * 2
    tiles[3].unlink()
    jhtdb.load(asked)
    assert len(seen) == 1


def test_the_token_is_in_no_file_of_the_cache_and_no_message(ask, service, tmp_path):
    ladder = fetch(ask.wanted(), tmp_path / "cache")
    service.statuses = [500] * 9
    with pytest.raises(DownloadError) as caught:
        jhtdb.load(replace(ask(), force=True))
    assert SECRET not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)
    assert SECRET not in json.dumps(dict(ladder.about))
    for path in tmp_path.rglob("*"):
        assert SECRET not in path.name
        assert not path.is_file() or SECRET.encode() not in path.read_bytes()


def test_another_token_finds_the_same_tiles(ask, service, monkeypatch):
    jhtdb.load(ask())
    service.asked.clear()
    monkeypatch.setenv(TOKEN, "another")
    jhtdb.load(ask())
    assert service.asked == []


def test_without_a_token_one_line_says_where_it_belongs(ask, service, monkeypatch):
    monkeypatch.delenv(TOKEN)
    with pytest.raises(DownloadError, match=rf"{TOKEN} is not set\n.*turbulence@pha\.jhu\.edu"):
        jhtdb.load(ask())
    assert service.asked == []


def test_without_a_token_what_is_in_the_cache_is_read(ask, monkeypatch):
    jhtdb.load(ask())
    monkeypatch.delenv(TOKEN)
    assert jhtdb.load(ask()).splits["test"].n_samples == 2


def test_offline_says_so_instead(ask, monkeypatch):
    monkeypatch.delenv(TOKEN)
    with pytest.raises(DownloadError, match="offline"):
        jhtdb.load(replace(ask(), offline=True))


def test_a_token_that_is_refused_is_told(ask, monkeypatch):
    monkeypatch.setenv(TOKEN, "of somebody else")
    with pytest.raises(DownloadError, match=rf"the service refused the token in {TOKEN}") as caught:
        jhtdb.load(ask())
    assert "somebody" not in str(caught.value)


def test_a_refusal_in_words_with_status_200_is_told_and_not_kept(ask, service):
    service.bodies = [b"<html>Your authorization token has expired</html>"]
    with pytest.raises(DownloadError, match="refused the token"):
        jhtdb.load(ask())
    assert jhtdb.load(ask()).splits["test"].n_samples == 2


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>busy</html>", b'{"data_vars": {}}', b'{"data_vars": {"v": {"data": [[[[1, 2, 3]]]]}}}', b"[1]"],
    ids=["empty", "page", "nothing", "shape", "list"],
)
def test_an_answer_that_is_no_velocities_is_told_and_not_kept(body, ask, service):
    service.bodies = [body]
    with pytest.raises(DownloadError, match=r"4 x 8 x 8 velocities.*\n.*what came before is kept"):
        jhtdb.load(ask())
    assert jhtdb.load(ask()).splits["test"].n_samples == 2


@pytest.mark.parametrize(("status", "times"), [(404, 1), (500, 9), (400, 1)])
def test_a_status_that_will_not_pass_is_one_download_error(status, times, ask, service):
    service.statuses = [status] * times
    with pytest.raises(DownloadError, match=f"a tile of isotropic1024coarse at time 1 .*answered {status}"):
        jhtdb.load(ask())


def test_a_status_that_passes_is_got_over(ask, service):
    service.statuses = [503, 500]
    assert jhtdb.load(ask()).splits["test"].n_samples == 2


def test_a_ladder_is_made_of_it_by_block_means(ask, tmp_path):
    ladder = fetch(ask.wanted(), tmp_path)
    z, y, x = np.meshgrid(*[np.arange(1.5, 9, 2)] * 3, indexing="ij")  # the middles of two points each
    for name, expected in zip(jhtdb.COMPONENTS, velocity(1050, x, y, z), strict=True):
        np.testing.assert_allclose(ladder.array("test", 4, name)[0, 0], expected, rtol=1e-6)
    assert ladder.finest.extent == pytest.approx((8 * 2 * np.pi / 1024,) * 3)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"train": (1, 5)}, "no sequence fits"),
        ({"train": (0, 400)}, "no sequence fits"),
        ({"validation": (300, 500)}, "are not 250 stored times apart"),
        ({"most": {"train": 1, "test": 1}}, "most is at least 1 for each"),
        ({"query_points": 1}, "query_points"),
        ({"dataset": "a b"}, "dataset"),
    ],
)
def test_options_that_cannot_be_are_refused(options, named):
    with pytest.raises(ConfigError, match=named):
        validated(Options, options, where="selection")


@pytest.mark.parametrize("corner", [[0, 1, 1], [1, 1, 1020]])
def test_a_box_that_reaches_past_the_set_is_refused_before_anything_is_asked_for(corner, ask, service):
    with pytest.raises(ConfigError, match="reaches past the points 1 to 1024"):
        jhtdb.load(ask(corners=[corner]))
    assert service.asked == []

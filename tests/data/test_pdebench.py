"""PDEBench's three layouts over HTTP: in part or whole, with their traps, and whatever a host may do."""

from __future__ import annotations

import hashlib
import io
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from anchorbench.data import download
from anchorbench.data.catalog import Catalog
from anchorbench.data.catalog_file import load_catalog
from anchorbench.data.fetch import Request, announce, fetch, request
from anchorbench.data.remote import url_folder
from anchorbench.data.sources import Loaded, pdebench
from anchorbench.errors import AnchorbenchError, CatalogError, ConfigError, DownloadError

BURGERS, DARCY = "1D_Burgers_Sols_Nu0.001.hdf5", "2D_DarcyFlow_beta1.0_Train.hdf5"
FLOW, SEEDS = "2D_CFD_Rand_M0.1_Eta0.01_Zeta0.01_periodic_128_Train.hdf5", "2D_rdb_NA_NA.h5"

#: What a dataset of the two other layouts looks like in the catalogue.
OTHERS = yaml.safe_load("""
flow:
  title: compressible flow
  variables:
    - {name: velocity_x, units: "1"}
    - {name: velocity_y, units: "1"}
  headline: velocity_x
  tasks: [forecast]
  time: {unit: "1", step: 0.05, lead: 0.05}
  grid: {extent: [1, 2], points: [8, 16], unit: "1", centring: cell, periodic: [true, true]}
  restriction: spectral
  sources: {public: {display_name: P, producer: P, terms: P, reader: pdebench, urls: {}}}
  sizes:
    tiny: {source: public, rungs: [4, 8], train_rung: 4,
           selection: {file_step: 0.05, frames: 2, trajectories: {train: 3, validation: 1, test: 1}}}
water:
  title: shallow water
  variables: [{name: depth, units: "1"}]
  headline: depth
  tasks: [forecast]
  time: {unit: "1", step: 0.01, lead: 0.02}
  grid: {extent: [5, 5], unit: "1", centring: cell, periodic: [false, false]}
  restriction: block_mean
  sources: {public: {display_name: P, producer: P, terms: P, reader: pdebench, urls: {}}}
  sizes:
    tiny: {source: public, rungs: [4, 8], train_rung: 4,
           selection: {file_step: 0.01, frames: 3, trajectories: {train: 3, validation: 1, test: 1}}}
""")


def cells(n: int, begin: float = 0.0, end: float = 1.0) -> np.ndarray:
    return (begin + (np.arange(n) + 0.5) * (end - begin) / n).astype(np.float32)


def numbers(*shape: int) -> np.ndarray:
    """1, 2, 3, ...: every value says where in the file it lies; whole numbers below 2^24 are exact in float32."""
    return np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(shape)


def packed(fields: dict[str, np.ndarray], **attrs: float) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, values in fields.items():
            file[name] = values
        file.attrs.update(attrs)
    return buffer.getvalue()


def burgers_fields(n: int = 20, frames: int = 6, points: int = 32) -> dict[str, np.ndarray]:
    """As the files are: one t-coordinate more than there are frames."""
    times = (0.01 * np.arange(frames + 1)).astype(np.float32)
    return {"tensor": numbers(n, frames, points), "x-coordinate": cells(points), "t-coordinate": times}


def darcy_fields(n: int = 20, points: int = 8) -> dict[str, np.ndarray]:
    at = cells(points)
    nu = numbers(n, points, points) + 0.5
    return {"tensor": numbers(n, 1, points, points), "nu": nu, "x-coordinate": at, "y-coordinate": at}


def flow_fields(n: int = 10) -> dict[str, np.ndarray]:
    """16 points along x, which comes first, and 8 along y."""
    u = numbers(n, 3, 16, 8)
    times = (0.05 * np.arange(4)).astype(np.float32)
    axes = {"x-coordinate": cells(16, 0, 2), "y-coordinate": cells(8), "t-coordinate": times}
    return {"density": u + 0.25, "pressure": u + 0.5, "Vx": u, "Vy": -u, **axes}


def seeds_fields(n: int = 10) -> dict[str, np.ndarray]:
    fields: dict[str, np.ndarray] = {}
    u = numbers(n, 4, 8, 8, 1)
    for i in range(n):
        fields[f"{i:04d}/data"] = u[i]
        fields[f"{i:04d}/grid/x"] = fields[f"{i:04d}/grid/y"] = cells(8, -2.5, 2.5)
        fields[f"{i:04d}/grid/t"] = (0.01 * np.arange(4)).astype(np.float32)
    return fields


@cache
def shipped() -> dict:
    return load_catalog().model_dump(exclude_unset=True)["datasets"]


def asked(dataset: str, address: str | None, *, checksum: str | None = None, name: str = "", **settings) -> Request:
    """A request of the catalogue's own entry, but for the address of its file."""
    name = name or {"burgers": BURGERS, "darcy": DARCY, "flow": FLOW, "water": SEEDS}[dataset]
    entry = {**(shipped() | OTHERS)[dataset]}
    public = {**entry["sources"]["public"], "urls": {} if address is None else {name: address}, "checksums": {}}
    if checksum is not None:
        public["checksums"] = {name: checksum}
    entry["sources"] = {**entry["sources"], "public": public}
    few = {"train": 3, "validation": 2, "test": 2}
    if dataset == "burgers":
        entry["time"] = {"unit": "1", "step": 0.01, "lead": 0.06}  # of 1, 2 or 3 frames of these short files
        settings = {"rungs": [8, 16, 32], "every": 1, "first": 0, "trajectories": few, **settings}
    if dataset == "darcy":
        settings = {"rungs": [4, 8], "trajectories": few, **settings}
    catalog = Catalog.model_validate({"datasets": {dataset: entry}})
    return request(catalog, dataset, size="tiny", source="public", settings=settings)


def load(wanted: Request, folder: Path, **words) -> Loaded:
    return pdebench.load(wanted.ask(folder, **words))


# -- layouts -----------------------------------------------------------------------------------------------------------


def test_a_scalar_file_gives_the_chosen_frames_of_the_trajectories_of_each_split(host, tmp_path):
    fields = burgers_fields()
    host.files["/268190"] = packed(fields, Nu=0.001)
    made = load(asked("burgers", host.url("268190"), first=1, every=2, frames=3), tmp_path)
    # Of 20 trajectories the first tenth, two, are the test's; training begins after them, validation ends the file.
    for split, taken in (("test", [0, 1]), ("train", [2, 3, 4]), ("validation", [18, 19])):
        u = made.splits[split].values["velocity"]
        np.testing.assert_array_equal(u, fields["tensor"][taken][:, 1:6:2])
        assert u.dtype == np.float32
        assert made.splits[split].clusters.tolist() == list(range(len(taken)))
    assert made.attrs["trajectories_of_the_file"] == "train 2 to 4, validation 18 to 19, test 0 to 1 of 20"
    assert made.attrs["file_Nu"] == "0.001"
    assert made.attrs["checksum"] == "not checked: the file was read in part"


def test_the_extra_time_of_a_file_does_not_shift_its_step(host, tmp_path):
    fields = burgers_fields()
    fields["t-coordinate"][-1] = 7.0  # the one that belongs to no frame
    host.files["/x"] = packed(fields)
    assert load(asked("burgers", host.url("x")), tmp_path).splits["train"].n_frames == 3


def test_in_a_darcy_file_x_comes_first_and_the_coefficient_has_its_own_field(host, tmp_path):
    fields = darcy_fields()
    host.files["/133219"] = packed(fields, beta=1.0)
    made = load(asked("darcy", host.url("133219")), tmp_path)
    train = made.splits["train"].values
    assert train["pressure"].shape == train["coefficient"].shape == (3, 1, 8, 8)
    for i, x, y in ((0, 0, 7), (1, 3, 5), (2, 7, 1)):
        assert train["pressure"][i, 0, y, x] == fields["tensor"][2 + i, 0, x, y]
        assert train["coefficient"][i, 0, y, x] == fields["nu"][2 + i, x, y]


def test_in_a_flow_file_each_velocity_has_its_own_field_x_first(host, tmp_path):
    fields = flow_fields()
    host.files["/164687"] = packed(fields, eta=0.01, zeta=0.01, M=0.1)
    made = load(asked("flow", host.url("164687")), tmp_path)
    u, v = (made.splits["train"].values[name] for name in ("velocity_x", "velocity_y"))
    assert u.shape == (3, 2, 8, 16)
    assert u[1, 1, 5, 11] == fields["Vx"][2, 1, 11, 5]
    np.testing.assert_array_equal(v, -u)
    assert made.attrs["file_M"] == "0.1"


def test_a_file_of_seeds_is_read_group_by_group(host, tmp_path):
    fields = seeds_fields()
    host.files["/133021"] = packed(fields)
    made = load(asked("water", host.url("133021")), tmp_path)
    depth = made.splits["train"].values["depth"]
    assert depth.shape == (3, 3, 8, 8)
    assert depth[2, 1, 6, 3] == fields["0003/data"][1, 3, 6, 0]
    assert made.splits["test"].values["depth"][0, 0, 0, 0] == 1


def test_three_axes_of_space_are_turned_around():
    layout = pdebench._Layout({"Vx": numbers(2, 3, 4, 5, 6)}, "flow", 2, 3, (6, 5, 4), None, (None,) * 3, ("Vx",))
    options = pdebench.Options(frames=2, first=1, trajectories=dict.fromkeys(pdebench.SPLITS, 1))
    u = layout.read(1, "Vx", options)
    assert u.shape == (2, 6, 5, 4)
    assert u[0, 3, 2, 1] == numbers(2, 3, 4, 5, 6)[1, 1, 1, 2, 3]


def test_another_field_of_the_file_can_be_taken_for_a_variable(host, tmp_path):
    host.files["/x"] = packed(flow_fields())
    chosen = {"selection": {"fields": {"velocity_x": "density"}}}
    made = load(asked("flow", host.url("x"), **chosen), tmp_path)
    assert made.splits["test"].values["velocity_x"][0, 0, 0, 0] == 1.25


def test_a_ladder_is_written_from_a_finer_file_and_names_where_it_is_from(host, tmp_path):
    host.files["/x"] = packed(burgers_fields(points=64))
    ladder = fetch(asked("burgers", host.url("x")), tmp_path)
    assert ladder.array("test", 32, "velocity").shape == (2, 3, 32)
    assert ladder.spec.time_step == 0.01
    attrs = ladder.about["attrs"]
    assert (attrs["display_name"], attrs["file"]) == ("PDEBench Burgers", BURGERS)
    assert "doi:10.18419/darus-2986" in attrs["cite"]
    assert attrs["equation"].startswith("∂u/∂t + ∂(u²/2)/∂x = (ν/π)")


# -- over HTTP ---------------------------------------------------------------------------------------------------------


def test_a_few_trajectories_of_a_large_file_cost_a_few_blocks(host, tmp_path):
    content = packed(burgers_fields(n=800, frames=5, points=1024))  # 16 MB
    host.files["/x"] = content
    wanted = asked("burgers", host.url("x"), rungs=[128, 256])
    made = load(wanted, tmp_path)
    assert made.splits["train"].values["velocity"][0, 0, 0] == 80 * 5 * 1024 + 1
    assert host.sent < len(content) / 3
    # What was read once is there without the network.
    before = len(host.asked)
    again = load(wanted, tmp_path, offline=True)
    assert len(host.asked) == before
    np.testing.assert_array_equal(again.splits["test"].values["velocity"], made.splits["test"].values["velocity"])


@pytest.fixture
def redirecting(host, serve) -> str:
    """As DaRUS does: a host that sends each request on to where the file lies."""
    return serve(lambda _, request: request.give(303, Location=host.url(request.path[1:]))).url()


@pytest.mark.parametrize("whole", [False, True])
def test_a_redirect_is_followed(host, redirecting, tmp_path, whole):
    host.files["/api/access/datafile/1"] = packed(burgers_fields())
    made = load(asked("burgers", redirecting + "api/access/datafile/1", whole=whole), tmp_path)
    assert made.splits["test"].values["velocity"][0, 0, 0] == 1


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(("status", "tries"), [(403, 1), (404, 1), (500, download.TRIES)])
def test_a_status_that_does_not_pass_is_one_error_without_an_address(host, tmp_path, status, tries, whole):
    host.files["/secret-name"] = packed(burgers_fields())
    host.statuses = [status] * 20
    with pytest.raises(DownloadError, match=f"{BURGERS} could not be fetched: the host answered {status}") as caught:
        load(asked("burgers", host.url("secret-name"), whole=whole), tmp_path)
    assert len(host.asked) == tries
    assert "secret" not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)


@pytest.mark.parametrize("whole", [False, True])
def test_trouble_that_passes_is_not_noticed(host, tmp_path, whole):
    host.files["/x"] = packed(burgers_fields())
    host.statuses, host.breaks = [500, 503], [2000]
    made = load(asked("burgers", host.url("x"), whole=whole), tmp_path)
    assert made.splits["train"].values["velocity"][0, 0, 0] == 2 * 6 * 32 + 1


def test_a_connection_that_breaks_off_in_the_middle_of_a_trajectory_is_a_download_error(host, tmp_path):
    host.files["/x"] = packed(burgers_fields(n=800, frames=5, points=1024))
    # The first answer is the block with the head of the file; what follows breaks off at once.
    host.breaks = [None] + [0] * 50
    with pytest.raises(DownloadError, match="the connection broke off"):
        load(asked("burgers", host.url("x"), rungs=[128, 256]), tmp_path)


def test_a_host_that_sends_no_parts_is_told_and_the_whole_file_is_the_way_out(host, tmp_path):
    host.files["/x"], host.ranges = packed(burgers_fields()), False
    with pytest.raises(DownloadError, match="sends no parts of files"):
        load(asked("burgers", host.url("x")), tmp_path)
    made = load(asked("burgers", host.url("x"), whole=True), tmp_path)
    assert made.splits["test"].values["velocity"][0, 0, 0] == 1


def test_a_whole_file_is_checked_against_its_md5_and_serves_ever_after(host, tmp_path):
    content = packed(burgers_fields())
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    host.files["/x"] = content
    made = load(asked("burgers", host.url("x"), checksum=f"md5:{digest}", whole=True), tmp_path)
    assert made.attrs["checksum"] == f"md5:{digest}, found so"
    before = len(host.asked)
    # In part or whole, it is taken from the cache.
    load(asked("burgers", host.url("x"), checksum=f"md5:{digest}"), tmp_path, offline=True)
    assert len(host.asked) == before


def test_a_whole_file_with_another_md5_leaves_nothing(host, tmp_path):
    host.files["/x"] = packed(burgers_fields())
    with pytest.raises(DownloadError, match=f"{BURGERS} is not the promised file: expected MD5 {'0' * 32}"):
        load(asked("burgers", host.url("x"), checksum="md5:" + "0" * 32, whole=True), tmp_path)
    assert not (url_folder(tmp_path, host.url("x")) / BURGERS).exists()


def test_a_file_that_somebody_copied_to_the_cache_needs_no_host(tmp_path, down):
    place = url_folder(tmp_path, down) / BURGERS
    place.parent.mkdir(parents=True)
    place.write_bytes(packed(burgers_fields()))
    assert load(asked("burgers", down), tmp_path).splits["test"].values["velocity"][0, 0, 0] == 1


def test_offline_nothing_is_asked_for(host, tmp_path):
    with pytest.raises(DownloadError, match="offline"):
        load(asked("burgers", host.url("x")), tmp_path, offline=True)
    assert host.asked == []


@pytest.mark.parametrize("cut", ["not HDF5", "truncated", "empty"])
@pytest.mark.parametrize("whole", [False, True])
def test_a_file_that_is_no_whole_hdf5_file_is_one_error(host, tmp_path, cut, whole):
    content = packed(burgers_fields(n=200))
    host.files["/x"] = {"not HDF5": b"<html>please log in</html>" * 99, "truncated": content[:-20_000], "empty": b"no"}[
        cut
    ]
    with pytest.raises(DownloadError, match=f"{BURGERS} cannot be read as a file of PDEBench") as caught:
        load(asked("burgers", host.url("x"), whole=whole), tmp_path)
    assert "\n" not in caught.value.what


# -- what is asked for and is not there --------------------------------------------------------------------------------


def test_without_an_address_the_page_that_has_it_is_named_and_an_address_can_be_given(host, tmp_path):
    with pytest.raises(CatalogError, match="names no file") as caught:
        load(asked("burgers", None), tmp_path)
    assert "https://doi.org/10.18419/darus-2986" in caught.value.do
    assert "--set url=https://" in caught.value.do
    host.files["/other.hdf5"] = packed(burgers_fields())
    made = load(asked("burgers", None, url=host.url("other.hdf5")), tmp_path)
    assert made.attrs["file"] == "other.hdf5"


@pytest.mark.parametrize(
    "url", ["http://me:secret@host/x", "https://host/x?key=secret", "ftp://host/x", "/home/x.hdf5"]
)
def test_an_address_that_could_hold_a_secret_or_is_none_is_refused(url):
    with pytest.raises(ConfigError, match="without user, password or query") as caught:
        asked("burgers", None, url=url)
    assert "secret" not in str(caught.value)


def test_a_file_that_the_catalogue_does_not_list_is_named(down, tmp_path):
    with pytest.raises(ConfigError, match=r"no file '1D_Burgers_Sols_Nu0\.1\.hdf5'"):
        load(asked("burgers", down, file="1D_Burgers_Sols_Nu0.1.hdf5"), tmp_path)


def without(name: str) -> dict[str, np.ndarray]:
    fields = flow_fields()
    del fields[name]
    return fields


@pytest.mark.parametrize(
    ("dataset", "fields", "settings", "error", "named"),
    [
        ("burgers", burgers_fields(), {"frames": 7}, ConfigError, r"6 frames a trajectory; frame 6 was asked for"),
        ("burgers", burgers_fields(), {"rungs": [16, 64]}, ConfigError, "32 points, which do not carry"),
        ("burgers", burgers_fields(), {"limit": 3}, None, ""),
        ("burgers", burgers_fields(n=9), {}, ConfigError, "holds 9 trajectories: 1 for the test, 8 for training"),
        ("burgers", burgers_fields(), {"file_step": 0.02}, ConfigError, "are 0.01 apart, not 0.02"),
        ("burgers", burgers_fields() | {"x-coordinate": cells(32, -1, 1)}, {}, ConfigError, "2 long along x"),
        ("burgers", darcy_fields(), {}, ConfigError, "8 x 8 points, which do not carry a finest rung of 32"),
        ("burgers", {"velocity": numbers(3, 4)}, {}, DownloadError, "none of the layouts.*it holds velocity"),
        ("burgers", {"tensor": numbers(30)}, {}, DownloadError, "tensor has another shape than"),
        ("darcy", {k: u for k, u in darcy_fields().items() if k != "nu"}, {}, ConfigError, "no field of the file 'nu'"),
        ("darcy", darcy_fields() | {"nu": numbers(20, 8, 7)}, {}, DownloadError, "nu has another shape"),
        (
            "darcy",
            darcy_fields(points=12),
            {},
            ConfigError,
            "12 x 12 points, which do not carry a finest rung of 8 x 8",
        ),
        ("flow", without("Vy"), {}, ConfigError, "no field of the file 'Vy'"),
        ("water", seeds_fields(), {"selection": {"fields": {"depth": "1"}}}, ConfigError, "no field of the file '1'"),
    ],
)
def test_a_file_that_does_not_fit_what_is_asked_for_is_one_error(
    host, tmp_path, dataset, fields, settings, error, named
):
    host.files["/x"] = packed(fields)
    wanted = asked(dataset, host.url("x"), **settings)
    if error is None:
        load(wanted, tmp_path)
        return
    with pytest.raises(error, match=named) as caught:
        load(wanted, tmp_path)
    assert "\n" not in caught.value.what
    assert isinstance(caught.value, AnchorbenchError)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"trajectories": {"train": 0}}, "trajectories.train"),
        ({"every": 0}, "every"),
        ({"frames": 0}, "frames"),
        ({"evry": 2}, "Did you mean 'every'"),
    ],
)
def test_an_option_that_cannot_be_is_found_before_anything_is_asked_of_a_host(down, change, named):
    with pytest.raises(ConfigError, match=named):
        asked("burgers", down, **change)


def test_the_catalogues_own_entries_say_how_much_they_download(tmp_path):
    catalog = load_catalog()
    for dataset in ("burgers", "darcy"):
        for size in ("tiny", "small", "full"):
            wanted = request(catalog, dataset, size=size, source="public")
            assert "a download of about" in announce(wanted, tmp_path)
            assert wanted.described.checksums[next(iter(wanted.described.urls))].startswith("md5:")
            assert "CC BY 4.0" in wanted.described.terms

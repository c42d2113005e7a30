"""turbulence2d, public: The Well's layout, served by ranges on loopback, with its traps and HTTP troubles."""

from __future__ import annotations

import io
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from anchorbench.config import Variable, validated
from anchorbench.data.catalog_file import load_catalog
from anchorbench.data.fetch import fetch, request
from anchorbench.data.sources import the_well
from anchorbench.data.sources.the_well import Options
from anchorbench.errors import CatalogError, ConfigError, DownloadError

h5py = pytest.importorskip("h5py")

#: Read once for all tests here.
catalogue = cache(load_catalog)

NX, NY, STEPS, STEP = 8, 24, 12, 1.597033
FILES = ("a_0.03.hdf5", "a_0.10.hdf5")
PATH = "/datasets/turbulent_radiative_layer_2D/resolve/main/data"


def numbered(trajectory, step, *, file=0):
    """A field whose value says where it is: (x, y)."""
    x, y = np.meshgrid(np.arange(NX), np.arange(NY), indexing="ij")
    return (10_000 * file + 1000 * trajectory + 50 * step + x + y / 100).astype(np.float32)


def well_file(*, trajectories=2, file=0, change=None):
    """One HDF5 file as The Well lays it out: density, pressure, a velocity, a constant and a tensor."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as hdf:
        hdf.attrs.update(
            dataset_name="turbulent_radiative_layer_2D",
            grid_type="cartesian",
            n_spatial_dims=2,
            n_trajectories=trajectories,
            simulation_parameters=["tcool"],
        )
        dimensions = hdf.create_group("dimensions")
        dimensions.attrs["spatial_dims"] = ["x", "y"]
        dimensions["time"] = (STEP * np.arange(STEPS)).astype(np.float32)
        dimensions["x"] = (-0.5 + (np.arange(NX) + 0.5) / NX).astype(np.float32)
        dimensions["y"] = (-1 + 3 * (np.arange(NY) + 0.5) / NY).astype(np.float32)
        conditions = hdf.create_group("boundary_conditions")
        for axis, kind, n in (("x", "PERIODIC", NX), ("y", "OPEN", NY)):
            condition = conditions.create_group(f"{axis}_{kind.lower()}")
            condition.attrs.update(associated_dims=[axis], bc_type=kind, sample_varying=False, time_varying=False)
            condition["mask"] = np.isin(np.arange(n), (0, n - 1))
        hdf.create_group("scalars").attrs["field_names"] = ["tcool"]
        hdf["scalars/tcool"] = np.float32(0.03 + file)

        def put(name, values, *, sample=True, time=True, dims=(True, True)):
            dataset = hdf.create_dataset(name, data=values)
            dataset.attrs.update(sample_varying=sample, time_varying=time, dim_varying=list(dims))

        density = np.stack([[numbered(i, t, file=file) for t in range(STEPS)] for i in range(trajectories)])
        put("t0_fields/density", density)
        put("t0_fields/pressure", -density)
        put("t1_fields/velocity", np.stack([density + 0.25, density + 0.5], axis=-1))
        put("t0_fields/height", np.arange(NY, dtype=np.float32), sample=False, time=False, dims=(False, True))
        tensor = np.stack([np.stack([density + 1, density + 2], -1), np.stack([density + 3, density + 4], -1)], -2)
        put("t2_fields/D", tensor)
        hdf["t0_fields"].attrs["field_names"] = ["density", "pressure", "height"]
        if change is not None:
            change(hdf)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def files():
    """All files of the three splits; validation and test hold one simulation each."""
    return {
        f"{PATH}/{folder}/{name}": well_file(trajectories=n, file=10 * k + i)
        for k, (folder, n) in enumerate((("train", 2), ("valid", 1), ("test", 1)))
        for i, name in enumerate(FILES)
    }


@pytest.fixture
def ask(host, files, tmp_path):
    """ask(**options): what the reader is asked for, on loopback."""
    host.files.update(files)

    def call(*, variables=None, frames=2, most=None, **options):
        most = most or {"train": 4, "validation": 2, "test": 2}
        settings = {"rungs": [4, 8], "files": list(FILES), "skip": 2, "frames": frames, "most": most, **options}
        wanted = request(catalogue(), "turbulence2d", size="tiny", source="public", settings=settings)
        urls = {**wanted.described.urls, "base": host.url("datasets")}
        source = wanted.described.model_copy(update={"urls": urls})
        entry = wanted.entry.model_copy(update={"sources": {"public": source}})
        if variables is not None:
            entry = entry.model_copy(update={"variables": tuple(Variable(name=name, units="1") for name in variables)})
        return replace(wanted, entry=entry)

    def asked(**options):
        return call(**options).ask(tmp_path / "cache", scratch=tmp_path / "scratch")

    asked.wanted = call
    return asked


def test_axes_are_transposed_and_a_component_of_the_last_axis_is_a_variable(ask):
    fields = the_well.load(ask()).splits["train"]
    assert {name: u.shape for name, u in fields.values.items()} == dict.fromkeys(
        ("density", "pressure", "velocity_x", "velocity_y"), (4, 2, NY, NX)
    )
    for name, offset, sign in (("density", 0, 1), ("pressure", 0, -1), ("velocity_x", 0.25, 1), ("velocity_y", 0.5, 1)):
        np.testing.assert_array_equal(fields.values[name][0, 0], sign * numbered(0, 2).T + offset)
    assert fields.values["density"][0, 1, 20, 3] == np.float32(50 * 3 + 3 + 0.2)  # the next step, y = 20, x = 3
    assert fields.valid is None


def test_the_producers_splits_are_kept_and_each_simulation_is_a_cluster(ask):
    splits = the_well.load(ask()).splits
    files = {split: set((u.values["density"] // 10_000).ravel()) for split, u in splits.items()}
    assert files == {"train": {0.0, 1.0}, "validation": {10.0, 11.0}, "test": {20.0, 21.0}}
    assert len(set(splits["train"].clusters)) == 4  # two files of two simulations
    assert len(set(splits["test"].clusters)) == 2


def test_sequences_do_not_overlap_and_leave_the_beginning_out(ask):
    loaded = the_well.load(ask(most={"train": 100, "validation": 1, "test": 2}, stride=1, frames=3))
    steps = loaded.splits["train"].values["density"][:, :, 0, 0] % 1000 // 50
    assert steps.min() == 2
    assert np.array_equal(np.diff(steps, axis=1), np.ones((len(steps), 2)))
    # steps 2 to 11 hold three sequences of three frames, in each of four simulations
    assert len(steps) == 12
    assert sorted(steps[:3].ravel()) == list(range(2, 11))
    assert loaded.splits["validation"].n_samples == 1  # of the first file alone


def test_a_field_that_does_not_vary_lacks_that_axis(ask):
    height = the_well.load(ask(variables=["height"])).splits["test"].values["height"]
    assert height.shape == (2, 2, NY, NX)
    np.testing.assert_array_equal(height[1, 1], np.broadcast_to(np.arange(NY)[:, None], (NY, NX)))


def test_a_tensors_component_is_named_by_its_two_axes(ask):
    values = the_well.load(ask(variables=["D_xx", "D_xy", "D_yx"])).splits["test"].values
    for name, offset in (("D_xx", 1), ("D_xy", 2), ("D_yx", 3)):
        np.testing.assert_array_equal(values[name][0, 0], numbered(0, 2, file=20).T + offset)


def test_numbers_that_are_not_finite_become_the_mask_of_all_variables(ask, host):
    def break_one(hdf):
        hdf["t0_fields/pressure"][0, 2, 5, 7] = np.nan

    host.files[f"{PATH}/test/{FILES[0]}"] = well_file(trajectories=1, file=20, change=break_one)
    fields = the_well.load(ask()).splits["test"]
    assert np.argwhere(~fields.valid).tolist() == [[0, 0, 7, 5]]
    assert all(u[0, 0, 7, 5] == 0 for u in fields.values.values())


def test_a_ladder_is_made_of_it_by_block_means(ask, tmp_path):
    ladder = fetch(ask.wanted(), tmp_path)
    assert ladder.finest.shape == (24, 8)
    block = numbered(0, 2, file=20).T.reshape(12, 2, 4, 2).mean((1, 3))
    np.testing.assert_allclose(ladder.array("test", 4, "density")[0, 0], block, rtol=1e-6)
    assert "train/a_0.10.hdf5: tcool 1.03" in ladder.about["attrs"]["parameters"]


def test_only_the_parts_that_are_wanted_are_read(ask, host, files, monkeypatch):
    monkeypatch.setattr(the_well, "BLOCK", 4096)
    the_well.load(ask(frames=1, most={"train": 2, "validation": 1, "test": 1}, variables=["density"]))
    assert all(byte_range for path, byte_range in host.asked if path.endswith("hdf5"))
    whole = sum(len(content) for path, content in files.items() if path.endswith((FILES[0], "train/" + FILES[1])))
    assert host.sent < 0.6 * whole


def test_what_was_read_before_is_not_asked_for_again(ask, host):
    first = the_well.load(ask())
    asked = len(host.asked)
    again = the_well.load(ask())
    assert len(host.asked) == asked
    np.testing.assert_array_equal(again.splits["train"].values["density"], first.splits["train"].values["density"])


# -- what does not fit the catalogue -----------------------------------------------------------------------------------


def other_step(hdf):
    del hdf["dimensions/time"]
    hdf["dimensions/time"] = np.arange(STEPS) * 0.5


def uneven_steps(hdf):
    del hdf["dimensions/time"]
    hdf["dimensions/time"] = np.arange(STEPS) ** 2.0


def other_box(hdf):
    del hdf["dimensions/y"]
    hdf["dimensions/y"] = np.arange(NY) / NY


def closed_in_x(hdf):
    hdf["boundary_conditions/x_periodic"].attrs["bc_type"] = "WALL"


def other_axes(hdf):
    hdf["dimensions"].attrs["spatial_dims"] = ["r", "theta"]


def no_pressure(hdf):
    del hdf["t0_fields/pressure"]


def no_dimensions(hdf):
    del hdf["dimensions"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (other_step, "steps of 0.5, 1 of them to a frame"),
        (uneven_steps, "not evenly spaced in time"),
        (other_box, "its axis y is 1 long, and the catalogue says 3"),
        (closed_in_x, "its axis x is not periodic"),
        (other_axes, "has the axes r, theta"),
        (
            no_pressure,
            r"no field for 'pressure'; it has, with their ranks, density \(0\), height \(0\)",
        ),
        (no_dimensions, "not laid out as its files are"),
    ],
)
def test_a_file_that_is_not_what_the_catalogue_says_is_one_clear_line(change, named, ask, host):
    host.files[f"{PATH}/train/{FILES[0]}"] = well_file(change=change)
    with pytest.raises(DownloadError, match=named) as caught:
        the_well.load(ask())
    assert "\n" not in caught.value.what


def test_simulations_that_are_too_short_are_told(ask):
    with pytest.raises(DownloadError, match=r"the train split has no sequence.* too short\n.*selection.skip"):
        the_well.load(ask(skip=11))


# -- trouble with the host ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "times"), [(403, 1), (404, 1), (500, 9), (416, 9)])
def test_a_status_that_will_not_pass_is_one_download_error_without_an_address(status, times, ask, host):
    host.statuses = [status] * times
    with pytest.raises(DownloadError, match=f"train/a_0.03.hdf5 of The Well .*answered {status}") as caught:
        the_well.load(ask())
    assert "127.0.0.1" not in str(caught.value)


def test_a_status_that_passes_and_a_connection_that_breaks_off_are_got_over(ask, host, files):
    expected = the_well.load(ask()).splits["train"].values["density"]
    host.statuses, host.breaks = [503], [2000, 700]
    again = the_well.load(replace(ask(), force=True))
    np.testing.assert_array_equal(again.splits["train"].values["density"], expected)


def test_a_host_without_ranges_is_told(ask, host):
    host.ranges = False
    with pytest.raises(DownloadError, match="sends no parts of files"):
        the_well.load(ask())


def test_a_page_in_place_of_the_file_is_told(ask, host):
    host.files[f"{PATH}/train/{FILES[0]}"] = b"<html>not here</html>" * 100
    with pytest.raises(DownloadError, match=r"train/a_0.03.hdf5 of The Well is not laid out"):
        the_well.load(ask())


def test_without_h5py_the_extra_is_named(ask, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(name=name)

    asked = ask()
    monkeypatch.setattr("anchorbench.data.sources.import_module", missing)
    with pytest.raises(CatalogError, match=r"'h5py', which is not installed\n.*anchorbench\[turbulence\]"):
        the_well.load(asked)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"files": ["../secret.hdf5"]}, "without folders"),
        ({"files": ["a.hdf5", "a.hdf5"]}, "each once"),
        ({"name": "a/b"}, "name"),
        ({"most": {"train": 1}}, "lacks the split test, validation"),
        ({"most": {"train": 0, "validation": 1, "test": 1}}, "most.train"),
    ],
)
def test_options_that_cannot_be_are_refused(options, named):
    with pytest.raises(ConfigError, match=named):
        validated(Options, options, where="selection")


def test_the_default_files_are_the_nine_cooling_times():
    times = [float(name.removesuffix(".hdf5").rpartition("_")[2]) for name in Options().files]
    assert len(times) == 9
    assert all(low < high for low, high in pairwise(times))

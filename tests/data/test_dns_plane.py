"""turbulence2d, sample: the DNS plane is the test, random fields with its spectra are the rest; and its traps."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import cache

import netCDF4
import numpy as np
import pytest
import torch

from anchorbench.data.catalog import Member
from anchorbench.data.catalog_file import load_catalog
from anchorbench.data.download import cache_path
from anchorbench.data.fetch import fetch, request
from anchorbench.data.sources import dns_plane, turbulence
from anchorbench.data.sources.dns_plane import COMPONENTS, LAST_WAVE, PLANE, POINTS, random_plane, read_plane
from anchorbench.errors import ConfigError, DownloadError

#: Read once for all tests here.
catalogue = cache(load_catalog)

AXIS = np.fft.fftfreq(POINTS, 1 / POINTS)
KY, KX = AXIS[:, None], AXIS[None, :]


def rings(field):
    """Energy Σ |û|² in the rings k − ½ ≤ |k| < k + ½, by its definition."""
    power = np.abs(np.fft.fft2(field, norm="forward")) ** 2
    ring = np.floor(np.hypot(KY, KX) + 0.5).astype(int)
    return np.array([power[ring == k].sum() for k in range(12)])


def curl(u, v):
    """∂v/∂x − ∂u/∂y."""
    return np.fft.ifft2(1j * KX * np.fft.fft2(v) - 1j * KY * np.fft.fft2(u)).real


def along(u, v):
    """The velocities along their waves, k·û/|k|."""
    return np.fft.ifft2(1j * (KX * np.fft.fft2(u) + KY * np.fft.fft2(v)) / np.maximum(np.hypot(KX, KY), 1)).real


def across(u, v):
    """The velocities across their waves; u and v turned by a right angle, along them."""
    return along(v, -u)


@pytest.fixture(scope="session")
def plane():
    """Random phases that end at k = 85, with energies k^-5/3, a mean flow in the plane, and more in w than in u."""
    rng = np.random.default_rng(3)
    k = np.hypot(KY, KX)
    amplitude = np.where((np.maximum(abs(KY), abs(KX)) <= LAST_WAVE) & (k > 0), np.maximum(k, 1) ** (-4 / 3), 0)
    fields = np.fft.ifft2(np.fft.fft2(rng.standard_normal((3, POINTS, POINTS))) * amplitude).real
    fields *= np.array([1.0, 1.0, 1.5])[:, None, None] / fields.std()
    fields[0] += 0.3
    fields[1] -= 0.4
    return fields.astype(np.float32)


def plane_file(path, fields, *, names=COMPONENTS):
    with netCDF4.Dataset(path, "w", format="NETCDF3_CLASSIC") as nc:
        for axis, n in (("resolution_z", 1), ("resolution_y", fields.shape[1]), ("resolution_x", fields.shape[2])):
            nc.createDimension(axis, n)
        for name, field in zip(names, fields, strict=True):
            nc.createVariable(name, "f4", ("resolution_z", "resolution_y", "resolution_x"))[:] = field[None]
    return path


@pytest.fixture
def sample(plane, tmp_path):
    """A catalogue's entry for such a file, which lies in the cache already."""
    content = plane_file(tmp_path / "plane.nc", plane).read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    member = Member(path=PLANE.member.path, size=len(content), sha256=sha256)
    target = cache_path(tmp_path, sha256=sha256, name=member.name)
    target.parent.mkdir(parents=True)
    target.write_bytes(content)
    return PLANE.model_copy(update={"member": member})


@pytest.fixture
def wanted(sample):
    few = {"most": {"train": 3, "validation": 2}}
    asked = request(catalogue(), "turbulence2d", size="tiny", source="sample", settings=few)
    source = asked.described.model_copy(update={"files": (sample,)})
    entry = asked.entry.model_copy(update={"sources": {"sample": source}})
    return replace(asked, entry=entry)


def test_the_test_split_is_the_whole_plane_and_nothing_else(wanted, plane, tmp_path):
    loaded = dns_plane.load(wanted.ask(tmp_path))
    for i, name in enumerate(COMPONENTS):
        np.testing.assert_array_equal(loaded.splits["test"].values[name], plane[i][None, None])
    assert {split: fields.n_samples for split, fields in loaded.splits.items()} == {
        "train": 3,
        "validation": 2,
        "test": 1,
    }
    assert "one sample" in loaded.attrs["test"]
    assert loaded.attrs["member_sha256"] == wanted.described.files[0].member.sha256


def test_no_field_of_training_is_the_plane_or_another_one(wanted, plane, tmp_path):
    splits = dns_plane.load(wanted.ask(tmp_path)).splits
    fields = [plane[0], *splits["train"].values["velocity_x"][:, 0], *splits["validation"].values["velocity_x"][:, 0]]
    related = np.corrcoef([field.ravel() for field in fields]) - np.eye(6)
    assert np.abs(related).max() < 0.7  # a few large eddies hold most of the energy


def test_a_random_field_has_the_planes_energy_in_each_ring_by_part(plane):
    drawn = random_plane(plane.astype(float), np.random.default_rng(0))
    for part in (lambda u: across(u[0], u[1]), lambda u: along(u[0], u[1]), lambda u: u[2]):
        np.testing.assert_allclose(rings(part(drawn)), rings(part(plane.astype(float))), rtol=1e-6, atol=1e-12)
    assert drawn.dtype == np.float64


def test_the_mean_flow_keeps_its_speed_and_takes_any_direction(plane):
    means = np.array([random_plane(plane, np.random.default_rng(i))[:2].mean((-2, -1)) for i in range(3)])
    np.testing.assert_allclose(np.hypot(*means.T), 0.5, rtol=1e-5)  # 0.3 and −0.4
    assert np.std(means[:, 0]) > 0.01


def test_its_vortical_energy_is_that_of_its_curl(plane):
    energy = np.array(dns_plane.vortical_energy(plane.astype(float)))
    assert len(energy) == LAST_WAVE + 1
    np.testing.assert_allclose(energy[:12], 0.5 * rings(across(*plane[:2].astype(float))), rtol=1e-6, atol=1e-12)
    # times k² the spectrum of the curl, but for the width of a ring: at k = 11 of at most a tenth of its k²
    np.testing.assert_allclose(energy[11] * 121, 0.5 * rings(curl(*plane[:2]))[11], rtol=0.1)
    wave = np.zeros((3, POINTS, POINTS))
    wave[0] = np.cos(3 * 2 * np.pi * np.arange(POINTS) / POINTS)[:, None]  # u = cos 3y: ½⟨u²⟩ = ¼
    expected = np.zeros(LAST_WAVE + 1)
    expected[3] = 0.25
    np.testing.assert_allclose(dns_plane.vortical_energy(wave), expected, atol=1e-12)


def test_a_ladder_is_made_of_it_without_a_time_axis_in_the_catalogue(wanted, tmp_path):
    ladder = fetch(wanted, tmp_path)
    assert ladder.spec.time_step == 0
    assert ladder.array("test", 8, "velocity_z").shape == (1, 1, 8, 8)
    assert ladder.array("train", 32, "velocity_x").shape == (3, 1, 32, 32)


@pytest.mark.parametrize("trap", ["beyond", "shape", "name", "nan", "text"])
def test_a_file_that_is_not_the_plane_is_refused(trap, plane, tmp_path):
    path, fields, names = tmp_path / "other.nc", plane.copy(), COMPONENTS
    if trap == "beyond":
        fields[0] += 1e-3 * np.cos(2 * np.pi * 100 * np.arange(POINTS) / POINTS)
    elif trap == "shape":
        fields = fields[:, ::2, ::2]
    elif trap == "name":
        names = ("u", "v", "w")
    elif trap == "nan":
        fields[1, 0, 0] = np.nan
    if trap == "text":
        path.write_text("no NetCDF")
    else:
        plane_file(path, fields, names=names)
    with pytest.raises(DownloadError, match=str(path.name)):
        read_plane(path)


def test_a_generator_that_starts_from_the_plane_reads_it_and_says_so(sample, tmp_path, monkeypatch):
    monkeypatch.setattr(dns_plane, "PLANE", sample)
    few = {"frames": 2, "spin_up_time": 0.1, "truth_rung": 32, "floor_windows": 0}
    few["trajectories"] = {"train": 1, "validation": 1, "test": 1}
    made = {}
    for initial in ("random", "dns_plane"):
        settings = {"rungs": [8, 16], "generator": few, "initial": initial}
        wanted = request(catalogue(), "turbulence2d", size="tiny", settings=settings)
        made[initial] = turbulence.load(wanted.ask(tmp_path))
    assert made["dns_plane"].attrs["member_sha256"] == sample.member.sha256
    assert "member_sha256" not in made["random"].attrs
    one, other = (torch.from_numpy(loaded.splits["train"].values["vorticity"]) for loaded in made.values())
    assert (one - other).norm() > 0.1 * one.norm()


def test_the_generators_plane_is_the_file_of_the_catalogues_sample():
    assert catalogue().dataset("turbulence2d").sources["sample"].files == (PLANE,)


def test_a_limit_caps_the_fields_beside_the_plane():
    asked = request(catalogue(), "turbulence2d", size="small", source="sample", settings={"limit": 5})
    assert asked.options.most == {"train": 5, "validation": 5, "test": 1}


@pytest.mark.parametrize("most", [{"test": 2}, {"train": 0}])
def test_a_second_plane_and_no_training_are_refused(most):
    with pytest.raises(ConfigError, match="most"):
        request(catalogue(), "turbulence2d", size="tiny", source="sample", settings={"most": most})

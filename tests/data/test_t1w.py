"""Heads in NIfTI: axes turned, voxels fitted to the box, one scale a subject, splits by subject or by slab."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anchorbench.config import validated
from anchorbench.data.catalog import Artefact, Member, SampleFile, SizeEntry, Source
from anchorbench.data.catalog_file import load_catalog
from anchorbench.data.fetch import fetch, request
from anchorbench.data.sources import Ask, t1w
from anchorbench.data.sources.t1w import Options, Slicing, Volume, evenly, fitted, head_slices, nifti_volume, slices_on
from anchorbench.errors import CatalogError, ConfigError, DownloadError
from anchorbench.fields import Grid

BOX = Grid((16, 16), (16.0, 16.0), unit="mm")


def head(shape=(12, 16, 16), *, seed=0) -> np.ndarray:
    """A bright ball in dark noise; the value also says where it is: + right, + anterior, + superior."""
    place = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    ball = (place**2).sum(0) < 0.8
    noise = np.random.default_rng(seed).uniform(0, 2, shape)
    return np.where(ball, 100 + 5 * place[0] + 20 * place[1] + 40 * place[2], noise).astype(np.float32)


def write(path: Path, values: np.ndarray, *, axes="RAS", voxel=(1.0, 1.0, 1.0), dtype=np.float32, slope=None) -> Path:
    """`values` (right, anterior, superior), stored with other axes."""
    affine = np.diag([*voxel, 1.0])
    image = nibabel.Nifti1Image(values.astype(np.float32), affine)
    ornt = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(affine), nibabel.orientations.axcodes2ornt(tuple(axes))
    )
    turned = image.as_reoriented(ornt)
    stored = np.asarray(turned.dataobj)
    if slope is not None:
        stored = np.round(stored / slope)
    out = nibabel.Nifti1Image(stored.astype(dtype), turned.affine)
    if slope is not None:
        out.header.set_slope_inter(slope, 0)
    out.header.set_data_dtype(dtype)
    nibabel.save(out, path)
    return path


@pytest.mark.parametrize("axes", ["RAS", "LAS", "PSR", "LPI", "SRA"])
def test_any_order_of_axes_is_turned_to_right_anterior_superior(tmp_path, axes):
    values = head()
    volume = nifti_volume(write(tmp_path / "h.nii.gz", values, axes=axes, voxel=(1.5, 1.0, 0.9)))
    np.testing.assert_allclose(volume.values * volume.scale, values, rtol=1e-5)
    assert volume.voxel == pytest.approx((1.5, 1.0, 0.9))


def test_rows_of_a_sagittal_slice_run_upward_and_its_columns_to_the_front(tmp_path):
    volume = nifti_volume(write(tmp_path / "h.nii.gz", head((12, 16, 16))))
    image = slices_on(volume, np.array([6]), Slicing(), BOX)[0] * volume.scale
    assert image.shape == (16, 16)
    assert image[11, 8] > image[4, 8] + 10  # superior is brighter, by 40 over half the height
    assert image[8, 11] > image[8, 4] + 5  # anterior, by 20 over half the depth


def test_other_planes_have_their_own_normal_and_rows():
    values = head((16, 16, 16))
    volume = Volume("h", values, (1.0, 1.0, 1.0), 1.0)
    grid = Grid((15, 15), (16.0, 16.0), unit="mm")
    coronal = slices_on(volume, np.array([8]), Slicing(plane="coronal"), grid)[0]
    axial = slices_on(volume, np.array([8]), Slicing(plane="axial"), grid)[0]
    assert coronal[10, 7] > coronal[4, 7] + 10  # rows: superior
    assert axial[10, 7] > axial[4, 7] + 5  # rows: anterior
    assert axial[7, 10] > axial[7, 4] + 1  # columns: right, by 5 over half the width


def test_scaled_integers_are_read_scaled_and_never_as_codes(tmp_path):
    values = head()
    volume = nifti_volume(write(tmp_path / "h.nii.gz", values, dtype=np.int16, slope=0.25))
    np.testing.assert_allclose(volume.values * volume.scale, values, atol=0.13)  # half a step of 0.25


def test_one_is_the_99th_percentile_of_the_head_whatever_the_air_around_it():
    values = np.zeros((20, 20, 20), np.float32)
    values[5:15, 5:15, 5:15] = np.arange(1000).reshape(10, 10, 10)
    small = t1w.normalised("h", values, (1.0, 1.0, 1.0))
    large = t1w.normalised("h", np.pad(values, 20), (1.0, 1.0, 1.0))
    head_voxels = np.arange(100, 1000)  # above a tenth of 999, near enough of either percentile
    assert small.scale == pytest.approx(np.percentile(head_voxels, 99), abs=1.5)
    assert large.scale == pytest.approx(small.scale, rel=0.002)
    assert (small.values > 1).mean() < 0.01


@settings(deadline=None, max_examples=25)
@given(have=st.integers(1, 20), n=st.integers(1, 20))
def test_fitting_keeps_the_middle_and_adds_only_air(have, n):
    values = np.arange(1, have + 1, dtype=float)
    out = fitted(values, n, axis=0)
    assert len(out) == n
    kept = out[out > 0]
    assert len(kept) == min(have, n)
    assert (np.diff(kept) == 1).all()
    before, after = (kept[0] - 1, have - kept[-1]) if n <= have else ((out == 0).argmin(), (out[::-1] == 0).argmin())
    assert abs(before - after) <= 1


def test_a_box_takes_the_whole_voxels_next_to_it_and_their_waves_go_to_the_finest_rung():
    x = np.arange(20) * 0.8  # 20 voxels of 0.8 mm: a box of 16 mm, exactly
    wave = np.cos(2 * np.pi * 3 * x / 16)
    volume = Volume("h", np.broadcast_to(wave, (2, 20, 20)).astype(np.float32), (1.0, 0.8, 0.8), 1.0)
    image = slices_on(volume, np.array([1]), Slicing(), BOX)[0]
    expected = np.cos(2 * np.pi * 3 * np.arange(16) / 16)  # the last axis is superior: the rows
    np.testing.assert_allclose(image, np.broadcast_to(expected[:, None], (16, 16)), atol=1e-5)


def test_a_box_is_padded_with_air_where_the_scan_is_smaller():
    volume = Volume("h", np.ones((2, 12, 14), np.float32), (1.0, 1.0, 1.0), 1.0)
    image = slices_on(volume, np.array([0]), Slicing(), Grid((15, 15), (16.0, 16.0), unit="mm"))[0]
    # 12 x 14 voxels of 1 mm² in a box of 16 x 16: the mean wave survives any restriction
    assert image.mean() == pytest.approx(12 * 14 / 256, abs=1e-6)


def test_voxels_coarser_than_the_finest_rung_are_refused():
    volume = Volume("thick", np.ones((2, 8, 8), np.float32), (1.0, 2.0, 2.0), 1.0)
    with pytest.raises(ConfigError, match="thick has 8 x 8 voxels in the box, fewer than the finest rung 16 x 16"):
        slices_on(volume, np.array([0]), Slicing(), BOX)


def test_slices_without_enough_head_are_left_out():
    values = np.zeros((5, 10, 10), np.float32)
    values[1, :1], values[2, :3], values[3, :, :4] = 1.0, 1.0, 1.0
    volume = Volume("h", values, (1.0, 1.0, 1.0), 1.0)
    assert head_slices(volume, Slicing(head_share=0.2)).tolist() == [2, 3]
    assert head_slices(volume, Slicing(head_share=0.05)).tolist() == [1, 2, 3]


def test_slices_are_spread_from_the_first_to_the_last():
    assert evenly(np.arange(9), 3).tolist() == [0, 4, 8]
    assert evenly(np.arange(2), 3).tolist() == [0, 1]
    assert evenly(np.arange(2), None).tolist() == [0, 1]


def test_a_fourth_axis_of_one_is_dropped_and_a_series_refused(tmp_path):
    for n in (1, 2):
        nibabel.save(nibabel.Nifti1Image(np.stack([head()] * n, -1), np.eye(4)), tmp_path / f"{n}.nii.gz")
    assert nifti_volume(tmp_path / "1.nii.gz").values.shape == (12, 16, 16)
    with pytest.raises(DownloadError, match=r"2\.nii\.gz is no volume of three dimensions"):
        nifti_volume(tmp_path / "2.nii.gz")


def test_a_file_that_is_no_head_is_one_error(tmp_path):
    (tmp_path / "text.nii.gz").write_text("no gzip")
    whole = write(tmp_path / "whole.nii.gz", head()).read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    for name in ("text.nii.gz", "cut.nii.gz", "gone.nii.gz"):
        with pytest.raises(DownloadError, match=f"{name} cannot be read as NIfTI"):
            nifti_volume(tmp_path / name)
    holed = head()
    holed[3, 3, 3] = np.nan
    with pytest.raises(DownloadError, match="voxels that are not finite"):
        nifti_volume(write(tmp_path / "nan.nii.gz", holed))
    with pytest.raises(DownloadError, match="is empty: no voxel is brighter than 0"):
        nifti_volume(write(tmp_path / "empty.nii.gz", head() * 0))


def test_a_missing_package_is_one_line_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "nibabel", None)
    with pytest.raises(CatalogError, match=r"'nibabel', which is not installed\n.*anchorbench\[mri\]"):
        nifti_volume(tmp_path / "any.nii.gz")


def entry_of(name: str) -> SampleFile:
    digest = "0" * 64
    return SampleFile(
        package="carrier",
        version="1.0",
        artefact=Artefact(name="carrier-1.0.tar.gz", size=1, sha256=digest),
        member=Member(path=f"carrier-1.0/{name}", size=1, sha256=digest),
    )


@dataclass(frozen=True)
class Local(Ask):
    """Files that are there already."""

    folder: Path = field(default=Path())

    def sample(self, file: SampleFile) -> Path:
        return self.folder / file.member.name


@cache
def catalog():
    return load_catalog()


def ask(folder: Path, names: list[str], **options) -> Local:
    mri = catalog().dataset("mri")
    files = tuple(entry_of(name) for name in names)
    source = Source(display_name="heads", producer="us", terms="none", reader="t1w", files=files)
    size = SizeEntry(source="sample", rungs=(8, 16), train_rung=8)
    chosen = validated(Options, options, where="here")
    return Local(entry=mri, source=source, options=chosen, size=size, finest=BOX, cache=folder, folder=folder)


def test_three_files_are_one_subject_a_split(tmp_path):
    names = [f"sub-{i}.nii.gz" for i in range(3)]
    for i, name in enumerate(names):
        write(tmp_path / name, head(seed=i) * (1 + i))
    loaded = t1w.load(ask(tmp_path, names, most={"train": 3, "validation": 2}))
    shapes = {split: fields.values["intensity"].shape for split, fields in loaded.splits.items()}
    assert shapes["train"] == (3, 1, 16, 16)
    assert shapes["validation"] == (2, 1, 16, 16)
    assert shapes["test"][0] > 3
    assert [set(f.clusters.tolist()) for f in loaded.splits.values()] == [{0}] * 3
    assert [f.attrs[f"subjects_{s}"] for s, f in loaded.splits.items()] == names
    # the second head is twice as bright, and its unit twice as large
    peaks = [fields.values["intensity"].max() for fields in loaded.splits.values()]
    assert peaks[1] == pytest.approx(peaks[0], rel=0.1)
    assert loaded.attrs["splits"] == "one subject a split"


def test_a_single_head_is_shared_in_slabs_that_keep_their_distance(tmp_path):
    values = np.ones((30, 16, 16), np.float32) * np.arange(1, 31, dtype=np.float32)[:, None, None]
    write(tmp_path / "one.nii.gz", values, voxel=(2.0, 1.0, 1.0))
    loaded = t1w.load(ask(tmp_path, ["one.nii.gz"], gap=4.0, head_share=0.0, most={}))
    scale = nifti_volume(tmp_path / "one.nii.gz").scale
    level = {s: f.values["intensity"].mean(axis=(1, 2, 3)) * scale for s, f in loaded.splits.items()}
    number = {split: values.round().astype(int).tolist() for split, values in level.items()}
    # 30 slices, 60 / 15 / 25 %: they end at 18, 22 or 23, and 30; 4 mm are two slices
    assert number["train"] == list(range(1, 17))
    assert number["validation"][0] == 19
    assert number["test"][0] - number["validation"][-1] == 3
    assert number["test"][-1] == 30
    assert "no independent subjects" in loaded.attrs["splits"]


def test_a_slab_without_a_slice_is_refused(tmp_path):
    write(tmp_path / "one.nii.gz", head())
    with pytest.raises(ConfigError, match="no slice is left for the train split"):
        t1w.load(ask(tmp_path, ["one.nii.gz"], gap=50.0))


@pytest.mark.slow
@pytest.mark.parametrize("source", ["sample", "sample-colin", "sample-mni"])
def test_the_real_samples_make_their_tiny_ladders(tmp_path, monkeypatch, source):
    monkeypatch.undo()  # the index that pip is configured with
    for name in ("PIP_INDEX_URL", "PIP_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    asked = request(catalog(), "mri", size="tiny", source=source)
    ladder = fetch(asked, tmp_path)
    values = np.array(ladder.array("test", 64, "intensity"))
    assert values.shape[1:] == (1, 64, 64)
    assert 0.9 < np.percentile(values, 99.9) < 3
    removed = ladder.about["splits"]["test"]["energy_removed"]["r032"]
    assert removed > 0.04 if source == "sample" else removed < 0.06  # averages are smooth

"""The array cache: what the NetCDF file holds, made once, and made again where it is not whole."""

from __future__ import annotations

import os

import netCDF4
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchorbench.data import arrays
from anchorbench.data.arrays import cached_array, read_variable
from anchorbench.errors import LadderError

SHAPE = (2, 3, 4, 5)


def values() -> np.ndarray:
    """1, 2, 3, ... with a hole."""
    u = np.arange(1, 121, dtype=np.float32).reshape(SHAPE)
    u[1, 2, 3, 4] = np.nan
    return u


def write_netcdf(folder, u: np.ndarray) -> None:
    with netCDF4.Dataset(folder / "train.nc", "w") as nc:
        group = nc.createGroup("r004")
        for name, n in zip(("sample", "time", "y", "x"), SHAPE, strict=True):
            group.createDimension(name, n)
        variable = group.createVariable("u", "f4", ("sample", "time", "y", "x"), fill_value=np.float32(np.nan))
        variable[:] = u


def cached(folder, digest: str = "d" * 64) -> np.ndarray:
    return cached_array(folder, "train.nc", "r004", "u", digest=digest)


def only_file(folder):
    (file,) = (folder / "arrays").iterdir()
    return file


@pytest.fixture
def folder(tmp_path):
    write_netcdf(tmp_path, values())
    return tmp_path


@pytest.fixture
def reads(monkeypatch):
    """How often the NetCDF file was read."""
    count: list[str] = []

    def counted(path, group, variable):
        count.append(variable)
        return read_variable(path, group, variable)

    monkeypatch.setattr(arrays, "read_variable", counted)
    return count


def test_the_array_holds_what_the_file_holds_and_0_where_that_is_missing(folder):
    expected = values()
    expected[1, 2, 3, 4] = 0
    np.testing.assert_array_equal(cached(folder), expected)


def test_the_array_is_a_read_only_map_in_c_order(folder):
    u = cached(folder)
    assert isinstance(u, np.memmap)
    assert u.dtype == np.float32
    assert u.flags.c_contiguous
    with pytest.raises(ValueError, match="read-only"):
        u[0, 0, 0, 0] = 1


def test_the_file_is_read_once(folder, reads):
    cached(folder)
    cached(folder)
    assert reads == ["u"]
    assert [p.name for p in (folder / "arrays").iterdir()] == ["train-r004-u-dddddddddddd-v1.npy"]


def test_a_ladder_with_another_digest_is_read_again(folder, reads):
    cached(folder)
    write_netcdf(folder, 2 * values())
    assert cached(folder, "e" * 64)[0, 0, 0, 0] == 2
    assert cached(folder)[0, 0, 0, 0] == 1
    assert len(reads) == 2


@pytest.mark.parametrize("size", [0, 5, 100, 128, 300, 607])
def test_a_truncated_array_is_made_again(folder, reads, size):
    cached(folder)
    os.truncate(only_file(folder), size)  # whole: a header of 128 bytes and 120 float32
    assert cached(folder)[1, 0, 0, 0] == 61  # 60 values to a sample
    assert len(reads) == 2
    assert only_file(folder).stat().st_size == 128 + 480


def test_an_array_with_something_behind_it_is_made_again(folder, reads):
    cached(folder)
    with only_file(folder).open("ab") as file:
        file.write(b"more")
    cached(folder)
    assert len(reads) == 2


@pytest.mark.parametrize("stale", [np.zeros(SHAPE), np.zeros(SHAPE, np.float32, order="F")])
def test_an_array_of_another_layout_is_made_again(folder, reads, stale):
    cached(folder)
    np.save(only_file(folder), stale)
    assert cached(folder)[0, 0, 0, 0] == 1
    assert len(reads) == 2


@given(st.lists(st.tuples(st.integers(0, 127), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_header_never_raises_and_never_gives_other_values_or_another_type(tmp_path_factory, flips):
    folder = tmp_path_factory.mktemp("ladder")
    write_netcdf(folder, values())
    cached(folder)
    file = only_file(folder)
    content = bytearray(file.read_bytes())
    for place, byte in flips:
        content[place] = byte
    file.write_bytes(content)
    u = cached(folder)
    assert u.dtype == np.float32
    assert u.size == 120
    assert u.ravel()[:60].tolist() == list(range(1, 61))


def test_an_interrupted_write_leaves_no_array(folder, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(arrays.np, "save", full)
        with pytest.raises(LadderError, match="No space left on device"):
            cached(folder)
        assert list((folder / "arrays").iterdir()) == []
    assert cached(folder)[0, 0, 0, 0] == 1


def test_a_folder_that_takes_no_arrays_is_a_message(folder):
    (folder / "arrays").write_text("no folder")
    with pytest.raises(LadderError, match="could not be written"):
        cached(folder)


@pytest.mark.parametrize(("group", "variable"), [("r008", "u"), ("r004", "v")])
def test_what_the_file_lacks_is_a_message_that_names_it(folder, group, variable):
    with pytest.raises(LadderError, match=f"{group}/{variable}"):
        read_variable(folder / "train.nc", group, variable)


def test_a_file_that_is_no_netcdf_is_a_message(folder):
    (folder / "train.nc").write_bytes(b"not NetCDF")
    with pytest.raises(LadderError, match="cannot be read"):
        cached(folder)
    assert not (folder / "arrays").exists()

"""comephore, sample: hours of ANTILOPE from a published package, and the record as it really is."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from anchorbench.data.catalog import Artefact, Member
from anchorbench.data.catalog_file import load_catalog
from anchorbench.data.fetch import request
from anchorbench.data.rain_maps import VARIABLE
from anchorbench.data.sources import Ask, antilope
from anchorbench.data.sources.antilope import Options, hour_of
from anchorbench.errors import DownloadError
from anchorbench.fields import Grid

rasterio = pytest.importorskip("rasterio")


def geotiff(codes: np.ndarray) -> bytes:
    place = rasterio.transform.Affine(1000.0, 0.0, 85000.0, 0.0, -1000.0, 7129000.0)
    with rasterio.MemoryFile() as memory:
        with memory.open(
            driver="GTiff", dtype="uint16", count=1, height=codes.shape[0], width=codes.shape[1], crs="EPSG:2154",
            transform=place, nodata=65535, compress="deflate",
        ) as tif:  # fmt: skip
            tif.write(codes, 1)
        return bytes(memory.read())


@pytest.fixture
def asked(tmp_path, host):
    """The catalogue's sample with 33 hours of 10 x 12 cells in an sdist on loopback."""
    codes = np.random.default_rng(5).integers(0, 60, (33, 10, 12)).astype(np.uint16)
    codes[:, 0] = 65535  # the northern row is out of range
    wanted = request(load_catalog(), "comephore", size="tiny", source="sample")
    source = wanted.described
    contents = {file.member.path: geotiff(c) for file, c in zip(source.files, codes, strict=True)}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as sdist:
        for path, content in contents.items():
            info = tarfile.TarInfo(path)
            info.size = len(content)
            sdist.addfile(info, io.BytesIO(content))
    archive = buffer.getvalue()
    name = source.files[0].artefact.name
    host.publish("hydro-smash", name, archive)
    artefact = Artefact(name=name, size=len(archive), sha256=hashlib.sha256(archive).hexdigest())
    files = tuple(
        file.model_copy(
            update={
                "artefact": artefact,
                "member": Member(
                    path=file.member.path,
                    size=len(contents[file.member.path]),
                    sha256=hashlib.sha256(contents[file.member.path]).hexdigest(),
                ),
            }
        )
        for file in source.files
    )
    size = wanted.size.model_copy(update={"crop": 8, "rungs": (8,)})
    finest = Grid((8, 8), (8.0, 8.0), "cell", periodic=(False, False))

    def ask(**options) -> Ask:
        chosen = Options(**{"wet_share": 0.0, **options})
        replaced = source.model_copy(update={"files": files})
        return Ask(wanted.entry, replaced, chosen, size, finest, tmp_path / "cache")

    return ask, codes


def test_the_catalogue_names_33_hours_in_a_row():
    source = load_catalog().dataset("comephore").sources["sample"]
    hours = [hour_of(Path(file.member.name)) for file in source.files]
    assert len(hours) == 33
    assert hours[0] == np.datetime64("2012-01-01T00:00:00")
    assert set(np.diff(hours)) == {np.timedelta64(3600, "s")}
    assert len({file.artefact for file in source.files}) == 1
    assert source.display_name != "COMEPHORE"


def test_a_name_that_is_no_hour_is_refused():
    with pytest.raises(DownloadError, match=r"France_flwdir\.tif is not named as an hour of ANTILOPE"):
        hour_of(Path("France_flwdir.tif"))


def test_the_hours_come_as_blocks_of_time_with_gaps(asked):
    ask, codes = asked
    loaded = antilope.load(ask())
    # periods of 4 h, turns T T E V: train 0-7 less 1 h, test 8-11 less 1, validation 12-15 less 1, so on;
    # 7 frames hold 5 sequences of 3, one hour apart, 3 frames hold one, hour 32 alone none
    assert {split: fields.n_samples for split, fields in loaded.splits.items()} == {
        "train": 10,
        "test": 2,
        "validation": 2,
    }
    test = loaded.splits["test"]
    assert len(set(test.clusters.tolist())) == 2
    assert test.times[0, 0] == np.datetime64("2012-01-01T08:00:00")
    # cells: the square without the northern row that is nearest the centre, columns 2 to 9
    north = 10 - 1 - 8  # rows 1 to 8 from the south or 0 to 7: centre (10 − 8)/2 = 1
    np.testing.assert_allclose(test.values[VARIABLE][0, 0], codes[8, ::-1][north : north + 8, 2:10] / 10, rtol=1e-6)
    assert test.valid is None
    assert loaded.attrs["package"] == "hydro-smash"
    assert loaded.attrs["time_of_a_frame"] == "end of the hour, UTC"
    assert not [value for value in loaded.attrs.values() if "http" in value]


def test_a_corner_that_is_asked_for_is_taken(asked):
    ask, codes = asked
    loaded = antilope.load(ask(corner=[0, 0], frames=2))
    np.testing.assert_allclose(loaded.splits["train"].values[VARIABLE][0, 0], codes[0, ::-1][:8, :8] / 10, rtol=1e-6)
    with pytest.raises(DownloadError, match="never measured"):
        antilope.load(ask(corner=[2, 0]))

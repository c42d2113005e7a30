"""sevir and comephore, generated: events of a synthetic log-normal rain cascade, 5-minute or hourly, 1 km.

Each event lives on a torus larger than the box that is cut from it: opposite edges of the box are no neighbours, so
that nothing can be learnt across them.  Events are independent; each is a cluster.  What is asked for on coarser rungs
is generated at `spacing` and averaged over cells, as a radar's would be.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from pydantic import Field

from anchorbench.config import Frozen, digest_of
from anchorbench.data.generated import seconds_of
from anchorbench.data.slices import Made, Slices, Tell, joined, slice_by_slice
from anchorbench.data.sources import Ask, Loaded, SplitFields
from anchorbench.data.splits import SEED_OF_SPLIT, OfEverySplit, Split
from anchorbench.errors import ConfigError
from anchorbench.fields import Grid, restrict
from anchorbench.solvers import RainSpec, orographic_factor, rain_fields
from anchorbench.solvers.fractal import fractal_relief

VARIABLE = "rainfall_amount"
#: Events made at once; a call that was stopped goes on behind the last.
SLICE = 16
#: Minutes of a catalogue's unit of time.
MINUTES_OF = {"min": 1.0, "h": 60.0}


class Options(Frozen):
    """Parameters of the generated set; all are in the ladder's digest.  What they mean: `solvers.rain.RainSpec`."""

    torus: int = Field(ge=4, description="cells a side of the periodic field that the box is cut from")
    spacing: float = Field(default=1.0, gt=0, description="km, of the cells that are generated")
    frames: int = Field(ge=2)
    trajectories: OfEverySplit
    substeps: int = Field(default=1, ge=1, description="instants whose mean is one frame")
    wet_share: float = Field(default=0.2, gt=0, le=1)
    median: float = Field(default=0.08, gt=0, description="mm a frame, where it rains")
    log_std: float = Field(default=1.3, ge=0)
    slope: float = Field(default=2.0, description="of the Gaussian field's ring spectrum, k^-slope")
    outer_scale: float = Field(default=68.0, gt=0, description="km; above it the spectrum is flat")
    lifetime: float = Field(default=300.0, gt=0, description="minutes, of waves of 32 to 64 km")
    lifetime_exponent: float = Field(default=1.0, description="an octave up lives 2^this times as long")
    mean_share: float = Field(default=0.2, ge=0, lt=1)
    mean_lifetime: float = Field(default=360.0, gt=0, description="minutes")
    speed: float = Field(default=27.0, ge=0, description="km/h")
    speed_spread: float = Field(default=0.3, ge=0)
    swirl: float = Field(default=0.3, ge=0, description="eddying on top of the drift, a share of its speed")
    orography: float = Field(default=0.0, ge=0, description="strength of the orographic factor, exp(s h); 0: none")
    relief_slope: float = Field(default=3.0, gt=1, description="of the relief's ring spectrum")
    resolution: float = Field(default=0.01, ge=0, description="mm; amounts are rounded to it as a radar's are; 0: not")
    seed: int = Field(default=0, ge=0)

    def spec(self, interval: float) -> RainSpec:
        """The cascade, its frames `interval` minutes apart."""
        chosen = {name: getattr(self, name) for name in type(self).model_fields.keys() & RainSpec.__dataclass_fields__}
        return RainSpec(shape=(self.torus, self.torus), interval=interval, **chosen)


def check(options: Options, *, finest: Grid) -> None:
    """Raises ConfigError where the box is no whole number of cells, or the torus no larger than the box."""
    points = cells(options, finest)
    if options.torus < 1.25 * points:
        raise ConfigError(
            f"a torus of {options.torus} cells is too small for a box of {points}: its edges would be neighbours",
            do=f"--set generator.torus={3 * points // 2}",
        )


def cells(options: Options, finest: Grid) -> int:
    """Cells along a side of the box.  Raises ConfigError where they are no whole number, or don't nest in the rung."""
    points = finest.extent[0] / options.spacing
    if abs(points - round(points)) > 1e-6 or round(points) % finest.rung:
        raise ConfigError(
            f"a box of {finest.extent[0]:g} {finest.unit} holds no whole number of cells of {options.spacing:g} km "
            f"for each cell of rung {finest.rung}",
            do=f"--set generator.spacing={finest.spacing[0]:g}",
        )
    return round(points)


def estimate_seconds(options: Options, *, device: str = "cpu") -> float:
    """About how long `load` takes: two frames are timed and counted up."""
    spec = options.model_copy(update={"frames": 2}).spec(60.0)
    took = seconds_of(lambda: rain_fields(spec, n_trajectories=1, seed=0), rounds=1)
    return took / 2 * options.frames * sum(options.trajectories.values())


def load(ask: Ask) -> Loaded:
    """Generate all splits; see `generate`."""
    assert ask.entry.time is not None  # both datasets have one
    minutes = ask.entry.time.step * MINUTES_OF[ask.entry.time.unit]
    splits, static = generate(
        ask.options, ask.finest, interval=minutes, scratch=ask.scratch, tell=ask.tell("generating")
    )
    return Loaded(splits, static=static, attrs={"generator": ask.options.model_dump_json()})


def generate(
    options: Options,
    finest: Grid,
    *,
    interval: float,
    scratch: Path | None = None,
    tell: Tell = lambda share: None,
) -> tuple[dict[str, SplitFields], dict[str, np.ndarray]]:
    """Rain of each split's events on the finest rung, mm a frame, and the relief (without a unit) if it has a say.

    interval: minutes between two frames.  scratch: a folder that keeps each slice of events, so that a call which was
    stopped goes on, to the same bits.  Raises ConfigError for a box or torus that does not fit.
    """
    spec, points = options.spec(interval), cells(options, finest)
    relief, factor = None, None
    if options.orography > 0:
        relief = fractal_relief(points, exponent=options.relief_slope, longest=1.0, ridges=0.0, seed=options.seed)
        factor = orographic_factor(torch.from_numpy(relief), strength=options.orography)

    def make(split: Split, members: range, _: Tell) -> Made:
        seed = options.seed + SEED_OF_SPLIT[split]
        events = rain_fields(
            spec, n_trajectories=len(members), first=members.start, seed=seed, cells=(points, points), factor=factor
        )
        if options.resolution:
            events = torch.round(events / options.resolution) * options.resolution
        return {"fields": restrict(events, finest, how="block_mean").numpy()}

    kept = Slices(scratch, digest_of([options.digest, finest.to_dict(), interval]))
    parts = slice_by_slice(options.trajectories, make, size=SLICE, kept=kept, tell=tell)
    splits: dict[str, SplitFields] = {
        split: SplitFields.independent({VARIABLE: joined(made, "fields")}) for split, made in parts.items()
    }
    return splits, {} if relief is None else {"relief": relief}

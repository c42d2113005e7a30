"""A report document of two groups, as `collect` builds it: forced turbulence, and radar under its own name."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

TURBULENCE_RUNGS = [8, 16, 24, 32, 48, 64]
RADAR_RUNGS = [23, 46, 92, 184]


def _curve(group: dict[str, Any], label: str, error: list[float | None], **given: Any) -> dict[str, Any]:
    """A curve with every field of the contract; what is not given is null."""
    rungs, empty = group["rungs"], [None] * len(group["rungs"])
    kept = ("dataset", "display_name", "source", "size", "task", "variable", "unit", "lead", "lead_unit", "train_rung")
    return {
        "kind": "method", "label": label, "method": label, "model": "fno", "track": "zero-shot", "seeds": [0, 1, 2],
        "protocol": 1, "seen_rungs": [group["train_rung"]], "rungs": rungs, "error": error, "error_interval": empty,
        "unseen": empty, "skill": empty, "skill_interval": empty, "ratio": {"own": empty, "baseline": empty},
        "anchoring_index": empty, "anchoring_reason": empty, "budget": empty, "slope": None, "interval": None,
        "interval_kind": "seeds and trajectories", "smallest_slope": None, "local_slopes": [], "verdict": None,
        "second_word": None, "headroom": {"shown": None, "slope": None, "text": ""}, "notes": [], "words": "",
        "cost": None, "card": None, "group": group["id"], **{key: group[key] for key in kept}, **given,
    }  # fmt: skip


def _reference(group: dict[str, Any], name: str, error: list[float | None], **given: Any) -> dict[str, Any]:
    plain = {"kind": "reference", "method": name, "model": None, "track": None, "seeds": [], "seen_rungs": []}
    return _curve(group, name.replace("_", " "), error, **{**plain, **given})


def _bands(values: list[float | None], share: float) -> list[list[float] | None]:
    return [None if v is None else [v - abs(v) * share, v + abs(v) * share] for v in values]


def _turbulence() -> dict[str, Any]:
    k = {rung: [float(n) for n in range(1, rung // 2 + 1)] for rung in TURBULENCE_RUNGS}
    power = {rung: [n**-3.0 for n in waves] for rung, waves in k.items()}
    y, x = np.mgrid[0:1:64j, 0:1:64j]
    wave = np.sin(2 * np.pi * 4 * y) + 0.5 * np.cos(2 * np.pi * (3 * x + 2 * y)) + 0.2 * np.sin(2 * np.pi * 14 * x)
    truth = {16: wave[::4, ::4], 32: wave[::2, ::2], 64: wave}
    return {
        "id": "turbulence2d-small-forecast", "title": "turbulence2d, small, forecast", "dataset": "turbulence2d",
        "display_name": "forced 2-D turbulence", "source": "generated", "size": "small", "task": "forecast",
        "restriction": "spectral", "train_rung": 16, "rungs": TURBULENCE_RUNGS, "variable": "vorticity", "unit": "1/s",
        "lead": 0.25, "lead_unit": "s", "sigma": 4.2, "floor": {rung: 2e-4 * rung / 8 for rung in TURBULENCE_RUNGS},
        "provenance": {"generator": "navier_stokes_2d", "viscosity": 0.005, "truth solved at": 128},
        "terms": "Apache-2.0",
        "solver_price": {"seconds": {"16": 0.01, "32": 0.05, "64": 0.2}, "solves": 500,
                         "flops": {"16": 1e7, "32": 6e7, "64": 4e8}},
        "spectra": {
            "k": k, "unit": "rad/m", "truth": power, "k_train_nyquist": 8.0,
            "predictions": {
                "frl": {rung: [p * (1 if n < 8 else 0.4) for n, p in enumerate(power[rung], 1)] for rung in power},
                "baseline": {rung: [p * (1 if n < 8 else 3) for n, p in enumerate(power[rung], 1)] for rung in power},
            },
            "error": {
                "frl": {rung: [p * (0.02 if n < 8 else 0.9) for n, p in enumerate(power[rung], 1)] for rung in power},
                "baseline": {rung: [p * (0.03 if n < 8 else 4) for n, p in enumerate(power[rung], 1)] for rung in k},
            },
        },
        "fields": {
            "rungs": [16, 32, 64], "truth": truth, "extent": [0.0, 1.0, 0.0, 1.0], "cmap": "diverging",
            "predictions": {
                "frl": {r: 0.9 * t for r, t in truth.items()},
                "baseline": {r: t + 0.3 * t**2 for r, t in truth.items()},
            },
        },
        "environment": {"python": "3.11.2", "torch": "2.13.0", "device": "cpu"},
        "specs": [{"run": "turbulence2d-frl-fno-s0-0123abcd", "spec": "method: frl\nmodel: fno\nseed: 0\n"}],
    }  # fmt: skip


def _turbulence_curves(group: dict[str, Any]) -> list[dict[str, Any]]:
    cost = {
        "train_seconds": 84.2, "steps": 1200, "parameters": 150_432, "train_points": 3.2e8, "flops": 4e12,
        "data": {"rungs": [16], "solves": 500, "seconds": 12.0, "flops": 1e10},
        "inference": {16: 2e6, 24: 4e6, 32: 8e6, 48: 1.8e7, 64: 3.2e7},
    }  # fmt: skip
    card = {"any grid": True, "embedding": "coordinates, in physical units", "padding": "periodic", "flops": 1.2e7}
    frl = [0.061, 0.190, 0.193, 0.196, 0.197, 0.195]
    baseline = [0.075, 0.191, 0.262, 0.297, 0.33, 0.352]
    multires = [0.12, 0.180, 0.15, 0.128, 0.11, 0.104]
    skill = {"frl": [None, None, 0.3, 0.02, -0.4, -0.9], "baseline": [None, None, -0.2, -2.5, -9.0, -31.0],
             "multires": [None, None, 0.55, 0.6, 0.41, 0.33]}  # fmt: skip
    index = {"frl": [None, None, 0.98, 1.04, 1.03, 1.02], "baseline": [None, None, 1.6, 1.8, 2.0, 2.2],
             "multires": [None, None, 0.7, 0.5, 0.4, 0.3]}  # fmt: skip
    curves = []
    for name, error, slope, verdict, second, seen in (
        ("baseline", baseline, 0.42, "diverging", "harms", [16]),
        ("frl", frl, 0.02, "anchored", "harms", [8, 16]),
        ("multires", multires, -0.38, "converging", "adds", [16, 32]),
    ):
        curves.append(_curve(
            group, name, error, error_interval=_bands(error, 0.06), skill=skill[name], seen_rungs=seen,
            skill_interval=_bands(skill[name], 0.2), unseen=[None, None, 0.05, 0.09, 0.12, 0.13],
            ratio={"own": [0.4, 1.0] + [1.0 + (slope + 0.6) * step for step in (0.3, 0.5, 0.8, 0.9)],
                   "baseline": [0.38, 0.97] + [0.97 + (slope + 0.6) * step for step in (0.3, 0.5, 0.8, 0.9)]},
            anchoring_index=index[name], anchoring_reason=[None, "at the train rung"] + [None] * 4, slope=slope,
            track="assisted" if name == "multires" else "zero-shot",
            budget=[None, {"model": 0.036, "grid": 0.0, "information": 0.0}]
            + [{"model": 0.036, "grid": 0.004 * n, "information": -0.002 * n} for n in range(1, 5)],
            interval=[slope - 0.07, slope + 0.06], smallest_slope=0.07, verdict=verdict, second_word=second,
            local_slopes=[{"from": 16, "to": 24, "slope": slope + 0.02}, {"from": 24, "to": 64, "slope": slope - 0.01}],
            headroom={"shown": True, "slope": -0.9, "text": "a model trained at 32 has 68 % less error"},
            words=f"On grids 4x finer than it was trained on, {name}'s error in the band it knows is {verdict}.",
            cost=cost, card=card,
        ))  # fmt: skip
    curves += [
        _reference(group, "persistence", [0.2] + [0.37] * 5, skill=[None, None, -0.5, -0.6, -0.7, -0.8]),
        _reference(group, "coarse_then_upsample", [None] + [0.190] * 5, skill=[None, None, 0.0, 0.0, 0.0, 0.0]),
        _reference(group, "solver", [0.3, 0.12, 0.05, 0.02, 0.006, 0.002], skill=[None, None, 0.8, 0.9, 0.97, 0.99],
                   slope=-2.9, interval=[-3.1, -2.7], verdict="converging", second_word="adds", seeds=[]),
        _reference(group, "native", [None, 0.191, None, 0.061, None, 0.058], seeds=[0], seen_rungs=[16, 32, 64],
                   slope=-0.9, interval=[-1.0, -0.8], interval_kind="given these seeds"),
    ]  # fmt: skip
    return curves


def _radar() -> dict[str, Any]:
    y, x = np.mgrid[-1:1:184j, -1:1:184j]
    rain = np.clip(
        12 * np.exp(-8 * ((x - 0.2) ** 2 + (y + 0.1) ** 2)) - 0.3 + 0.5 * np.sin(9 * x) * np.cos(7 * y), 0, None
    )
    rain[:20, :30] = np.nan
    truth = {46: rain[::4, ::4], 92: rain[::2, ::2], 184: rain}
    return {
        "id": "sevir-small-forecast", "title": "RADOLAN-YW, small, forecast", "dataset": "sevir",
        "display_name": "RADOLAN-YW 1 km, 5 min", "source": "sample", "size": "small", "task": "forecast",
        "restriction": "block_mean", "train_rung": 46, "rungs": RADAR_RUNGS, "variable": "rain rate", "unit": "mm/h",
        "lead": 30.0, "lead_unit": "min", "sigma": 1.9, "floor": None, "spectra": None,
        "environment": {"python": "3.11.2"},
        "provenance": {"producer": "Deutscher Wetterdienst", "checksum": "sha256:0011"},
        "terms": "DL-DE-BY-2.0: cite DWD",
        "fields": {"rungs": [46, 92, 184], "truth": truth, "extent": [0.0, 184.0, 0.0, 184.0], "cmap": "rain",
                   "predictions": {"baseline": {r: 0.7 * t for r, t in truth.items()}}},
        "specs": [],
    }  # fmt: skip


def make_document() -> dict[str, Any]:
    turbulence, radar = _turbulence(), _radar()
    error = [0.40, 0.52, 0.53, 0.54]
    radar_curves = [
        _curve(radar, "baseline", error, model="unet", error_interval=_bands(error, 0.1), seeds=[0], slope=0.03,
               interval=[-0.22, 0.28], interval_kind="given these seeds", verdict="undecided", second_word="empty",
               skill=[None, None, 0.02, -0.01], smallest_slope=0.25,
               words="Whether baseline's error falls on finer grids cannot be told from this data."),
        _reference(radar, "persistence", [0.6, 0.8, 0.8, 0.8], skill=[None, None, -0.9, -1.1]),
        _reference(radar, "coarse_then_upsample", [None, 0.52, 0.52, 0.52], skill=[None, None, 0.0, 0.0]),
    ]  # fmt: skip
    return {
        "schema": 1, "version": "0.1.0", "made": "2026-01-02T03:04:05+00:00", "groups": [turbulence, radar],
        "curves": _turbulence_curves(turbulence) + radar_curves,
        "missing": [{"what": "native of RADOLAN-YW", "command": "anchorbench train --dataset sevir --with-references"}],
    }  # fmt: skip


@pytest.fixture(scope="session")
def _made() -> dict[str, Any]:
    return make_document()


@pytest.fixture
def document(_made: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(_made)


@pytest.fixture
def turbulence(document: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    group = document["groups"][0]
    return group, [c for c in document["curves"] if c["group"] == group["id"]]


@pytest.fixture
def radar(document: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    group = document["groups"][1]
    return group, [c for c in document["curves"] if c["group"] == group["id"]]

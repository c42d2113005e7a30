"""The resolution axis of refined rain: error, skill and CRPS against the factor in space, in time, or both together.

A point is a run trained for that pair of factors, a thin line one model asked for factors that it was not trained for
(`anchorbench evaluate RUN --test factors`).  A panel holds the other factor fixed; both together are s² T, the fine
values to one coarse value.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from anchorbench.errors import ConfigError, RunError, unknown
from anchorbench.report.document import Document, finite, heading
from anchorbench.report.precipitation import Pair, refined
from anchorbench.report.precipitation_figures import GREYS
from anchorbench.report.style import COLOURS, DASHES, MARKERS, Key, Style, look, sheet, wrapped

Axis = Literal["space", "time", "both"]
AXES: tuple[Axis, ...] = get_args(Axis)
SCORES = {"rmse": "RMSE of the\nmean (mm)", "skill": "skill over\nthe input as it is", "crps": "CRPS (mm)"}
#: What is drawn of one group: no ablation, which stands in the table.
MOST_RUNS = 3
CLIMATOLOGY = "climatology"
SHOWN = ("nearest", "bicubic", CLIMATOLOGY)
#: What the axis is called, and what a panel holds.
WORDS = {
    "space": ("factor in space", "x{:g} in time"),
    "time": ("factor in time", "x{:g} in space"),
    "both": ("fine values to one coarse value, s² T", ""),
}
NOTE = "Thin: one model, asked for factors that it was not trained for. Points: trained for them."


def axis_of(name: str) -> Axis:
    """Raises ConfigError for an axis that there is not."""
    for axis in AXES:
        if name == axis:
            return axis
    raise ConfigError(f"--axis: {unknown('axis', name, AXES)}")


def factor_figures(document: Document, axis: Axis) -> dict[Any, Figure]:
    """By the id of the group that it stands at: one figure for each set of events.

    Raises RunError where no rain was refined, or all at one factor along the axis.
    """
    sets: dict[str, list[tuple[Mapping[str, Any], Mapping[str, Any]]]] = defaultdict(list)
    names = _names(document)
    for group, held in refined(document):
        sets[held["events"]].append((group, _renamed(held, names.get(group.get("id"), {}))))
    made = {both[0][0].get("id"): _figure(both, axis) for both in sets.values() if _panels(both, axis)}
    if not made:
        raise RunError(
            f"--axis {axis}: no rain was refined by several factors",
            do="anchorbench train --dataset comephore --method diffusion --factor 10 --time-factor 3, then with others",
        )
    return made


def _names(document: Document) -> dict[Any, dict[str, str]]:
    """By group and its own label, which leaves out what is one and the same there: the name in all groups."""
    curves = [curve for curve in document.get("curves") or () if curve.get("kind") == "method"]
    several = len({curve["model"] for curve in curves}) > 1
    names: dict[Any, dict[str, str]] = defaultdict(dict)
    for curve in curves:
        name = f"{curve['method']} · {curve['model']}" if several else str(curve["method"])
        label = curve.get("study_label")
        names[curve.get("group")][curve["label"]] = f"{name} ({label})" if label else name
    return names


def _renamed(held: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    rows = [row | {"label": names.get(row["label"], row["label"])} for row in held["rows"]]
    return {**held, "rows": rows, "factors": {names.get(label, label): told for label, told in held["factors"].items()}}


def _place(pair: Pair, axis: Axis) -> tuple[float, float]:
    """(where on the axis, which panel)."""
    space, time = pair
    return (space, time) if axis == "space" else (time, space) if axis == "time" else (space * space * time, 0.0)


def _panels(groups: list[tuple[Mapping[str, Any], Mapping[str, Any]]], axis: Axis) -> list[float]:
    """Values of the factor that is held, where two or more of the other were trained or asked for."""
    places: dict[float, set[float]] = defaultdict(set)
    for _, pair, _, _ in _points(groups):
        x, panel = _place(pair, axis)
        places[panel].add(x)
    trained = {_place(_pair(held), axis)[1] for _, held in groups}
    return sorted(panel for panel, xs in places.items() if len(xs) > 1 and panel in trained)


def _pair(held: Mapping[str, Any]) -> Pair:
    return float(held["pair"][0]), float(held["pair"][1])


def _points(
    groups: list[tuple[Mapping[str, Any], Mapping[str, Any]]],
) -> Iterator[tuple[str, Pair, Mapping[str, Any], bool]]:
    """(name of the line, pair of factors, scores, whether it was trained for them)."""
    drawn = _drawn(groups)
    for _, held in groups:
        if not any(row["trained"] and row["label"] in drawn for row in held["rows"]):
            continue  # an ablation on windows of its own: its references would stand beside nothing
        for row in held["rows"]:
            if row["label"] in drawn:
                yield row["label"], _pair(held), row, True
            for told in held["factors"].get(row["label"]) or () if row["label"] in drawn else ():
                name = "{} of ({:g}, {:g})".format(row["label"], *held["pair"])
                yield name, (float(told["pair"][0]), float(told["pair"][1])), told, False


def _drawn(groups: list[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> list[str]:
    """References, and the runs that most pairs of factors have."""
    count: dict[str, int] = defaultdict(int)
    for _, held in groups:
        for row in held["rows"]:
            count[row["label"]] += row["trained"]
    trained = sorted((label for label, n in count.items() if n), key=lambda label: (-count[label], label))
    return [*trained[:MOST_RUNS], *SHOWN]


def _figure(groups: list[tuple[Mapping[str, Any], Mapping[str, Any]]], axis: Axis) -> Figure:
    panels, lines = _panels(groups, axis), list(dict.fromkeys(name for name, *_ in _points(groups)))
    style = _styles(lines)
    label, held = WORDS[axis]
    with look():
        elsewhere = any(not own for *_, own in _points(groups))
        key = Key([(style[name].handle(), wrapped(name)) for name in lines], [NOTE] if elsewhere else [])
        # What sets one group apart from another, its rungs, is what the axis is here.
        title = f"{heading({**groups[0][0], 'apart': None})} · by {label}"
        figure, axes = sheet(title, [0.95] * (len(SCORES) * len(panels)), key)
        ticks = _ticks({(not own, _place(pair, axis)[0]) for _, pair, _, own in _points(groups)})
        for i, panel in enumerate(panels):
            for ax, (score, words) in zip(axes[i * len(SCORES) :], SCORES.items(), strict=False):
                _draw(ax, groups, axis, panel, score, style)
                ax.set_ylabel(words if axis == "both" else f"{held.format(panel)}\n{words}", size=5.8)
        last = axes[-1]
        last.set_xscale("log")
        last.xaxis.set_major_locator(FixedLocator(ticks))
        last.xaxis.set_minor_locator(NullLocator())
        last.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        last.set_xlabel(label, labelpad=2)
    return figure


def _ticks(places: set[tuple[bool, float]]) -> list[float]:
    """Where a factor is named: what was trained first, then what leaves room beside it."""
    xs = [x for _, x in places]
    room, kept = 0.07 * math.log(max(xs) / min(xs)), list[float]()
    for _, x in sorted(places):
        if all(abs(math.log(x / other)) > room for other in kept):
            kept.append(x)
    return sorted(kept)


def _draw(
    ax: Axes,
    groups: list[tuple[Mapping[str, Any], Mapping[str, Any]]],
    axis: Axis,
    panel: float,
    score: str,
    style: Mapping[str, Style],
) -> None:
    by_line: dict[str, list[tuple[float, float]]] = defaultdict(list)
    trained = set()
    for name, pair, scores, own in _points(groups):
        x, where = _place(pair, axis)
        if name == CLIMATOLOGY and score != "crps":
            continue  # the mean of draws that know nothing of the input is no estimate of it
        if where == panel and (y := finite(scores.get(score))) is not None:
            by_line[name].append((x, y))
            trained |= {name} if own else set()
    for name, points in by_line.items():
        xs, ys = zip(*sorted(points), strict=True)
        dots = style[name].points(hollow=False) if name in trained else {"marker": "none"}
        ax.plot(xs, ys, **style[name].line(), **dots)


def _styles(lines: list[str]) -> dict[str, Style]:
    """References grey; what one model does elsewhere thin, in the colour of its kind."""
    found: dict[str, Style] = {}
    for name in lines:
        kind = name.partition(" of (")[0]
        if name in GREYS:
            found[name] = Style(GREYS[name], "|", DASHES[len(found) % 6], 0.9)
        elif kind != name and kind in found:
            n = sum(other.startswith(f"{kind} of (") for other in found)
            found[name] = Style(found[kind].colour, None, DASHES[(n + 1) % 6], 0.6)
        else:
            n = sum(style.colour in COLOURS and style.marker is not None for style in found.values())
            found[name] = Style(COLOURS[n % 6], MARKERS[n % 12], DASHES[0])
    return found


def along_axis(
    figures: Mapping[tuple[Any, str], Figure], document: Document, axis: Axis
) -> dict[tuple[Any, str], Figure]:
    """The figures with `error-vs-res` of refined rain drawn over factors, one for all groups of the same events."""
    rain = {group.get("id") for group, _ in refined(document)}
    kept = {key: figure for key, figure in figures.items() if key[0] not in rain or key[1] != "error-vs-res"}
    return kept | {(place, "error-vs-res"): figure for place, figure in factor_figures(document, axis).items()}

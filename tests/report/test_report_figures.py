"""The figures show what they say: scales, hollow points, names, and nothing invented where a value is null."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from anchorbench.errors import ConfigError, RunError
from anchorbench.report import document as read
from anchorbench.report.figures import error_vs_res, fields, ratio, save, spectrum
from anchorbench.report.images import MOST_FIELDS
from anchorbench.report.plots import draw_all, plot
from anchorbench.report.style import log_limits, png, styles

GroupAndCurves = tuple[dict[str, Any], list[dict[str, Any]]]


def line_of(ax: Axes, label: str) -> Any:
    """The curve's own line; its faint part and its points carry no label."""
    found = [line for line in ax.get_lines() if line.get_label() == label]
    assert len(found) == 1
    return found[0]


def points_of(ax: Axes, colour: str, *, hollow: bool) -> set[float]:
    """The rungs at which a curve of this colour has hollow, or filled, points."""
    return {
        float(x)
        for line in ax.get_lines()
        if line.get_linestyle() == "None" and line.get_markeredgecolor() == colour
        and (line.get_markerfacecolor() == "white") == hollow
        for x in np.asarray(line.get_xdata(), float)
    }  # fmt: skip


def legend_of(figure: Figure) -> list[str]:
    return [text.get_text().replace("\u00a0", " ") for text in figure.legends[0].get_texts()]


def texts_of(figure: Figure) -> str:
    return " ".join([t.get_text() for t in figure.texts] + [ax.get_title() for ax in figure.axes])


def test_error_against_rung_is_drawn_on_two_log_axes_whose_ticks_are_the_rungs(turbulence: GroupAndCurves) -> None:
    upper, lower = error_vs_res(*turbulence).axes[:2]
    assert upper.get_xscale() == upper.get_yscale() == "log"
    assert lower.get_xscale() == "log"
    assert list(upper.get_xticks()) == [8, 16, 24, 32, 48, 64]


def test_a_curve_shows_its_resolved_error_from_the_train_rung_up(turbulence: GroupAndCurves) -> None:
    group, curves = turbulence
    line = line_of(error_vs_res(group, curves).axes[0], "frl")
    x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
    assert np.isnan(x[0])  # rung 8 is coarser than ρ₀ = 16: drawn apart, faint
    assert x[1:].tolist() == [16, 24, 32, 48, 64]
    assert y[1:].tolist() == curves[1]["error"][1:]


def test_points_are_hollow_exactly_on_the_rungs_that_training_saw(turbulence: GroupAndCurves) -> None:
    group, curves = turbulence
    upper = error_vs_res(group, curves).axes[0]
    for curve, hollow in zip(curves[:3], ({16.0}, {8.0, 16.0}, {16.0, 32.0}), strict=True):
        colour = styles(curves)[curve["label"]].colour
        assert points_of(upper, colour, hollow=True) == hollow
        assert points_of(upper, colour, hollow=False) == {float(r) for r in group["rungs"]} - hollow


def test_native_is_points_that_no_line_joins(turbulence: GroupAndCurves) -> None:
    assert line_of(error_vs_res(*turbulence).axes[0], "native").get_linestyle() == "None"


def test_a_vertical_line_stands_at_the_train_rung_in_both_panels(turbulence: GroupAndCurves) -> None:
    for ax in error_vs_res(*turbulence).axes[:2]:
        assert [16.0, 16.0] in [np.asarray(line.get_xdata(), float).tolist() for line in ax.get_lines()]


def test_the_legend_says_both_words_and_the_slope_with_its_interval(turbulence: GroupAndCurves) -> None:
    rows = legend_of(error_vs_res(*turbulence))
    assert "frl — anchored, harms; slope +0.02 [−0.05, 0.08]" in rows
    assert "train rung ρ₀ = 16" in rows


def test_an_anchored_curve_without_headroom_says_so_in_the_legend(turbulence: GroupAndCurves) -> None:
    group, curves = turbulence
    curves[1]["headroom"] = {"shown": None}
    assert "anchored (headroom not shown), harms" in " ".join(legend_of(error_vs_res(group, curves))[1].split())


def test_the_legend_is_below_the_panels(turbulence: GroupAndCurves) -> None:
    figure = error_vs_res(*turbulence)
    png(figure, dpi=50)
    bottom = min(ax.get_position().y0 for ax in figure.axes[:2])
    box = figure.legends[0].get_window_extent().transformed(figure.transFigure.inverted())
    assert 0 <= box.y0 < box.y1 < bottom


def test_every_curve_of_twelve_has_its_own_look_in_colour_and_without(turbulence: GroupAndCurves) -> None:
    group, curves = turbulence
    twelve = [copy.deepcopy(curves[n % 3]) | {"label": f"m{n}", "method": f"m{n}"} for n in range(12)]
    found = styles(twelve)
    assert len({(s.colour, str(s.dashes)) for s in found.values()}) == 12
    assert len({s.marker for s in found.values()}) == 12
    assert len(legend_of(error_vs_res(group, twelve))) == 12 + 2  # and the train rung, and the floor


def test_a_method_keeps_its_style_when_others_are_absent(turbulence: GroupAndCurves) -> None:
    _, curves = turbulence
    assert styles(curves)["multires"] == styles([curves[2]])["multires"]


def test_a_skill_far_below_zero_stays_inside_the_panel(turbulence: GroupAndCurves) -> None:
    lower = error_vs_res(*turbulence).axes[1]
    assert lower.get_yscale() == "symlog"
    assert lower.get_ylim()[0] < -31.0 < 1.0 < lower.get_ylim()[1]


def test_a_flat_curve_gets_axes_that_let_it_look_flat() -> None:
    low, high = log_limits([0.199, 0.2, 0.201])
    assert high / low == pytest.approx(2.5)
    assert low * high == pytest.approx(0.199 * 0.201)


def test_the_floor_is_named_and_drawn_only_where_it_is_near_the_curves(turbulence: GroupAndCurves) -> None:
    group, curves = turbulence
    group["floor"] = dict.fromkeys(group["rungs"], 1e-9)
    figure = error_vs_res(group, curves)
    assert "the truth's own error: 1.0e−9, below the axis" in legend_of(figure)
    assert figure.axes[0].get_ylim()[0] > 1e-4


def test_a_title_says_the_shown_name_the_variable_and_the_lead(document: dict[str, Any]) -> None:
    wanted = {"forced 2-D turbulence · vorticity · lead 0.25 s", "RADOLAN-YW 1 km, 5 min · rain rate · lead 30 min"}
    titles = {figure.texts[0].get_text().replace("\n", " ") for figure in draw_all(document).values()}
    assert titles == wanted


def test_no_figure_of_radar_is_named_after_the_set_it_stands_in_for(document: dict[str, Any]) -> None:
    for (group, _), figure in draw_all(document).items():
        if group == "sevir-small-forecast":
            assert "sevir" not in texts_of(figure).lower()


def test_the_ratio_is_drawn_over_both_denominators_and_carries_no_verdict(turbulence: GroupAndCurves) -> None:
    group, curves = turbulence
    figure = ratio(group, curves)
    own, baseline = (line_of(figure.axes[0], f"frl / {part}") for part in ("own", "baseline"))
    assert list(own.get_ydata()) == curves[1]["ratio"]["own"]
    assert (own.get_linestyle(), baseline.get_linestyle()) == ("-", "--")
    assert "no verdict" in figure.axes[0].get_ylabel()
    assert not any(word in " ".join(legend_of(figure)) for word in ("anchored", "diverging", "converging"))


def test_the_spectrum_marks_the_nyquist_wavenumber_of_every_rung(turbulence: GroupAndCurves) -> None:
    figure = spectrum(*turbulence)
    upright = [np.asarray(line.get_xdata(), float).tolist() for line in figure.axes[0].get_lines()]
    for rung in (8, 16, 24, 32, 48, 64):
        assert [rung / 2, rung / 2] in upright  # k_N(16) = 8 in this box, so k_N = rung / 2


def test_the_error_spectrum_is_divided_by_the_truths(turbulence: GroupAndCurves) -> None:
    line = line_of(spectrum(*turbulence).axes[1], "frl")
    assert np.asarray(line.get_ydata())[0] == pytest.approx(0.02)
    assert np.asarray(line.get_ydata())[-1] == pytest.approx(0.9)


def test_fields_share_one_scale_for_values_and_one_for_errors(turbulence: GroupAndCurves) -> None:
    images = [ax.get_images()[0] for ax in fields(*turbulence).axes if ax.get_images()]
    limits = [image.get_clim() for image in images]
    assert len(images) == 5 * 3  # truth, two predictions, two errors; three rungs
    assert len(set(limits[:9])) == len(set(limits[9:])) == 1
    assert limits[0][0] == -limits[0][1]


def test_missing_radar_pixels_are_masked_in_truth_and_error_alike(radar: GroupAndCurves) -> None:
    images = [ax.get_images()[0].get_array() for ax in fields(*radar).axes if ax.get_images()]
    assert all(np.ma.getmaskarray(image).any() for image in images)


def test_fields_of_many_methods_stop_at_a_page(turbulence: GroupAndCurves) -> None:
    group, curves = turbulence
    one = group["fields"]["predictions"]["frl"]
    group["fields"]["predictions"] = {f"m{n}": one for n in range(9)}
    drawn = fields(group, [curves[0] | {"label": f"m{n}"} for n in range(9)])
    assert sum(bool(ax.get_images()) for ax in drawn.axes) == 3 * (1 + 2 * MOST_FIELDS)


def test_names_that_matplotlib_would_read_as_mathematics_or_hide_are_shown(turbulence: GroupAndCurves) -> None:
    group, curves = turbulence
    group["display_name"] = "$\\frac{1}{ <b>"
    curves[0]["label"] = "_mine $\\frac{"
    for draw in (error_vs_res, ratio, spectrum, fields):
        figure = draw(group, curves)
        png(figure, dpi=30)
        assert "$\\frac{1}{ <b>" in texts_of(figure)
    assert any(row.startswith("_mine $\\frac{") for row in legend_of(error_vs_res(group, curves)))


def test_a_figure_is_saved_as_png_svg_and_pdf_and_twice_the_same(turbulence: GroupAndCurves, tmp_path: Any) -> None:
    first = save(ratio(*turbulence), tmp_path / "a.b")
    again = save(ratio(*turbulence), tmp_path / "c")
    assert [path.name for path in first] == ["a.b.png", "a.b.svg", "a.b.pdf"]
    assert [path.read_bytes()[:4] for path in first] == [b"\x89PNG", b"<?xm", b"%PDF"]
    assert first[1].read_bytes() == again[1].read_bytes()


def test_a_document_of_nulls_still_draws_empty_axes(document: dict[str, Any]) -> None:
    kept = ("id", "group", "kind")
    for name in ("groups", "curves"):
        document[name] = [{k: (v if k in kept else None) for k, v in item.items()} for item in document[name]]
    figures = draw_all(document)
    assert {name for _, name in figures} == {"error-vs-res", "ratio"}
    for figure in figures.values():
        png(figure, dpi=30)


def test_nulls_and_nans_inside_a_curve_leave_gaps_and_not_zeros(turbulence: GroupAndCurves) -> None:
    group, curves = turbulence
    curves[0]["error"] = [None, 0.2, float("nan"), 0.0, None, 0.3]
    y = np.asarray(line_of(error_vs_res(group, curves).axes[0], "baseline").get_ydata(), float)
    assert np.isnan(y).tolist() == [True, False, True, True, True, False]


def test_a_document_read_back_from_json_draws_the_same_spectrum(turbulence: GroupAndCurves) -> None:
    group, curves = turbulence
    plain = read.jsonable(group)  # its rungs are strings now
    assert "16" in plain["spectra"]["truth"]
    before, after = (line_of(spectrum(g, curves).axes[0], "truth") for g in (group, plain))
    np.testing.assert_array_equal(before.get_ydata(), after.get_ydata())


def test_an_unknown_plot_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'error-vs-res'"):
        plot("error-vs-rez")


def test_a_plot_asked_for_by_name_that_no_group_can_fill_says_so(document: dict[str, Any]) -> None:
    radar_only = document | {"groups": document["groups"][1:]}
    with pytest.raises(RunError, match=r"RADOLAN.*no spectra were kept"):
        draw_all(radar_only, ["spectrum"])
    assert {name for _, name in draw_all(document, ["spectrum"])} == {"spectrum"}  # one group of two can


def test_listing_the_plots_imports_no_matplotlib() -> None:
    import subprocess
    import sys

    code = "import sys; from anchorbench.report.plots import PLOTS; sys.exit(any(m in sys.modules for m in " \
           "('matplotlib', 'numpy', 'pandas', 'torch')) or len(PLOTS) < 11)"  # fmt: skip
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

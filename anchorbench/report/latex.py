r"""The curves of a report as LaTeX tables with booktabs, a group each: what a paper's table needs and no more.

`\usepackage{booktabs}` in the preamble, then `\input{tables.tex}` or the one table by its label.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from anchorbench.report.document import (
    DASH,
    Curve,
    Document,
    Group,
    finite,
    fixed,
    given_these_seeds,
    group_rungs,
    groups_of,
    heading,
    index,
    interval,
    is_method,
    is_told,
    label_of,
    number,
    seen,
    value_at,
    verdict,
    words,
)

#: Character: what LaTeX writes it as.  A backslash first, since what follows brings others.
ESCAPES = {
    "\\": r"\textbackslash{}",
    **{mark: f"\\{mark}" for mark in "{}$&#_%"},
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "−": "$-$",
    "–": "--",
    "—": "---",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "°": r"$^\circ$",
    "†": r"$^\dagger$",
    "²": "$^2$",
    "₀": "$_0$",
    "ρ": r"$\rho$",
    "σ": r"$\sigma$",
    "δ": r"$\delta$",
    "α": r"$\alpha$",
    "ν": r"$\nu$",
    "\u202f": r"\,",
    "\u00a0": "~",
    "…": r"\ldots{}",
}
_MARKS = re.compile("|".join(re.escape(mark) for mark in ESCAPES))
HEAD = "% Made by anchorbench {version}.  Needs \\usepackage{{booktabs}}.\n"


def escaped(text: object) -> str:
    """The text as LaTeX shows it: no command, group, comment or mathematics comes out of a name."""
    written = " ".join(("" if text is None else str(text)).split(" "))
    # One pass: what an escape brings is not escaped again.
    return _MARKS.sub(lambda found: ESCAPES[found[0]], re.sub(r"[\r\n\t]+", " ", written))


def latex(document: Document) -> str:
    """Every group as a table: E_res on each rung from ρ₀ up, slope, both words and A; references under a rule."""
    groups = [table(group, curves, n) for n, (group, curves) in enumerate(groups_of(document), 1)]
    return HEAD.format(version=escaped(document.get("version"))) + "\n".join(groups)


def table(group: Group, curves: Sequence[Curve], n: int) -> str:
    """One `table` environment.  n: of its label, `tab:anchorbench-n`."""
    train = finite(group.get("train_rung"))
    rungs = [r for r in group_rungs(group, curves) if train is None or r >= train]
    head = ["", *(f"${r:g}$" for r in rungs), "Slope", "Verdict", "Unseen band", "$A$ @rung"]
    methods = [c for c in curves if is_method(c)]
    others = [c for c in curves if not is_method(c)]
    body = [_row(c, rungs) for c in methods]
    body += ["\\midrule"] * bool(methods and others) + [_row(c, rungs) for c in others]
    notes = "".join(
        [
            " $^\\circ$ seen in training." if any(seen(c, r) for c in curves for r in rungs) else "",
            " $^\\dagger$ given these seeds." if any(map(given_these_seeds, methods)) else "",
        ]
    )
    trained = f"trained on {train:g} points per axis; " if train is not None else ""
    lines = [
        "\\begin{table}",
        "  \\centering",
        f"  \\caption{{{escaped(heading(group))}: {trained}resolved error $E_\\mathrm{{res}}$ (in $\\sigma$) by points "
        f"per axis.{notes}}}",
        f"  \\label{{tab:anchorbench-{n}}}",
        f"  \\begin{{tabular}}{{l{'r' * len(rungs)}rllr}}",
        "    \\toprule",
        f"    {' & '.join(head)} \\\\",
        "    \\midrule",
        *(f"    {line}" for line in body),
        "    \\bottomrule",
        "  \\end{tabular}",
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _row(curve: Curve, rungs: Sequence[float]) -> str:
    name = label_of(curve) if is_method(curve) else label_of(curve).replace("_", " ")
    errors = []
    for rung in rungs:
        value = value_at(curve, rung, "error")
        errors.append(number(value) + ("°" if finite(value) is not None and seen(curve, rung) else ""))
    told = is_told(curve)
    slope = DASH
    if told and finite(curve.get("slope")) is not None:
        slope = f"{fixed(curve['slope'], signed=True)} {interval(curve.get('interval'))}"
        slope = slope.strip() + ("†" if given_these_seeds(curve) else "")
    # The first word says of itself where its headroom was not shown.
    said = [words(curve).split(", ")[0] if told and verdict(curve) else "", str(curve.get("second_word") or "")]
    words_of = [*(said if told else ("", "")), index(curve)]
    # A bracket or star behind the end of a row is an option of that end.
    guard = "{}" if name[:1] in ("[", "*") else ""
    return guard + " & ".join(escaped(cell or DASH) for cell in (name, *errors, slope, *words_of)) + " \\\\"

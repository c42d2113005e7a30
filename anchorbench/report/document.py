"""Reading a report document, where any value may be null, and writing its numbers as text.

A document is `{"schema": 1, "version", "made", "groups": [...], "curves": [...], "missing": [...]}`.  A group is one
ladder, task, variable and lead; a curve is one model or reference in it.  Everything that draws or tabulates reads a
document through this module, so that null means the same everywhere: not scored, shown as a dash.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]
Group = Mapping[str, Any]
Curve = Mapping[str, Any]

DASH = "–"
VERDICTS = {"no_headroom": "no headroom"}


def finite(value: Any) -> float | None:
    """The value as a float; None for null, NaN, infinity and what is no number."""
    if value is None or isinstance(value, str | bytes):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def pair(value: Any) -> tuple[float, float] | None:
    """An interval (low, high), or None where either end is missing."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        return None
    low, high = finite(value[0]), finite(value[1])
    return None if low is None or high is None else (low, high)


def at(mapping: Any, rung: Any) -> Any:
    """mapping[rung], whose keys are numbers in memory and strings after JSON; None where there is none."""
    if not isinstance(mapping, Mapping):
        return None
    for key in (rung, str(rung)):
        if key in mapping:
            return mapping[key]
    return None


def rungs_of(item: Mapping[str, Any]) -> list[float]:
    """The rungs of a group or curve as numbers (whole ones as int)."""
    found = (finite(rung) for rung in item.get("rungs") or ())
    return [int(n) if n == int(n) else n for n in found if n is not None]


def per_rung(curve: Curve, key: str, inner: str | None = None) -> list[Any]:
    """The list `curve[key]` (or `curve[key][inner]`), null-padded or cut to as many entries as there are rungs."""
    found = curve.get(key)
    if inner is not None:
        found = found.get(inner) if isinstance(found, Mapping) else None
    values = list(found) if isinstance(found, Sequence) and not isinstance(found, str) else []
    n_rungs = len(curve.get("rungs") or ())
    return (values + [None] * n_rungs)[:n_rungs]


def seen(curve: Curve, rung: Any) -> bool:
    """Whether training saw this rung."""
    number = finite(rung)
    return number is not None and number in {finite(r) for r in curve.get("seen_rungs") or ()}


def label_of(curve: Curve) -> str:
    return str(curve.get("label") or curve.get("method") or "unnamed")


def is_method(curve: Curve) -> bool:
    return curve.get("kind") != "reference"


def is_told(curve: Curve) -> bool:
    """Whether its words say anything: of the references only a solver's, for the others are flat, or no one model."""
    return is_method(curve) or curve.get("method") == "solver"


def groups_of(document: Document) -> Iterator[tuple[Group, list[Curve]]]:
    """Each group with the curves that are shown, methods first, else in the order of the document.

    Of the methods' own coarse predictions the baseline's is shown, where there is one: all are flat.
    """
    for group in document.get("groups") or ():
        curves = [c for c in document.get("curves") or () if c.get("group") == group.get("id")]
        baselines = {label_of(c) for c in curves if is_method(c) and c.get("method") == "baseline"}
        shown = [c for c in curves if not baselines or c.get("of") is None or c.get("of") in baselines]
        yield group, sorted(shown, key=lambda c: not is_method(c))


def group_rungs(group: Group, curves: Sequence[Curve]) -> list[float]:
    """Every rung that the group or one of its curves has, coarsest first."""
    return sorted({rung for item in (group, *curves) for rung in rungs_of(item)})


def trained(curve: Curve) -> str:
    """`fno, 3 seeds, assisted`; the track only where it is not zero-shot, nothing for what is not trained."""
    n_seeds = len(curve.get("seeds") or ())
    seeds = f"{n_seeds} seed{'s' if n_seeds > 1 else ''}" if n_seeds else ""
    track = str(curve.get("track") or "")
    return ", ".join(part for part in (str(curve.get("model") or ""), seeds, track.replace("zero-shot", "")) if part)


def value_at(curve: Curve, rung: float, key: str, inner: str | None = None) -> Any:
    """What the curve has under `key` on that rung; None where it has none."""
    rungs = [finite(r) for r in curve.get("rungs") or ()]
    return per_rung(curve, key, inner)[rungs.index(rung)] if rung in rungs else None


def number(value: Any, *, digits: int = 3, signed: bool = False) -> str:
    """`digits` significant figures with a true minus sign; a dash for null."""
    x = finite(value)
    if x is None:
        return DASH
    if x != 0 and not 1e-3 <= abs(x) < 1e5:
        text = f"{x:.{digits - 1}e}".replace("e-0", "e-").replace("e+0", "e")
    else:
        places = digits - 1 if x == 0 else max(0, digits - 1 - math.floor(math.log10(abs(x))))
        text = f"{x:.{places}f}"
    return (f"+{text}" if signed and x > 0 else text).replace("-", "−")


def fixed(value: Any, *, places: int = 2, signed: bool = False) -> str:
    """A fixed number of decimals (slopes, skills, indices), with a true minus sign; a dash for null."""
    x = finite(value)
    if x is None:
        return DASH
    if abs(x) >= 1000:
        return number(x, digits=2, signed=signed)
    text = f"{x:{'+' if signed else ''}.{places}f}"
    return (text if float(text) else text.lstrip("+-")).replace("-", "−")


def interval(value: Any, *, places: int = 2) -> str:
    """`[low, high]`; empty for null."""
    ends = pair(value)
    return "" if ends is None else f"[{fixed(ends[0], places=places)}, {fixed(ends[1], places=places)}]"


def given_these_seeds(curve: Curve) -> bool:
    return pair(curve.get("interval")) is not None and curve.get("interval_kind") == "given these seeds"


def has_dagger(curve: Curve) -> bool:
    """Whether its slope or its headroom is given these seeds, and so carries the dagger."""
    return given_these_seeds(curve) or headroom(curve).endswith("†")


def slope(curve: Curve) -> str:
    """`+0.02 [−0.05, 0.08]`, with a dagger where the interval is given these seeds only; empty for null."""
    if finite(curve.get("slope")) is None:
        return ""
    ends = interval(curve.get("interval"))
    dagger = "†" if given_these_seeds(curve) else ""
    return f"{fixed(curve['slope'], signed=True)} {ends}{dagger}".strip()


def verdict(curve: Curve) -> str:
    """The first word as it is shown; empty for null."""
    word = str(curve.get("verdict") or "")
    return VERDICTS.get(word, word)


def headroom(curve: Curve) -> str:
    """`shown`, `none` or `not shown`; empty for a reference, and where there is no verdict to need it.

    With a dagger where its interval is given these seeds.
    """
    if not curve.get("verdict") or not is_method(curve):
        return ""
    found = curve.get("headroom") or {}
    if found.get("shown") is None:
        return "not shown"
    dagger = "†" if found.get("interval_kind") == "given these seeds" else ""
    return ("shown" if found["shown"] else "none") + dagger


def words(curve: Curve) -> str:
    """Both words of the verdict: `anchored (headroom not shown), harms`; empty for null."""
    first = verdict(curve)
    if first == "anchored" and headroom(curve) == "not shown":
        first = "anchored (headroom not shown)"
    return ", ".join(word for word in (first, str(curve.get("second_word") or "")) if word)


def sentence(curve: Curve) -> str:
    """The plain-language sentence that came with the curve, else its words with its name."""
    given = str(curve.get("words") or "").strip()
    return given or f"{label_of(curve)}: {words(curve) or 'no verdict'}."


def cause(curve: Curve) -> dict[str, str] | None:
    """`word` and `sentence` of why, where a diagnosis found it; None of a curve that nobody diagnosed."""
    given = curve.get("cause")
    if not isinstance(given, Mapping) or not given.get("cause"):
        return None
    return {"word": str(given["cause"]), "sentence": str(given.get("sentence") or "").rstrip(".")}


def lead(item: Mapping[str, Any]) -> str:
    """`lead 30 min`; empty for null."""
    value = finite(item.get("lead"))
    unit = str(item.get("lead_unit") or "")
    # "1" is the unit of what has none.
    return "" if value is None else f"lead {value:g} {'' if unit == '1' else unit}".strip()


def heading(group: Group) -> str:
    """What a figure's title says: the name shown, the variable and the lead."""
    name = group.get("display_name") or group.get("title") or group.get("id") or "unnamed group"
    return " · ".join(str(part) for part in (name, group.get("variable"), lead(group), group.get("apart")) if part)


def anchoring(curve: Curve) -> tuple[float, float] | None:
    """(A, rung) on the finest rung that has an anchoring index and that training did not see; None where none has."""
    both = zip(rungs_of(curve), per_rung(curve, "anchoring_index"), strict=False)
    found = [(r, x) for r, v in both if (x := finite(v)) is not None and not seen(curve, r)]
    return max(found)[::-1] if found else None


def index(curve: Curve) -> str:
    """`0.76 @32`: the anchoring index and its rung; empty where there is none."""
    found = anchoring(curve)
    return "" if found is None else f"{fixed(found[0])} @{found[1]:g}"


def finest(curve: Curve, key: str) -> Any:
    """The value under `key` on the finest rung that has one."""
    scored = [(r, v) for r, v in zip(rungs_of(curve), per_rung(curve, key), strict=False) if finite(v) is not None]
    return max(scored)[1] if scored else None


def plain(value: Any) -> str:
    """A value of a card, an environment or a provenance as one line."""
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f") if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return re.sub(r"e([+-])0?", lambda m: "e" + m[1].replace("+", ""), f"{value:.4g}").replace("-", "−")
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {plain(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(plain(inner) for inner in value)
    return str(value)


def duration(seconds: Any) -> str:
    x = finite(seconds)
    if x is None:
        return DASH
    if x < 60:
        return f"{x:.3g} s"
    hours, minutes = divmod(round(x / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{round(x) // 60} min {round(x) % 60} s"


def jsonable(value: Any) -> Any:
    """The same value with what JSON cannot carry made plain: NaN and infinity null, numpy scalars and arrays plain.

    A group's `fields` loses its arrays (they live in memory only).
    """
    if isinstance(value, Mapping):
        return {
            str(key): _without_arrays(inner) if key == "fields" else jsonable(inner) for key, inner in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [jsonable(inner) for inner in value]
    if hasattr(value, "tolist"):
        return jsonable(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int | bool) else str(value)


def _without_arrays(fields: Any) -> Any:
    if not isinstance(fields, Mapping):
        return None
    return {key: jsonable(value) for key, value in fields.items() if key not in ("truth", "predictions", "error")}

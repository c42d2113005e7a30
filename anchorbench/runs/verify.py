"""Is a curve reproduced?  A run is evaluated again, beside its folder and not in it, and the errors are compared.

    reproduced:  |E'(ρ) − E(ρ)| ≤ tolerance · max(E(ρ), 1e-6)   for the resolved, unseen and total error on every rung

E is what the run's own curve.nc, or a card that somebody sent, says; E' is made here from the weights.  The tolerance
is ours: sums in float32 differ between devices in their last figures, a curve that is another's in its first.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from anchorbench.data.ladder import find_ladder
from anchorbench.errors import ConfigError, RunError
from anchorbench.runs.evaluate import evaluate
from anchorbench.runs.plan import file_digest
from anchorbench.runs.run_card import (
    ERRORS,
    RunCard,
    errors_by_rung,
    read_card,
    read_curve,
    sums_digest,
    weights_digest,
)
from anchorbench.runs.session import Session, choose_device, make_deterministic, set_threads
from anchorbench.runs.store import RunFolder, read_spec

TOLERANCE = 1e-3
#: Below this, in σ, an error is rounding.
LEAST = 1e-6

Tell = Callable[[str, str, float], None]


@dataclass(frozen=True)
class Verified:
    """One run.  worst: the largest relative difference, and where; exact: the sums are the same bit for bit."""

    run: str
    against: str
    reproduced: bool
    exact: bool
    worst: float
    where: str
    tolerance: float
    rungs: tuple[int, ...]
    same_weights: bool | None

    @property
    def line(self) -> str:
        """What a person is told, in one line."""
        n = f"{len(self.rungs)} rung{'s' * (len(self.rungs) != 1)}"
        # The weights are named where the card's are others: that alone may be why.
        other = "; the weights here are not the card's" if self.same_weights is False else ""
        if self.exact:
            return f"{self.run}: reproduced bit for bit on {n}, against {self.against}{other}"
        word = "reproduced" if self.reproduced else "NOT reproduced"
        apart = f"by up to {self.worst:.1e} ({self.where}; tolerance {self.tolerance:g})"
        return f"{self.run}: {word}: on {n} the errors differ from {self.against} {apart}{other}"

    def to_dict(self) -> dict[str, Any]:
        names = ("run", "against", "reproduced", "exact", "worst", "where", "tolerance", "same_weights", "line")
        return {name: getattr(self, name) for name in names} | {"rungs": list(self.rungs)}


def verify(
    names: Sequence[str],
    *,
    results: Path,
    cache: Path,
    tolerance: float = TOLERANCE,
    device: str = "auto",
    threads: int | None = None,
    tell: Tell = lambda name, what, share: None,
) -> list[Verified]:
    """Evaluate each run again and compare; nothing in its folder is changed.

    names: runs of `results` or paths of folders, each against its own curve.nc; paths of cards (`*.json`) among them
    are what runs of their spec are held against instead.
    Raises RunError for a run that is not there, not trained or not finished; ConfigError for a card of no run that is
    named, or one that does not read.
    """
    cards = [read_card(Path(name)) for name in names if name.endswith(".json")]
    runs = [_folder(name, results) for name in names if not name.endswith(".json")]
    claims = _claims(runs, cards, results)
    where = choose_device(device)
    make_deterministic(where)
    set_threads(threads)
    found = []
    for run, card in claims:
        spec = run.spec
        ladder = find_ladder(spec.dataset, spec.source, spec.size, spec.ladder, cache)
        session = Session(spec, ladder, where)
        trained = None if spec.train is None else session.trained(run.load_weights())
        with tempfile.TemporaryDirectory(prefix="anchorbench-verify-") as made:
            again = RunFolder(Path(made), spec)
            progress = partial(tell, run.path.name, "evaluating")
            evaluate(session, again, trained=trained, rungs=session.scored_rungs, on_progress=progress)
            data = read_curve(again)
            found.append(compared(run, card, errors_by_rung(data), sums_digest(data), tolerance=tolerance))
    return found


def compared(
    run: RunFolder,
    card: RunCard | None,
    again: Mapping[int, Mapping[str, float]],
    digest: str,
    *,
    tolerance: float = TOLERANCE,
) -> Verified:
    """What was made again, held against the card, or without one against the run's own curve.

    A rung that one of both lacks is a difference without bound.
    """
    if card is None:
        before = read_curve(run)
        claimed, sums, against, same = errors_by_rung(before), sums_digest(before), "its curve.nc", None
    else:
        claimed, sums, against = card.curve, card.sums, "the card"
        same = None if card.weights is None else card.weights == weights_digest(run)
    worst, where = 0.0, "nowhere"
    for rung in sorted({*claimed, *again}):
        if rung not in claimed or rung not in again:
            worst, where = float("inf"), f"rung {rung} is in one of both only"
            continue
        for name in ERRORS:
            was, now = float(claimed[rung].get(name, float("nan"))), float(again[rung][name])
            apart = abs(now - was) / max(abs(was), LEAST)
            # NaN compares as no number does: it is a difference too.
            if not apart <= worst:
                worst = apart if apart == apart else float("inf")
                where = f"{name} error on rung {rung}: {was:.6g}, now {now:.6g}"
    return Verified(
        run=run.path.name,
        against=against,
        reproduced=worst <= tolerance,
        exact=digest == sums and worst == 0.0,
        worst=worst,
        where=where,
        tolerance=tolerance,
        rungs=tuple(sorted(again)),
        same_weights=same,
    )


def _claims(
    runs: Sequence[RunFolder], cards: Sequence[RunCard], results: Path
) -> list[tuple[RunFolder, RunCard | None]]:
    """Each run with its card.  A card whose run was not named is one of the results, where it is there."""
    by_digest = {card.spec_digest: card for card in cards}
    claims: list[tuple[RunFolder, RunCard | None]] = [(run, by_digest.pop(run.spec.digest, None)) for run in runs]
    for digest, card in by_digest.items():
        if runs:
            raise ConfigError(
                f"the card of {card.run} is of another spec than {', '.join(run.path.name for run in runs)}",
                do="name the run that it is of, or leave out the others",
            )
        run = _of_card(card, results)
        if run is None or run.spec.digest != digest:
            raise ConfigError(
                f"the card's run, {card.run}, is not in {results}",
                do="bring its folder, with its weights: anchorbench evaluate RUN --verify CARD",
            )
        claims.append((run, card))
    for run, claim in claims:
        if run.spec.train is not None and not run.trained:
            raise RunError(f"{run.path} has no trained weights", do="bring model.safetensors, or train the run again")
        if claim is None and not run.finished:
            raise RunError(f"{run.path.name} is not finished", do="run the same `anchorbench train` again")
        if run.spec.model_digest != file_digest(run.spec.model):
            raise RunError(f"{run.path.name}: the file of its model is gone or has changed", do="bring the file back")
    return claims


def _of_card(card: RunCard, results: Path) -> RunFolder | None:
    """The run that a card names, of these results.  A card comes from outside: its name is no path."""
    if Path(card.run).name != card.run or not (results / card.run / "spec.yaml").exists():
        return None
    return RunFolder(results / card.run, read_spec(results / card.run))


def _folder(name: str, results: Path) -> RunFolder:
    """A bare name lies in the results; a path is one from here."""
    path = Path(name)
    path = path if len(path.parts) > 1 and not (results / path).exists() else results / path
    return RunFolder(path, read_spec(path))

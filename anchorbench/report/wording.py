"""What the page says in words: definitions, and what stands under figures and over tables."""

from __future__ import annotations

# What the words mean, in the order in which a reader meets them on the page.
DEFINITIONS = (
    (
        "Rung ρ, train rung ρ₀, α",
        "A rung is one grid of the ladder, named by its points per axis. ρ₀ is the finest rung that zero-shot "
        "training may see; α = ρ/ρ₀. A hollow point or ° marks a rung that training saw.",
    ),
    (
        "Resolved error E_res",
        "E_res(ρ) = ‖P e_ρ‖ / σ: the error on rung ρ in the band that ρ₀ resolves, pooled over samples, in units of "
        "the truth's standard deviation σ on ρ₀. P restricts to ρ₀ and prolongs back. The truth in that band is the "
        "same field on every rung, so the curve compares like with like; the run's own coarse prediction, upsampled, "
        "is exactly flat.",
    ),
    (
        "Unseen error E_uns, skill S",
        "E_uns(ρ) = ‖(I−P) e_ρ‖ / σ is the error in the band that only the finer rung resolves; total² = E_res² + "
        "E_uns². S(ρ) = 1 − ‖(I−P) e_ρ‖² / ‖(I−P) y_ρ‖²: 1 for the truth, 0 for the coarse prediction upsampled (it "
        "writes nothing there), below 0 for one that is worse than nothing.",
    ),
    (
        "Slope, δ and the first word",
        "The slope of log E_res on log N over ρ₀ and the finer rungs that training has not seen, with its interval, "
        "against δ = {delta:g}. converging: the whole interval is below −δ, and no local slope between neighbouring "
        "rungs is above +δ. diverging: the whole interval is above +δ. anchored: it is inside ±δ. no headroom: it is "
        "inside ±δ, but a model trained on the finer rungs does not get better either. undecided: none of these; the "
        "smallest slope that the data could have told stands beside it.",
    ),
    (
        "The second word",
        "From S on the finer rungs. adds: the interval is above 0. empty: it holds 0. harms: it is below 0, so what "
        "the model writes in the unseen band is worse than nothing.",
    ),
    (
        "Headroom",
        "Whether the same model trained on finer rungs (native) has a resolved error that falls faster than δ. "
        "Without it, a flat curve may only say that the model is at its limit; an anchored curve whose headroom "
        "nobody measured says so.",
    ),
    (
        "Intervals",
        "Seeds and trajectories are crossed random effects. With fewer than three seeds an interval is given these "
        "seeds (†): it says nothing of another seed.",
    ),
    (
        "Anchoring index A",
        "A(ρ) = (E_res − E_native) / (E_cu − E_native), where E_cu is the run's own coarse prediction, upsampled. 0: "
        "as good as trained there; 1: no better than its own coarse prediction; above 1: worse. The tables show it on "
        "the finest rung that has one and that training did not see, as A @rung.",
    ),
    (
        "Error budget",
        "Signed shares of E_res²: the model itself (its error on ρ₀), the grid (the same information on the finer "
        "grid), the information (what the finer input adds, on the same grid). They sum exactly to E_res². The unseen "
        "error E_uns, which is no part of it, stands beside.",
    ),
    (
        "The papers' ratio",
        "RMSE(ρ)/RMSE(ρ₀) of the total error, each on its own rung, over the model's own error at ρ₀ or the "
        "baseline's. The truth gains energy with the rung, so the ratio rises for reasons that are not the model's: "
        "it carries no verdict.",
    ),
    (
        "ACC",
        "Anomaly correlation of forecasts of the weather: Σ w (f−c)(y−c) / √(Σ w (f−c)² Σ w (y−c)²) over all points "
        "and samples of a rung, w the areas of the cells, c the mean of the training split at each point of that rung. "
        "1: every departure from the usual is foretold; 0: none is.",
    ),
    (
        "The references",
        "persistence: the last input, kept. coarse then upsample: the run's own prediction on ρ₀, prolonged. solver: "
        "the equations, solved on each rung from the restricted state. native: the baseline trained anew on each "
        "rung, one model a rung.",
    ),
)

HEADLINE = (
    "A row a method and model. Ratio: the papers' RMSE(ρ)/RMSE(ρ₀) of the total error on the finest rung, over the "
    "model's own error at ρ₀ and over the baseline's; it carries no verdict. † given these seeds. Footing: equal "
    "cost, equal parameters: within 5 % of the yardstick, which for the cost is the model's own baseline; as set: "
    "nothing was made equal."
)
COSTS = (
    "One run each, seconds the mean of its seeds. Samples by the rung on which they were seen, in the mean of the "
    "draws. FLOPs: matrix products and convolutions of all passes, forward and backward. Making the data: the training "
    "split, solved once by the ladder's own solver on every rung that training read (without spin-up); seconds "
    "measured where the reference was evaluated, FLOPs an estimate that counts transforms and products."
)

#: Before a verdict: where its curve goes.
SIGNS = {"converging": "↘", "diverging": "↗", "anchored": "→", "no_headroom": "⇥", "undecided": "?"}

CAPTIONS = {
    "chart": "Top: resolved error against points per axis; bands are intervals, hollow points are rungs that training "
    "saw. Bottom: skill in the unseen band. Point at a value, or walk with the arrow keys; a press on a name hides its "
    "curve.",
    "error-vs-res": "Top: resolved error against points per axis; bands are intervals, hollow points are rungs that "
    "training saw. Bottom: skill in the unseen band. Of refined rain under --axis: error of the mean, skill and CRPS "
    "against the factor; points were trained for theirs, thin lines are one model asked for others.",
    "rain-frames": "An event hour by hour: the coarse input, the truth, the ensemble's mean and members, one scale.",
    "rain-spectra": "Power of one member, and thin of the ensemble's mean, over the truth's: at 1 rain is as rough as "
    "rain.",
    "rain-ranks": "How many members lie below the truth, ties shared: flat where truth is one more member.",
    "rain-reliability": "How often rain exceeds a threshold where so many members say so: on the diagonal it does as "
    "said.",
    "ratio": "The papers' ratio RMSE(ρ)/RMSE(ρ₀) of the total error, each on its own rung, over the model's own error "
    "(solid) and the baseline's (dashed). It carries no verdict.",
    "spectrum": "Top: power spectra of the truth and the predictions on the finest rung. Bottom: spectrum of the error "
    "over the truth's; at 1 a prediction is as wrong as none. Vertical lines: Nyquist wavenumbers of the rungs.",
    "residual-spectrum": "Spectrum of the error over the truth's, a panel a rung; at 1 a prediction is as wrong as "
    "none. Vertical line: the Nyquist wavenumber of the train rung.",
    "matrix": "One model trained at each rung (rows), on every rung (columns), error in σ. Total error, with its ratio "
    "to the model trained there; error in the band of the row's own train rung, with its ratio to the error at home.",
    "controlled": "The two controlled tests. Band held: inputs and targets hold the same waves, only the grid changes. "
    "Grid held: only the low-pass cut-off changes. A filtered pair no longer satisfies the equation.",
    "response": "Gain of one wave added to real states, by wavenumber, with the solver's in grey; phase, and the share "
    "of the response that is in other waves. Vertical line: the Nyquist wavenumber of the train rung.",
    "lead-time": "Forecasts fed back: resolved error against lead time on each rung, skill in the unseen band on the "
    "finest, and the slope over the rungs at each lead; the strip is ±δ.",
    "over-training": "Anchoring over training: resolved error against optimiser steps on each rung, skill in the "
    "unseen band on the finest, and the slope over the rungs at each kept checkpoint; the strip is ±δ.",
    "cost": "Bars: FLOPs of training, and hatched of solving its data once. Middle: resolved error by that sum, on ρ₀ "
    "(hollow) and on the finest rung. Bottom: resolved error by the FLOPs of one forecast, a point a rung, with the "
    "ladder's solver: at equal error the one further left is cheaper.",
    "selection": "Frequencies chosen before training. Distance between the spectra of untrained networks and of the "
    "field, by setting (strip: standard error over draws), with the PSNR that training reached where every setting was "
    "trained; and the spectra themselves.",
    "fields": "One sample on three rungs: truth, predictions, and prediction − truth, on shared colour scales.",
}

"""`diffusion`: a conditional mean, and a diffusion of what it leaves open.  Track: zero-shot.

    Y = μ(u) + s R₀,   R₀ ~ p(R | u, μ) by a denoiser of R_n = √ᾱ_n R₀ + √(1−ᾱ_n) ε

    loss    joint      ‖v̂ − v‖² + 1[step < mean_steps] ‖μ − Y‖², the gradient of both reaching μ
            two_stage  ‖μ − Y‖² alone at first; then μ is fixed and ‖v̂ − v‖² alone

With `mean_finished` (published) μ is `finish`ed too, in training as well.

`joint` is as published (Defez et al. 2026; Srivastava et al., NeurIPS 2024): after the warm-up nothing but v̂ holds μ to
the mean.  `two_stage` makes it one (Mardani et al. 2025).  The published sampler is the ancestral one, N = 1000 steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self, cast

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn

from anchorbench.config import Frozen, targets_of
from anchorbench.data.samples import Batch
from anchorbench.errors import MethodError
from anchorbench.fields.conserve import Taper
from anchorbench.methods.base import Forecaster, Method, Plan, mean_square
from anchorbench.methods.denoiser import Denoising, MeanAndDenoiser, denoiser_channels
from anchorbench.methods.finish import Conserve, Finish
from anchorbench.methods.noise import Prediction, Shape, ancestral_sample, fast_sample, schedule
from anchorbench.methods.noise_fields import NoiseFields, NoiseKind
from anchorbench.methods.scale import Setting, setting


class DiffusionOptions(Frozen):
    training: Literal["joint", "two_stage"] = "joint"
    mean_steps: int = Field(
        default=500, ge=0, description="steps in which the mean's own error is minimised: beside the denoiser's "
        "(joint; published: an eighth of the training), or alone and then never again (two_stage)"
    )  # fmt: skip
    prediction: Prediction = Field(default="v", description="what the denoiser says: v, or the noise itself")
    schedule: Shape = "linear"
    noise_steps: int = Field(default=1000, ge=1, description="N: levels of noise")
    beta_min: float = Field(default=1e-4, gt=0, lt=1)
    beta_max: float = Field(default=0.02, gt=0, lt=1, description="where the betas end: more of it, more spread")
    sampler: Literal["fast", "ancestral"] = Field(
        default="fast", description="fast: DPM-Solver++(2M), an ODE; ancestral: DDPM's own random steps"
    )
    sampling_steps: int | None = Field(default=None, ge=1, description="null: 20 of fast, all N of ancestral")
    noise: NoiseKind = Field(
        default="white",
        description="white: variance 1 at each point of any rung, as published; band: drawn on the train rung and "
        "carried, so that on shared waves a draw is one field on every rung",
    )
    residual_scale: Literal["measured", "none"] = Field(
        default="measured", description="measured: the residual is divided by its spread in training; none: published"
    )
    members: int = Field(default=8, ge=1, description="of the ensemble whose mean is scored")
    denoiser: Literal["residual", "none"] = Field(
        default="residual", description="none: the mean alone, one member", exclude_if=lambda kind: kind == "residual"
    )
    relu: bool = Field(default=False, description="nothing below 0 in physical units", exclude_if=lambda on: not on)
    conserve: Conserve = Field(
        default="none",
        description="of super_resolve under block_mean: give the members the mass of the newest coarse frame, of the "
        "whole sample (tile, published) or cell by cell",
        exclude_if=lambda how: how == "none",
    )
    taper: Taper = Field(
        default="identity", description="f of `tile`: where the mass goes", exclude_if=lambda f: f == "identity"
    )
    threshold: float = Field(
        default=0.0, ge=0, description="of f, in units of the largest coarse value", exclude_if=lambda t: t == 0
    )
    mean_finished: bool = Field(
        default=False,
        description="relu and mass are the mean's too, in training as in sampling, so that it learns to put back what "
        "f takes away (published); false: of what is given out alone",
        exclude_if=lambda on: not on,
    )
    scale: Literal["none", "published"] = Field(
        default="none",
        description="published: beta_max and f (taper and threshold) by the factors in space and time, from the "
        "published table or our rule between its pairs",
        exclude_if=lambda scale: scale == "none",
    )
    frozen: tuple[Literal["beta_max", "f"], ...] = Field(
        default=(), description="of scale: what keeps the value that is set here", exclude_if=lambda names: not names
    )

    @field_validator("frozen", mode="before")
    @classmethod
    def _one_is_a_list(cls, names: Any) -> Any:
        return (names,) if isinstance(names, str) else names

    @model_validator(mode="after")
    def _tapers(self) -> Self:
        if self.taper == "log" and self.threshold == 0 and (self.scale == "none" or "f" in self.frozen):
            raise ValueError("the taper log takes a threshold above 0")
        return self


class Diffusion(Method):
    """Residual diffusion around any model.

    `predict` with a generator gives the members that are asked for, samples independent.  Without one it gives the
    method's own ensemble: `members` of them, or more where more are asked for; each a function of the run's seed, its
    number and the sample's cluster, so that neither the batch nor the rung changes a draw.
    """

    name = "diffusion"
    Options = DiffusionOptions

    def __init__(self, plan: Plan, options: Mapping[str, Any]) -> None:
        super().__init__(plan, options)
        chosen, by_scale = self.options, self.scale
        self.targets = plan.time_factor * (1 if plan.ladder is None else len(targets_of(plan.ladder.variables)))
        beta_max = chosen.beta_max if by_scale is None or "beta_max" in chosen.frozen else by_scale.beta_max
        self.kept = schedule(chosen.schedule, steps=chosen.noise_steps, beta_min=chosen.beta_min, beta_max=beta_max)

    @property
    def scale(self) -> Setting | None:
        """What the factors of the task choose; None where nothing is to be chosen."""
        if self.options.scale == "none":
            return None
        given = self.plan.input_rung or self.plan.train_rung
        return setting(self.plan.train_rung / given, self.plan.time_factor)

    def extra_channels(self) -> int:
        return denoiser_channels(self.targets) if self.options.denoiser == "residual" else 0

    def wrap(self, model: nn.Module) -> nn.Module:
        trained = self._wrapped(model)
        chosen, by_scale = self.options, self.scale
        if chosen.relu or chosen.conserve != "none":
            f, threshold = chosen.taper, chosen.threshold
            if by_scale is not None and "f" not in chosen.frozen:
                f, threshold = by_scale.taper, by_scale.threshold
            # Of the module, so that what it learns of the data is saved with the weights.
            trained.finish = Finish(relu=chosen.relu, conserve=chosen.conserve, f=f, threshold=threshold)
        return trained

    def _wrapped(self, model: nn.Module) -> nn.Module:
        if self.options.denoiser == "none":
            return Forecaster(model, increment=self.plan.increment)
        return MeanAndDenoiser(
            model,
            targets=self.targets,
            kept=self.kept,
            increment=self.plan.increment,
            predict=self.options.prediction,
            measured=self.options.residual_scale == "measured",
        )

    def loss(self, trained: nn.Module, batch: Batch, *, step: int, rng: torch.Generator) -> Tensor:
        if (finish := getattr(trained, "finish", None)) is not None and trained.training:
            finish.see(batch)
        if self.options.denoiser == "none":
            return mean_square(self._mean(trained, batch) - batch.targets, batch)
        network = cast(MeanAndDenoiser, trained)
        two_stage, warm = self.options.training == "two_stage", step < self.options.mean_steps
        with torch.set_grad_enabled(torch.is_grad_enabled() and (warm or not two_stage)):
            mean = self._mean(network, batch)
        of_mean = mean_square(mean - batch.targets, batch)
        if two_stage and warm:
            return of_mean
        levels = torch.randint(1, len(self.kept), (len(batch),), generator=rng, device=rng.device)
        noise = NoiseFields.free(batch, rng, **self._noise())()
        said, asked = network.said_and_asked(batch, mean, noise, levels)
        loss = mean_square(said - asked, batch)
        return loss + of_mean if warm else loss

    def stages(self, steps: int) -> tuple[tuple[int, int], ...]:
        """Raises MethodError where the second stage would never come."""
        first = self.options.mean_steps
        if self.options.training == "joint" or self.options.denoiser == "none":
            return super().stages(steps)
        if first >= steps:
            raise MethodError(
                f"method.mean_steps {first} leaves none of {steps} steps to the denoiser",
                do="take fewer, or more steps",
            )
        return ((0, first), (first, steps - first)) if first else super().stages(steps)

    def predict(self, trained: nn.Module, batch: Batch, *, members: int, rng: torch.Generator | None) -> Tensor:
        finish: Finish | None = getattr(trained, "finish", None)
        made = self._members(trained, batch, members=members, rng=rng)
        return made if finish is None else torch.stack([finish(member, batch) for member in made])

    def _mean(self, trained: nn.Module, batch: Batch) -> Tensor:
        """μ, with the mass of the coarse frame where the mean is held to it."""
        mean: Tensor = trained(batch)
        finish: Finish | None = getattr(trained, "finish", None)
        return mean if finish is None or not self.options.mean_finished else finish(mean, batch)

    def _members(self, trained: nn.Module, batch: Batch, *, members: int, rng: torch.Generator | None) -> Tensor:
        if self.options.denoiser == "none":
            return super().predict(trained, batch, members=members, rng=rng)
        network = cast(Denoising, trained)
        if rng is not None:
            source = NoiseFields.free(batch, rng, **self._noise())
            sources = [source] * members
        else:
            seed = int(network.noise_seed)
            n = max(members, self.options.members)
            sources = [NoiseFields.fixed(batch, seed=seed, member=m, **self._noise()) for m in range(n)]
        mean, given = self._mean(trained, batch), network.conditions(batch)
        return torch.stack([self._member(network, batch, mean, given, source) for source in sources])

    def _member(self, network: Denoising, batch: Batch, mean: Tensor, given: Tensor, draw: NoiseFields) -> Tensor:
        def denoise(noisy: Tensor, level: int) -> Tensor:
            levels = torch.full((len(batch),), level)
            return network.denoise(given, mean, noisy, levels, batch.out_grid)

        predict, steps = self.options.prediction, self.options.sampling_steps
        if self.options.sampler == "fast":
            clean = fast_sample(denoise, draw(), self.kept, steps=steps or 20, predict=predict)
        else:
            clean = ancestral_sample(denoise, draw(), self.kept, draw, steps=steps, predict=predict)
        return mean + network.unscaled(clean)

    def _noise(self) -> dict[str, Any]:
        return {"home": self.plan.train_grid, "how": self.plan.restriction, "kind": self.options.noise}

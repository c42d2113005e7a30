"""`diffusion`: a conditional mean, and a diffusion of what it leaves open.  Track: zero-shot.

    Y = μ(u) + s R₀,   R₀ ~ p(R | u, μ) by a denoiser of R_n = √ᾱ_n R₀ + √(1−ᾱ_n) ε

    loss    joint      ‖v̂ − v‖² + 1[step < mean_steps] ‖μ − Y‖², the gradient of both reaching μ
            two_stage  ‖μ − Y‖² alone at first; then μ is fixed and ‖v̂ − v‖² alone

`joint` is as published (Defez et al. 2026; Srivastava et al., NeurIPS 2024): after the warm-up nothing but v̂ holds μ to
the mean.  `two_stage` makes it one (Mardani et al. 2025).  The published sampler is the ancestral one, N = 1000 steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from anchorbench.config import Frozen, targets_of
from anchorbench.data.samples import Batch
from anchorbench.methods.base import Method, Plan, mean_square
from anchorbench.methods.denoiser import Denoising, MeanAndDenoiser, denoiser_channels
from anchorbench.methods.noise import Prediction, Shape, ancestral_sample, fast_sample, schedule
from anchorbench.methods.noise_fields import NoiseFields, NoiseKind


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
        chosen = self.options
        self.targets = 1 if plan.ladder is None else len(targets_of(plan.ladder.variables))
        self.kept = schedule(
            chosen.schedule, steps=chosen.noise_steps, beta_min=chosen.beta_min, beta_max=chosen.beta_max
        )

    def extra_channels(self) -> int:
        return denoiser_channels(self.targets)

    def wrap(self, model: nn.Module) -> nn.Module:
        return MeanAndDenoiser(
            model,
            targets=self.targets,
            kept=self.kept,
            increment=self.plan.increment,
            predict=self.options.prediction,
            measured=self.options.residual_scale == "measured",
        )

    def loss(self, trained: nn.Module, batch: Batch, *, step: int, rng: torch.Generator) -> Tensor:
        network = cast(MeanAndDenoiser, trained)
        two_stage, warm = self.options.training == "two_stage", step < self.options.mean_steps
        with torch.set_grad_enabled(torch.is_grad_enabled() and (warm or not two_stage)):
            mean = network(batch)
        of_mean = mean_square(mean - batch.targets, batch)
        if two_stage and warm:
            return of_mean
        levels = torch.randint(1, len(self.kept), (len(batch),), generator=rng, device=rng.device)
        noise = NoiseFields.free(batch, rng, **self._noise())()
        said, asked = network.said_and_asked(batch, mean, noise, levels)
        loss = mean_square(said - asked, batch)
        return loss + of_mean if warm else loss

    def predict(self, trained: nn.Module, batch: Batch, *, members: int, rng: torch.Generator | None) -> Tensor:
        network = cast(Denoising, trained)
        if rng is not None:
            source = NoiseFields.free(batch, rng, **self._noise())
            sources = [source] * members
        else:
            seed = int(network.noise_seed)
            n = max(members, self.options.members)
            sources = [NoiseFields.fixed(batch, seed=seed, member=m, **self._noise()) for m in range(n)]
        mean, given = network(batch), network.conditions(batch)
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

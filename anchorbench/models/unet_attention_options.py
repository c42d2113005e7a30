"""The options of `unet_attention`.  Importable without torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from anchorbench.models.options import UnetOptions

Context = Literal["attention", "tokens", "none"]


class UnetAttentionOptions(UnetOptions):
    """A U-Net over several frames.  Published (Defez et al. 2026): width 16, five levels, windows 3, 3, 1, 1, 1."""

    width: int = Field(default=16, ge=1, description="channels on the finest level; each level down has twice as many")
    frames: int | None = Field(
        default=None, ge=1, description="coarse frames among the inputs; null: as many as the task gives"
    )
    variables: int | None = Field(default=None, ge=1, description="of each frame; null: the dataset's")
    context: Context = Field(
        default="attention",
        description="how earlier frames are heard: attention of each point over its own past, as published for the "
        "mean; tokens: cross-attention to one token a frame, as published for the denoiser; none: not at all",
    )
    denoiser_context: Context | None = Field(
        default=None, description="the same in the denoiser of `diffusion`; null: as in the mean.  Published: tokens"
    )
    context_from: int = Field(
        default=0,
        ge=0,
        description="finest level on which `attention` hears earlier frames, 0 the finest of all, as published; 1 "
        "costs a quarter",
        exclude_if=lambda level: level == 0,
    )
    windows: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        default=(3, 3, 1),
        description="sides of the windows of spatial attention, odd, a level each; 1, or none left: none",
    )
    heads: int = Field(default=4, ge=1, description="of all attention; they divide the width")

    @field_validator("windows", mode="before")
    @classmethod
    def _one_is_a_list(cls, windows: Any) -> Any:
        return (windows,) if isinstance(windows, int) else windows

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"heads that divide the width {self.width}")
        if any(window % 2 == 0 for window in self.windows):
            raise ValueError("windows of an odd number of points")
        return self

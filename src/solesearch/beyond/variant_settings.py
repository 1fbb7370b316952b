"""What decides the trainings of the ablation ladder: section `ladder` of params.yaml, without TensorFlow."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from solesearch.beyond.variants import VARIANTS
from solesearch.core.settings import Section

BelowOne = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
BatchSize = Annotated[int, Field(ge=2)]  # batch normalisation


class IdeaSettings(Section, section="ladder.ideas"):
    """One value for each idea that needs one; `params.yaml` holds the values and their sources."""

    ema_decay: BelowOne
    rotation_weight: PositiveFloat
    contrastive_weight: PositiveFloat
    supervision_weight: PositiveFloat
    labelled_share: float = Field(gt=0, le=1)


class ContrastiveSettings(Section, section="ladder.contrastive"):
    """Views, loss and optimiser of contrastive training; `params.yaml` holds the values and their sources."""

    steps: PositiveInt
    batch_size: BatchSize
    optimizer: Literal["adam", "sgd"]
    learning_rate: PositiveFloat
    learning_rate_decay: Literal["constant", "cosine"]
    weight_decay: BelowOne
    temperature: PositiveFloat
    hidden: PositiveInt
    projection: PositiveInt
    dropout: BelowOne
    norm_momentum: BelowOne
    crop_area: Annotated[list[Annotated[float, Field(gt=0, le=4)]], Field(min_length=2, max_length=2)]
    crop_aspect: float = Field(ge=1, le=4)
    brightness: BelowOne
    contrast: BelowOne
    saturation: BelowOne
    channel_gain: BelowOne
    grey: Share
    flip: Share

    @model_validator(mode="after")
    def _crop_areas_ascend(self) -> Self:
        if self.crop_area[0] > self.crop_area[1]:
            raise ValueError(f"crop_area: two ascending shares of the photo; got {self.crop_area}")
        return self


class VariantSettings(Section, section="ladder"):
    """Which variants are trained, and how long; `params.yaml` holds the values and their sources."""

    variants: list[str] = Field(min_length=1)
    steps: PositiveInt
    batch_size: BatchSize
    seeds: list[NonNegativeInt] = Field(min_length=1)
    finalist_seeds: list[NonNegativeInt] = Field(min_length=1)
    resume_every: PositiveInt
    threads: PositiveInt
    ideas: IdeaSettings
    contrastive: ContrastiveSettings
    judging: dict[str, Any] = Field(repr=False)  # decides how variants are judged, not how they are trained

    @model_validator(mode="after")
    def _known_and_named_once(self) -> Self:
        if unknown := [name for name in self.variants if name not in VARIANTS]:
            raise ValueError(f"variants: {unknown[0]!r} is none of {', '.join(VARIANTS)}")
        for key in ("variants", "seeds", "finalist_seeds"):
            values = getattr(self, key)
            if len(set(values)) < len(values):
                raise ValueError(f"{key}: name each one once; got {values}")
        return self

"""What is measured of the latent codes: section `latent_codes` of params.yaml, without TensorFlow."""

from __future__ import annotations

from typing import Self

from pydantic import Field, PositiveInt, model_validator

from solesearch.core.settings import Section
from solesearch.networks.networks import SMALLEST


class LatentSettings(Section, section="latent_codes"):
    """What is measured and on how many images; `params.yaml` holds the values and their sources."""

    values: list[float] = Field(min_length=2)
    noises: int = Field(ge=2)
    images: PositiveInt
    draws: int = Field(ge=2)
    subset: int = Field(ge=2)
    subsets: PositiveInt
    neighbours: PositiveInt
    quantile: float = Field(gt=0, lt=1)
    feature_network: str
    feature_size: int = Field(ge=SMALLEST)
    shown: PositiveInt
    seed: int = Field(ge=0)

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.values != sorted(set(self.values)) or not {-1, 1} <= set(self.values):
            raise ValueError(f"values: ascending, -1 and 1 among them; got {self.values}")
        if self.subset > self.images // 2:
            raise ValueError(f"subset: at most half of {self.images} images; got {self.subset}")
        return self

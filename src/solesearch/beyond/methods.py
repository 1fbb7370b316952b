"""Methods of post-processing by name, and section `ladder.judging` of params.yaml; without TensorFlow."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from solesearch.core.settings import Section

PLAIN = "plain"  # the paper's method
CONVOLUTIONS = 6  # of P Table I's discriminator
Layers = list[Annotated[int, Field(ge=1, le=CONVOLUTIONS)]]


@dataclass(frozen=True)
class Method:
    """What is done with a trunk's activations, in the order of the fields."""

    title: str  # words for tables and charts
    layers: tuple[int, ...] = ()  # convolutions pooled and joined, 1 to 6; (): the last one, flattened
    pooling: str = "max"  # of each cell: max, mean, or gem, the generalised mean
    grid: int = 4  # cells along each side, DCGAN's value
    power: float = 3.0  # of the generalised mean; Radenovic et al. start from 3
    flipped: bool = False  # mean over the photo and its mirror image
    normalised: bool = False  # each convolution's part, and the vector at the end, to length 1
    whitened: int = 0  # principal components kept and scaled to variance 1; 0: none
    shrinkage: float = 0.0  # added to each variance, as a share of the mean of those kept
    exponent: float = 1.0  # 1: all components weigh the same; 0: PCA; between: over variance^(exponent / 2)

    @property
    def before_whitening(self) -> Method:
        """The method as far as nothing is fitted: methods that share it share these vectors."""
        return dataclasses.replace(self, title="", whitened=0, shrinkage=0.0, exponent=1.0)


class JudgingSettings(Section, section="ladder.judging"):
    """Which methods are judged and how many models reach the test photos."""

    recipes: list[str]
    variant_recipes: list[str]
    layers: Layers
    lower_layers: Layers
    first_layers: Layers
    grid: PositiveInt
    first_grid: PositiveInt
    gem_power: PositiveFloat
    whitened_dimensions: PositiveInt
    shrinkage: float = Field(ge=0)
    exponent: float = Field(ge=0, le=1)
    fitting_photos: int = Field(ge=0)
    finalists: PositiveInt
    most_megabytes: PositiveFloat
    most_ms: PositiveFloat

    @model_validator(mode="after")
    def _methods_are_known(self) -> Self:
        if unknown := {*self.recipes, *self.variant_recipes} - set(self.methods):
            raise ValueError(f"recipes: {min(unknown)!r} is none of {', '.join(self.methods)}")
        if PLAIN not in self.recipes or len(self.recipes) < 2:
            raise ValueError(f"recipes hold {PLAIN!r} and at least one more; got {self.recipes}")
        return self

    @property
    def methods(self) -> dict[str, Method]:
        """Name -> method with this profile's numbers, single ideas first."""
        unit = {"normalised": True}
        white = {"whitened": self.whitened_dimensions, "shrinkage": self.shrinkage}
        half = {"whitened": self.whitened_dimensions, "exponent": self.exponent}
        by_max = unit | {"layers": tuple(self.layers), "grid": self.grid}
        by_gem = by_max | {"pooling": "gem", "power": self.gem_power}
        lower = by_max | {"layers": tuple(self.lower_layers)}
        first = unit | {"layers": tuple(self.first_layers), "grid": self.first_grid, "pooling": "mean"}
        methods = {
            "plain": ("plain (the paper)", {}),
            "normalised": ("length 1", unit),
            "whitened": ("whitened", white),
            "flipped": ("mirror average", {"flipped": True}),
            "layers_max": ("layers, maximum", by_max),
            "layers_gem": ("layers, generalised mean", by_gem),
            "normalised_whitened": ("length 1, whitened", unit | white),
            "normalised_half_whitened": ("length 1, half whitened", unit | half),
            "layers_max_half_whitened": ("layers (max), half whitened", by_max | half),
            "lower_max_half_whitened": ("lower layers (max), half whitened", lower | half),
            "first_mean_half_whitened": ("first layers (mean), half whitened", first | half),
            "layers_max_whitened": ("layers (max), whitened", by_max | white),
        }
        return {name: Method(title, **values) for name, (title, values) in methods.items()}

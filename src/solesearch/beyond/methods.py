"""Methods of post-processing by name, and section `ladder.judging` of params.yaml; without TensorFlow."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from solesearch.core.settings import Section

PLAIN = "plain"  # the paper's method
CONVOLUTIONS = 6  # of P Table I's discriminator
CODE = 2  # the layer of a dictionary that is pooled; the first are the gradients
ON_CODE = (2, 4)  # the code and the last convolution of a network on it
MAP = 1  # the one layer of a control: what it saw at each place
Layers = list[Annotated[int, Field(ge=1, le=CONVOLUTIONS)]]


@dataclass(frozen=True)
class Method:
    """What is done with a trunk's activations, in the order of the fields."""

    title: str  # words for tables and charts
    layers: tuple[int, ...] = ()  # convolutions pooled and joined, 1 to 6; (): the last one, flattened
    pooling: str = "max"  # of each cell: max, mean, or gem, the generalised mean
    grid: int = 4  # cells along each side, DCGAN's value
    power: float = 3.0  # of the generalised mean; Radenovic et al. start from 3
    root: bool = False  # of what was pooled: strong responses count less (Perronnin et al. 2010)
    flipped: bool = False  # mean over the photo and its mirror image
    normalised: bool = False  # each convolution's part, and the vector at the end, to length 1
    whitened: int = 0  # principal components kept and scaled to variance 1; 0: none
    shrinkage: float = 0.0  # added to each variance, as a share of the mean of those kept
    exponent: float = 1.0  # 1: all components weigh the same; 0: PCA; between: over variance^(exponent / 2)
    oriented: int = 0  # principal components among which oriented ones are sought; 0: none are
    neighbours: int = 0  # nearest photos that a pair of mutual neighbours has to be among

    @property
    def before_whitening(self) -> Method:
        """The method as far as nothing is fitted: methods that share it share these vectors."""
        unfitted = {"whitened": 0, "shrinkage": 0.0, "exponent": 1.0, "oriented": 0, "neighbours": 0}
        return dataclasses.replace(self, title="", **unfitted)

    @property
    def directions(self) -> Method:
        """The method as far as its components are found: methods that share it only weigh them otherwise."""
        shrinkage = self.shrinkage if self.oriented else 0.0
        return dataclasses.replace(self, title="", shrinkage=shrinkage, exponent=1.0)


class JudgingSettings(Section, section="ladder.judging"):
    """Which methods are judged and how many models reach the test photos."""

    recipes: list[str]
    variant_recipes: list[str]
    dictionary_recipes: list[str]
    dictionary_network_recipes: list[str]
    control_recipes: list[str]
    layers: Layers
    lower_layers: Layers
    first_layers: Layers
    grid: PositiveInt
    first_grid: PositiveInt
    code_grid: PositiveInt
    code_dimensions: PositiveInt
    oriented_from: PositiveInt
    oriented_shrinkage: float = Field(gt=0)
    neighbours: PositiveInt
    gem_power: PositiveFloat
    whitened_dimensions: PositiveInt
    shrinkage: float = Field(ge=0)
    exponent: float = Field(ge=0, le=1)
    fitting_photos: int = Field(ge=0)
    finalists: PositiveInt
    most_megabytes: PositiveFloat
    most_ms: PositiveFloat
    most_of_papers: PositiveFloat

    @model_validator(mode="after")
    def _methods_are_known(self) -> Self:
        named = {*self.recipes, *self.variant_recipes, *self.dictionary_recipes, *self.control_recipes}
        named |= {*self.dictionary_network_recipes}
        if unknown := named - set(self.methods):
            raise ValueError(f"recipes: {min(unknown)!r} is none of {', '.join(self.methods)}")
        if unfit := [name for name in self.control_recipes if self.methods[name].layers not in ((), (MAP,))]:
            raise ValueError(f"control_recipes: {unfit[0]!r} pools layers, and a control has one map")
        for key, most in (("dictionary_recipes", CODE), ("dictionary_network_recipes", max(ON_CODE))):
            for name in getattr(self, key):
                if (last := max(self.methods[name].layers, default=0)) > most:
                    raise ValueError(f"{key}: {name!r} pools layer {last}; there are {most}")
        if PLAIN not in self.recipes or len(self.recipes) < 2:
            raise ValueError(f"recipes hold {PLAIN!r} and at least one more; got {self.recipes}")
        return self

    def fitting_rows(self, count: int) -> np.ndarray:
        """Return which of `count` photos methods are fitted on, int [n]: all, or some spread evenly."""
        return np.linspace(0, count - 1, min(self.fitting_photos or count, count)).astype(int)

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
        code = unit | {"layers": (CODE,), "grid": self.code_grid, "pooling": "mean"}
        oriented = white | {"oriented": self.oriented_from, "neighbours": self.neighbours, "exponent": 0.0}
        oriented |= {"shrinkage": self.oriented_shrinkage}
        half_code, oriented_code = ({**one, "whitened": self.code_dimensions} for one in (half, oriented))
        map_max = unit | {"layers": (MAP,), "grid": self.grid}
        map_gem = map_max | {"pooling": "gem", "power": self.gem_power}
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
            "code_mean": ("code, mean", code),
            "code_root": ("code, root of the mean", code | {"root": True}),
            "code_half_whitened": ("code (mean), half whitened", code | half_code),
            "code_root_half_whitened": ("code (root), half whitened", code | {"root": True} | half_code),
            "code_oriented": ("code (mean), oriented", code | oriented_code),
            "code_root_oriented": ("code (root), oriented", code | {"root": True} | oriented_code),
            "last_oriented": ("last block (mean), oriented", code | {"layers": ON_CODE[-1:]} | oriented_code),
            "both_root_oriented": (
                "code and last block (root), oriented",
                code | {"layers": ON_CODE, "root": True} | oriented_code,
            ),
            "normalised_oriented": ("length 1, oriented", unit | oriented),
            "layers_max_oriented": ("layers (max), oriented", by_max | oriented),
            "first_mean_oriented": ("first layers (mean), oriented", first | oriented),
            "map_max": ("map, maximum", map_max),
            "map_gem": ("map, generalised mean", map_gem),
            "map_gem_half_whitened": ("map (generalised mean), half whitened", map_gem | half),
            "map_gem_oriented": ("map (generalised mean), oriented", map_gem | oriented),
        }
        return {name: Method(title, **values) for name, (title, values) in methods.items()}

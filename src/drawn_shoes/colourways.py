"""Which colours a product comes in, and what each colour does to its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from drawn_shoes.design import Design
from drawn_shoes.materials import PALETTE, Grain, linear

MOST_COLOURWAYS = 4
# palette -> colour -> weight
PALETTES: dict[str, dict[str, float]] = {
    "neutral": {
        "black": 6, "brown": 2, "tan": 2, "grey": 2, "navy": 2, "white": 2, "beige": 2,
        "red": 1, "chocolate": 1, "burgundy": 1, "charcoal": 1, "olive": 0.7, "cream": 0.7,
        "silver": 0.5, "blue": 0.6, "cognac": 1,
    },
    "leather": {
        "black": 6, "brown": 4, "tan": 3, "cognac": 3, "chocolate": 3, "burgundy": 1.5,
        "beige": 1, "grey": 1, "navy": 0.7, "charcoal": 0.8, "olive": 0.5, "red": 0.5,
    },
    "dressy": {
        "black": 6, "red": 1.5, "beige": 2, "silver": 1.2, "gold": 1.2, "pink": 1, "navy": 1,
        "burgundy": 1, "fuchsia": 0.7, "purple": 0.7, "teal": 0.6, "white": 1, "brown": 1,
        "blue": 0.5, "tan": 1,
    },
    "sport": {
        "white": 5, "black": 4, "grey": 3, "navy": 2, "red": 1.5, "blue": 1.5, "silver": 1,
        "pink": 1, "green": 0.8, "purple": 0.6, "orange": 0.5, "yellow": 0.4, "charcoal": 1.5,
        "teal": 0.5, "brown": 0.7, "beige": 0.7,
    },
    "soft": {
        "tan": 3, "chocolate": 2, "grey": 2.5, "beige": 2, "pink": 1.5, "navy": 1.5,
        "black": 2.5, "sky": 0.8, "purple": 0.7, "red": 1, "cream": 1, "brown": 2,
        "charcoal": 1, "burgundy": 0.7, "cognac": 1,
    },
    "bright": {
        "red": 1.5, "blue": 1.2, "green": 1, "yellow": 1, "orange": 1, "pink": 1.2,
        "fuchsia": 1, "purple": 1, "teal": 1, "black": 2.5, "white": 1.2, "navy": 1, "sky": 0.7,
        "brown": 1, "tan": 1,
    },
}  # fmt: skip
# linear RGB
SOLE_COLOURS = {
    "dark": (0.022, 0.021, 0.021),
    "white": (0.80, 0.79, 0.77),
    "cream": (0.72, 0.64, 0.48),
    "gum": (0.38, 0.20, 0.08),
    "brown": (0.11, 0.055, 0.028),
    "natural": (0.46, 0.29, 0.15),
    "grey": (0.28, 0.28, 0.29),
}
SOLE_MATERIAL_COLOURS = {"cork": (0.42, 0.26, 0.13), "jute": (0.52, 0.38, 0.20), "wood": (0.30, 0.16, 0.075)}
LACES = ("white", "black", "cream", "brown")
ACCENTS = {
    "metal": ("gold", "silver"),
    "pop": ("red", "blue", "green", "orange", "fuchsia", "teal", "yellow", "purple", "pink"),
    "contrast": tuple(PALETTE),
}


@dataclass(frozen=True)
class Look:
    """One colourway: the product's design, its colours (linear RGB by use) and its noise."""

    design: Design
    colours: dict[str, np.ndarray]
    grain: Grain

    def material(self, name: str) -> str:
        """Return the material's name; what is wrapped wears the upper's."""
        return self.design.material if name == "wrapped" else name


def colour_names(design: Design, generator: np.random.Generator) -> list[str]:
    """Return the 1 to 4 distinct colours that a product comes in."""
    weights = PALETTES[design.palette]
    names = list(weights)
    shares = np.array([weights[name] for name in names])
    count = int(generator.integers(1, MOST_COLOURWAYS + 1))
    picked = generator.choice(len(names), size=count, replace=False, p=shares / shares.sum())
    return [names[int(place)] for place in picked]


def colours_of(design: Design, name: str, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Return linear RGB by use (main, second, sole, lining, ...) of the colourway `name`."""
    tint = generator.normal(0, 0.05, 3) + generator.normal(0, 0.15)
    main = np.clip(linear(name) * np.exp(tint), 0.010, 0.88).astype(np.float32)
    second = _second(design.scheme, main, generator)
    tonal = main * 0.7 if main.mean() > 0.2 else main * 1.4 + 0.01
    piece = _pick((main, second, tonal), generator)
    other = _pick((main, main, second), generator)
    sole = main if design.sole_colour == "main" else _sole(design, generator)
    lining = linear(design.lining)
    lace = linear("white" if other.mean() < 0.3 else "black")
    return {
        "main": main,
        "second": second,
        "sole": sole,
        "edge": sole,
        "outsole": _pick([SOLE_COLOURS[tone] for tone in ("dark", "gum", "grey", "white")], generator),
        "heel": _heel(design, main, sole),
        "lining": lining,
        "footbed": _pick((lining, lining, main * 0.8), generator),
        "hardware": 0.9 * linear(_pick(("gold", "silver"), generator)),
        "trim": linear(_pick(("cream", "beige", "white", "grey", "tan"), generator)),
        "lace": _pick((lace, second, linear(_pick(LACES, generator))), generator),
        "strap": second if design.cut == "none" and generator.random() < 0.3 else main,
        "counter": _pick((second, piece), generator),
        "gore": tonal * 0.6,
        **dict.fromkeys(("facing", "collar", "cap", "flap"), piece),
        **dict.fromkeys(("tongue", "ornament"), other),
    }


def _pick(options: Sequence, generator: np.random.Generator):
    return options[int(generator.integers(len(options)))]


def _heel(design: Design, main: np.ndarray, sole: np.ndarray) -> np.ndarray:
    if design.heel_material == "wrapped":
        return main
    stacked_leather = design.heel_material == "wood" and design.sole_colour != "dark"
    return np.array((0.16, 0.075, 0.035), np.float32) if stacked_leather else sole


def _second(scheme: str, main: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return the colour beside the main one; schemes that would repeat it fall back to its neighbour."""
    if scheme == "white":
        return linear("white") if main.mean() < 0.6 else linear("grey")
    if scheme == "black":
        return linear("black") if main.mean() > 0.05 else linear("charcoal") * 1.5
    if scheme in ACCENTS:
        return linear(_pick(ACCENTS[scheme], generator))
    return main * 0.55 if main.mean() > 0.08 else main * 2.2 + 0.015


def _sole(design: Design, generator: np.random.Generator) -> np.ndarray:
    if design.sole_colour == "pop":
        return linear(_pick(ACCENTS["pop"], generator))
    base = SOLE_MATERIAL_COLOURS.get(design.sole_material, SOLE_COLOURS[design.sole_colour])
    return (np.array(base) * np.exp(generator.normal(0, 0.12))).astype(np.float32)

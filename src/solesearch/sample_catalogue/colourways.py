"""Which colours a product comes in, and what each colour does to its parts."""

from __future__ import annotations

import numpy as np

from solesearch.sample_catalogue.design import Design
from solesearch.sample_catalogue.materials import PALETTE, linear

MOST_COLOURWAYS = 4
# palette -> colour -> weight
PALETTES: dict[str, dict[str, float]] = {
    "neutral": {
        "black": 6, "brown": 2, "tan": 2, "grey": 2, "navy": 2, "white": 2, "beige": 2, "red": 1, "chocolate": 1,
        "burgundy": 1, "charcoal": 1, "olive": 0.7, "cream": 0.7, "silver": 0.5, "blue": 0.6, "cognac": 1,
    },
    "leather": {
        "black": 6, "brown": 4, "tan": 3, "cognac": 3, "chocolate": 3, "burgundy": 1.5, "beige": 1, "grey": 1,
        "navy": 0.7, "charcoal": 0.8, "olive": 0.5, "red": 0.5,
    },
    "dressy": {
        "black": 6, "red": 1.5, "beige": 2, "silver": 1.2, "gold": 1.2, "pink": 1, "navy": 1, "burgundy": 1,
        "fuchsia": 0.7, "purple": 0.7, "teal": 0.6, "white": 1, "brown": 1, "blue": 0.5, "tan": 1,
    },
    "sport": {
        "white": 5, "black": 4, "grey": 3, "navy": 2, "red": 1.5, "blue": 1.5, "silver": 1, "pink": 1, "green": 0.8,
        "purple": 0.6, "orange": 0.5, "yellow": 0.4, "charcoal": 1.5, "teal": 0.5, "brown": 0.7, "beige": 0.7,
    },
    "soft": {
        "tan": 3, "chocolate": 2, "grey": 2.5, "beige": 2, "pink": 1.5, "navy": 1.5, "black": 2.5, "sky": 0.8,
        "purple": 0.7, "red": 1, "cream": 1, "brown": 2, "charcoal": 1, "burgundy": 0.7, "cognac": 1,
    },
    "bright": {
        "red": 1.5, "blue": 1.2, "green": 1, "yellow": 1, "orange": 1, "pink": 1.2, "fuchsia": 1, "purple": 1, "teal": 1,
        "black": 2.5, "white": 1.2, "navy": 1, "sky": 0.7, "brown": 1, "tan": 1,
    },
}  # fmt: skip
SOLE_COLOURS = {
    "dark": (0.022, 0.021, 0.021),
    "white": (0.80, 0.79, 0.77),
    "cream": (0.72, 0.64, 0.48),
    "gum": (0.38, 0.20, 0.08),
    "brown": (0.11, 0.055, 0.028),
    "natural": (0.46, 0.29, 0.15),
    "grey": (0.28, 0.28, 0.29),
}
POP = ("red", "blue", "green", "orange", "fuchsia", "teal", "yellow", "purple", "pink")


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
    main = linear(name) * np.exp(generator.normal(0, 0.10, 3) * 0.5 + generator.normal(0, 0.15)).astype(np.float32)
    main = np.clip(main, 0.010, 0.88)
    second = _second(design.scheme, main, generator)
    sole = main if design.sole_colour == "main" else _sole(design, generator)
    lining = linear(design.lining)
    metal = linear("gold" if generator.random() < 0.5 else "silver")
    trim = linear(("cream", "beige", "white", "grey", "tan")[int(generator.integers(5))])
    light = bool(main.mean() > 0.2)
    lace = linear(("white", "black", "cream", "brown", "tan")[int(generator.integers(5))])
    tonal = main * 0.7 if light else main * 1.4 + 0.01
    part = [main, second, tonal][int(generator.integers(3))]
    other = [main, main, second][int(generator.integers(3))]
    heel = {"wrapped": main, "wood": np.array([0.16, 0.075, 0.035], np.float32)}.get(design.heel_material, sole)
    if design.heel_material == "wood" and design.sole_colour == "dark":
        heel = sole
    return {
        "main": main,
        "second": second,
        "sole": np.asarray(sole, np.float32),
        "outsole": np.asarray(SOLE_COLOURS[("dark", "gum", "grey", "white")[int(generator.integers(4))]], np.float32),
        "lining": lining,
        "footbed": lining if generator.random() < 0.7 else main * 0.8,
        "edge": np.asarray(sole, np.float32),
        "heel": heel,
        "hardware": metal * 0.9,
        "trim": trim,
        "lace": [lace, linear("white" if other.mean() < 0.3 else "black"), second][int(generator.integers(3))],
        "tongue": other,
        "facing": part,
        "collar": part,
        "cap": part,
        "counter": second if generator.random() < 0.5 else part,
        "strap": second if design.cut == "none" and generator.random() < 0.3 else main,
        "gore": tonal * 0.6,
        "ornament": other,
        "flap": part,
    }


def _second(scheme: str, main: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    if scheme == "white":
        return linear("white") if main.mean() < 0.6 else linear("grey")
    if scheme == "black":
        return linear("black") if main.mean() > 0.05 else linear("charcoal") * 1.5
    if scheme == "metal":
        return linear("gold" if generator.random() < 0.5 else "silver")
    if scheme == "pop":
        return linear(POP[int(generator.integers(len(POP)))])
    if scheme == "contrast":
        return linear(list(PALETTE)[int(generator.integers(len(PALETTE)))])
    return main * 0.55 if main.mean() > 0.08 else main * 2.2 + 0.015


def _sole(design: Design, generator: np.random.Generator) -> np.ndarray:
    if design.sole_colour == "pop":
        return linear(POP[int(generator.integers(len(POP)))])
    natural = {"cork": (0.42, 0.26, 0.13), "jute": (0.52, 0.38, 0.20), "wood": (0.30, 0.16, 0.075)}
    base = natural.get(design.sole_material, SOLE_COLOURS[design.sole_colour])
    return np.array(base, np.float32) * np.float32(np.exp(generator.normal(0, 0.12)))

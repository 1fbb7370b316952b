"""The traits of one product: what its shape and its make are, colours apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

Traits = Mapping[str, tuple[float, float] | tuple[str, ...]]


@dataclass(frozen=True)
class Design:
    """Lengths are in shoe lengths (a bag's in bag widths); shares are 0..1."""

    # last and sole
    width: float
    toe_length: float  # where the toe starts to taper
    toe_roundness: float  # 1.2 pointed, 2 round, 3 square
    toe_box: float  # height of the toe
    sole: float  # thickness under the ball
    waist: float  # share of that thickness under arch and heel
    lift: float  # height of the heel
    spring: float  # how far the toe is off the ground
    arch: float
    welt: float
    flare: float
    bulge: float
    tread: float  # share of the sole's wall that is cut into teeth
    midsole: float
    sole_stripe: float
    dish: float
    heel_bulk: float
    # upper
    throat: float  # where the opening begins
    throat_height: float
    side_height: float
    back_height: float
    heel_line: float
    opening: float  # half its width
    vamp: float  # how straight the vamp falls
    rim: float
    crease: float
    cut_place: float
    cap: float
    apron: float
    saddle: float
    panel: float
    lace_start: float
    lace_pitch: float
    # shaft of a boot
    shaft: float
    shaft_half: float
    shaft_slope: float
    shaft_dip: float
    calf: float
    lean: float
    # straps
    strap_width: float
    strap_place: float
    # bag
    bag_height: float
    bag_half: float
    bag_depth: float
    bag_taper: float
    bag_close: float
    bag_sag: float
    bag_corner: float
    handle_height: float
    handle_span: float
    flap: float
    flap_curve: float
    # choices
    heel: str
    cut: str
    material: str
    strap_material: str
    sole_material: str
    heel_material: str
    footbed_material: str
    toe_detail: str
    side_detail: str
    back_detail: str
    fastening: str
    collar: str
    straps: str
    ornament: str
    handles: str
    bag_detail: str
    scheme: str
    sole_colour: str
    lining: str
    palette: str


# What a style does not say: a range of numbers, or words to choose from.
DEFAULTS: Traits = {
    "width": (0.93, 1.08),
    "toe_length": (0.28, 0.36),
    "toe_roundness": (1.9, 2.3),
    "toe_box": (0.09, 0.11),
    "sole": (0.02, 0.03),
    "waist": (0.5, 0.8),
    "lift": (0.02, 0.04),
    "spring": (0.015, 0.035),
    "arch": (0.0, 0.01),
    "welt": (0.004, 0.012),
    "flare": (0.0, 0.004),
    "bulge": (0.0, 0.004),
    "tread": (0.0, 0.0),
    "midsole": (0.0, 0.0),
    "sole_stripe": (0.0, 0.0),
    "dish": (0.005, 0.015),
    "heel_bulk": (0.85, 1.1),
    "throat": (0.32, 0.4),
    "throat_height": (0.11, 0.14),
    "side_height": (0.08, 0.11),
    "back_height": (0.16, 0.20),
    "heel_line": (0.96, 0.985),
    "opening": (0.082, 0.095),
    "vamp": (0.5, 0.7),
    "rim": (0.008, 0.014),
    "crease": (0.0, 0.0),
    "cut_place": (0.5, 0.6),
    "cap": (0.16, 0.24),
    "apron": (0.45, 0.58),
    "saddle": (0.27, 0.33),
    "panel": (0.5, 0.65),
    "lace_start": (0.26, 0.34),
    "lace_pitch": (0.045, 0.06),
    "shaft": (0.0, 0.0),
    "shaft_half": (0.22, 0.25),
    "shaft_slope": (-0.02, 0.02),
    "shaft_dip": (0.0, 0.0),
    "calf": (0.0, 0.02),
    "lean": (-0.02, 0.02),
    "strap_width": (0.02, 0.035),
    "strap_place": (0.0, 1.0),
    "bag_height": (0.6, 0.8),
    "bag_half": (0.5, 0.5),
    "bag_depth": (0.1, 0.18),
    "bag_taper": (-0.15, 0.1),
    "bag_close": (0.5, 0.9),
    "bag_sag": (0.0, 0.05),
    "bag_corner": (0.05, 0.15),
    "handle_height": (0.25, 0.45),
    "handle_span": (0.4, 0.6),
    "flap": (0.35, 0.6),
    "flap_curve": (-1.0, 1.0),
    "heel": ("wedge",),
    "cut": ("none",),
    "material": ("leather",),
    "strap_material": ("leather",),
    "sole_material": ("rubber",),
    "heel_material": ("wood",),
    "footbed_material": ("leather",),
    "toe_detail": ("none",),
    "side_detail": ("none",),
    "back_detail": ("none",),
    "fastening": ("none",),
    "collar": ("plain",),
    "straps": ("none",),
    "ornament": ("none",),
    "handles": ("none",),
    "bag_detail": ("none",),
    "scheme": ("tonal",),
    "sole_colour": ("dark",),
    "lining": ("tan", "beige", "cream", "grey", "black"),
    "palette": ("neutral",),
}


@dataclass(frozen=True)
class Style:
    """A family of products within a class, given by what differs from the defaults.

    `weight` is the style's share of its class; a word that is repeated among choices is the likelier.
    """

    weight: float
    traits: Traits


def draw_design(styles: tuple[Style, ...], generator: np.random.Generator) -> Design:
    """Return a product's traits, drawn from one of a class's styles."""
    weights = np.array([style.weight for style in styles])
    style = styles[generator.choice(len(styles), p=weights / weights.sum())]
    options = {**DEFAULTS, **style.traits}
    return Design(**{trait.name: _draw(options[trait.name], generator) for trait in fields(Design)})


def _draw(options: tuple, generator: np.random.Generator) -> float | str:
    if isinstance(options[0], str):
        return options[int(generator.integers(len(options)))]
    return float(generator.uniform(*options))

"""The traits of one product: what its shape and its make are, colours apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import numpy as np

Traits = Mapping[str, tuple[float, float] | tuple[str, ...]]


def within(low: float, high: float) -> float:
    """Return a field that is drawn evenly from a range."""
    return field(metadata={"options": (low, high)})


def choice(*words: str) -> str:
    """Return a field that is drawn from words; one that is repeated is the likelier."""
    return field(metadata={"options": words})


@dataclass(frozen=True)
class Design:
    """Lengths are in shoe lengths (a bag's in bag widths); shares are 0..1.

    Beside each trait stands what it is drawn from where a style does not say: a range, or words.
    """

    # last and sole
    width: float = within(0.93, 1.08)
    toe_length: float = within(0.28, 0.36)  # where the toe starts to taper
    toe_roundness: float = within(1.9, 2.3)  # 1.2 pointed, 2 round, 3 square
    toe_box: float = within(0.09, 0.11)  # height of the toe
    sole: float = within(0.02, 0.03)  # thickness under the ball
    waist: float = within(0.5, 0.8)  # share of that thickness under arch and heel
    lift: float = within(0.02, 0.04)  # height of the heel
    spring: float = within(0.015, 0.035)  # how far the toe is off the ground
    arch: float = within(0.0, 0.01)
    welt: float = within(0.004, 0.012)
    flare: float = within(0.0, 0.004)
    bulge: float = within(0.0, 0.004)
    tread: float = within(0.0, 0.0)  # share of the sole's wall that is cut into teeth
    midsole: float = within(0.0, 0.0)
    sole_stripe: float = within(0.0, 0.0)
    dish: float = within(0.005, 0.015)
    heel_bulk: float = within(0.85, 1.1)
    # upper
    throat: float = within(0.32, 0.4)  # where the opening begins
    throat_height: float = within(0.11, 0.14)
    side_height: float = within(0.08, 0.11)
    back_height: float = within(0.16, 0.2)
    heel_line: float = within(0.96, 0.985)
    opening: float = within(0.082, 0.095)  # half its width
    vamp: float = within(0.5, 0.7)  # how straight the vamp falls
    rim: float = within(0.008, 0.014)
    crease: float = within(0.0, 0.0)
    cut_place: float = within(0.5, 0.6)
    cap: float = within(0.16, 0.24)
    apron: float = within(0.45, 0.58)
    saddle: float = within(0.27, 0.33)
    panel: float = within(0.5, 0.65)
    lace_start: float = within(0.26, 0.34)
    lace_pitch: float = within(0.045, 0.06)
    # shaft of a boot
    shaft: float = within(0.0, 0.0)
    shaft_half: float = within(0.22, 0.25)
    shaft_slope: float = within(-0.02, 0.02)
    shaft_dip: float = within(0.0, 0.0)
    calf: float = within(0.0, 0.02)
    lean: float = within(-0.02, 0.02)
    # straps
    strap_width: float = within(0.02, 0.035)
    strap_place: float = within(0.0, 1.0)
    # bag
    bag_height: float = within(0.6, 0.8)
    bag_half: float = within(0.5, 0.5)
    bag_depth: float = within(0.1, 0.18)
    bag_taper: float = within(-0.15, 0.1)
    bag_close: float = within(0.5, 0.9)
    bag_sag: float = within(0.0, 0.05)
    bag_corner: float = within(0.05, 0.15)
    handle_height: float = within(0.25, 0.45)
    handle_span: float = within(0.4, 0.6)
    flap: float = within(0.35, 0.6)
    flap_curve: float = within(-1.0, 1.0)
    # choices
    heel: str = choice("wedge")
    cut: str = choice("none")
    material: str = choice("leather")
    strap_material: str = choice("leather")
    sole_material: str = choice("rubber")
    heel_material: str = choice("wood")
    footbed_material: str = choice("leather")
    toe_detail: str = choice("none")
    side_detail: str = choice("none")
    back_detail: str = choice("none")
    fastening: str = choice("none")
    collar: str = choice("plain")
    straps: str = choice("none")
    ornament: str = choice("none")
    handles: str = choice("none")
    bag_detail: str = choice("none")
    scheme: str = choice("tonal")
    sole_colour: str = choice("dark")
    lining: str = choice("tan", "beige", "cream", "grey", "black")
    palette: str = choice("neutral")


@dataclass(frozen=True)
class Style:
    """A family of products in a class: its share of the class, and what differs from `Design`."""

    weight: float
    traits: Traits


def draw_design(styles: tuple[Style, ...], generator: np.random.Generator) -> Design:
    """Return a product's traits, drawn from one of a class's styles."""
    weights = np.array([style.weight for style in styles])
    style = styles[generator.choice(len(styles), p=weights / weights.sum())]
    options = {
        trait.name: style.traits.get(trait.name, trait.metadata["options"]) for trait in fields(Design)
    }
    return Design(**{name: _draw(drawn_from, generator) for name, drawn_from in options.items()})


def _draw(options: tuple, generator: np.random.Generator) -> float | str:
    if isinstance(options[0], str):
        return options[int(generator.integers(len(options)))]
    return float(generator.uniform(*options))

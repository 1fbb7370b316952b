"""The drawn catalogue: plan it, draw one photo, draw all."""

from __future__ import annotations

import numpy as np
from PIL import Image

from solesearch.sample_catalogue.assembly import build
from solesearch.sample_catalogue.classes import STYLES
from solesearch.sample_catalogue.colourways import colour_names, colours_of
from solesearch.sample_catalogue.decorations import Look
from solesearch.sample_catalogue.design import Design, draw_design
from solesearch.sample_catalogue.materials import Grain
from solesearch.sample_catalogue.render import Camera, render

CLASSES = tuple(STYLES)


def _product(label, product, seed):
    generator = np.random.default_rng([seed, CLASSES.index(label), product])
    design = draw_design(STYLES[label], generator)
    return design, colour_names(design, generator), generator


def draw_photo(*, label: str, product: int, colourway: int, seed: int) -> Image.Image:
    design, names, generator = _product(label, product, seed)
    grain = Grain(generator)
    camera = _camera(design, generator, np.random.default_rng([seed, CLASSES.index(label), product, colourway, 1]))
    g = np.random.default_rng([seed, CLASSES.index(label), product, colourway])
    look = Look(design, colours_of(design, names[colourway], g), grain)
    return render(build(design), look.paint, camera)


def _camera(design, product, photo):
    bag = design.handles != "none"
    yaw = product.uniform(0.15, 0.5) if bag else product.uniform(0.30, 0.68)
    tall = product.uniform(0.86, 0.94)
    return Camera(
        yaw=yaw + photo.normal(0, 0.02),
        pitch=product.uniform(0.12, 0.25) if bag else product.uniform(0.22, 0.44),
        roll=product.normal(0, 0.03) + photo.normal(0, 0.01),
        fill_width=product.uniform(0.82, 0.95),
        fill_height=tall,
        ground=product.uniform(tall + 0.02, 0.97),
        shift=photo.normal(0, 1.2),
        exposure=product.uniform(0.92, 1.1),
        shadow=product.uniform(0.0, 0.35),
    )

"""How each part of a product is painted: upper, sole, footbed, heel, straps, bag."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from drawn_shoes.colourways import Look
from drawn_shoes.details import BAG_DETAILS, DETAILS, height_above, overlay, seam, stitches
from drawn_shoes.materials import blend, cover, line, soft_step
from drawn_shoes.render import Paint, Skin


def painter(look: Look) -> Paint:
    """Return the function that paints any part of the product `look` in place."""
    return lambda skin: PAINTERS[skin.mesh.part](skin, look)


def _paint_upper(skin: Skin, look: Look) -> None:
    design, colours = look.design, look.colours
    cover(skin, colours["main"], design.material, look.grain, colours["second"])
    height = height_above(skin, look)
    for name in (design.side_detail, design.toe_detail, design.back_detail, design.fastening):
        if name in DETAILS:
            DETAILS[name](skin, look, height)
    _paint_collar(skin, look)
    _age(skin, look, height)
    _line_inside(skin, look.colours["lining"] * (0.6 if design.shaft > 0 else 0.8))


def _line_inside(skin: Skin, colour: np.ndarray) -> None:
    blend(skin, skin.inside, colour)
    skin.gloss *= 1 - 0.9 * skin.inside
    skin.relief *= 1 - skin.inside


def _age(skin: Skin, look: Look, height: np.ndarray) -> None:
    """Darken towards the sole and crease the vamp, as worn-in leather is."""
    skin.colour *= 1 - 0.30 * np.clip(1 - height / 0.05, 0, 1)
    if look.design.crease > 0:
        folds = look.grain.sample(look.grain.soft, 1.6 * (skin.x - 0.4 * height) + 7, 0.35 * skin.z + 7, 300)
        zone = np.exp(-(((skin.x - 0.33) / 0.08) ** 2)) + 1.5 * np.exp(-(((skin.v - 1.1) / 0.25) ** 2))
        skin.relief += look.design.crease * folds * zone


def _paint_collar(skin: Skin, look: Look) -> None:
    design, colours = look.design, look.colours
    end = 2.0 if design.shaft > 0 else 1.0
    rim = skin.v > end + 0.1
    if design.collar == "fleece":
        reach = rim | (skin.v > end - (0.10 if design.shaft == 0 else 0.16))
        trim = replace(skin, colour=skin.colour.copy(), relief=np.zeros_like(skin.relief))
        cover(trim, colours["trim"], "fleece", look.grain)
        blend(skin, reach, trim.colour)
        skin.relief += reach * (trim.relief + 1.5 - skin.relief)
        skin.gloss *= ~reach
    if design.collar == "padded":
        pad = np.clip((skin.v - end + 0.22) / 0.22, 0, 1) * (skin.v < end + 0.05)
        blend(skin, (pad > 0.05) * 0.9, colours["collar"])
        skin.relief += 2.5 * np.sin(np.pi * pad) * (np.abs(skin.u) > 0.6)
    if design.collar in ("binding", "padded"):
        blend(skin, rim.astype(np.float32), colours["collar"])
    if design.collar == "cuff":
        overlay(skin, (skin.v - end + 0.25) * 0.3, colours["collar"], step=1.5)
    if design.collar == "plain":
        stitches(skin, (skin.v - end + 0.06) * 0.2)


def _paint_sole(skin: Skin, look: Look) -> None:
    design, colours = look.design, look.colours
    cover(skin, colours["sole"], look.material(design.sole_material), look.grain)
    if design.sole_material == "wrapped":
        return
    if design.midsole > 0:
        blend(skin, soft_step(design.midsole - skin.v, 0.03), colours["outsole"])
        skin.relief += 0.3 * soft_step(design.midsole - skin.v, 0.05)
    if design.sole_material == "foam":
        wave = skin.v - 0.5 - 0.22 * np.sin(skin.x * 11 + 4 * design.waist)
        skin.colour *= 1 - 0.22 * line(wave, 0.09)
        skin.relief -= 0.35 * line(wave, 0.12)
    if design.sole_stripe > 0:
        blend(skin, line(skin.v - 0.62, design.sole_stripe), colours["second"])
    skin.relief += 0.3 * line(skin.v - 0.86, 0.12)
    skin.colour *= 1 - 0.20 * line(skin.v - 0.9, 0.10)
    if design.welt > 0.012 and design.sole_material in ("leather", "rubber"):
        blend(skin, 0.4 * (skin.v > 0.8) * (np.sin(skin.u * 120) > 0), (0.6, 0.6, 0.6))


def _paint_footbed(skin: Skin, look: Look) -> None:
    design, colours = look.design, look.colours
    cover(skin, colours["footbed"], design.footbed_material, look.grain)
    if design.cut in ("straps", "mule", "peep mule"):
        skin.colour *= 1 - 0.25 * np.exp(-(((skin.x - 0.84) / 0.12) ** 2))
        label = np.minimum(0.05 - np.abs(skin.x - 0.86), 0.03 - np.abs(skin.z))
        blend(skin, 0.5 * soft_step(label, 0.006), colours["second"])
        seam(skin, (skin.v - 0.14) * 0.15, depth=0.4)
    blend(skin, soft_step(0.07 - skin.v, 0.02), colours["edge"])


def _paint_heel(skin: Skin, look: Look) -> None:
    cover(skin, look.colours["heel"], look.material(look.design.heel_material), look.grain)
    blend(skin, skin.v < 0.06, (0.012, 0.012, 0.012))


def _paint_strap(skin: Skin, look: Look) -> None:
    cover(skin, look.colours["strap"], look.design.strap_material, look.grain, look.colours["second"])
    skin.colour *= 1 - 0.3 * line(np.abs(skin.v) - 1, 0.16)
    thread = 0.25 * line(np.abs(skin.v) - 0.74, 0.10) * (np.sin(skin.u * 90) > -0.3)
    blend(skin, thread, skin.colour * 2 + 0.05)
    _line_inside(skin, look.colours["lining"] * 0.7)


def _paint_tongue(skin: Skin, look: Look) -> None:
    cover(skin, look.colours["tongue"], look.design.material, look.grain)
    label = np.minimum(0.7 - np.abs(skin.v), (skin.u - 0.62) * 3)
    blend(skin, 0.9 * soft_step(label, 0.1) * (1 - skin.inside), look.colours["second"])
    _line_inside(skin, look.colours["lining"] * 0.7)


def _plain_painter(colour: str, material: str = "") -> Callable[[Skin, Look], None]:
    """Return a painter of one material; "": that of the straps."""
    return lambda skin, look: cover(
        skin, look.colours[colour], material or look.design.strap_material, look.grain
    )


def _paint_bag(skin: Skin, look: Look) -> None:
    design, colours = look.design, look.colours
    cover(skin, colours["main"], design.material, look.grain, colours["second"], softness=0.4)
    up, side = skin.y / design.bag_height, skin.x / design.bag_half
    if design.bag_detail in BAG_DETAILS:
        BAG_DETAILS[design.bag_detail](skin, look, up, side)
    seam(skin, np.where(up < 0.97, (np.abs(side) - 0.93) * 0.3, 1))
    overlay(skin, (up - 0.93) * 0.3, colours["collar"], step=1.0)
    skin.colour *= 0.85 + 0.15 * np.clip(up * 3, 0, 1)
    _line_inside(skin, colours["lining"] * 0.45)


PAINTERS: dict[str, Callable[[Skin, Look], None]] = {
    "upper": _paint_upper,
    "sole": _paint_sole,
    "footbed": _paint_footbed,
    "heel": _paint_heel,
    "strap": _paint_strap,
    "tongue": _paint_tongue,
    "lace": _plain_painter("lace", "canvas"),
    "metal": _plain_painter("hardware", "metal"),
    "ornament": _plain_painter("ornament"),
    "pompom": _plain_painter("trim", "fleece"),
    "bag": _paint_bag,
    "handle": _plain_painter("strap", "leather"),
}

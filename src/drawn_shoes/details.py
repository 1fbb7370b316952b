"""What is sewn, laced, zipped or printed on an upper or a bag; fields are distances in shoe lengths."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from drawn_shoes.colourways import Look
from drawn_shoes.materials import blend, line, soft_step
from drawn_shoes.render import Skin
from drawn_shoes.shapes import bottom

SEAM = 0.012  # width of a seam


def overlay(
    skin: Skin, field: np.ndarray, colour: np.ndarray, *, step: float = 0.8, stitch: bool = True
) -> None:
    """Lay a sewn-on piece where `field` (distance in shoe lengths) is positive."""
    inside = soft_step(field, 0.004)
    blend(skin, inside, colour)
    skin.relief += step * inside
    skin.colour *= 1 - 0.35 * line(field, SEAM * 0.7)
    if stitch:
        stitches(skin, field - 0.018)


def stitches(skin: Skin, field: np.ndarray) -> None:
    """Sew along the zero line of `field`."""
    dashes = 0.35 + 0.65 * (np.sin((skin.x + skin.z + 0.7 * skin.y) * 240) > -0.3)
    thread = line(field, 0.006) * dashes
    blend(skin, 0.35 * thread, np.clip(skin.colour * 2.2 + 0.06, 0, 0.9))
    skin.relief -= 0.25 * thread


def seam(skin: Skin, field: np.ndarray, depth: float = 0.6) -> None:
    """Draw a stitched groove along the zero line of `field`."""
    groove = line(field, SEAM)
    skin.colour *= 1 - 0.45 * groove
    skin.relief -= depth * groove


def _near(skin: Skin, field: np.ndarray) -> np.ndarray:
    """Return the field on the viewer's side alone."""
    return np.where(skin.z > 0, field, -1)


def _insole(look: Look, x: float) -> float:
    return float(bottom(np.array([x]), look.design)[0])


def height_above(skin: Skin, look: Look) -> np.ndarray:
    """Return the height above the insole, by which seams follow a raised heel."""
    return skin.y - bottom(np.clip(skin.x, 0, 1), look.design).astype(np.float32)


def _toe_cap(skin: Skin, look: Look, _height: np.ndarray) -> None:
    edge = look.design.cap - skin.x + 0.9 * skin.z**2
    overlay(skin, edge, look.colours["cap"])


def _wing_tip(skin: Skin, look: Look, height: np.ndarray) -> None:
    edge = look.design.cap + 0.25 * np.abs(skin.z) / 0.15 - 0.08 - skin.x + 0.3 * (0.1 - height)
    overlay(skin, edge, look.colours["cap"])
    dots = line(edge - 0.02, 0.008) * (np.sin((skin.x + skin.z) * 300) > 0)
    skin.colour *= 1 - 0.7 * dots


def _moccasin(skin: Skin, look: Look, _height: np.ndarray) -> None:
    """Sew the raised U-shaped seam of a moccasin's vamp."""
    front = np.abs(skin.u) < 1.75
    field = (skin.v - look.design.apron) * 0.3
    seam(skin, np.where(front, field, 1), depth=1.6)
    pleats = np.sin(skin.u * 46) * np.clip(1 - np.abs(field + 0.02) / 0.02, 0, 1) * (np.abs(skin.u) < 1.2)
    skin.relief += 0.8 * pleats
    skin.relief += 1.0 * soft_step(np.where(front, field, -1), 0.008)
    blend(skin, 0.25 * np.where(front, soft_step(field, 0.01), 0), look.colours["cap"])


def _bumper(skin: Skin, look: Look, height: np.ndarray) -> None:
    """Set the rubber or suede guard around a sports shoe's toe."""
    edge = np.maximum(0.055 - height, 0.10 - skin.x + 0.06 * (0.12 - height)) + 0.25 * (0.22 - skin.x)
    overlay(skin, np.minimum(edge, 0.4 - skin.x), look.colours["cap"])


def _centre_seam(skin: Skin, _look: Look, _height: np.ndarray) -> None:
    seam(skin, np.where(np.cos(skin.u) > 0, skin.z, 1.0))


def _throat(skin: Skin, look: Look) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the throat's field (positive within), the place along it and across it (-1..1)."""
    start = look.design.lace_start
    base = _insole(look, start) + look.design.toe_box
    along = 0.74 * (skin.x - start) + 0.67 * (skin.y - base)
    half = 0.028 + 0.03 * np.clip(along / 0.25, 0, 1)
    field = np.minimum(half - np.abs(skin.z + 0.01), along)
    return np.where(np.cos(skin.u) > 0.0, field, -1.0), along, (skin.z + 0.01) / half


def _laces(skin: Skin, look: Look, _height: np.ndarray) -> None:
    """Paint facings, tongue, bars of lace and eyelets up the front."""
    field, along, across = _throat(skin, look)
    end = 2.0 if look.design.shaft > 0 else 1.0
    here = skin.v < end + 0.05
    overlay(skin, np.where(here, field + 0.042, -1), look.colours["facing"], step=0.7)
    blend(skin, soft_step(np.where(here, field, -1), 0.004), look.colours["tongue"])
    pitch = look.design.lace_pitch
    slope = 0.22 * across * np.where(np.floor(along / pitch) % 2 > 0, 1, -1)
    bar = np.abs((along / pitch + slope) % 1 - 0.5)
    inside = (field > -0.016) & here & (along > 0.01)
    lace = np.clip(1.5 - bar / 0.16, 0, 1) * inside
    blend(skin, lace, look.colours["lace"])
    skin.relief += 2.2 * np.clip(1 - (bar / 0.28) ** 2, 0, 1) * inside
    skin.colour *= 1 - 0.5 * inside * line(bar - 0.33, 0.12)
    eyelet = line(field + 0.026, 0.012) * np.clip(1.4 - bar / 0.14, 0, 1) * here
    blend(skin, 0.9 * eyelet, look.colours["hardware"])


def _velcro(skin: Skin, look: Look, height: np.ndarray) -> None:
    for place in (0.34, 0.43):
        field = np.minimum(0.034 - np.abs(skin.x - place + 0.15 * (height - 0.2)), height - 0.10)
        overlay(skin, np.where(skin.v < 1.02, field, -1), look.colours["second"], step=1.8)


def _gore(skin: Skin, look: Look, height: np.ndarray) -> None:
    """Set the elastic of a chelsea boot into both sides."""
    base = _insole(look, 0.7)
    up = (skin.y - base - 0.08) / 0.3
    field = np.minimum(0.035 + 0.045 * up - np.abs(skin.x - 0.70 - 0.02 * up), height - 0.10)
    inside = np.where(skin.v < 2.05, soft_step(field, 0.004), 0)
    blend(skin, inside, look.colours["gore"])
    skin.gloss *= 1 - inside
    skin.relief += inside * 0.5 * np.sin(skin.x * 420)
    seam(skin, np.where(skin.v < 2.05, field, 1))


def _zip(skin: Skin, look: Look, height: np.ndarray) -> None:
    field = skin.x - 0.74 - 0.02 * np.sin(skin.y * 6)
    here = (height > 0.05) & (skin.v < 2.05) & (skin.z > 0)
    seam(skin, np.where(here, np.abs(field) - 0.016, 1))
    teeth = line(field, 0.010) * here
    blend(skin, teeth * (0.6 + 0.4 * (np.sin(skin.y * 300) > 0)), look.colours["hardware"])
    skin.gloss += 0.3 * teeth


def _penny(skin: Skin, look: Look, height: np.ndarray) -> None:
    """Lay the loafer's saddle strap with its slot across the vamp."""
    along = skin.x - look.design.saddle
    half = 0.034 + 0.12 * np.clip(np.abs(skin.z) - 0.06, 0, 0.1)
    field = np.minimum(half - np.abs(along), height - 0.015)
    overlay(skin, np.where(skin.v < 1.05, field, -1), look.colours["strap"], step=2.0)
    slot = line(along, 0.014) * (np.abs(skin.z + 0.01) < 0.035)
    skin.colour *= 1 - 0.85 * slot


def _bit(skin: Skin, look: Look, height: np.ndarray) -> None:
    """Lay a strap with a metal horse bit across the vamp."""
    _penny(skin, look, height)
    along = skin.x - look.design.saddle
    bar = line(along + 0.005 * np.cos(skin.z * 90), 0.018) * (np.abs(skin.z + 0.01) < 0.07) * (skin.v < 1.05)
    blend(skin, bar, look.colours["hardware"])
    skin.gloss += 0.8 * bar
    skin.relief += 2 * bar


def _boat(skin: Skin, look: Look, height: np.ndarray) -> None:
    """Run the boat shoe's leather lace around the collar and over two eyelets."""
    field = np.where(np.abs(skin.u) > 0.9, (1 - skin.v) * 0.2 - 0.025, 1)
    cord = line(field, 0.011) * (np.sin(skin.u * 26) > -0.2)
    blend(skin, cord, look.colours["lace"])
    skin.relief += cord
    _laces(skin, look, height)


def _stripes(skin: Skin, look: Look, height: np.ndarray) -> None:
    place = (skin.x - 0.55 + 0.55 * (height - 0.1)) / 0.062
    band = np.minimum(0.27 - np.abs(place % 1 - 0.5), np.minimum(1.5 - np.abs(place), 0.5) * 2) * 0.062
    lower = np.minimum(height - 0.02, 0.30 - height)
    field = _near(skin, np.minimum(band, lower))
    overlay(skin, field, look.colours["second"], step=0.4, stitch=False)


def _swoosh(skin: Skin, look: Look, height: np.ndarray) -> None:
    x = (skin.x - 0.34) / 0.5
    lower = 0.045 + 0.10 * x**2
    upper = 0.105 + 0.06 * x**3
    field = np.minimum(np.minimum(height - lower, upper - height), 0.5 * np.minimum(x, 1 - x))
    overlay(skin, _near(skin, field), look.colours["second"], step=0.5, stitch=False)


def _curve_lines(skin: Skin, look: Look, height: np.ndarray) -> None:
    wave = height - 0.06 - 0.5 * (skin.x - 0.5) ** 2 - 0.16 * (skin.x - 0.4)
    field = 0.012 - np.abs((wave + 0.018) % 0.036 - 0.018)
    reach = np.minimum(np.minimum(skin.x - 0.36, 0.86 - skin.x), 0.055 - np.abs(wave))
    field = _near(skin, np.minimum(field, reach))
    overlay(skin, field, look.colours["second"], step=0.4, stitch=False)


def _panel(skin: Skin, look: Look, height: np.ndarray) -> None:
    """Sew a second piece around the instep and the sides."""
    edge = 0.16 - np.abs(skin.x - look.design.panel + 0.5 * (height - 0.1))
    overlay(skin, edge, look.colours["second"])


def _quarter(skin: Skin, look: Look, height: np.ndarray) -> None:
    edge = skin.x - look.design.panel + 0.7 * (height - 0.08)
    overlay(skin, edge, look.colours["second"])


def _side_seam(skin: Skin, look: Look, height: np.ndarray) -> None:
    seam(skin, skin.x - look.design.panel + 0.3 * height)


def _logo(skin: Skin, look: Look, height: np.ndarray) -> None:
    spot = 0.038 - np.hypot(skin.x - 0.72, height - 0.15)
    overlay(skin, _near(skin, spot), look.colours["second"], stitch=False)
    star = line(np.abs(skin.x - 0.72) + np.abs(height - 0.15) - 0.01, 0.016)
    blend(skin, star * (skin.z > 0), look.colours["main"])


def _harness(skin: Skin, look: Look, _height: np.ndarray) -> None:
    """Buckle a strap around the ankle of a boot."""
    base = _insole(look, 0.75)
    for place, slope in ((0.17, 0.0), (0.14, -0.35)):
        field = 0.026 - np.abs(skin.y - base - place - slope * (skin.x - 0.72))
        overlay(skin, np.where(skin.x > 0.44, field, -1), look.colours["strap"], step=1.8)
    ring = line(np.hypot(skin.x - 0.72, skin.y - base - 0.17) - 0.035, 0.016) * (skin.z > 0)
    blend(skin, ring, look.colours["hardware"])
    skin.gloss += 0.6 * ring
    skin.relief += 1.5 * ring


def _western(skin: Skin, look: Look, _height: np.ndarray) -> None:
    """Stitch the curls of a cowboy boot's shaft."""
    up = np.where(skin.v > 1, skin.v - 1, 0)
    wave = skin.x - 0.72 - 0.07 * np.sin(up * 11)
    for shift in (-0.09, -0.05, 0.05, 0.09):
        thread = line(wave - shift * (0.6 + 0.8 * up), 0.012) * (up > 0.08)
        blend(skin, 0.8 * thread, look.colours["second"])


def _slouch(skin: Skin, look: Look, _height: np.ndarray) -> None:
    """Let a soft shaft fall in folds."""
    soft = look.grain.sample(look.grain.soft, 0.5 * (skin.x + skin.z) + 7, skin.y + 7, 130)
    folds = (np.sin(skin.y * 24 + 2.6 * soft + 3 * skin.x) + 0.6 * soft) * np.clip(skin.v - 0.7, 0, 0.5)
    skin.relief += 3.0 * folds
    skin.colour *= np.exp(0.22 * folds)


def _counter(skin: Skin, look: Look, height: np.ndarray) -> None:
    edge = skin.x - 0.82 + 0.35 * np.clip(height - 0.04, -0.1, 0.3)
    overlay(skin, np.where(skin.v < 1.1, edge, -1), look.colours["counter"])


def _pull_tab(skin: Skin, look: Look, _height: np.ndarray) -> None:
    end = 2.0 if look.design.shaft > 0 else 1.0
    field = np.minimum(0.03 - np.abs(skin.z), (skin.v - end + 0.35) * 0.3)
    overlay(skin, np.where(np.cos(skin.u) < -0.4, field, -1), look.colours["second"])


def _duck(skin: Skin, look: Look, height: np.ndarray) -> None:
    """Shell the lower part in rubber."""
    edge = 0.115 - 0.05 * np.sin((skin.x - 0.1) * 6) * (skin.x < 0.75) - height
    edge = edge + np.clip(0.3 - skin.x, 0, 1) * 0.5
    overlay(skin, edge, look.colours["cap"], step=1.5)
    skin.gloss += 0.4 * soft_step(edge, 0.01)


def _bands(skin: Skin, look: Look, height: np.ndarray) -> None:
    """Run lighter bands along the foot, as on knitted and quilted slippers."""
    blend(skin, 0.6 * (np.sin((height + 0.3 * skin.x) * 120) > 0.3), look.colours["second"])


DETAILS: dict[str, Callable[[Skin, Look, np.ndarray], None]] = {
    "cap": _toe_cap,
    "wing": _wing_tip,
    "moccasin": _moccasin,
    "bumper": _bumper,
    "seam": _centre_seam,
    "laces": _laces,
    "velcro": _velcro,
    "gore": _gore,
    "zip": _zip,
    "penny": _penny,
    "bit": _bit,
    "boat": _boat,
    "stripes": _stripes,
    "swoosh": _swoosh,
    "lines": _curve_lines,
    "panel": _panel,
    "quarter": _quarter,
    "side seam": _side_seam,
    "logo": _logo,
    "harness": _harness,
    "western": _western,
    "slouch": _slouch,
    "counter": _counter,
    "tab": _pull_tab,
    "duck": _duck,
    "bands": _bands,
}


def _flap(skin: Skin, look: Look, up: np.ndarray, side: np.ndarray) -> None:
    """Close a bag with a flap whose edge bends down or up."""
    edge = up - look.design.flap - 0.16 * (1 - side**2) * look.design.flap_curve
    overlay(skin, np.where(skin.z > -0.02, 0.3 * edge, -1), look.colours["flap"], step=2.2)
    skin.colour *= 1 - 0.3 * np.clip(1 + edge / 0.06, 0, 1) * (edge < 0)


def _base(skin: Skin, look: Look, up: np.ndarray, _side: np.ndarray) -> None:
    overlay(skin, (look.design.flap * 0.5 - up) * 0.3, look.colours["second"])


def _pocket(skin: Skin, look: Look, up: np.ndarray, side: np.ndarray) -> None:
    field = np.minimum(0.62 - np.abs(side), np.minimum(up - 0.14, 0.58 - up)) * 0.3
    overlay(skin, _near(skin, field), look.colours["main"] * 0.9, step=1.6)
    teeth = line(np.where(skin.z > 0, (up - 0.56) * 0.3, 1), 0.014) * (np.abs(side) < 0.6)
    blend(skin, teeth, look.colours["hardware"])
    skin.relief += teeth


def _two_belts(skin: Skin, look: Look, _up: np.ndarray, side: np.ndarray) -> None:
    field = (0.05 - np.abs(np.abs(side) - 0.5)) * 0.3
    overlay(skin, _near(skin, field), look.colours["strap"], step=1.6)


def _gather(skin: Skin, _look: Look, up: np.ndarray, side: np.ndarray) -> None:
    fan = np.sin(side * 22 + 5 * (1 - up)) * np.clip(up - 0.45, 0, 1)
    skin.relief += 3.0 * fan
    skin.colour *= 1 + 0.15 * fan


BAG_DETAILS: dict[str, Callable[[Skin, Look, np.ndarray, np.ndarray], None]] = {
    "flap": _flap,
    "base": _base,
    "pocket": _pocket,
    "straps": _two_belts,
    "gather": _gather,
}

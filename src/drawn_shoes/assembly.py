"""From a design to its parts: shoe, straps, tongue, ornaments, or bag and handles."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from drawn_shoes.design import Design
from drawn_shoes.shapes import (
    ANGLES,
    Mesh,
    band,
    blob,
    bottom,
    half_width,
    path,
    signed_power,
    sole,
    topline,
    tube,
    upper,
)

INSTEP_PLACES = (0.0, 0.12, 0.30, 0.45, 0.58, 0.70, 1.0)
INSTEP_HEIGHTS = (0.03, 0.06, 0.10, 0.15, 0.21, 0.28, 0.34)
Parts = Callable[[Design], list[Mesh]]


def build(design: Design) -> list[Mesh]:
    """Return the parts of a product; the first mesh's first row is its outline on the ground."""
    if design.handles != "none":
        return [_bag(design), *HANDLES[design.handles](design), *_clasp(design)]
    meshes = sole(design)
    if design.cut != "straps":
        meshes.append(upper(design))
    if design.fastening in ("laces", "boat") and design.shaft == 0:
        meshes.extend(_tongue(design))
    return [*meshes, *STRAPS[design.straps](design), *_ornament(design)]


def _tongue(design: Design) -> list[Mesh]:
    """Return the tongue above a low shoe's throat and the bow of the laces."""
    x, y, _ = topline(design)[len(ANGLES) // 2]
    out = 0.055 if design.fastening == "laces" else 0.015
    steps = np.linspace(0, 1, 9)
    centre = path(x - 0.05 + (0.06 + 0.5 * out) * steps, y - 0.045 + (0.05 + out) * steps**1.1, 0)
    return [
        band("tongue", centre, path(0, 0, -0.045 - 0.012 * steps), 0.02),
        *(_bow_loop(x - 0.03, y + 0.005, side) for side in (1, -1)),
    ]


def _bow_loop(x: float, y: float, side: int) -> Mesh:
    t = np.linspace(0, 1, 15)
    swing = np.sin(np.pi * t)
    drop = -0.05 * swing * (1.2 - t) - 0.02 * t
    loop = path(x - 0.05 * np.sin(2 * np.pi * t) * 0.6, y + drop + 0.02, side * 0.085 * swing)
    return tube("lace", loop, 0.0065)


def _cross(design: Design, near: float, far: float, width: float) -> Mesh:
    """Return a strap over the foot from x `near` on the near side to `far` on the far side."""
    turn = np.linspace(0, np.pi, 25)
    x = near + (far - near) * turn / np.pi
    arch = np.sin(turn)
    foot = np.interp(x, INSTEP_PLACES, INSTEP_HEIGHTS)
    z = (half_width(x, design) + 0.006) * np.cos(turn)
    centre = path(x + 0.02 * arch, bottom(x, design) + foot * arch**0.65, z)
    slope = 0.45 * arch
    return band("strap", centre, width * path(np.cos(slope), np.sin(slope), 0), 0.008)


def _sling(design: Design, start: float, height: float, width: float) -> Mesh:
    """Return a strap from both sides of the foot around the heel."""
    turn = np.linspace(0, np.pi, 29)
    back = np.sin(turn)
    x = start + (0.985 - start) * back**0.8
    base = bottom(np.clip(x, 0, 1), design)
    low = 0.05
    centre = path(x, base + low + (height - low) * back, -0.098 * design.width * np.cos(turn))
    return band("strap", centre, path(0, width + 0 * turn, 0), 0.006)


def _buckle(x: float, y: float, z: float, size: float) -> Mesh:
    """Return a metal frame that faces the viewer."""
    turn = np.linspace(0, 2 * np.pi, 21)
    across, up = np.cos(turn), np.sin(turn)
    square = np.maximum(np.abs(across), np.abs(up)) ** 0.7
    return tube("metal", path(x + size * across / square, y + size * 0.9 * up / square, z), size * 0.24)


def _on_strap(mesh: Mesh, share: float, size: float) -> Mesh:
    """Return a buckle lying on a strap at `share` of its length."""
    row = mesh.points.shape[0] // 2
    x, y, z = mesh.points[row, int(share * (mesh.points.shape[1] - 1))]
    return _buckle(float(x), float(y), float(z) + 0.012, size)


def _ankle_strap(design: Design) -> list[Mesh]:
    height = float(bottom(np.array([0.9]), design)[0]) + max(0.22, design.back_height + 0.015)
    radius, turn = 0.145, np.linspace(-np.pi, np.pi, 33)
    centre = path(0.84 - radius * np.cos(turn), height + 0.03 * np.cos(turn), 0.72 * radius * np.sin(turn))
    ring = band("strap", centre, path(0, -(design.strap_width * 0.6) + 0 * turn, 0), 0.006)
    return [ring, _on_strap(ring, 0.66, 0.02)]


def _mary_jane(design: Design) -> list[Mesh]:
    ring = topline(design)
    middle = len(ANGLES) // 2
    step = 11 + int(8 * design.strap_place)
    near, far = ring[middle + step], ring[middle - step]
    turn = np.linspace(0, np.pi, 25)
    share = (turn / np.pi)[:, None]
    centre = near * (1 - share) + far * share
    centre[:, 1] += (0.075 + 0.02 * design.strap_place) * np.sin(turn) ** 0.8
    centre[:, 2] *= 1.06
    centre[:, 1] -= 0.012
    across = design.strap_width * 0.8 * path(np.cos(0.4 + 0 * turn), np.sin(0.4), 0)
    strap = band("strap", centre, across, 0.006)
    return [strap, _on_strap(strap, 0.1, 0.02)]


def _thong(design: Design) -> list[Mesh]:
    """Return the two arms of a flip-flop and its post."""
    t = np.linspace(0, 1, 25)[:, None]
    end = np.array([0.44 + 0.1 * design.strap_place])
    base = float(bottom(np.array([0.2]), design)[0])
    post = np.array([0.17, base + 0.05, -0.02])
    meshes = []
    for side in (1, -1):
        last = np.concatenate([end, bottom(end, design), side * half_width(end, design)])
        middle = np.array([0.30, base + 0.17, side * 0.10])
        centre = (1 - t) ** 2 * post + 2 * t * (1 - t) * middle + t**2 * last
        width = design.strap_width * (0.45 + 0.55 * np.sin(np.pi * t[:, 0]))
        meshes.append(band("strap", centre, path(width * 0.75, width * 0.55, -side * width * 0.5), 0.01))
    stem = np.linspace(0, 1, 5)
    return [*meshes, tube("strap", path(0.17 - 0.01 * (1 - stem), base + 0.05 * stem, -0.02), 0.012)]


def _two_straps(design: Design) -> list[Mesh]:
    width = 0.03 + design.strap_width * 0.6
    front, back = _cross(design, 0.26, 0.24, width), _cross(design, 0.44, 0.42, width)
    return [front, back, _on_strap(front, 0.22, 0.028), _on_strap(back, 0.22, 0.028)]


def _crossed(design: Design) -> list[Mesh]:
    width = design.strap_width * 0.8
    over = [_cross(design, 0.20, 0.40, width), _cross(design, 0.40, 0.18, width)]
    return [*over, _sling(design, 0.56, 0.22, width * 0.6)]


def _t_bar(design: Design) -> Mesh:
    t = np.linspace(0, 1, 17)
    x = 0.2 + 0.44 * t
    y = bottom(x, design) + np.interp(x, INSTEP_PLACES, INSTEP_HEIGHTS) + 0.008
    return band("strap", path(x, y, -0.01), path(0, 0, -design.strap_width * 0.6 + 0 * t), 0.006)


def _t_strap(design: Design) -> list[Mesh]:
    width = design.strap_width
    front, back = _cross(design, 0.22, 0.20, width), _cross(design, 0.64, 0.62, width * 0.55)
    return [front, _t_bar(design), back, _sling(design, 0.60, 0.26, width * 0.5)]


def _gladiator(design: Design) -> list[Mesh]:
    width = design.strap_width * 0.6
    straps = [_cross(design, place, place - 0.02, width) for place in (0.18, 0.30, 0.42, 0.54)]
    return [*straps, _t_bar(design), _sling(design, 0.62, 0.28, width), *_ankle_strap(design)]


def _sport_straps(design: Design) -> list[Mesh]:
    width = 0.03 + 0.5 * design.strap_width
    front, back = _cross(design, 0.24, 0.22, width), _cross(design, 0.52, 0.50, width)
    sling = _sling(design, 0.54, 0.2, width * 0.8)
    return [front, back, sling, _on_strap(front, 0.25, 0.02), _on_strap(back, 0.25, 0.02)]


def _strappy(design: Design) -> list[Mesh]:
    width = design.strap_width * 0.55
    toe = [_cross(design, 0.17, 0.15, width), _cross(design, 0.26, 0.26, width)]
    return [*toe, *_ankle_strap(design), _sling(design, 0.70, 0.28, width)]


def _toe_and_ankle(design: Design) -> list[Mesh]:
    toe = _cross(design, 0.23, 0.21, 0.03 + design.strap_width)
    return [toe, *_ankle_strap(design), _sling(design, 0.72, 0.26, 0.02)]


STRAPS: dict[str, Parts] = {
    "none": lambda _: [],
    "ankle": _ankle_strap,
    "mary jane": _mary_jane,
    "thong": _thong,
    "slide": lambda design: [_cross(design, 0.30, 0.28, 0.075 + design.strap_width)],
    "two straps": _two_straps,
    "crossed": _crossed,
    "t strap": _t_strap,
    "gladiator": _gladiator,
    "sport": _sport_straps,
    "strappy": _strappy,
    "slingback": lambda design: [_sling(design, design.cut_place - 0.04, 0.17, design.strap_width * 0.5)],
    "toe and ankle": _toe_and_ankle,
}


def _ornament(design: Design) -> list[Mesh]:
    """Return the bow, tassels, pompom or brooch on the vamp, if any."""
    top = topline(design)[len(ANGLES) // 2]
    x, y, sides = float(top[0]) - 0.035, float(top[1]) + 0.004, (1, -1)
    if design.ornament == "bow":
        lobes = [blob("ornament", (x, y, side * 0.034), (0.022, 0.014, 0.034)) for side in sides]
        return [*lobes, blob("ornament", (x, y + 0.006, 0), (0.012, 0.012, 0.010))]
    if design.ornament == "tassel":
        ends = [(x - 0.045, y - 0.012, side * 0.022) for side in sides]
        lobes = [blob("ornament", end, (0.032, 0.010, 0.016)) for end in ends]
        return [*lobes, blob("ornament", (x, y, 0), (0.016, 0.010, 0.02))]
    if design.ornament == "pompom":
        return [blob("pompom", (x - 0.01, y + 0.02, 0), (0.05, 0.045, 0.05))]
    return [blob("metal", (x, y, 0.0), (0.022, 0.012, 0.026))] if design.ornament == "brooch" else []


def _bag(design: Design) -> Mesh:
    """Return the body of a bag that faces the viewer."""
    rows = np.concatenate([np.linspace(0, 1, 31), [1.02, 1.04, 1.05]])
    up = np.clip(rows, 0, 1)[:, None]
    corner = np.clip(1 - up / design.bag_corner, 0, 1)
    rounding = design.bag_corner * 0.6 * (1 - np.sqrt(1 - corner**2))
    half = design.bag_half * (1 + design.bag_taper * (up - 0.3)) - rounding
    depth = design.bag_depth * (1 - design.bag_close * up**1.6) * (1 - 0.25 * corner**2)
    depth = (depth + 0.03 * np.sin(np.pi * up)) * (1 - 0.9 * np.clip((rows[:, None] - 1) / 0.05, 0, 1))
    x = -half * signed_power(np.cos(ANGLES), 0.3)
    z = depth * signed_power(np.sin(ANGLES), 0.45)
    sag = design.bag_sag * (1 - (x / design.bag_half) ** 2) * up**2
    return Mesh("bag", path(x, design.bag_height * up - sag, z), ANGLES, rows, closed=True)


def _arc(design: Design, z: float, height: float, span: float, radius: float, part: str = "handle") -> Mesh:
    turn, arch = np.linspace(0, np.pi, 29), np.sin(np.linspace(0, np.pi, 29))
    x = -span * signed_power(np.cos(turn), 0.75)
    sag = design.bag_sag * (1 - (x / design.bag_half) ** 2)
    base = design.bag_height * 0.93 - sag * (arch < 0.3)
    return tube(part, path(x, base + height * arch**0.8, z), radius)


def _two_handles(design: Design) -> list[Mesh]:
    gap = design.bag_depth * (1 - design.bag_close) + 0.012
    span = design.handle_span * design.bag_half
    sides = ((-1, design.handle_height * 1.04), (1, design.handle_height * 1))
    return [_arc(design, side * gap, height, span, 0.016) for side, height in sides]


def _wide_strap(design: Design) -> list[Mesh]:
    turn = np.linspace(0, np.pi, 29)
    y = design.bag_height * 0.92 + design.handle_height * np.sin(turn) ** 0.9
    across = 0.032 * path(-np.cos(turn), np.sin(turn), 0.5)
    return [band("strap", path(-design.bag_half * 0.95 * np.cos(turn), y, 0), across, 0.004)]


HANDLES: dict[str, Parts] = {
    "two": _two_handles,
    "one": lambda bag: [_arc(bag, 0, bag.handle_height * 0.6, bag.handle_span * 0.8 * bag.bag_half, 0.022)],
    "shoulder": lambda bag: [_arc(bag, 0, bag.handle_height * 1.3, bag.bag_half * 0.93, 0.014)],
    "chain": lambda bag: [_arc(bag, 0, bag.handle_height * 1.2, bag.bag_half * 0.9, 0.011, "metal")],
    "wide": _wide_strap,
    "clutch": lambda _: [],
}


def _clasp(design: Design) -> list[Mesh]:
    front = design.bag_depth * 0.9 + 0.02
    if design.bag_detail == "flap":
        y = design.bag_height * (design.flap + 0.16 * design.flap * design.flap_curve + 0.03)
        return [blob("metal", (0.0, y, front), (0.035, 0.03, 0.02))]
    if design.bag_detail == "straps":
        y = design.bag_height * 0.55
        return [_buckle(place * design.bag_half, y, front + 0.02, 0.03) for place in (-0.5, 0.5)]
    return []

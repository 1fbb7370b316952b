"""From a design to its parts: shoe, straps, tongue, ornaments, or bag and handles."""

from __future__ import annotations

import numpy as np

from drawn_shoes.design import Design
from drawn_shoes.shapes import (
    ANGLES,
    Mesh,
    band,
    blob,
    bottom,
    half_width,
    sole,
    topline,
    tube,
    upper,
)

INSTEP_PLACES = (0.0, 0.12, 0.30, 0.45, 0.58, 0.70, 1.0)
INSTEP_HEIGHTS = (0.03, 0.06, 0.10, 0.15, 0.21, 0.28, 0.34)


def build(design: Design) -> list[Mesh]:
    """Return the parts of a product; the first mesh's first row is its outline on the ground."""
    return _bag(design) if design.handles != "none" else _shoe(design)


def _shoe(design: Design) -> list[Mesh]:
    meshes = sole(design)
    if design.cut != "straps":
        meshes.append(upper(design))
    if design.fastening in ("laces", "boat"):
        meshes.extend(_tongue(design))
    if design.straps != "none":
        meshes.extend(STRAPS[design.straps](design))
    if design.ornament != "none":
        meshes.extend(_ornament(design))
    return meshes


def _tongue(design: Design) -> list[Mesh]:
    """Return the tongue above the throat and, on low shoes, the bow of the laces."""
    top = topline(design)[len(ANGLES) // 2]
    out = 0.055 if design.fastening == "laces" else 0.015
    x, y = top[0], top[1]
    if design.shaft > 0:
        return []
    steps = np.linspace(0, 1, 9)
    centre = np.stack(
        [x - 0.05 + (0.06 + 0.5 * out) * steps, y - 0.045 + (0.05 + out) * steps**1.1, 0 * steps], axis=1
    )
    across = np.stack([0 * steps, 0 * steps, -0.045 - 0.012 * steps], axis=1)
    return [band("tongue", centre, across, 0.02), *_bow_loops(x - 0.03, y + 0.005)]


def _bow_loops(x: float, y: float) -> list[Mesh]:
    loops = []
    for side in (1, -1):
        t = np.linspace(0, 1, 15)
        swing = np.sin(np.pi * t)
        z = side * 0.085 * swing
        drop = -0.05 * swing * (1.2 - t) - 0.02 * t
        loops.append(
            tube(
                "lace", np.stack([x - 0.05 * np.sin(2 * np.pi * t) * 0.6, y + drop + 0.02, z], axis=1), 0.0065
            )
        )
    return loops


def _cross(design: Design, near: float, far: float, width: float, *, loose: float = 1.0) -> Mesh:
    """Return a strap over the foot from x `near` on the near side to `far` on the far side."""
    turn = np.linspace(0, np.pi, 25)
    x = near + (far - near) * turn / np.pi
    arch = np.sin(turn)
    foot = np.interp(x, INSTEP_PLACES, INSTEP_HEIGHTS) * loose
    z = (half_width(x, design) + 0.006) * np.cos(turn)
    centre = np.stack([x + 0.02 * arch, bottom(x, design) + foot * arch**0.65, z], axis=1)
    slope = 0.45 * arch
    across = width * np.stack([np.cos(slope), np.sin(slope), 0 * slope], axis=1)
    return band("strap", centre, across, 0.008)


def _ring(x: float, y: float, radius: float, width: float, tilt: float = 0.0) -> Mesh:
    """Return a strap around the ankle."""
    turn = np.linspace(-np.pi, np.pi, 33)
    centre = np.stack(
        [x - radius * np.cos(turn), y + tilt * np.cos(turn), 0.72 * radius * np.sin(turn)], axis=1
    )
    return band("strap", centre, np.stack([0 * turn, -width + 0 * turn, 0 * turn], axis=1), 0.006)


def _sling(design: Design, start: float, height: float, width: float) -> Mesh:
    """Return a strap from both sides of the foot around the heel."""
    turn = np.linspace(0, np.pi, 29)
    back = np.sin(turn)
    x = start + (0.985 - start) * back**0.8
    base = bottom(np.clip(x, 0, 1), design)
    low = 0.05
    centre = np.stack([x, base + low + (height - low) * back, -0.098 * design.width * np.cos(turn)], axis=1)
    return band("strap", centre, np.stack([0 * turn, width + 0 * turn, 0 * turn], axis=1), 0.006)


def _buckle(x: float, y: float, z: float, size: float) -> Mesh:
    """Return a metal frame that faces the viewer."""
    turn = np.linspace(0, 2 * np.pi, 21)
    across, up = np.cos(turn), np.sin(turn)
    square = np.maximum(np.abs(across), np.abs(up)) ** 0.7
    path = np.stack([x + size * across / square, y + size * 0.9 * up / square, z + 0 * turn], axis=1)
    return tube("metal", path, size * 0.24)


def _on_strap(mesh: Mesh, share: float, size: float) -> Mesh:
    """Return a buckle lying on a strap at `share` of its length."""
    row = mesh.points.shape[0] // 2
    x, y, z = mesh.points[row, int(share * (mesh.points.shape[1] - 1))]
    return _buckle(float(x), float(y), float(z) + 0.012, size)


def _ankle_strap(design: Design) -> list[Mesh]:
    height = float(bottom(np.array([0.9]), design)[0]) + max(0.22, design.back_height + 0.015)
    ring = _ring(0.84, height, 0.145, design.strap_width * 0.6, 0.03)
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
    across = (
        design.strap_width
        * 0.8
        * np.stack([np.cos(0.4 + 0 * turn), np.sin(0.4 + 0 * turn), 0 * turn], axis=1)
    )
    strap = band("strap", centre, across, 0.006)
    return [strap, _on_strap(strap, 0.1, 0.02)]


def _thong(design: Design) -> list[Mesh]:
    """Return the two arms of a flip-flop and its post."""
    t = np.linspace(0, 1, 25)[:, None]
    end = 0.44 + 0.1 * design.strap_place
    base = float(bottom(np.array([0.2]), design)[0])
    post = np.array([0.17, base + 0.05, -0.02])
    meshes = []
    for side in (1, -1):
        last = np.array(
            [
                end,
                float(bottom(np.array([end]), design)[0]),
                side * float(half_width(np.array([end]), design)[0]),
            ]
        )
        middle = np.array([0.30, base + 0.17, side * 0.10])
        centre = (1 - t) ** 2 * post + 2 * t * (1 - t) * middle + t**2 * last
        width = design.strap_width * (0.45 + 0.55 * np.sin(np.pi * t[:, 0]))
        tilt = np.stack([width * 0.75, width * 0.55, -side * width * 0.5], axis=1)
        meshes.append(band("strap", centre, tilt, 0.01))
    stem = np.linspace(0, 1, 5)
    meshes.append(
        tube(
            "strap", np.stack([0.17 - 0.01 * (1 - stem), base + 0.05 * stem, -0.02 + 0 * stem], axis=1), 0.012
        )
    )
    return meshes


def _slide(design: Design) -> list[Mesh]:
    return [_cross(design, 0.30, 0.28, 0.075 + design.strap_width)]


def _two_straps(design: Design) -> list[Mesh]:
    width = 0.03 + design.strap_width * 0.6
    front = _cross(design, 0.26, 0.24, width)
    back = _cross(design, 0.44, 0.42, width)
    return [front, back, _on_strap(front, 0.22, 0.028), _on_strap(back, 0.22, 0.028)]


def _crossed(design: Design) -> list[Mesh]:
    width = design.strap_width * 0.8
    return [
        _cross(design, 0.20, 0.40, width),
        _cross(design, 0.40, 0.18, width),
        _sling(design, 0.56, 0.22, width * 0.6),
    ]


def _t_bar(design: Design) -> Mesh:
    t = np.linspace(0, 1, 17)
    x = 0.2 + 0.44 * t
    y = bottom(x, design) + np.interp(x, INSTEP_PLACES, INSTEP_HEIGHTS) + 0.008
    return band(
        "strap",
        np.stack([x, y, 0 * t - 0.01], axis=1),
        np.array([0, 0, -design.strap_width * 0.6]) + 0 * t[:, None],
        0.006,
    )


def _t_strap(design: Design) -> list[Mesh]:
    ring = _sling(design, 0.60, 0.26, design.strap_width * 0.5)
    return [
        _cross(design, 0.22, 0.20, design.strap_width),
        _t_bar(design),
        _cross(design, 0.64, 0.62, design.strap_width * 0.55),
        ring,
    ]


def _gladiator(design: Design) -> list[Mesh]:
    width = design.strap_width * 0.6
    straps = [_cross(design, place, place - 0.02, width) for place in (0.18, 0.30, 0.42, 0.54)]
    return [*straps, _t_bar(design), _sling(design, 0.62, 0.28, width), *_ankle_strap(design)]


def _sport_straps(design: Design) -> list[Mesh]:
    width = 0.03 + 0.5 * design.strap_width
    front = _cross(design, 0.24, 0.22, width)
    back = _cross(design, 0.52, 0.50, width)
    return [
        front,
        back,
        _sling(design, 0.54, 0.2, width * 0.8),
        _on_strap(front, 0.25, 0.02),
        _on_strap(back, 0.25, 0.02),
    ]


def _strappy(design: Design) -> list[Mesh]:
    width = design.strap_width * 0.55
    return [
        _cross(design, 0.17, 0.15, width),
        _cross(design, 0.26, 0.26, width),
        *_ankle_strap(design),
        _sling(design, 0.70, 0.28, width),
    ]


def _slingback(design: Design) -> list[Mesh]:
    return [_sling(design, design.cut_place - 0.04, 0.17, design.strap_width * 0.5)]


def _toe_and_ankle(design: Design) -> list[Mesh]:
    return [
        _cross(design, 0.23, 0.21, 0.03 + design.strap_width),
        *_ankle_strap(design),
        _sling(design, 0.72, 0.26, 0.02),
    ]


STRAPS = {
    "ankle": _ankle_strap,
    "mary jane": _mary_jane,
    "thong": _thong,
    "slide": _slide,
    "two straps": _two_straps,
    "crossed": _crossed,
    "t strap": _t_strap,
    "gladiator": _gladiator,
    "sport": _sport_straps,
    "strappy": _strappy,
    "slingback": _slingback,
    "toe and ankle": _toe_and_ankle,
}


def _ornament(design: Design) -> list[Mesh]:
    """Return the bow, tassels, pompom or brooch on the vamp."""
    top = topline(design)[len(ANGLES) // 2]
    x, y = float(top[0]) - 0.035, float(top[1]) + 0.004
    if design.ornament == "bow":
        lobes = [blob("ornament", (x, y, side * 0.034), (0.022, 0.014, 0.034)) for side in (1, -1)]
        return [*lobes, blob("ornament", (x, y + 0.006, 0), (0.012, 0.012, 0.010))]
    if design.ornament == "tassel":
        lobes = [
            blob("ornament", (x - 0.045, y - 0.012, side * 0.022), (0.032, 0.010, 0.016)) for side in (1, -1)
        ]
        return [*lobes, blob("ornament", (x, y, 0), (0.016, 0.010, 0.02))]
    if design.ornament == "pompom":
        return [blob("pompom", (x - 0.01, y + 0.02, 0), (0.05, 0.045, 0.05))]
    return [blob("metal", (x, y, 0.0), (0.022, 0.012, 0.026))]


def _bag(design: Design) -> list[Mesh]:
    """Return the body, the handles and the clasp of a bag that faces the viewer."""
    rows = np.concatenate([np.linspace(0, 1, 31), [1.02, 1.04, 1.05]])
    up = np.clip(rows, 0, 1)[:, None]
    corner = np.clip(1 - up / design.bag_corner, 0, 1)
    half = design.bag_half * (1 + design.bag_taper * (up - 0.3)) - design.bag_corner * 0.6 * (
        1 - np.sqrt(1 - corner**2)
    )
    depth = design.bag_depth * (1 - design.bag_close * up**1.6) * (1 - 0.25 * corner**2) + 0.03 * np.sin(
        np.pi * up
    )
    inward = np.clip((rows[:, None] - 1) / 0.05, 0, 1)
    depth = depth * (1 - 0.9 * inward)
    cosine, sine = np.cos(ANGLES), np.sin(ANGLES)
    x = -half * np.sign(cosine) * np.abs(cosine) ** 0.3
    z = depth * np.sign(sine) * np.abs(sine) ** 0.45
    sag = design.bag_sag * (1 - (x / design.bag_half) ** 2) * up**2
    points = np.stack(np.broadcast_arrays(x, design.bag_height * up - sag, z), axis=-1).astype(np.float32)
    body = Mesh("bag", points, ANGLES, rows, closed=True)
    return [body, *HANDLES[design.handles](design), *_clasp(design)]


def _arc(design: Design, z: float, height: float, span: float, radius: float, part: str = "handle") -> Mesh:
    turn = np.linspace(0, np.pi, 29)
    x = -span * np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** 0.75
    sag = design.bag_sag * (1 - (x / design.bag_half) ** 2)
    base = design.bag_height * 0.93 - sag * (np.sin(turn) < 0.3)
    return tube(part, np.stack([x, base + height * np.sin(turn) ** 0.8, z + 0 * turn], axis=1), radius)


def _two_handles(design: Design) -> list[Mesh]:
    gap = design.bag_depth * (1 - design.bag_close) + 0.012
    span = design.handle_span * design.bag_half
    return [
        _arc(design, side * gap, design.handle_height * (1 if side > 0 else 1.04), span, 0.016)
        for side in (-1, 1)
    ]


def _one_handle(design: Design) -> list[Mesh]:
    return [_arc(design, 0.0, design.handle_height * 0.6, design.handle_span * 0.8 * design.bag_half, 0.022)]


def _shoulder(design: Design) -> list[Mesh]:
    return [_arc(design, 0.0, design.handle_height * 1.3, design.bag_half * 0.93, 0.014)]


def _chain(design: Design) -> list[Mesh]:
    return [_arc(design, 0.0, design.handle_height * 1.2, design.bag_half * 0.9, 0.011, "metal")]


def _wide_strap(design: Design) -> list[Mesh]:
    turn = np.linspace(0, np.pi, 29)
    x = -design.bag_half * 0.95 * np.cos(turn)
    y = design.bag_height * 0.92 + design.handle_height * np.sin(turn) ** 0.9
    across = 0.032 * np.stack([-np.cos(turn), np.sin(turn), 0.5 + 0 * turn], axis=1)
    return [band("strap", np.stack([x, y, 0 * turn], axis=1), across, 0.004)]


def _no_handle(_design: Design) -> list[Mesh]:
    return []


HANDLES = {
    "two": _two_handles,
    "one": _one_handle,
    "shoulder": _shoulder,
    "chain": _chain,
    "wide": _wide_strap,
    "clutch": _no_handle,
}


def _clasp(design: Design) -> list[Mesh]:
    front = design.bag_depth * 0.9 + 0.02
    if design.bag_detail == "flap":
        y = design.bag_height * (design.flap + 0.16 * design.flap * design.flap_curve + 0.03)
        return [blob("metal", (0.0, y, front), (0.035, 0.03, 0.02))]
    if design.bag_detail == "straps":
        return [
            _buckle(place * design.bag_half, design.bag_height * 0.55, front + 0.02, 0.03)
            for place in (-0.5, 0.5)
        ]
    return []

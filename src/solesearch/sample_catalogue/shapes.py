"""Surfaces of shoes and bags as grids of points, built from lasts: outline, heel lift, upper, shaft, straps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ANGLES = np.linspace(-np.pi, np.pi, 97)  # around a shoe: 0 is the toe, +-pi the heel, positive is near


@dataclass(frozen=True)
class Mesh:
    """A grid of points float32 [rows, columns, 3] that bends as one surface; `part` says who paints it.

    `u` [columns] and `v` [rows] name the places for painting; `keep` [rows, columns] cuts away where it is
    not positive.
    """

    part: str
    points: np.ndarray
    u: np.ndarray
    v: np.ndarray
    keep: np.ndarray | None = None
    closed: bool = False

    def __post_init__(self) -> None:
        """Keep single precision all along."""
        for name in ("points", "u", "v"):
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name), np.float32))

    def kept_points(self) -> np.ndarray:
        """Return the points that are not cut away, [n, 3]."""
        flat = self.points.reshape(-1, 3)
        return flat if self.keep is None else flat[self.keep.ravel() > 0]

    def normals(self) -> np.ndarray:
        """Return the outward directions float32 [rows, columns, 3], of length one."""
        points = self.points.transpose(2, 0, 1)
        down, across = np.empty_like(points), np.empty_like(points)
        down[:, 1:-1], across[:, :, 1:-1] = points[:, 2:] - points[:, :-2], points[:, :, 2:] - points[:, :, :-2]
        down[:, 0], down[:, -1] = points[:, 1] - points[:, 0], points[:, -1] - points[:, -2]
        first, last = points[:, :, 1] - points[:, :, 0], points[:, :, -1] - points[:, :, -2]
        across[:, :, 0], across[:, :, -1] = (first + last, first + last) if self.closed else (first, last)
        normal = np.stack([across[k - 2] * down[k - 1] - across[k - 1] * down[k - 2] for k in range(3)], axis=-1)
        return normal / (np.sqrt((normal * normal).sum(axis=2, keepdims=True)) + np.float32(1e-9))


def _smooth(value: np.ndarray) -> np.ndarray:
    value = np.clip(value, 0, 1)
    return value * value * (3 - 2 * value)


def _stack(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return np.stack(np.broadcast_arrays(x, y, z), axis=-1).astype(np.float32)


def half_width(x: np.ndarray, design) -> np.ndarray:
    """Return half the last's width at x, 0 at toe and heel; toe_sharpness 1 is pointed, 3 square."""
    body = (0.145 + 0.028 * np.cos(2 * np.pi * (x - 0.29) / 0.98)) * design.width
    toe = np.clip(1 - x / design.toe_length, 0, 1) ** design.toe_roundness
    heel = np.clip(1 - (1 - x) / 0.13, 0, 1) ** 2.2
    return body * np.clip(1 - toe, 0, 1) ** (1 / design.toe_roundness) * np.clip(1 - heel, 0, 1) ** (1 / 2.2)


def bottom(x: np.ndarray, design) -> np.ndarray:
    """Return the height of the insole at x: sole, toe spring and the rise to the heel."""
    spring = design.spring * np.clip(1 - x / 0.3, 0, None) ** 2
    return design.sole + spring + design.lift * _smooth((x - 0.27) / 0.62)


def ground(x: np.ndarray, design) -> np.ndarray:
    """Return the height of the sole's lower edge at x; a wedge reaches the ground all along."""
    spring = design.spring * np.clip(1 - x / 0.3, 0, None) ** 2
    if design.heel == "wedge":
        return spring
    arch = design.arch * np.exp(-(((x - 0.58) / 0.1) ** 2))
    rise = design.lift * _smooth((x - 0.27) / 0.62)
    return spring + rise + arch + (design.sole * (1 - design.waist)) * _smooth((x - 0.3) / 0.2)


def outline(design, welt: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return x and z of the last's outline at ANGLES, `welt` wider all around."""
    along = 0.5 - 0.5 * np.cos(ANGLES)
    wide = half_width(along, design)
    x = along - welt * np.cos(ANGLES)
    # feet are not symmetric: the toe leans to the inner side
    lean = 0.03 * (1 - along) ** 2
    return x, np.sign(ANGLES) * (wide + welt * np.abs(np.sin(ANGLES))) - lean


def sole(design) -> list[Mesh]:
    """Return the sole's wall, the ledge or footbed on top of it and the heel."""
    x, z = outline(design, design.welt)
    rows = np.linspace(0, 1, 9)
    low, high = ground(x, design), bottom(x, design)
    flare = design.flare * (1 - rows[:, None])
    bulge = design.bulge * np.sin(np.pi * rows[:, None])
    y = low + (high - low) * rows[:, None]
    wall = _stack(x - np.cos(ANGLES) * (flare + bulge), y, z * (1 + 5 * (flare + bulge)))
    keep = None
    if design.tread > 0:
        teeth = np.sin(2 * np.pi * x * 13) - 0.1
        keep = np.where(rows[:, None] < design.tread, teeth[None], 1.0) * np.ones((9, 1))
    meshes = [Mesh("sole", wall, ANGLES, rows, keep, closed=True)]
    inward = np.linspace(0, 1, 9)
    radius = (1 - inward[:, None] * 0.98)
    centre = 0.5 + (x - 0.5)
    dish = -design.dish * (1 - radius**4)
    bed = _stack(centre * np.ones_like(radius), bottom(np.clip(x, 0, 1), design) + dish, z * radius)
    meshes.append(Mesh("footbed", bed, ANGLES, inward, closed=True))
    if design.heel not in ("wedge", "none"):
        meshes.append(heel(design))
    return meshes


# heel kind -> half length and half width at the top and at the ground, move of the tip, shape of the taper
HEELS = {
    "stiletto": (0.10, 0.085, 0.018, 0.018, 0.02, 0.28),
    "kitten": (0.10, 0.085, 0.028, 0.026, -0.02, 0.35),
    "cone": (0.115, 0.095, 0.04, 0.038, -0.01, 0.8),
    "block": (0.12, 0.10, 0.10, 0.09, -0.015, 1.0),
    "flared": (0.12, 0.10, 0.11, 0.10, 0.01, 0.6),
    "stacked": (0.15, 0.12, 0.14, 0.115, -0.01, 1.0),
    "cuban": (0.13, 0.11, 0.085, 0.08, -0.05, 0.9),
}


def heel(design) -> Mesh:
    """Return the heel as rings from the sole down to the ground."""
    long_top, wide_top, long_tip, wide_tip, move, taper = HEELS[design.heel]
    rows = np.linspace(0, 1, 13)[:, None]
    left = (1 - rows) ** (1 / taper) if taper < 1 else 1 - rows
    bulk = design.heel_bulk
    half_long = (long_tip + (long_top - long_tip) * left) * (bulk if bulk < 1 or long_tip > 0.03 else 1)
    half_wide = (wide_tip + (wide_top - wide_tip) * left) * design.width
    cosine, sine = np.cos(ANGLES), np.sin(ANGLES)
    power = 0.6
    middle = 1.0 + design.welt - (long_top * min(bulk, 1.15)) + move * design.lift * 2 * rows
    x = middle - half_long * np.sign(cosine) * np.abs(cosine) ** power
    z = half_wide * np.sign(sine) * np.abs(sine) ** power
    y = (ground(np.clip(x, 0, 1), design) + 0.004) * (1 - rows)
    points = _stack(x, y, z)[::-1]
    return Mesh("heel", np.ascontiguousarray(points), ANGLES, np.linspace(0, 1, 13), closed=True)


def _weights() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how much front, side and back each angle is; they sum to one."""
    cosine = np.cos(ANGLES)
    return np.clip(cosine, 0, 1) ** 2, np.sin(ANGLES) ** 2, np.clip(-cosine, 0, 1) ** 2


def _bezier(controls: list[np.ndarray], rows: int) -> np.ndarray:
    """Return cubic curves [rows, columns, 3] through rings of control points, each [columns, 3]."""
    t = np.linspace(0, 1, rows)[:, None, None]
    first, second, third, last = controls
    return (1 - t) ** 3 * first + 3 * t * (1 - t) ** 2 * second + 3 * t**2 * (1 - t) * third + t**3 * last


def topline(design) -> np.ndarray:
    """Return the ring [columns, 3] where the upper ends (at the ankle for boots)."""
    front, side, back = _weights()
    cosine, sine = np.cos(ANGLES), np.sin(ANGLES)
    middle, half = (design.throat + design.heel_line) / 2, (design.heel_line - design.throat) / 2
    squared = 0.85
    x = middle - half * np.sign(cosine) * np.abs(cosine) ** squared
    z = design.opening * np.sign(sine) * np.abs(sine) ** squared
    rise = front * design.throat_height + side * design.side_height + back * design.back_height
    return _stack(x, bottom(np.clip(x, 0, 1), design) + rise, z)


def upper(design) -> Mesh:
    """Return the upper from the feather edge over the topline (v=1), shaft (v=2) and rolled rim (v=3)."""
    front, side, back = _weights()
    x, z = outline(design)
    feather = _stack(x, bottom(x, design), z)
    top = topline(design)
    box, drop = design.toe_box, design.vamp
    rise = front * box * 1.15 + side * design.side_height * 0.6 + back * design.back_height * 0.45
    lower = feather + _stack(-0.015 * front + 0.03 * back, rise, z * 0.06)
    reach = front * (design.throat - 0.06) * drop * (0.6 if design.shaft > 0 else 1)
    fall = front * (design.throat_height - box * 1.05) * 0.75 + side * 0.04 + back * 0.08
    higher = top + _stack(-reach + 0.02 * back * (1 if design.shaft == 0 else -1), -fall, top[:, 2] * 0.10 * side)
    rows, places = [_bezier([feather, lower, higher, top], 25)], [np.linspace(0, 1, 25)]
    end, leave = top, top - higher
    if design.shaft > 0:
        end = _shaft_top(design)
        leave = end - top
        middle = top + (top - higher) * 0.4 + _stack(0 * front, 0.25 * design.shaft * (1 - front), 0 * front)
        last = end - leave * 0.3 + _stack(design.calf * back, 0 * back, end[:, 2] * design.calf * 2)
        rows.append(_bezier([top, middle, last, end], 25)[1:])
        places.append(np.linspace(1, 2, 25)[1:])
    rows.append(_rim(end, design))
    places.append(np.linspace(2.2, 3, 5))
    points = np.concatenate(rows)
    return Mesh("upper", points.astype(np.float32), ANGLES, np.concatenate(places), _cut(points, design), closed=True)


def _shaft_top(design) -> np.ndarray:
    front, side, back = _weights()
    cosine, sine = np.cos(ANGLES), np.sin(ANGLES)
    middle = (design.throat + design.heel_line) / 2 + design.lean
    x = middle - design.shaft_half * cosine
    height = design.lift + design.sole + design.back_height + design.shaft
    y = height + design.shaft_slope * cosine - design.shaft_dip * np.abs(sine) ** 3
    return _stack(x, y, design.shaft_half * 0.72 * sine)


def _rim(end: np.ndarray, design) -> np.ndarray:
    """Return the rolled edge: over the top, then down inside."""
    centre = end.mean(axis=0)
    inward = (centre - end) * np.array([1, 0, 1])
    inward /= np.linalg.norm(inward, axis=1, keepdims=True) + 1e-6
    thick = design.rim
    turns = np.linspace(0.3, 1, 5)[:, None, None] * np.pi
    up = np.array([0, 1, 0])
    roll = end + thick * (inward * (1 - np.cos(turns)) * 0.5 + up * np.sin(turns) * 0.5)
    roll[-1] -= up * max(thick, 0.03)
    return roll


def _cut(points: np.ndarray, design) -> np.ndarray | None:
    """Return the field that opens the upper: mules have no back, peep toes no tip."""
    x = points[..., 0]
    y = points[..., 1] - bottom(np.clip(x, 0, 1), design)
    fields = {
        "mule": design.cut_place + 0.12 - x - 1.2 * y,
        "slingback": design.cut_place + 0.08 - x - 1.2 * y,
        "peep": x - 0.07 - 0.2 * y,
        "dorsay": np.maximum(design.cut_place - x - 1.4 * y, x - design.cut_place - 0.14 - 0.9 * y),
        "counter": x - design.cut_place - 0.1 - 0.25 * y,
    }
    fields["peep mule"] = np.minimum(fields["mule"], fields["peep"])
    fields["peep slingback"] = np.minimum(fields["slingback"], fields["peep"])
    return fields.get(design.cut)


def band(part: str, centre: np.ndarray, across: np.ndarray, thick: float = 0.006) -> Mesh:
    """Return a strap along `centre` [n, 3], reaching `across` [n, 3] to both sides, slightly domed."""
    t = np.linspace(-1, 1, 7)[:, None, None]
    along = np.gradient(centre, axis=0)
    out = np.cross(along, across)
    out /= np.linalg.norm(out, axis=1, keepdims=True) + 1e-9
    points = centre + across * t + out * thick * (1 - t**4)
    places = np.linspace(0, 1, len(centre))
    return Mesh(part, points.astype(np.float32), places, np.linspace(-1, 1, 7))


def tube(part: str, centre: np.ndarray, radius: float) -> Mesh:
    """Return a round cord along `centre` [n, 3]."""
    along = np.gradient(centre, axis=0)
    side = np.cross(along, np.array([0.31, 0.17, 0.93]))
    side /= np.linalg.norm(side, axis=1, keepdims=True) + 1e-9
    other = np.cross(along, side)
    other /= np.linalg.norm(other, axis=1, keepdims=True) + 1e-9
    turn = np.linspace(0, 2 * np.pi, 11)[:, None, None]
    points = centre + radius * (np.cos(turn) * side + np.sin(turn) * other)
    return Mesh(part, points.astype(np.float32), np.linspace(0, 1, len(centre)), turn.ravel())


def blob(part: str, centre: tuple[float, float, float], axes: tuple[float, float, float]) -> Mesh:
    """Return an ellipsoid with half axes `axes`."""
    turn = np.linspace(0, 2 * np.pi, 21)
    rise = np.linspace(-np.pi / 2, np.pi / 2, 11)[:, None]
    points = _stack(
        centre[0] - axes[0] * np.cos(rise) * np.cos(turn),
        centre[1] + axes[1] * np.sin(rise),
        centre[2] + axes[2] * np.cos(rise) * np.sin(turn),
    )
    return Mesh(part, points, turn, rise.ravel(), closed=True)

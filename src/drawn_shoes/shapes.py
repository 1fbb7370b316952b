"""Surfaces of shoes and bags as grids of points, built on a last: sole, heel, upper, shaft, straps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from drawn_shoes.design import Design

ANGLES = np.linspace(-np.pi, np.pi, 73)  # around a shoe: 0 is the toe, +-pi the heel, positive is near
UPPER_ROWS = 19
RIM_ROWS = 5


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
        down[:, 1:-1] = points[:, 2:] - points[:, :-2]
        across[:, :, 1:-1] = points[:, :, 2:] - points[:, :, :-2]
        down[:, 0], down[:, -1] = points[:, 1] - points[:, 0], points[:, -1] - points[:, -2]
        first, last = points[:, :, 1] - points[:, :, 0], points[:, :, -1] - points[:, :, -2]
        across[:, :, 0], across[:, :, -1] = (first + last, first + last) if self.closed else (first, last)
        normal = np.stack(
            [across[k - 2] * down[k - 1] - across[k - 1] * down[k - 2] for k in range(3)], axis=-1
        )
        return normal / (np.sqrt((normal * normal).sum(axis=2, keepdims=True)) + np.float32(1e-9))


def _smooth(value: np.ndarray) -> np.ndarray:
    value = np.clip(value, 0, 1)
    return value * value * (3 - 2 * value)


def path(x: np.ndarray | float, y: np.ndarray | float, z: np.ndarray | float) -> np.ndarray:
    """Return points [..., 3] from their coordinates, which are repeated where they are fewer."""
    return np.stack(np.broadcast_arrays(x, y, z), axis=-1)


def _stack(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return path(x, y, z).astype(np.float32)


def signed_power(value: np.ndarray, power: float) -> np.ndarray:
    """Return value ** power with its sign: below 1, circles of sine and cosine grow squarer."""
    return np.sign(value) * np.abs(value) ** power


def half_width(x: np.ndarray, design: Design) -> np.ndarray:
    """Return half the last's width at x: widest at the ball, tapered at the toe, rounded at the heel."""
    body = (0.145 + 0.028 * np.cos(2 * np.pi * (x - 0.29) / 0.98)) * design.width
    toe = np.clip(1 - x / design.toe_length, 0, 1) ** design.toe_roundness
    heel = np.clip(1 - (1 - x) / 0.13, 0, 1) ** 2.2
    return body * np.clip(1 - toe, 0, 1) ** (1 / design.toe_roundness) * np.clip(1 - heel, 0, 1) ** (1 / 2.2)


def _spring(x: np.ndarray, design: Design) -> np.ndarray:
    return design.spring * np.clip(1 - x / 0.3, 0, None) ** 2


def _rise(x: np.ndarray, design: Design) -> np.ndarray:
    return design.lift * _smooth((x - 0.27) / 0.62)


def bottom(x: np.ndarray, design: Design) -> np.ndarray:
    """Return the height of the insole at x: sole, toe spring and the rise to the heel."""
    return design.sole + _spring(x, design) + _rise(x, design)


def ground(x: np.ndarray, design: Design) -> np.ndarray:
    """Return the height of the sole's lower edge at x; a wedge reaches the ground all along."""
    if design.heel == "wedge":
        return _spring(x, design)
    arch = design.arch * np.exp(-(((x - 0.58) / 0.1) ** 2))
    thinner = design.sole * (1 - design.waist) * _smooth((x - 0.3) / 0.2)
    return _spring(x, design) + _rise(x, design) + arch + thinner


def outline(design: Design, welt: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return x and z of the last's outline at ANGLES, `welt` wider all around."""
    along = 0.5 - 0.5 * np.cos(ANGLES)
    lean = 0.03 * (1 - along) ** 2  # feet are not symmetric: the toe leans to the inner side
    wide = half_width(along, design) + welt * np.abs(np.sin(ANGLES))
    return along - welt * np.cos(ANGLES), np.sign(ANGLES) * wide - lean


def sole(design: Design) -> list[Mesh]:
    """Return the sole's wall, the ledge or footbed on top of it and the heel."""
    x, z = outline(design, design.welt)
    rows = np.linspace(0, 1, 9)
    up = rows[:, None]
    out = design.flare * (1 - up) + design.bulge * np.sin(np.pi * up)
    y = ground(x, design) * (1 - up) + bottom(x, design) * up
    wall = _stack(x - np.cos(ANGLES) * out, y, z * (1 + 5 * out))
    teeth = np.where(up < design.tread, np.sin(2 * np.pi * x * 13) - 0.1, 1.0) if design.tread > 0 else None
    radius = 1 - 0.98 * up
    dish = design.dish * (1 - radius**4)
    bed = _stack(x, bottom(np.clip(x, 0, 1), design) - dish, z * radius)
    meshes = [
        Mesh("sole", wall, ANGLES, rows, teeth, closed=True),
        Mesh("footbed", bed, ANGLES, rows, closed=True),
    ]
    return meshes if design.heel == "wedge" else [*meshes, _heel(design)]


# heel -> half length and half width at the top and at the tip, how far the tip moves back, and how soon the
# heel narrows (1 evenly, below 1 at once)
HEELS = {
    "stiletto": (0.10, 0.085, 0.018, 0.018, 0.02, 0.28),
    "kitten": (0.10, 0.085, 0.028, 0.026, -0.02, 0.35),
    "cone": (0.115, 0.095, 0.04, 0.038, -0.01, 0.8),
    "block": (0.12, 0.10, 0.10, 0.09, -0.015, 1.0),
    "stacked": (0.15, 0.12, 0.14, 0.115, -0.01, 1.0),
    "cuban": (0.13, 0.11, 0.085, 0.08, -0.05, 0.9),
}


def _heel(design: Design) -> Mesh:
    """Return the heel as rings from the ground (v=0) up to the sole (v=1)."""
    long_top, wide_top, long_tip, wide_tip, move, taper = HEELS[design.heel]
    rows = np.linspace(0, 1, 13)
    up = rows[:, None]
    left = up ** (1 / taper)
    half_long = long_tip + (long_top * design.heel_bulk - long_tip) * left
    half_wide = (wide_tip + (wide_top - wide_tip) * left) * design.width
    middle = 1 + design.welt - long_top * design.heel_bulk + 2 * move * design.lift * (1 - up)
    x = middle - half_long * signed_power(np.cos(ANGLES), 0.6)
    y = (ground(np.clip(x, 0, 1), design) + 0.004) * up
    points = _stack(x, y, half_wide * signed_power(np.sin(ANGLES), 0.6))
    return Mesh("heel", points, ANGLES, rows, closed=True)


def _weights() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how much front, side and back each angle is; they sum to one."""
    cosine = np.cos(ANGLES)
    return np.clip(cosine, 0, 1) ** 2, np.sin(ANGLES) ** 2, np.clip(-cosine, 0, 1) ** 2


def _bezier(first: np.ndarray, second: np.ndarray, third: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Return cubic curves [UPPER_ROWS, columns, 3] through rings of control points, each [columns, 3]."""
    t = np.linspace(0, 1, UPPER_ROWS)[:, None, None]
    return (1 - t) ** 3 * first + 3 * t * (1 - t) ** 2 * second + 3 * t**2 * (1 - t) * third + t**3 * last


def topline(design: Design) -> np.ndarray:
    """Return the ring [columns, 3] where the upper ends (at the ankle for boots)."""
    front, side, back = _weights()
    middle, half = (design.throat + design.heel_line) / 2, (design.heel_line - design.throat) / 2
    x = middle - half * signed_power(np.cos(ANGLES), 0.85)
    z = design.opening * signed_power(np.sin(ANGLES), 0.85)
    rise = front * design.throat_height + side * design.side_height + back * design.back_height
    return _stack(x, bottom(np.clip(x, 0, 1), design) + rise, z)


def upper(design: Design) -> Mesh:
    """Return the upper: foot (v 0 to 1), a boot's shaft (1 to 2) and the rolled rim (from 2.2)."""
    end, below = topline(design), _below_topline(design)
    x, z = outline(design)
    feather = _stack(x, bottom(x, design), z)
    rows = [_bezier(feather, _above_sole(feather, design), below, end)]
    places = [np.linspace(0, 1, UPPER_ROWS)]
    if design.shaft > 0:
        rows.append(_shaft(end, below, design)[1:])
        places.append(np.linspace(1, 2, UPPER_ROWS)[1:])
        end = rows[-1][-1]
    points = np.concatenate([*rows, _rim(end, design)])
    v = np.concatenate([*places, np.linspace(2.2, 3, RIM_ROWS)])
    return Mesh("upper", points, ANGLES, v, _cut(points, design), closed=True)


def _above_sole(feather: np.ndarray, design: Design) -> np.ndarray:
    """Return the control ring that shapes toe box, sides and counter."""
    front, side, back = _weights()
    rise = front * design.toe_box * 1.15 + side * design.side_height * 0.6 + back * design.back_height * 0.45
    return feather + _stack(-0.015 * front + 0.03 * back, rise, feather[:, 2] * 0.06)


def _below_topline(design: Design) -> np.ndarray:
    """Return the control ring that shapes the vamp; boots rise more steeply and lean in at the back."""
    front, side, back = _weights()
    boot = design.shaft > 0
    top = topline(design)
    reach = front * (design.throat - 0.06) * design.vamp * (0.6 if boot else 1)
    fall = front * (design.throat_height - design.toe_box * 1.05) * 0.75 + side * 0.04 + back * 0.08
    return top + _stack((-0.02 if boot else 0.02) * back - reach, -fall, top[:, 2] * 0.10 * side)


def _shaft(ankle: np.ndarray, below: np.ndarray, design: Design) -> np.ndarray:
    """Return a boot's shaft from the ankle ring up; it goes on in the direction of the foot's curves."""
    front, _, back = _weights()
    end = _shaft_top(design)
    first = ankle + (ankle - below) * 0.4 + _stack(0 * front, 0.25 * design.shaft * (1 - front), 0 * front)
    second = end - (end - ankle) * 0.3 + _stack(design.calf * back, 0 * back, 2 * design.calf * end[:, 2])
    return _bezier(ankle, first, second, end)


def _shaft_top(design: Design) -> np.ndarray:
    middle = (design.throat + design.heel_line) / 2 + design.lean
    height = design.lift + design.sole + design.back_height + design.shaft
    slope = design.shaft_slope * np.cos(ANGLES) - design.shaft_dip * np.abs(np.sin(ANGLES)) ** 3
    half = design.shaft_half
    return _stack(middle - half * np.cos(ANGLES), height + slope, 0.72 * half * np.sin(ANGLES))


def _rim(end: np.ndarray, design: Design) -> np.ndarray:
    """Return the rolled edge: over the top, then down inside."""
    inward = (end.mean(axis=0) - end) * np.array([1, 0, 1])
    inward /= np.linalg.norm(inward, axis=1, keepdims=True) + 1e-6
    turn = np.linspace(0.3, 1, RIM_ROWS)[:, None, None] * np.pi
    up = np.array([0, 1, 0])
    roll = end + design.rim * 0.5 * (inward * (1 - np.cos(turn)) + up * np.sin(turn))
    roll[-1] -= up * max(design.rim, 0.03)
    return roll


def _cut(points: np.ndarray, design: Design) -> np.ndarray | None:
    """Return the field that opens the upper: mules have no back, peep toes no tip."""
    x = points[..., 0]
    y = points[..., 1] - bottom(np.clip(x, 0, 1), design)
    mule = design.cut_place + 0.12 - x - 1.2 * y
    peep = x - 0.07 - 0.2 * y
    return {
        "mule": mule,
        "slingback": mule - 0.04,
        "peep": peep,
        "peep mule": np.minimum(mule, peep),
        "peep slingback": np.minimum(mule - 0.04, peep),
        "dorsay": np.maximum(mule - 0.12, x - design.cut_place - 0.14 - 0.9 * y),
    }.get(design.cut)


def band(part: str, centre: np.ndarray, across: np.ndarray, thick: float = 0.006) -> Mesh:
    """Return a strap along `centre` [n, 3], reaching `across` [n, 3] to both sides, slightly domed."""
    t = np.linspace(-1, 1, 7)[:, None, None]
    along = np.gradient(centre, axis=0)
    out = np.cross(along, across)
    out /= np.linalg.norm(out, axis=1, keepdims=True) + 1e-9
    points = centre + across * t + out * thick * (1 - t**4)
    places = np.linspace(0, 1, len(centre))
    return Mesh(part, points, places, np.linspace(-1, 1, 7))


def tube(part: str, centre: np.ndarray, radius: float) -> Mesh:
    """Return a round cord along `centre` [n, 3]."""
    along = np.gradient(centre, axis=0)
    side = np.cross(along, np.array([0.31, 0.17, 0.93]))
    side /= np.linalg.norm(side, axis=1, keepdims=True) + 1e-9
    other = np.cross(along, side)
    other /= np.linalg.norm(other, axis=1, keepdims=True) + 1e-9
    turn = np.linspace(0, 2 * np.pi, 11)[:, None, None]
    points = centre + radius * (np.cos(turn) * side + np.sin(turn) * other)
    return Mesh(part, points, np.linspace(0, 1, len(centre)), turn.ravel())


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

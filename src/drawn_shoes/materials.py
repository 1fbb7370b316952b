"""Colours and materials: what light meets on a surface, painted in object space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from drawn_shoes.render import Skin

# name -> sRGB; the names stand in the files' names
PALETTE = {
    "black": (30, 29, 31),
    "charcoal": (70, 70, 74),
    "grey": (138, 136, 134),
    "white": (238, 237, 234),
    "cream": (232, 221, 198),
    "beige": (203, 178, 146),
    "tan": (180, 126, 76),
    "cognac": (150, 84, 42),
    "brown": (96, 62, 42),
    "chocolate": (62, 42, 33),
    "navy": (38, 48, 84),
    "blue": (50, 98, 168),
    "sky": (146, 184, 214),
    "red": (182, 34, 42),
    "burgundy": (100, 28, 40),
    "pink": (230, 156, 178),
    "fuchsia": (204, 44, 122),
    "purple": (102, 68, 134),
    "green": (56, 112, 70),
    "olive": (102, 100, 64),
    "teal": (34, 124, 128),
    "yellow": (234, 196, 66),
    "orange": (222, 112, 44),
    "gold": (198, 164, 98),
    "silver": (184, 186, 192),
}


Colour = np.ndarray | tuple[float, float, float]


def linear(name: str) -> np.ndarray:
    """Return a palette colour as linear RGB in 0..1 (the photo is the square root of light)."""
    return (np.array(PALETTE[name], np.float32) / 255) ** 2


@dataclass(frozen=True)
class Material:
    """How a surface takes light and what pattern it bears; all amounts 0..1."""

    gloss: float
    sheen: float = 0.0
    grain: float = 0.0  # relief of the fine texture
    mottle: float = 0.0  # soft patches of lighter and darker colour
    speckle: float = 0.0  # fine colour noise
    pattern: str = "plain"


MATERIALS = {
    "leather": Material(0.55, grain=0.05, mottle=0.12),
    "calf": Material(0.75, grain=0.03, mottle=0.10),
    "pebbled": Material(0.40, grain=0.22, mottle=0.10),
    "distressed": Material(0.35, grain=0.12, mottle=0.42),
    "patent": Material(1.0, mottle=0.02),
    "suede": Material(0.02, sheen=0.5, grain=0.10, mottle=0.30, speckle=0.10),
    "nubuck": Material(0.08, sheen=0.3, grain=0.08, mottle=0.18, speckle=0.06),
    "canvas": Material(0.02, grain=0.12, mottle=0.05, speckle=0.10, pattern="weave"),
    "mesh": Material(0.12, grain=0.10, speckle=0.06, pattern="mesh"),
    "satin": Material(0.62, sheen=0.35, mottle=0.08),
    "felt": Material(0.0, sheen=0.45, grain=0.18, mottle=0.14, speckle=0.16),
    "fleece": Material(0.0, sheen=0.6, grain=0.55, mottle=0.12, speckle=0.12),
    "metallic": Material(0.95, grain=0.08, mottle=0.16),
    "glitter": Material(0.6, grain=0.5, speckle=0.55),
    "snake": Material(0.5, grain=0.08, pattern="snake"),
    "croc": Material(0.8, grain=0.04, pattern="croc"),
    "leopard": Material(0.10, sheen=0.2, grain=0.08, pattern="leopard"),
    "plaid": Material(0.0, sheen=0.25, grain=0.10, speckle=0.06, pattern="plaid"),
    "floral": Material(0.03, grain=0.08, pattern="floral"),
    "stripes": Material(0.03, grain=0.08, pattern="stripes"),
    "quilted": Material(0.5, grain=0.04, pattern="quilt"),
    "rubber": Material(0.25, grain=0.03, mottle=0.04),
    "foam": Material(0.06, grain=0.06, speckle=0.04),
    "cork": Material(0.05, grain=0.15, speckle=0.35, mottle=0.10),
    "wood": Material(0.35, mottle=0.10, pattern="layers"),
    "jute": Material(0.02, grain=0.10, speckle=0.08, pattern="rope"),
    "metal": Material(1.0, mottle=0.05),
}


def _spread(size: int, patches: int) -> np.ndarray:
    """Return the matrix [size, patches] that smears a row of patches into a smooth, endless row of pixels."""
    gap = np.arange(size)[:, None] / size * patches - np.arange(patches)
    gap = (gap + patches / 2) % patches - patches / 2
    weight = np.exp(-((gap / 0.7) ** 2))
    return weight / np.sqrt((weight**2).sum(axis=1, keepdims=True))


SPREAD = _spread(256, 16)


class Grain:
    """Noise of one product, sampled by place, so that it stays fixed to the surface."""

    FINE = 128

    def __init__(self, generator: np.random.Generator) -> None:
        """Draw a fine noise tile and a soft one whose patches are 16 wide, both with deviation about 1."""
        self.fine = generator.standard_normal((self.FINE, self.FINE)).astype(np.float32)
        self.soft = (SPREAD @ generator.standard_normal((16, 16)) @ SPREAD.T).astype(np.float32)

    def sample(self, tile: np.ndarray, across: np.ndarray, up: np.ndarray, frequency: float) -> np.ndarray:
        """Return the tile's values at places in object units; `frequency` is pixels of the tile a unit."""
        side = np.int32(tile.shape[0])  # a power of two
        row, column = (up * frequency).astype(np.int32), (across * frequency).astype(np.int32)
        return tile.ravel().take((row & (side - 1)) * side + (column & (side - 1)))


def cover(
    skin: Skin,
    colour: np.ndarray,
    name: str,
    grain: Grain,
    accent: np.ndarray | None = None,
    softness: float = 1.0,
) -> None:
    """Paint the whole skin with a material; `accent` colours its pattern, `softness` scales its patches."""
    material = MATERIALS[name]
    across, up = skin.x + 7.0, skin.y - 0.8 * skin.z + 7.0
    skin.colour[:] = _column(colour)
    skin.gloss[:] = material.gloss
    skin.sheen[:] = material.sheen
    if material.pattern != "plain":
        PATTERNS[material.pattern](skin, across, up, grain, colour if accent is None else accent)
    if material.mottle:
        skin.colour *= np.exp(softness * material.mottle * grain.sample(grain.soft, across, up, 110))
    if material.speckle:
        skin.colour *= np.exp(material.speckle * grain.sample(grain.fine, across, up, 150))
    if material.grain:
        skin.relief += material.grain * grain.sample(grain.fine, across + 0.3, up, 130)


def _column(colour: Colour) -> np.ndarray:
    colour = np.asarray(colour, np.float32)
    return colour[:, None] if colour.ndim == 1 else colour


def blend(skin: Skin, amount: np.ndarray, colour: Colour) -> None:
    """Lay `colour` (one, or [3, n]) over the skin where `amount` (0..1, [n]) says so."""
    amount = np.asarray(amount, np.float32)
    skin.colour += amount * (_column(colour) - skin.colour)


def soft_step(value: np.ndarray, width: float) -> np.ndarray:
    """Return 0 below -width, 1 above width, a ramp between."""
    return np.clip(value / (2 * width) + 0.5, 0, 1)


def line(value: np.ndarray, width: float) -> np.ndarray:
    """Return 1 on the zero line of a field, falling to 0 at `width` from it."""
    return np.clip(1.5 - 1.5 * np.abs(value) / width, 0, 1)


def _weave(skin: Skin, across: np.ndarray, up: np.ndarray, _grain: Grain, _accent: np.ndarray) -> None:
    skin.relief += 0.12 * np.sin(across * 330) * np.sin(up * 330)
    skin.colour *= 1 + 0.06 * np.sin(across * 330) * np.sin(up * 330)


def _mesh(skin: Skin, across: np.ndarray, up: np.ndarray, _grain: Grain, _accent: np.ndarray) -> None:
    holes = np.clip(np.sin(across * 260) * np.sin(up * 260) * 2, 0, 1)
    skin.colour *= 1 - 0.4 * holes
    skin.relief -= 0.2 * holes


def _quilt(skin: Skin, across: np.ndarray, up: np.ndarray, _grain: Grain, _accent: np.ndarray) -> None:
    pad = np.abs(np.sin((across + up) * 28) * np.sin((across - up) * 28)) ** 0.4
    skin.relief += 1.6 * pad
    skin.colour *= 0.72 + 0.28 * pad


def _snake(skin: Skin, across: np.ndarray, up: np.ndarray, grain: Grain, accent: np.ndarray) -> None:
    scales = np.abs(np.sin((across + up) * 80) * np.sin((across - up) * 80)) ** 0.5
    patches = soft_step(grain.sample(grain.soft, across, up, 200) - 0.2, 0.4)
    blend(skin, 0.75 * patches, accent * 0.5)
    skin.colour *= 0.55 + 0.45 * scales


def _croc(skin: Skin, across: np.ndarray, up: np.ndarray, _grain: Grain, _accent: np.ndarray) -> None:
    row = np.floor(up * 22)
    cells = np.abs(np.sin(up * 22 * np.pi) * np.sin((across * 16 + 0.5 * (row % 2)) * np.pi)) ** 0.3
    skin.relief += 1.2 * cells
    skin.colour *= 0.6 + 0.4 * cells


def _leopard(skin: Skin, across: np.ndarray, up: np.ndarray, grain: Grain, _accent: np.ndarray) -> None:
    ground = np.clip(skin.colour[:, 0] * 1.2 + 0.06, 0, 0.85)
    skin.colour[:] = _column(ground)
    value = grain.sample(grain.soft, across, up, 480)
    blend(skin, soft_step(value - 0.9, 0.2), ground * 0.45)
    blend(skin, line(value - 0.55, 0.35), ground * 0.04 + 0.008)


def _plaid(skin: Skin, across: np.ndarray, up: np.ndarray, _grain: Grain, accent: np.ndarray) -> None:
    for place in (across, up):
        blend(skin, 0.5 * (np.sin(place * 50) > 0.2), accent)
        blend(skin, 0.8 * line(np.sin(place * 25), 0.16), (0.75, 0.75, 0.75))


def _floral(skin: Skin, across: np.ndarray, up: np.ndarray, grain: Grain, accent: np.ndarray) -> None:
    value = grain.sample(grain.soft, across, up, 360)
    blend(skin, soft_step(value - 0.7, 0.12), accent)
    blend(skin, soft_step(-value - 0.9, 0.12), (0.10, 0.28, 0.10))
    blend(skin, soft_step(value - 1.5, 0.15), (0.85, 0.75, 0.25))


def _stripes(skin: Skin, _across: np.ndarray, up: np.ndarray, _grain: Grain, accent: np.ndarray) -> None:
    blend(skin, soft_step(np.sin(up * 95), 0.15), accent)


def _layers(skin: Skin, _across: np.ndarray, _up: np.ndarray, _grain: Grain, _accent: np.ndarray) -> None:
    skin.colour *= 0.9 + 0.1 * np.sin(skin.y * 260)


def _rope(skin: Skin, across: np.ndarray, _up: np.ndarray, _grain: Grain, _accent: np.ndarray) -> None:
    twist = np.sin(across * 170 + skin.y * 90) * 0.5 + np.abs(np.sin(skin.y * 75)) * 0.7
    skin.relief += 0.5 * twist
    skin.colour *= 0.75 + 0.25 * twist


PATTERNS = {
    "weave": _weave,
    "mesh": _mesh,
    "quilt": _quilt,
    "snake": _snake,
    "croc": _croc,
    "leopard": _leopard,
    "plaid": _plaid,
    "floral": _floral,
    "stripes": _stripes,
    "layers": _layers,
    "rope": _rope,
}

"""Meshes to pixels: an orthographic camera, a depth buffer of samples, and light.

Object space: x runs along the shoe from the toe (0) to the heel (1), y up from the ground, z towards the
viewer's side. The picture is drawn SUPERSAMPLING times as large and reduced at the end. Arrays that hold
one entry a visible sample keep their channels first ([3, n]): numpy is several times faster that way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from drawn_shoes.shapes import Mesh

WIDTH, HEIGHT = 136, 102
SUPERSAMPLING = 3
CANVAS_WIDTH, CANVAS_HEIGHT = WIDTH * SUPERSAMPLING, HEIGHT * SUPERSAMPLING
SPACING = 1.0  # largest distance of two samples of a surface, in enlarged pixels
INDEX_BITS = 23  # a depth key holds the sample's number in its low bits
DEPTH_STEPS = 64  # steps of depth in one enlarged pixel
EMPTY = np.int64(1) << 62
# Light comes from above, the left and the front, as in a photographer's light tent (screen axes).
KEY_LIGHT = (-0.42, 0.72, 0.55)
HALF_WAY = (-0.239, 0.409, 0.881)  # between the key light and the viewer
FILL_LIGHT = (0.75, 0.25, 0.61)


@dataclass(frozen=True)
class Camera:
    """Where the viewer stands (radians) and how the photo is framed (shares of the photo, pixels)."""

    yaw: float
    pitch: float
    roll: float
    fill_width: float
    fill_height: float
    ground: float
    shift: float
    exposure: float
    shadow: float

    def axes(self) -> np.ndarray:
        """Return the screen axes right, up and towards the viewer, float32 [3, 3], one a row."""
        level = np.array([-np.sin(self.yaw), 0, np.cos(self.yaw)])
        right = np.array([np.cos(self.yaw), 0, np.sin(self.yaw)])
        up = np.cos(self.pitch) * np.array([0, 1, 0]) - np.sin(self.pitch) * level
        toward = np.cos(self.pitch) * level + np.sin(self.pitch) * np.array([0, 1, 0])
        turned = np.cos(self.roll) * right + np.sin(self.roll) * up
        return np.stack([turned, np.cos(self.roll) * up - np.sin(self.roll) * right, toward]).astype(
            np.float32
        )


@dataclass
class Skin:
    """The visible samples of one mesh, one entry each; painting changes colour, gloss, sheen and relief."""

    mesh: Mesh
    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    u: np.ndarray  # place around the mesh; for uppers the angle from the toe, -pi to pi
    v: np.ndarray  # place across the mesh
    inside: np.ndarray  # 1 where the back of the surface is seen, else 0
    colour: np.ndarray  # linear RGB, [3, n]
    gloss: np.ndarray  # 0 matt to 1 patent
    sheen: np.ndarray  # 0 hard to 1 velvet
    relief: np.ndarray  # height of seams, laces, grain


@dataclass(frozen=True)
class Samples:
    """Where the samples of one mesh lie on its grid, and the number of the first of them."""

    start: int
    rows: np.ndarray
    columns: np.ndarray

    @property
    def count(self) -> int:
        """Return how many samples there are."""
        return len(self.rows) * len(self.columns)


Paint = Callable[[Skin], None]
Projection = Callable[[np.ndarray], np.ndarray]


def render(meshes: Sequence[Mesh], paint: Paint, camera: Camera) -> Image.Image:
    """Return the photo of `meshes`, RGB WIDTH x HEIGHT, on white.

    The first row of the first mesh is taken for the outline on the ground, where the shadow falls.
    """
    axes = camera.axes()
    project = _framing(meshes, axes, camera)
    keys, taken = _splat(meshes, project)
    visible = np.flatnonzero(keys < EMPTY)
    index = keys.take(visible) & ((1 << INDEX_BITS) - 1)
    skins, normals, places = [], [], []
    for mesh, samples in zip(meshes, taken, strict=True):
        own = np.flatnonzero((index >= samples.start) & (index < samples.start + samples.count))
        if len(own):
            skin, normal = _skin(mesh, samples, index.take(own), axes)
            paint(skin)
            skins.append(skin)
            normals.append(normal)
            places.append(visible.take(own))
    places = np.concatenate(places)
    light = _light(skins, np.concatenate(normals, axis=1), places, keys) * np.float32(camera.exposure)
    picture = _ground_shadow(meshes[0], project, camera.shadow)
    return _develop(picture, light, places)


def _develop(picture: np.ndarray, light: np.ndarray, places: np.ndarray) -> Image.Image:
    """Return the reduced photo: `light` at `places` over the enlarged grey `picture`, uint8 [pixels]."""
    channels = []
    for value in np.sqrt(np.clip(light, 0, 1)):
        channel = picture.copy()
        channel[places] = value * 255 + 0.5
        channels.append(Image.fromarray(channel.reshape(CANVAS_HEIGHT, CANVAS_WIDTH)))
    return Image.merge("RGB", channels).resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def _framing(meshes: Sequence[Mesh], axes: np.ndarray, camera: Camera) -> Projection:
    """Return the function from points [..., 3] to enlarged screen x, y (down) and nearness, [3, ...]."""
    seen = np.concatenate([mesh.kept_points() for mesh in meshes]) @ axes.T
    low, high = seen.min(axis=0), seen.max(axis=0)
    extent = high - low
    scale = (
        min(camera.fill_width * WIDTH / extent[0], camera.fill_height * HEIGHT / extent[1]) * SUPERSAMPLING
    )
    middle = (WIDTH / 2 + camera.shift) * SUPERSAMPLING
    offset = (middle - scale * (low[0] + high[0]) / 2, camera.ground * CANVAS_HEIGHT + scale * low[1], 0.0)
    turned = axes * np.array([[scale], [-scale], [scale]], np.float32)
    moved = np.array(offset, np.float32)[:, None]
    return lambda points: (turned @ points.reshape(-1, 3).T + moved).reshape(3, *points.shape[:-1])


def _splat(meshes: Sequence[Mesh], project: Projection) -> tuple[np.ndarray, list[Samples]]:
    """Return the depth keys [pixels] and the samples of every mesh."""
    keys = np.full(CANVAS_WIDTH * CANVAS_HEIGHT, EMPTY)
    taken, start = [], 0
    for mesh in meshes:
        screen = project(mesh.points)
        samples = Samples(start, _divide(screen[:2], axis=1), _divide(screen[:2], axis=2))
        column, row, near = (_enlarge(channel, samples) for channel in screen)
        pixel = np.clip(row + 0.5, 0, CANVAS_HEIGHT - 1).astype(np.int32) * np.int32(CANVAS_WIDTH)
        pixel += np.clip(column + 0.5, 0, CANVAS_WIDTH - 1).astype(np.int32)
        key = ((4096 - near) * DEPTH_STEPS).astype(np.int64) << INDEX_BITS
        key += np.arange(start, start + samples.count)
        if mesh.keep is not None:
            key[_enlarge(mesh.keep, samples) <= 0] = EMPTY
        np.minimum.at(keys, pixel, key)
        taken.append(samples)
        start += samples.count
    return _close_gaps(keys.reshape(CANVAS_HEIGHT, CANVAS_WIDTH)).ravel(), taken


def _divide(screen: np.ndarray, *, axis: int) -> np.ndarray:
    """Return fractional places along an axis of the grid, close enough to leave no gaps on the screen."""
    lengths = np.abs(np.diff(screen, axis=axis)).max(axis=(0, 3 - axis))
    counts = np.ceil(lengths / SPACING).astype(np.int64).clip(1, 400)
    interval = np.repeat(np.arange(len(lengths)), counts)
    step = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.append(interval + step / np.repeat(counts, counts), len(lengths)).astype(np.float32)


def _enlarge(grid: np.ndarray, samples: Samples) -> np.ndarray:
    """Return `grid` [rows, columns] bilinearly sampled, flat float32 [samples]."""
    wide = _interpolate(np.asarray(grid, np.float32).T, samples.columns).T
    return _interpolate(np.ascontiguousarray(wide), samples.rows).ravel()


def _interpolate(grid: np.ndarray, places: np.ndarray) -> np.ndarray:
    low = np.minimum(places.astype(np.int32), grid.shape[0] - 2)
    value = np.diff(grid, axis=0).take(low, axis=0)
    value *= (places - low)[:, None]
    value += grid.take(low, axis=0)
    return value


def _close_gaps(keys: np.ndarray) -> np.ndarray:
    """Return depth keys with one-pixel gaps between nearer neighbours filled from these."""
    closed = keys.copy()
    inner = closed[1:-1, 1:-1]
    np.minimum(inner, np.maximum(keys[1:-1, :-2], keys[1:-1, 2:]), out=inner)
    np.minimum(inner, np.maximum(keys[:-2, 1:-1], keys[2:, 1:-1]), out=inner)
    return closed


def _skin(mesh: Mesh, samples: Samples, index: np.ndarray, axes: np.ndarray) -> tuple[Skin, np.ndarray]:
    """Return visible samples of `mesh` and their normals on screen axes [3, n], turned to the viewer."""
    row, column = np.divmod((index - samples.start).astype(np.int32), np.int32(len(samples.columns)))
    down, across = samples.rows.take(row), samples.columns.take(column)
    columns = mesh.points.shape[1]
    top = np.minimum(down.astype(np.int32), mesh.points.shape[0] - 2)
    left = np.minimum(across.astype(np.int32), columns - 2)
    down -= top
    across -= left
    corner = top * np.int32(columns) + left
    shares = ((1 - down) * (1 - across), (1 - down) * across, down * (1 - across), down * across)
    corners = (corner, corner + 1, corner + columns, corner + columns + 1)
    tables = np.concatenate([mesh.points.reshape(-1, 3).T, axes @ mesh.normals().reshape(-1, 3).T])
    value = [sum(table.take(k) * share for k, share in zip(corners, shares, strict=True)) for table in tables]
    normal = _unit(np.stack(value[3:]))
    inside = (normal[2] < 0).astype(np.float32)
    normal *= 1 - 2 * inside
    u = mesh.u.take(left) * (1 - across) + mesh.u.take(left + 1) * across
    v = mesh.v.take(top) * (1 - down) + mesh.v.take(top + 1) * down
    blank = np.zeros((6, len(index)), np.float32)
    return Skin(mesh, *value[:3], u, v, inside, blank[:3], blank[3], blank[4], blank[5]), normal


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.sqrt(vectors[0] ** 2 + vectors[1] ** 2 + vectors[2] ** 2 + np.float32(1e-9))


def _toward(normal: np.ndarray, direction: tuple[float, float, float]) -> np.ndarray:
    """Return the cosine between normals [3, n] and a direction, 0 where it lies behind."""
    return np.clip(normal[0] * direction[0] + normal[1] * direction[1] + normal[2] * direction[2], 0, 1)


def _peak(cosine: np.ndarray, sharpness: np.ndarray) -> np.ndarray:
    """Return about cosine ** sharpness (Schlick's form, far cheaper than a power)."""
    return cosine / (sharpness - sharpness * cosine + cosine + 1e-6)


def _light(skins: list[Skin], normal: np.ndarray, places: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Return what the camera receives from every sample, linear RGB float32 [3, n]."""
    colour = np.concatenate([skin.colour for skin in skins], axis=1)
    gloss, sheen, relief = (
        np.concatenate([getattr(skin, name) for skin in skins]) for name in ("gloss", "sheen", "relief")
    )
    normal = _embossed(normal, relief, places)
    above = 0.5 + 0.5 * normal[1]
    edge = 1 - np.clip(normal[2], 0, 1)
    edge *= edge * edge
    open_share = _openness(places, keys)
    diffuse = 0.20 + 0.52 * _toward(normal, KEY_LIGHT) + 0.30 * above + 0.14 * _toward(normal, FILL_LIGHT)
    diffuse += 0.4 * sheen * edge
    shine = _toward(normal, HALF_WAY)
    spot = gloss * (0.13 * _peak(shine, 5 + 15 * gloss) + 0.75 * gloss * _peak(shine, 30 + 200 * gloss))
    # a long soft box high on the left: the bright band along vamps and shafts of polished leather
    band = np.clip(1 - np.abs(normal[1] - 0.62) * 6, 0, 1) * np.clip(0.4 - normal[0], 0, 1)
    spot += gloss * gloss * 0.35 * band
    spot += edge * (0.10 * gloss + 0.05) * above
    return colour * (diffuse * open_share) + spot * open_share


def _embossed(normal: np.ndarray, relief: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the normals tilted by the slope of the relief on the screen."""
    field = np.zeros(CANVAS_WIDTH * CANVAS_HEIGHT + 2 * CANVAS_WIDTH, np.float32)
    middle = places + CANVAS_WIDTH
    field[middle] = relief
    slope_x = field.take(middle + 1) - field.take(middle - 1)
    slope_y = field.take(middle - CANVAS_WIDTH) - field.take(middle + CANVAS_WIDTH)
    tilted = normal.copy()
    tilted[0] -= np.clip(slope_x, -0.8, 0.8)
    tilted[1] -= np.clip(slope_y, -0.8, 0.8)
    return _unit(tilted)


def _openness(places: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Return 0..1, smaller where nearer surfaces surround a sample: straps shade what lies under them."""
    depth = (keys.take(places) >> INDEX_BITS).astype(np.float32)
    low, span = depth.min(), max(float(np.ptp(depth)), DEPTH_STEPS)
    own = (depth - low) * np.float32(254 / span)
    grey = np.full(CANVAS_WIDTH * CANVAS_HEIGHT, 255, np.uint8)
    grey[places] = own
    image = Image.fromarray(grey.reshape(CANVAS_HEIGHT, CANVAS_WIDTH)).reduce(SUPERSAMPLING)
    shade = np.zeros(len(places), np.float32)
    for radius, strength in ((1, 0.15), (3, 0.075)):
        around = image.filter(ImageFilter.BoxBlur(radius)).resize(
            (CANVAS_WIDTH, CANVAS_HEIGHT), Image.Resampling.BILINEAR
        )
        behind = own - np.asarray(around).ravel().take(places)
        behind *= np.float32(span / 254 / DEPTH_STEPS / SUPERSAMPLING)
        shade += np.clip(strength * (behind - 0.3), 0, 0.38)
    return 1 - np.clip(shade, 0, 0.6)


def _ground_shadow(lowest: Mesh, project: Projection, strength: float) -> np.ndarray:
    """Return the white ground with a soft shadow, uint8 [enlarged pixels]."""
    outline = lowest.points[0] * np.array([1, 0, 1], np.float32)
    corners = project(outline)[:2].T / SUPERSAMPLING + np.array([0.8, 1.2], np.float32)
    mask = Image.new("L", (WIDTH, HEIGHT), 255)
    ImageDraw.Draw(mask).polygon(
        [tuple(point) for point in corners.tolist()], fill=round(255 * (1 - strength))
    )
    soft = mask.filter(ImageFilter.GaussianBlur(1.8))
    return np.asarray(soft.resize((CANVAS_WIDTH, CANVAS_HEIGHT), Image.Resampling.BILINEAR)).ravel()

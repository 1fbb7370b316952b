"""Pictures that show photos: rows of similar photos (P Fig 5, C Fig 8.7) and generated images.

They go to figures/<profile>/galleries/ and are committed for synthetic catalogues only. All positions are in
inches, so that photos keep their proportions and rows stay tight.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from solesearch.core.errors import InputError
from solesearch.core.model_names import PROPOSED, model_name
from solesearch.figures.drawing import BLUE, GREEN, VERMILION, WIDTH, Chart, add_caption, styled

NAME, GAP, EDGE, FOOT = 1.05, 0.12, 0.08, 0.28  # inches: model names, between photos, at the edges, caption
# The grid that training keeps (as in gan.trainer; not imported, since a picture needs no training code).
SAMPLE_ROWS, SAMPLE_COLUMNS = 4, 8
MOST_STEPS = 12  # rows of generated images
BELOW = 0.36  # inches for the two lines below a photo


@dataclass(frozen=True)
class Neighbour:
    """One result: uint8 pixels [h, w, 3], its class, its Euclidean distance from the query, its id.

    `same_product`: it shows the query's own product, say in another colour.
    """

    pixels: np.ndarray
    label: str
    distance: float
    id: str
    same_product: bool = False


@dataclass(frozen=True)
class GalleryRow:
    """One model's answer to one query photo, uint8 [h, w, 3], nearest first."""

    name: str
    query_pixels: np.ndarray
    query_label: str
    neighbours: list[Neighbour]


class Sheet:
    """A figure on which pictures are placed in inches from its top left corner."""

    def __init__(self, height: float):
        """Make an empty figure of the page's width, `height` inches high."""
        self.figure, self.height = Chart(figsize=(WIDTH, height)), height

    def show(self, pixels: np.ndarray, *, left: float, top: float, width: float, height: float) -> Axes:
        """Place a picture, its proportions kept, at the foot of the given box; return its axes."""
        axes = self.figure.add_axes(
            (left / WIDTH, 1 - (top + height) / self.height, width / WIDTH, height / self.height)
        )
        axes.set_anchor("S")
        axes.imshow(pixels, interpolation="lanczos")
        axes.set(xticks=[], yticks=[])
        axes.grid(visible=False)
        return axes

    def write(self, words: str, *, left: float, top: float, **looks) -> None:
        """Write at a point given in inches."""
        self.figure.text(left / WIDTH, 1 - top / self.height, words, **looks)


@styled
def neighbour_gallery(rows: Sequence[GalleryRow], *, profile: str, title: str) -> Figure:
    """Draw one row a query or model: name, query, then the nearest photos with their Euclidean distances.

    A green frame and a check mark mean the query's class, an orange frame and a cross another one (P Fig 5,
    C Fig 8.7); a blue = marks the query's own product. Raises InputError without rows or neighbours, and with
    more than fit.
    """
    if not rows or not all(row.neighbours for row in rows):
        raise InputError("gallery: nothing to draw; choose at least one query and one neighbour")
    most = max(len(row.neighbours) for row in rows)
    margin = EDGE + NAME * any(row.name for row in rows)
    width = (WIDTH - margin - EDGE - GAP * (most + 2)) / (most + 1)
    if width < 0.25:
        raise InputError(f"gallery: {most} neighbours do not fit side by side; ask for fewer")
    photos = [found.pixels for row in rows for found in row.neighbours] + [row.query_pixels for row in rows]
    # A single very tall photo must not stretch all rows: beyond 3:2 it is shown smaller instead.
    height = width * min(1.5, max(photo.shape[0] / photo.shape[1] for photo in photos))
    head = 0.42
    sheet = Sheet(head + len(rows) * (height + BELOW) + FOOT)
    sheet.write(title, left=EDGE, top=0.08, va="top", fontsize=9)
    for number, row in enumerate(rows):
        top = head + number * (height + BELOW)
        _draw_row(sheet, row, left=margin, top=top, width=width, height=height)
    marks = "✓ green: the query's class, ✗ orange: another class"
    queries = len({row.query_pixels.tobytes() for row in rows})
    counts = f"n = {queries} {'query' if queries == 1 else 'queries'}, top {most}"
    own = any(neighbour.same_product for row in rows for neighbour in row.neighbours)
    marks += ", =\N{NO-BREAK SPACE}blue: the query's own product" * own
    add_caption(sheet.figure, profile=profile, parts=[counts, "number: Euclidean distance", marks])
    return sheet.figure


def _draw_row(sheet: Sheet, row: GalleryRow, *, left: float, top: float, width: float, height: float) -> None:
    looks = {"color": BLUE, "fontweight": "bold"} if row.name == PROPOSED else {}
    name = textwrap.fill(model_name(row.name), width=17)
    sheet.write(name, left=left - 0.06, top=top + height / 2, ha="right", va="center", fontsize=7, **looks)
    left, characters = left + GAP / 2, int((width + GAP) * 18)
    axes = sheet.show(row.query_pixels, left=left, top=top, width=width, height=height)
    _frame(axes, colour="black", below=f"query\n{_cut(row.query_label, characters)}")
    for number, neighbour in enumerate(row.neighbours, start=1):
        place = left + GAP + number * (width + GAP)  # one gap more sets the query apart
        axes = sheet.show(neighbour.pixels, left=place, top=top, width=width, height=height)
        same = neighbour.label == row.query_label
        colour = GREEN if same else VERMILION
        below = f"{three_digits(neighbour.distance)}\n{_cut(neighbour.label, characters)}"
        _frame(axes, colour=colour, below=below)
        _badge(axes, "✓" if same else "✗", colour=colour)
        if neighbour.same_product:
            _badge(axes, "=", colour=BLUE, inside=True)


def three_digits(value: float) -> str:
    """Return a number above 0 with three digits and no exponent: 0.428, 6.50, 11.0, 5,432."""
    return f"{value:#.3g}".rstrip(".") if 1e-4 <= abs(value) < 999.5 else f"{value:,.0f}"


def _cut(words: str, characters: int) -> str:
    return words if len(words) <= characters else words[: characters - 1] + "…"


def _frame(axes: Axes, *, colour: str, below: str) -> None:
    axes.spines[:].set(visible=True, color=colour, linewidth=1.6)
    axes.set_xlabel(below, fontsize=6.5, labelpad=3, linespacing=1.15)


def _badge(axes: Axes, mark: str, *, colour: str, inside: bool = False) -> None:
    """Put a mark on the photo's top right corner, or inside the top left one, clear of the photo before."""
    box = {"boxstyle": "circle,pad=0.18", "facecolor": colour, "edgecolor": "white", "linewidth": 0.7}
    looks = {"color": "white", "fontsize": 6.5, "fontweight": "bold", "bbox": box, "zorder": 5}
    place = {"ha": "left", "va": "top"} if inside else {"ha": "center", "va": "center"}
    axes.text(*((0.05, 0.93) if inside else (1, 1)), mark, transform=axes.transAxes, **place, **looks)


@styled
def generated_samples(grids: Mapping[int, np.ndarray], *, profile: str, seed: int) -> Figure:
    """Draw the generator's images for the same eight latent vectors after more and more iterations.

    `grids`: {step: uint8 [4*h, 8*w, 3]}, the grids that training keeps; the first row of each is shown, at
    most MOST_STEPS steps, spread evenly from the first to the last. Raises InputError without any.
    """
    if not grids:
        raise InputError("generated samples: no grid to draw; train first")
    steps = sorted(grids)
    kept = sorted(
        {steps[round(place)] for place in np.linspace(0, len(steps) - 1, min(MOST_STEPS, len(steps)))}
    )
    strips = {step: _first_row(grids[step]) for step in kept}
    width = WIDTH - NAME - 2 * EDGE
    height = max(width * strip.shape[0] / strip.shape[1] for strip in strips.values())
    sheet = Sheet(0.1 + len(kept) * (height + 0.06) + FOOT)
    for number, (step, strip) in enumerate(strips.items()):
        top = 0.1 + number * (height + 0.06)
        axes = sheet.show(strip, left=EDGE + NAME, top=top, width=width, height=height)
        axes.spines[:].set_visible(False)
        words = f"iteration {step:,}" if step else "untrained"
        sheet.write(
            words, left=EDGE + NAME - 0.08, top=top + height / 2, ha="right", va="center", fontsize=7.5
        )
    shown = f"n = {SAMPLE_COLUMNS} generated images a row, the same latent vectors in every row"
    add_caption(sheet.figure, profile=profile, parts=[f"seed {seed}", shown])
    return sheet.figure


def _first_row(grid: np.ndarray) -> np.ndarray:
    """Return the first row of a grid with a white line between its eight images."""
    height, width = grid.shape[0] // SAMPLE_ROWS, grid.shape[1] // SAMPLE_COLUMNS
    images = grid[:height].reshape(height, SAMPLE_COLUMNS, width, 3)
    spaced = np.pad(images, ((0, 0), (0, 0), (0, max(1, width // 32)), (0, 0)), constant_values=255)
    return spaced.reshape(height, -1, 3)

"""What the notebook shows of the web page: its map as a chart, and one search as a table."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from solesearch.core.model_names import PROPOSED
from solesearch.figures.drawing import WIDTH, Chart, add_caption, styled
from solesearch.page.page_html import COLOURS
from solesearch.page.search_service import SearchService, shown_similarity

MARKERS = "os^DP"  # the shapes of the page's map, in its order
HEIGHT = 4.6  # inches


@styled
def draw_map(service: SearchService) -> Figure:
    """Return the page's map as a chart: a mark a photo, colour and shape by class."""
    figure = Chart(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes, points = figure.add_subplot(), service.map_points()
    marks = {}
    for number, label in enumerate(service.labels):
        places = [
            (x, 1 - y) for photo, x, y in points if photo.label == label
        ]  # y grows downwards on the page
        if places:
            across, up = zip(*places, strict=True)
            look = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}
            marks[label] = axes.scatter(across, up, s=9, linewidths=0, alpha=0.8, **look)
    axes.set(xticks=[], yticks=[])
    beside = {"loc": "center left", "bbox_to_anchor": (1, 0.5), "frameon": False, "markerscale": 1.6}
    axes.legend(
        list(marks.values()), list(marks), **beside
    )  # by name: matplotlib hides labels that begin with _
    title = service.model(PROPOSED).title
    parts = [f"{title}: {len(points):,} photos", "principal components, then t-SNE"]
    add_caption(figure, profile=service.paths.profile, parts=parts)
    return figure


def answer_table(service: SearchService, photo: str, *, models: Sequence[str], k: int) -> pd.DataFrame:
    """Return one row an answer of each model: model, rank, id, class, same class, distance, similarity."""
    among, rows = service.common_photos(models), []
    for name in models:
        found = service.search_photo(photo, name, k=k, among=among)
        for rank, answer in enumerate(found.answers, start=1):
            same = "yes" if answer.same_class else "no"
            rows.append(
                (found.model.title, rank, answer.photo.id, answer.photo.label, same, f"{answer.distance:.4g}",
                 shown_similarity(answer.similarity))
            )  # fmt: skip
    columns = ["model", "rank", "photo", "class", "same class", "distance", "nearer than"]
    return pd.DataFrame(rows, columns=columns)

"""The web page's rows, thumbnails and map as HTML and SVG; every text that comes from data is escaped.

Nothing is told by colour alone: an answer of the query's class has a green frame and a check mark with words,
a class on the map has a colour and a shape. What can be pressed is a button, so the keyboard reaches it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from html import escape

from solesearch.page.search_service import AnswerRow, Model, Photo, shown_similarity
from solesearch.page.uploads import Upload

MapPoint = tuple[Photo, float, float]  # x and y in [0, 1]
PhotoUrl = Callable[[str], str]  # a photo's id -> the address of its picture

# Okabe and Ito's colours, darkened where they would vanish on white; shapes change with every class, so that
# forty classes differ in one or the other.
COLOURS = ("#0072b2", "#d55e00", "#007a5a", "#b0497f", "#8a6d00", "#111111", "#7d7d7d", "#7a3e9d")
SHAPES = (
    "M0-6A6 6 0 1 1 0 6A6 6 0 1 1 0-6Z",  # circle
    "M-5.5-5.5H5.5V5.5H-5.5Z",  # square
    "M0-7L6.5 5H-6.5Z",  # triangle
    "M0-7.5L6 0L0 7.5L-6 0Z",  # diamond
    "M-2-6.5H2V-2H6.5V2H2V6.5H-2V2H-6.5V-2H-2Z",  # plus
)
MAP_WIDTH, MAP_HEIGHT, MARGIN = 1000, 640, 16  # of the drawing, in its own unit


def message(text: str, *, kind: str = "note") -> str:
    """Return a line for the visitor; `kind` is note or problem."""
    role = ' role="alert"' if kind == "problem" else ""
    return f'<p class="message {kind}"{role}>{escape(text)}</p>'


def photo_button(photo: Photo, url: PhotoUrl, *, does: str) -> str:
    """Return a picture that can be pressed; `does` says what for, to those who cannot see it."""
    words = f"{photo.label}, photo {photo.id}"
    return (
        f'<button type="button" class="photo" data-number="{photo.number}" title="{escape(words)}" '
        f'aria-label="{escape(f"{does}: {words}")}">'
        f'<img src="{escape(url(photo.id))}" alt="{escape(words)}" loading="lazy"></button>'
    )


def picker(photos: Sequence[Photo], url: PhotoUrl) -> str:
    """Return thumbnails to choose a query from."""
    items = "".join(f"<li>{photo_button(photo, url, does='Search with')}</li>" for photo in photos)
    return f'<ul class="picker" aria-label="Photos to search with">{items}</ul>'


def query_photo(photo: Photo, url: PhotoUrl) -> str:
    """Return the query, a photo of the catalogue, with its class and id."""
    words = f"{photo.label}, photo {photo.id}"
    return (
        f'<figure class="query" tabindex="-1"><img src="{escape(url(photo.id))}" '
        f'alt="Query: {escape(words)}">'
        f"<figcaption><strong>Query</strong>{escape(photo.label)}<small>{escape(photo.id)}</small>"
        f"<small>{escape(photo.split)} photo</small></figcaption></figure>"
    )


def query_upload(upload: Upload) -> str:
    """Return the query, a visitor's photo, as the page holds it; nothing of it can be asked for by others."""
    data = base64.b64encode(upload.preview()).decode("ascii")
    remarks = "".join(f"<small>{escape(remark)}</small>" for remark in upload.remarks)
    return (
        f'<figure class="query" tabindex="-1"><img src="data:image/jpeg;base64,{data}" '
        'alt="Query: the photo you uploaded">'
        f"<figcaption><strong>Query</strong>your photo<small>class not known</small>{remarks}</figcaption>"
        "</figure>"
    )


def answer_rows(query: str, rows: Sequence[AnswerRow], url: PhotoUrl, *, catalogue: int) -> str:
    """Return the query's figure and a row of answers a model, with a sentence on how to read them."""
    body = "".join(_answer_row(row, url, catalogue=catalogue) for row in rows)
    return f'<div class="search">{query}<div class="rows">{body}</div></div>{READING}'


READING = (
    '<p class="reading">Nearest first. The distance is Euclidean, in each model’s own unit. '
    "<em>Nearer than 99.5 %</em>: so many of 100 random pairs of test photos lie farther apart for this "
    "model; this can be read across models. A green frame with ✓ marks the query’s class. Press a photo to "
    "search on with it.</p>"
)


def _answer_row(row: AnswerRow, url: PhotoUrl, *, catalogue: int) -> str:
    among = f"all {row.among:,} photos" if row.among == catalogue else f"the {row.among:,} test photos"
    items = "".join(_answer(answer, rank, url) for rank, answer in enumerate(row.answers, start=1))
    return (
        f'<section class="model"><h3>{escape(row.model.title)} <small>answers from {among}</small></h3>'
        f'<ol class="answers">{items}</ol></section>'
    )


def _answer(answer, rank: int, url: PhotoUrl) -> str:
    kind = {True: "same", False: "other", None: "unknown"}[answer.same_class]
    mark = {"same": '<span class="mark">✓ same class</span>', "other": "other class", "unknown": ""}[kind]
    photo = answer.photo
    return (
        f'<li class="{kind}">{photo_button(photo, url, does=f"Rank {rank}, search with")}'
        f'<div class="facts"><strong>{escape(photo.label)}</strong><span>{mark}</span>'
        f"<span>distance {answer.distance:.4g}</span>"
        f"<span>nearer than {shown_similarity(answer.similarity)}</span></div></li>"
    )


def look_of(labels: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return class -> (colour, path of its mark around 0, 0)."""
    return {
        label: (COLOURS[number % len(COLOURS)], SHAPES[number % len(SHAPES)])
        for number, label in enumerate(labels)
    }


def feature_map(points: Sequence[MapPoint], labels: Sequence[str], *, model: Model, total: int) -> str:
    """Return the map of `model`'s features as an SVG with a legend: a mark a photo, its look by class.

    The drawing is one stop of the keyboard; arrows walk from mark to mark (web_page.js).
    """
    look, there = look_of(labels), {photo.label for photo, _, _ in points}
    kept = [label for label in labels if label in there]
    groups = "".join(_map_group(label, points, *look[label]) for label in kept)
    legend = "".join(
        f'<li><button type="button" data-class="{escape(label)}" aria-pressed="true">'
        f'<svg viewBox="-9 -9 18 18" aria-hidden="true"><path d="{look[label][1]}" '
        f'fill="{look[label][0]}"/></svg>'
        f"{escape(label)}</button></li>"
        for label in kept
    )
    some = (
        f"{len(points):,} of {total:,} photos, drawn at random"
        if len(points) < total
        else f"all {total:,} photos"
    )
    return (
        f'<div class="map"><p id="map-help">Features of {escape(model.title)}: principal components, then '
        f"t-SNE. Each mark is a photo ({some}); near marks have near features. Press a mark "
        "for its neighbours, or walk with the arrow keys and press Enter. Press a class to hide it.</p>"
        f'<ul class="legend" aria-label="Classes">{legend}</ul>'
        f'<svg class="points" viewBox="0 0 {MAP_WIDTH} {MAP_HEIGHT}" tabindex="0" role="application" '
        f'aria-label="Map of the features" aria-describedby="map-help">{groups}'
        '<circle class="cursor" r="13" visibility="hidden"/></svg>'
        '<p class="here" aria-live="polite"></p></div>'
    )


def _map_group(label: str, points: Sequence[MapPoint], colour: str, shape: str) -> str:
    width, height = MAP_WIDTH - 2 * MARGIN, MAP_HEIGHT - 2 * MARGIN
    marks = "".join(
        f'<path d="{shape}" transform="translate({MARGIN + x * width:.1f} {MARGIN + y * height:.1f})" '
        f'data-number="{photo.number}" data-id="{escape(photo.id)}"/>'
        for photo, x, y in points
        if photo.label == label
    )
    return f'<g data-class="{escape(label)}" fill="{colour}">{marks}</g>'

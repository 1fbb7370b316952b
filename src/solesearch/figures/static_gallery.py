"""One page to browse: queries, a row of answers from every model, filters by class and model.

It is a single HTML file that opens from a disk without a connection. It loads nothing and runs no script: the
filters are form controls that style rules look at, and each photo stands once in the style sheet, where every
picture of it finds it. A content policy in the page forbids the browser to fetch anything.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from solesearch.core import files
from solesearch.core.errors import InputError
from solesearch.core.measures import title
from solesearch.core.model_names import PROPOSED, model_name
from solesearch.figures.drawing import DRAWN_PROFILES
from solesearch.figures.galleries import GalleryRow, Neighbour, three_digits

THUMBNAIL = 128  # pixels of a photo's longer side; it is shown at about 100
QUALITY = 80  # of the JPEG: about 2 kB a photo
MOST_BYTES = 6_000_000  # a page that opens at once on a phone and does not weigh on a repository
UNSIZED = "{.} MB"  # as many characters as any size below 10 MB, so that the page can state its own
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
# What an <img> must have as its source while the style sheet paints the photo: one transparent pixel.
CLEAR = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="
STYLE = """
:root { --ink: #1a1a1a; --quiet: #565656; --line: #8a8a8a; --link: #004f8a;
  --same: #00654b; --other: #a33c00; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: #fff; margin: 0 auto;
  max-width: 60rem; padding: 0 .75rem 2rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; } h2 { font-size: 1.1rem; margin: 0; }
fieldset { border: 1px solid var(--line); border-radius: .3rem; margin: 0 0 .75rem; padding: .25rem .6rem; }
legend { font-weight: 600; padding: 0 .25rem; }
label { display: inline-flex; align-items: center; gap: .35rem; min-height: 2rem; margin-right: .9rem; }
input { width: 1.1rem; height: 1.1rem; accent-color: var(--link); margin: 0; }
input:focus-visible, a:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
a { color: var(--link); }
.skip { position: absolute; left: -99rem; } .skip:focus { position: static; }
.query { border-top: 2px solid var(--line); padding: .9rem 0; }
.head { display: flex; gap: .8rem; align-items: center; margin-bottom: .4rem; }
.head img { flex: none; width: 7.5rem; border: 2px solid var(--ink); }
.head p { margin: 0; color: var(--quiet); font-size: .85rem; }
.model { display: grid; grid-template-columns: 10rem minmax(0, 1fr); gap: .2rem .8rem; align-items: center;
  padding: .4rem 0; border-top: 1px solid #d5d5d5; }
.model h3 { font-size: .9rem; font-weight: 400; line-height: 1.3; margin: 0; }
.model.proposed h3 { font-weight: 700; color: var(--link); }
.model h3 span { color: var(--quiet); font-weight: 400; }
.model ol { display: grid; grid-template-columns: repeat(var(--wide), minmax(0, 7.5rem)); gap: .4rem;
  list-style: none; margin: 0; padding: 0; }
.model li { font-size: .8rem; line-height: 1.25; }
.same img { border: 3px solid var(--same); } .other img { border: 3px dashed var(--other); }
.same b, .good { color: var(--same); } .other b, .bad { color: var(--other); }
img { display: block; width: 100%; background: #fff center / contain no-repeat; print-color-adjust: exact; }
.old { border: 2px solid var(--other); padding: .5rem; }
@supports selector(:has(*)) { .old { display: none; } }
@media (max-width: 40rem) {
  .model { grid-template-columns: minmax(0, 1fr); }
  .model ol { grid-template-columns: repeat(var(--narrow), minmax(0, 1fr)); gap: .3rem; }
  .model li { font-size: .75rem; }
}
"""


def thumbnail(pixels: np.ndarray) -> bytes:
    """Return a photo, uint8 [h, w, 3], as a JPEG with at most THUMBNAIL pixels on its longer side."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    kept = io.BytesIO()
    image.save(kept, "JPEG", quality=QUALITY, optimize=True)
    return kept.getvalue()


def gallery_page(answers: Mapping[str, Sequence[GalleryRow]], *, profile: str, searched: int) -> str:
    """Return the page: for each query (its id is the key) the given rows, one a model, nearest first.

    Every query needs the same models in the same order; `searched` is the number of photos that could answer.
    The same rows give the same bytes. Raises InputError without queries, for models that differ between them,
    and for a page above MOST_BYTES.
    """
    models = _models(answers)
    classes = list(dict.fromkeys(sorted(rows[0].query_label for rows in answers.values())))
    photos = _photo_classes(answers)
    parts = [
        _head(profile, _style(answers, photos, classes=len(classes), models=len(models))),
        _introduction(answers, profile=profile, photos=len(photos), searched=searched),
        _filters([row[0].query_label for row in answers.values()], classes, models),
        '<main id="rows">',
        *(
            _query(number, query, rows, classes=classes, photos=photos)
            for number, (query, rows) in enumerate(_by_class(answers), start=1)
        ),
        "</main>\n</body>\n</html>",
    ]
    page = "\n".join(parts) + "\n"
    size = len(page.encode())
    if size > MOST_BYTES:
        raise InputError(
            f"gallery.html would have {size / 1e6:.1f} MB, more than {MOST_BYTES / 1e6:.0f}; "
            "lower gallery.page_queries or gallery.k in params.yaml"
        )
    return page.replace(UNSIZED, f"{size / 1e6:.1f} MB")


def write_page(path: Path, page: str) -> str:
    """Write the page, whole or not at all, and return a line that names it, its queries and its size."""
    files.write_text(path, page)
    return f"{path.name}: {page.count('<section')} queries, {path.stat().st_size / 1e6:.1f} MB"


def _models(answers: Mapping[str, Sequence[GalleryRow]]) -> list[str]:
    """Return the models' names; raises InputError where queries have none or different ones."""
    if not answers:
        raise InputError("gallery.html: no queries to show; choose at least one")
    names = {tuple(row.name for row in rows) for rows in answers.values()}
    if len(names) > 1 or names == {()}:
        raise InputError("gallery.html: every query needs an answer of the same models, at least one")
    return list(names.pop())


def _by_class(answers: Mapping[str, Sequence[GalleryRow]]) -> list[tuple[str, Sequence[GalleryRow]]]:
    return sorted(answers.items(), key=lambda item: item[1][0].query_label)


def _all_photos(answers: Mapping[str, Sequence[GalleryRow]]) -> Iterable[tuple[str, np.ndarray]]:
    for query, rows in answers.items():
        yield query, rows[0].query_pixels
        for row in rows:
            yield from ((neighbour.id, neighbour.pixels) for neighbour in row.neighbours)


def _photo_classes(answers: Mapping[str, Sequence[GalleryRow]]) -> dict[str, str]:
    """Return photo id -> the style class that paints it: p0, p1, ... in the order of appearance."""
    found = dict.fromkeys(photo for photo, _ in _all_photos(answers))
    return {photo: f"p{number}" for number, photo in enumerate(found)}


# --- the style sheet -------------------------------------------------------------------------------------


def _style(
    answers: Mapping[str, Sequence[GalleryRow]], photos: Mapping[str, str], *, classes: int, models: int
) -> str:
    pixels = dict(_all_photos(answers))
    height = max(one.shape[0] / one.shape[1] for one in pixels.values())
    most = max(len(row.neighbours) for rows in answers.values() for row in rows)
    rules = [
        STYLE.strip(),
        f"img {{ aspect-ratio: {1 / min(height, 1.5):.4g}; }}",
        f".model ol {{ --wide: {min(most, 6)}; --narrow: {min(most, 5)}; }}",
        *(
            f"body:has(#class-{n}:checked) .query:not(.class-{n}) {{ display: none; }}"
            for n in range(classes)
        ),
        *(f"body:has(#model-{n}:not(:checked)) .model-{n} {{ display: none; }}" for n in range(models)),
    ]
    for photo, name in photos.items():
        data = base64.b64encode(thumbnail(pixels[photo])).decode()
        rules.append(f".{name}{{background-image:url(data:image/jpeg;base64,{data})}}")
    return "\n".join(rules)


# --- the page --------------------------------------------------------------------------------------------


def _head(profile: str, style: str) -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Similar photos: {html.escape(title(profile))}</title>\n<style>\n{style}\n</style>\n</head>"
    )


def _introduction(
    answers: Mapping[str, Sequence[GalleryRow]], *, profile: str, photos: int, searched: int
) -> str:
    drawn = profile in DRAWN_PROFILES
    kind = (
        "The photos are drawn by code: no answer says anything about photographs."
        if drawn
        else "It shows photographs that belong to others: keep it to yourself."
    )
    return (
        '<body>\n<a class="skip" href="#rows">Skip the filters</a>\n'
        f"<header>\n<h1>Similar photos, model by model: {html.escape(title(profile))}</h1>\n"
        f"<p>{len(answers)} queries, test photos that no training saw. Each model answers with its nearest "
        f"of {searched:,} test photos, other photos of the query's own product left out. The number is the "
        "Euclidean distance; it compares within a row, not between models. "
        '<b class="good">✓</b> and a solid frame: the query\'s class; '
        f'<b class="bad">✗</b> and a dashed frame: another one. {kind}</p>\n'
        f"<p>This page: {UNSIZED}, {photos:,} photos, each inside it once. No connection needed.</p>\n"
        '<p class="old">This browser is too old for the filters (they need <code>:has()</code>, in browsers '
        "since 2023): everything is shown.</p>\n</header>"
    )


def _filters(labels: Sequence[str], classes: Sequence[str], models: Sequence[str]) -> str:
    choices = [("all", f"all ({len(labels)})", " checked")]
    choices += [(str(n), f"{name} ({labels.count(name)})", "") for n, name in enumerate(classes)]
    radios = "\n".join(
        f'<label><input type="radio" name="class" id="class-{key}"{on}>{html.escape(words)}</label>'
        for key, words, on in choices
    )
    boxes = "\n".join(
        f'<label><input type="checkbox" id="model-{n}" checked>{html.escape(model_name(name))}</label>'
        for n, name in enumerate(models)
    )
    return (
        f'<form autocomplete="off">\n<fieldset>\n<legend>Class of the query</legend>\n{radios}\n</fieldset>\n'
        f"<fieldset>\n<legend>Models</legend>\n{boxes}\n</fieldset>\n</form>"
    )


def _query(
    number: int, query: str, rows: Sequence[GalleryRow], *, classes: Sequence[str], photos: Mapping[str, str]
) -> str:
    label = rows[0].query_label
    body = "\n".join(_row(place, row, photos) for place, row in enumerate(rows))
    return (
        f'<section class="query class-{classes.index(label)}" aria-labelledby="query-{number}">\n'
        f'<div class="head">{_image(query, label, photos)}<div>'
        f'<h2 id="query-{number}">Query {number}: {html.escape(label)}</h2><p>{html.escape(query)}</p>'
        f"</div></div>\n{body}\n</section>"
    )


def _row(place: int, row: GalleryRow, photos: Mapping[str, str]) -> str:
    hits = sum(neighbour.label == row.query_label for neighbour in row.neighbours)
    proposed = " proposed" if row.name == PROPOSED else ""
    items = "".join(_item(neighbour, row.query_label, photos) for neighbour in row.neighbours)
    return (
        f'<div class="model model-{place}{proposed}"><h3>{html.escape(model_name(row.name))}<br>'
        f"<span>{hits} of {len(row.neighbours)} of the class</span></h3>\n<ol>{items}</ol></div>"
    )


def _item(neighbour: Neighbour, wanted: str, photos: Mapping[str, str]) -> str:
    same = neighbour.label == wanted
    kind, mark = ("same", "✓") if same else ("other", "✗")
    return (
        f'<li class="{kind}">{_image(neighbour.id, neighbour.label, photos)}'
        f"<b>{mark}</b> {three_digits(neighbour.distance)}<br>{html.escape(neighbour.label)}</li>"
    )


def _image(photo: str, label: str, photos: Mapping[str, str]) -> str:
    alt = html.escape(f"photo {photo}, class {label}", quote=True)
    return f'<img class="{photos[photo]}" src="{CLEAR}" alt="{alt}">'

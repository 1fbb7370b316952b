"""One page to browse: queries, a row of answers from every model, filters by class and model.

It is a single HTML file (gallery.html) that opens from a disk without a connection. It loads nothing and runs
no script: the filters are form controls that style rules look at, and each photo stands once in the style
sheet. A content policy in the page forbids the browser to fetch anything.
"""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import StrictUndefined, Template

from solesearch.core.errors import InputError
from solesearch.core.measures import DRAWN, title
from solesearch.core.model_names import PROPOSED, model_name
from solesearch.figures.galleries import GalleryRow, three_digits
from solesearch.photos.photo import small_jpeg

TEMPLATE = Path(__file__).with_name("gallery.html")
JINJA = {"autoescape": True, "trim_blocks": True, "undefined": StrictUndefined}
THUMBNAIL = 128  # pixels of a photo's longer side; it is shown at about 100
MOST_BYTES = 6_000_000  # a page that opens at once on a phone and does not weigh on a repository


def gallery_page(answers: Mapping[str, Sequence[GalleryRow]], *, profile: str, searched: int) -> str:
    """Return the page: for each query (its id is the key) the given rows, one a model, nearest first.

    Every query needs the same models in the same order; `searched` is the number of photos that could answer.
    The same rows give the same bytes. Raises InputError without queries and for a page above MOST_BYTES.
    """
    if not answers:
        raise InputError("gallery.html: no queries to show; choose at least one")
    ordered = dict(sorted(answers.items(), key=lambda item: item[1][0].query_label))
    pixels = {query: rows[0].query_pixels for query, rows in answers.items()}
    pixels |= {
        found.id: found.pixels for rows in answers.values() for row in rows for found in row.neighbours
    }
    labels = Counter(rows[0].query_label for rows in ordered.values())
    page = Template(TEMPLATE.read_text(encoding="utf-8"), **JINJA).render(
        answers=ordered,
        aspect=1 / min(1.5, max(photo.shape[0] / photo.shape[1] for photo in pixels.values())),
        classes=dict(sorted(labels.items())),
        drawn=profile in DRAWN,
        model_name=model_name,
        models=[row.name for row in next(iter(answers.values()))],
        most=max(len(row.neighbours) for rows in answers.values() for row in rows),
        numbers={photo: number for number, photo in enumerate(pixels)},
        photos={
            photo: b64encode(small_jpeg(shown, side=THUMBNAIL)).decode() for photo, shown in pixels.items()
        },
        proposed=PROPOSED,
        searched=searched,
        three_digits=three_digits,
        title=title(profile),
    )
    if (size := len(page.encode())) > MOST_BYTES:
        raise InputError(
            f"gallery.html would have {size / 1e6:.1f} MB, more than {MOST_BYTES / 1e6:.0f}; "
            "lower gallery.page_queries or gallery.k in params.yaml"
        )
    return page

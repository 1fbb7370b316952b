"""What a figure says, and that a reader can read it."""

from matplotlib.figure import Figure
from matplotlib.text import Text


def words(figure: Figure) -> list[str]:
    """Every text of a figure that is seen."""
    texts = [text for text in figure.findobj(Text) if text.get_visible()]
    return [text.get_text() for text in texts if text.get_text().strip()]


def caption(figure: Figure) -> str:
    return figure.get_supxlabel().replace("\n", " ")


def boxes(figure: Figure) -> list[tuple[str, object]]:
    """The box in pixels of every text that is seen; ticks beyond an axis's ends are not."""
    figure.draw_without_rendering()
    outside = set()
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        outside |= {id(tick.label1) for tick in ticks if not low <= tick.get_loc() <= high}
    drawn = [text for text in figure.findobj(Text) if text.get_visible() and id(text) not in outside]
    return [(text.get_text(), text.get_window_extent()) for text in drawn if text.get_text().strip()]


def assert_legible(figure: Figure) -> None:
    """No text is cut by the figure's edge, and no two texts overlap."""
    found = boxes(figure)
    for text, box in found:
        assert box.x0 >= -1 and box.y0 >= -1, text
        assert box.x1 <= figure.bbox.width + 1 and box.y1 <= figure.bbox.height + 1, text
    for number, (text, box) in enumerate(found):
        for other, place in found[number + 1 :]:
            across = min(box.x1, place.x1) - max(box.x0, place.x0)
            along = min(box.y1, place.y1) - max(box.y0, place.y0)
            assert across <= 1 or along <= 1, f"{text!r} overlaps {other!r}"


def row_names(figure: Figure) -> list[str]:
    """The names on the first panel's y axis."""
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def column(figure: Figure, panel: int, head: str) -> list[str]:
    """The texts right of a panel whose right edge is that of the column `head`."""
    axes = figure.axes[panel]
    texts = [text for text in axes.texts if text.get_ha() == "right"]
    [top] = [text for text in texts if text.get_text() == head]
    edge = top.get_window_extent().x1
    mine = [text for text in texts if abs(text.get_window_extent().x1 - edge) < 1 and text is not top]
    return [text.get_text() for text in sorted(mine, key=lambda text: -text.get_window_extent().y0)]

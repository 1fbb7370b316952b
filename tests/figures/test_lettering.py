"""Names in charts: whatever a class is called, it is drawn as it stands, without boxes and warnings."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fontTools.ttLib import TTFont
from matplotlib import font_manager
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure

from solesearch.figures import lettering
from solesearch.figures.drawing import save
from solesearch.figures.figures import photos_per_class
from solesearch.figures.galleries import GalleryRow, Neighbour, neighbour_gallery
from solesearch.networks.comparison_figures import retraining_curves

LITERAL = ("ba$$in", "$50 & $up|x", "a$_b$ c$^2$", r"\alpha %d %s", "_hidden", "<b>&amp;", "x" * 200, "$")
SCRIPTS = ("ботинки", "Größe", "حذاء", "παπούτσι")  # DejaVu Sans has these


def catalogue(names: tuple[str, ...]) -> pd.DataFrame:
    rows = [(name, split, 9) for name in names for split in ("training", "validation", "test")]
    return pd.DataFrame(rows, columns=["label", "split", "photos"])


def gallery(names: tuple[str, ...]) -> Figure:
    pixels = np.zeros((8, 8, 3), np.uint8)
    found = [Neighbour(pixels, name, 1.0, name) for name in names]
    return neighbour_gallery(
        [GalleryRow("infogan", pixels, names[0], found)], profile=names[0], title=names[0]
    )


DRAWINGS = {
    "photos_per_class": lambda names: photos_per_class(catalogue(names), profile=names[0]),
    "gallery": gallery,
}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """What matplotlib draws from now on: the text, and whether it is taken for mathematics."""
    texts, draw = [], RendererAgg.draw_text

    def spy(self, gc, x, y, s, *rest, **options):  # rest: font, angle, ismath
        texts.append((s, bool(options.get("ismath", rest[2:3] == (True,)))))
        return draw(self, gc, x, y, s, *rest, **options)

    monkeypatch.setattr(RendererAgg, "draw_text", spy)
    return texts


@pytest.fixture
def fonts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, int]]:
    """The fonts beside the chart's own: none, whatever this machine has; a test may add one."""
    there: list[tuple[str, str, int]] = []
    monkeypatch.setattr(lettering, "_other_fonts", lambda: there)
    monkeypatch.setattr(font_manager.fontManager, "ttflist", list(font_manager.fontManager.ttflist))
    for cached in (lettering.family_with, lettering._say_once):
        cached.cache_clear()
    yield there
    for cached in (lettering.family_with, lettering._say_once):
        cached.cache_clear()


@pytest.mark.parametrize("chart", DRAWINGS)
def test_names_are_drawn_as_they_stand(chart: str, drawn: list, tmp_path: Path) -> None:
    names = LITERAL + SCRIPTS
    for first in range(0, len(names), 4):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            save(DRAWINGS[chart](names[first : first + 4]), tmp_path / "chart")
    assert not any(mathematics for _, mathematics in drawn)
    lines = [text for text, _ in drawn]
    for name in names:
        start = name[: 6 if chart == "gallery" else 60]  # long ones are cut, in a gallery to a photo's width
        assert any(line.startswith(start) for line in lines), (name, lines)


def test_powers_stay_powers(drawn: list, tmp_path: Path) -> None:
    rows = [("MobileNet+classes", step, 10.0**-step, 0.5, 10.0**-step) for step in range(5)]
    names = ["model", "step", "loss", "mean_probability", "gradient_norm"]
    save(retraining_curves(pd.DataFrame(rows, columns=names), profile="p$x$"), tmp_path / "chart")
    powers = [text for text, mathematics in drawn if mathematics]
    assert powers and all("10^" in text for text in powers)
    assert any("p$x$" in text for text, mathematics in drawn if not mathematics)


def write_font(path: Path, letters: str) -> None:
    """Write a font in which every letter is an A."""
    font = TTFont(font_manager.findfont("DejaVu Sans"))
    for table in font["cmap"].tables:
        table.cmap = {ord(letter): "A" for letter in letters}
    for record in font["name"].names:
        record.string = str(record).replace("DejaVu Sans", "Invented")
    font.save(path)


@pytest.mark.parametrize("chart", DRAWINGS)
def test_letters_of_another_font_are_taken_and_the_rest_spelled(
    chart: str, drawn: list, fonts: list, tmp_path: Path, capsys
) -> None:
    write_font(tmp_path / "invented.ttf", "鞋子")
    font_manager.fontManager.addfont(tmp_path / "invented.ttf")
    fonts.append(("Invented", str(tmp_path / "invented.ttf"), 0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            save(DRAWINGS[chart](("鞋子", "boot $x$ 鞋", "靴子", "👟\ufe0f")), tmp_path / "chart")
    lines = [text for text, _ in drawn]
    assert any("鞋子" in text for text in lines)
    start = "[U+9774]子"[: 6 if chart == "gallery" else None]  # 靴 is in neither font
    assert any(text.startswith(start) for text in lines) and not any("靴" in text for text in lines)
    said = capsys.readouterr().err.splitlines()
    assert [line.split("has ")[1].split(",")[0] for line in said] == ["CJK letters", "such pictures"]
    assert "Noto Sans" in said[0] and "solesearch.pipeline.charts" in said[0]


def test_fonts_of_the_machine_are_found() -> None:
    families = [name for name, *_ in lettering._other_fonts()]
    assert families == sorted(families) and "DejaVu Sans" in families
    assert lettering.family_with("a") and lettering.family_with("\U0010fffd") is None

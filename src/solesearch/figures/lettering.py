"""The letters of a chart: users' names drawn as they stand, in whatever script, and readable without a font.

Names of classes, photos and profiles come from the user. The style file turns mathematical notation off, so
that `$` is a dollar; the numbers of logarithmic axes alone have it.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import unicodedata
from pathlib import Path

from matplotlib import font_manager
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.legend import Legend
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter

LONGEST = 68  # letters of a name beside an axis or in a legend, half the width; our own have up to 64
SILENT = ("Cf", "Mn", "Me")  # joiners and variants: without a glyph they are left out, nobody misses them


def letter(figure: Figure) -> None:
    """Make all texts of a figure readable: cut very long names, take letters that the chart's font lacks from
    another font of this machine, and spell by number (U+978B) what none has; the latter is said on stderr."""
    for axis in _axes(figure):  # a formatter writes its names anew at every drawing, so it gets others
        axis.get_majorticklabels()  # asks the formatter
        names = [tick.label1.get_text() for tick in axis.get_major_ticks()]
        shown = [readable(_cut(name)) for name in names]
        if shown != names:
            axis.set_ticks(axis.get_majorticklocs(), shown)
    for legend in figure.findobj(Legend):
        for text in legend.get_texts():
            text.set_text(_cut(text.get_text()))
    for text in figure.findobj(Text):
        words = readable(text.get_text())
        text.set_text(words)
        missing = [sign for sign in words if not sign.isspace() and ord(sign) not in _base_letters()]
        if families := dict.fromkeys(filter(None, map(family_with, missing))):
            text.set_fontfamily([*text.get_fontfamily(), *families])


def mark_powers(figure: Figure) -> None:
    """Let the numbers of logarithmic axes, and only them, be set as powers."""
    for axis in _axes(figure):
        formatters = {"major": axis.get_major_formatter(), "minor": axis.get_minor_formatter()}
        for which, formatter in formatters.items():
            for label in axis.get_ticklabels(which=which) if isinstance(formatter, LogFormatter) else ():
                label.set_parse_math(True)


def readable(words: str) -> str:
    """Return words, every letter that no font here has spelled by number; say so, once for each script."""
    spelled = ""
    for sign in words:
        if sign.isspace() or ord(sign) in _base_letters() or family_with(sign):
            spelled += sign
        elif unicodedata.category(sign) not in SILENT:
            letters = unicodedata.category(sign).startswith("L")
            _say_once(f"{unicodedata.name(sign).split()[0]} letters" if letters else "such pictures")
            spelled += f"[U+{ord(sign):04X}]"
    return spelled.replace("][", " ")


def _axes(figure: Figure) -> list[Axis]:
    return [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]


def _cut(words: str) -> str:
    """Return words of which no line is longer than LONGEST."""
    lines = words.split("\n")
    return "\n".join(line if len(line) <= LONGEST else line[: LONGEST - 1] + "…" for line in lines)


@functools.cache
def _base_letters() -> frozenset[int]:
    return frozenset(font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap())


@functools.cache
def family_with(sign: str) -> str | None:
    """Return the first font of this machine, by name, that draws a letter; None without one."""
    return next((name for name, path, face in _other_fonts() if _draws(path, face, sign)), None)


@functools.cache
def _other_fonts() -> list[tuple[str, str, int]]:
    """Return (family, file, face) of all upright fonts, also of those installed since matplotlib looked."""
    manager = font_manager.fontManager
    for path in sorted(set(font_manager.findSystemFonts()) - {entry.fname for entry in manager.ttflist}):
        with contextlib.suppress(Exception):  # a damaged or exotic font is no reason to draw no chart
            manager.addfont(path)
    entries = {(entry.name, entry.fname, entry.index) for entry in manager.ttflist if entry.style == "normal"}
    return sorted(entry for entry in entries if "lastresort" not in entry[0].replace(" ", "").lower())


def _draws(path: str, face: int, sign: str) -> bool:
    with contextlib.suppress(Exception):
        font = FT2Font(Path(path), face_index=face)
        font.set_size(10, 72)  # which fonts of colour pictures (emoji) refuse
        return ord(sign) in font.get_charmap() and font.load_char(ord(sign)) is not None
    return False


@functools.cache
def _say_once(what: str) -> None:
    print(
        f"charts: no font on this machine has {what}, so they are spelled by number (U+978B); "
        "install one, say Noto Sans, and run `python -m solesearch.pipeline.charts`",
        file=sys.stderr,
    )

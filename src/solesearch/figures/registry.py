"""Every chart of the project: what it is drawn from, and where it is saved.

A chart is a function that takes results tables and returns a Figure; `@chart` names its tables, so that a
notebook, `make figures` and the tests draw the same bytes from the same tables.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from solesearch.core import files
from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.figures.drawing import styled

Drawer = Callable[..., Figure]


@dataclass(frozen=True)
class Registered:
    """A chart's function, the results tables it is drawn from, and those it takes where they are there."""

    draw: Callable[..., Figure]
    tables: tuple[str, ...]  # passed in this order
    beside: tuple[str, ...] = ()  # passed by name; None where there is no such file


CHARTS: dict[str, Registered] = {}  # filled by `chart` as the modules with charts are imported


def chart(*tables: str, beside: tuple[str, ...] = ()) -> Callable[[Drawer], Drawer]:
    """Register a chart function under its own name, drawn under the project's style (`styled`).

    `tables` are results tables, passed in this order; `beside` are passed by name where they are there, else
    None. The function takes `profile` by name, too, and returns the Figure.
    """

    def register(draw: Drawer) -> Drawer:
        CHARTS[draw.__name__] = Registered(styled(draw), tables, beside)
        return CHARTS[draw.__name__].draw

    return register


def read_result(paths: Paths, name: str) -> pd.DataFrame:
    """Return a results table of a profile; raises InputError when it is missing or damaged."""
    return files.read_result(paths.result(name))


def draw_chart(drawn: str | Drawer, *, profile: str) -> Figure:
    """Draw a chart, named or given, that `@chart` registered from the profile's results tables; save nothing.

    Stage charts saves what README and docs show, `make figures` all. Raises InputError for an unknown name,
    or a missing or faulty table.
    """
    name = drawn if isinstance(drawn, str) else drawn.__name__
    if name not in CHARTS:
        raise InputError(f"chart {name!r} is unknown; there are {', '.join(CHARTS)}")
    registered, paths = CHARTS[name], Paths.of(profile)
    tables = [read_result(paths, table) for table in registered.tables]
    there = {table: paths.result(table).is_file() for table in registered.beside}
    beside = {table: read_result(paths, table) if found else None for table, found in there.items()}
    return registered.draw(*tables, profile=profile, **beside)

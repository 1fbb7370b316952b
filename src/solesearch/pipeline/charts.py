"""Every chart redrawn from the committed tables: `python -m solesearch.pipeline.charts [PROFILE ...]`.

Each module with charts registers them (figures/registry.py).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from solesearch.beyond import growth_figures, ladder_figures, latent_figures, likeness_figures  # noqa: F401
from solesearch.claims import claim_figures  # noqa: F401
from solesearch.core.errors import InputError, exit_status
from solesearch.core.paths import Paths, repository_root
from solesearch.core.settings import check_known
from solesearch.cost import cost_figures, speed_figures  # noqa: F401

# imported for their charts, which they register
from solesearch.figures import (
    figures,  # noqa: F401
)
from solesearch.figures.drawing import PIPELINE
from solesearch.figures.registry import CHARTS, draw_chart
from solesearch.index import index_figures  # noqa: F401
from solesearch.networks import comparison_figures, retraining_figures  # noqa: F401
from solesearch.people import study_figures  # noqa: F401


def redraw(profile: str, *, report: Callable[[str], None] = print) -> list[Path]:
    """Draw every chart of a profile from results/<profile>/*.csv alone and return the files.

    `report` gets one line a file; a chart whose table is missing or faulty costs one line, the rest is drawn.
    """
    paths, written = Paths.of(profile), []
    for name in CHARTS:
        try:
            draw_chart(name, profile=profile)
        except InputError as error:
            report(f"{name} skipped: {error}")
            continue
        new = [paths.figures / f"{name}.{suffix}" for suffix in ("png", "pdf")]
        for path in new:
            report(str(path.relative_to(paths.root)))
        written += new
    return written


def profiles_with_tables() -> list[str]:
    """Return the folders below results/ that hold tables, sorted; raises InputError when there is none."""
    folder = repository_root() / "results"
    found = sorted({path.parent.name for path in folder.glob("*/*.csv")})
    if not found:
        raise InputError(f"{folder}: no tables yet; {PIPELINE} writes them")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Redraw the charts from the committed tables: no photos, no training, seconds."""
    parser = argparse.ArgumentParser(prog="python -m solesearch.pipeline.charts", description=main.__doc__)
    parser.add_argument("profiles", nargs="*", metavar="PROFILE", help="default: all with tables in results/")
    named = parser.parse_args(arguments).profiles

    def work() -> int:
        check_known(named)
        written = [path for profile in named or profiles_with_tables() for path in redraw(profile)]
        return 0 if written else 1

    return exit_status(work)


if __name__ == "__main__":
    sys.exit(main())

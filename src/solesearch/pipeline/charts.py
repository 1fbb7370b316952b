"""Every chart redrawn from the committed tables: `python -m solesearch.pipeline.charts [PROFILE ...]`.

Each module with charts registers them (figures/registry.py).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from solesearch.beyond import ablation_figures, growth_figures, latent_figures, likeness_figures
from solesearch.claims import claim_figures
from solesearch.core.errors import InputError, exit_status
from solesearch.core.paths import Paths, repository_root
from solesearch.core.settings import check_known
from solesearch.cost import cost_figures, speed_figures
from solesearch.figures import figures
from solesearch.figures.drawing import PIPELINE, save
from solesearch.figures.registry import CHARTS, draw_chart
from solesearch.index import index_figures
from solesearch.networks import comparison_figures
from solesearch.people import study_figures

MODULES = (  # each registers its charts as it is imported
    *(ablation_figures, claim_figures, comparison_figures, cost_figures, figures, growth_figures),
    *(index_figures, latent_figures, likeness_figures, speed_figures, study_figures),
)
# What README and docs show; the others are a command away (`make figures`).
SHOWN = (
    *("loss_curves", "checkpoint_curve", "precision_bars", "precision_comparison", "differences"),
    *("time_comparison", "accuracy_parameters", "recall_speed", "ladder", "likeness", "human_study_wins"),
    *("growth", "kid_bars"),
)


def redraw(profile: str, *, report: Callable[[str], None] = print, shown: bool = False) -> list[Path]:
    """Draw the charts of a profile from its results tables alone and return the files.

    All of them, as PNG and PDF, into figures/<profile>/all (no part of the repository), or as PNG into
    figures/<profile>/charts those that README and docs show. `report` gets one line a file; a chart whose
    table is missing or faulty costs one line, the rest is drawn.
    """
    paths, written = Paths.of(profile), []
    for name in SHOWN if shown else CHARTS:
        stem = paths.chart(name) if shown else paths.figures / "all" / name
        try:
            new = save(draw_chart(name, profile=profile), stem, kinds=("png",) if shown else ("png", "pdf"))
        except InputError as error:
            report(f"{name} skipped: {error}")
            continue
        for path in new:
            report(str(path.relative_to(paths.root)))
        written += new
    return written


def profiles_with_tables() -> list[str]:
    """Return the folders below results/ that hold tables, sorted; raises InputError when there is none."""
    folder = repository_root() / "results"
    found = sorted({path.parents[1].name for path in folder.glob("*/*/*.csv")})
    if not found:
        raise InputError(f"{folder}: no tables yet; {PIPELINE} writes them")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Redraw the charts from the committed tables: no photos, no training, seconds."""
    parser = argparse.ArgumentParser(prog="python -m solesearch.pipeline.charts", description=main.__doc__)
    parser.add_argument("profiles", nargs="*", metavar="PROFILE", help="default: all with tables in results/")
    parser.add_argument("--shown", action="store_true", help="only those that README and docs show, as PNG")
    chosen = parser.parse_args(arguments)

    def work() -> int:
        check_known(chosen.profiles)
        profiles = chosen.profiles or profiles_with_tables()
        written = [path for profile in profiles for path in redraw(profile, shown=chosen.shown)]
        return 0 if written else 1

    return exit_status(work)


if __name__ == "__main__":
    sys.exit(main())

"""What is written from the committed results: the README's table, docs/results.md, the terminal's summary.

`python -m solesearch.pipeline.report` (`make readme`) writes the first two, and `make repro` ends with the
third. A person writes the README's sentences; a test compares their numbers with the results. No TensorFlow,
no matplotlib.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from solesearch.core import files
from solesearch.core.errors import InputError, exit_status
from solesearch.core.measures import (
    GALLERIES,
    NONE,
    NOT_RUN,
    K,
    markdown_table,
    precision,
    precision_words,
    title,
    without_weights,
)
from solesearch.core.model_names import MODEL_NAMES, NO_WEIGHTS_WORDS, is_plain_network
from solesearch.core.paths import Paths, repository_root
from solesearch.core.published import published_row
from solesearch.core.settings import active_profiles, check_known
from solesearch.pipeline.results_page import results_page, run_cells

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
COMPARED = ("sample", "paper")  # columns beside the papers' own numbers
COMMITTED = (*COMPARED, "chapter")


def precision_table(profiles: Sequence[str]) -> str:
    """Return precision@5 as Markdown: a row a model; what P prints, then each profile's two galleries."""
    header = [
        "Model",
        "printed in P",
        *(f"{title(name)}, {words}" for name in profiles for words in GALLERIES.values()),
    ]
    tables = [precision(name) for name in profiles]
    rows = []
    for model, name in MODEL_NAMES.items():
        printed = published_row(model)
        cells = [precision_words(table, model, gallery) for table in tables for gallery in GALLERIES]
        rows.append([name, NONE if printed is None else f"{printed['precision']:.2f}", *cells])
    return markdown_table(header, rows)


def pages(root: Path) -> dict[Path, str]:
    """Return path -> text as the results give it, of the README and docs/results.md."""
    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise InputError(f"{readme}: needs a line {BEGIN} and a line {END} after it, for the table")
    filled = f"{before}{BEGIN}\n\n{precision_table(COMPARED)}\n\n{END}{after}"
    return {readme: filled, root / "docs" / "results.md": results_page(COMPARED, committed=COMMITTED)}


def update_pages(root: Path) -> None:
    """Write the pages that are not what the results give, each whole or not at all."""
    stale = [
        (path, text)
        for path, text in pages(root).items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    for path, text in stale:
        files.write_text(path, text)
    names = ", ".join(path.name for path, _ in stale)
    print(f"written: {names or 'nothing, all are what the results give'}")


# --- the terminal ----------------------------------------------------------------------------------------


def summary(profiles: Sequence[str]) -> str:
    """Return where results and figures lie, and precision@5, as plain text for the terminal.

    Without profiles: those that params.yaml runs. Raises InputError for a profile that it does not have.
    """
    check_known(profiles)
    return "\n\n".join(_profile_summary(name) for name in (profiles or active_profiles()))


def _profile_summary(profile: str) -> str:
    paths, table = Paths.of(profile), precision(profile)
    if table is None:
        return f"{title(profile)}: {NOT_RUN}; add it to `profiles` in params.yaml, then `make repro`"
    names, untrained = dict(MODEL_NAMES), without_weights(profile)
    for model in filter(is_plain_network, table.index.unique("model")):
        names[model] = f"{model}, {NO_WEIGHTS_WORDS}" if model in untrained else model
    rows = [
        [name, *(precision_words(table, model, gallery) for gallery in GALLERIES)]
        for model, name in names.items()
    ]
    spent, _, peak, *_ = run_cells(profile)
    folders = {
        "results": (paths.results, "**/*.csv"),
        "figures": (paths.figures, "**/*.png"),
        "notebooks": (paths.notebooks, "*.ipynb"),
    }
    lines = [
        f"  {name:9} {_listed(folder, paths.root, pattern)}" for name, (folder, pattern) in folders.items()
    ]
    lines += [f"  minutes   {spent}, peak memory {peak}", ""]
    return "\n".join([title(profile), *lines, *_aligned([[f"precision@{K}", *GALLERIES.values()], *rows])])


def _listed(folder: Path, root: Path, pattern: str) -> str:
    names = sorted(path.name for path in folder.glob(pattern))
    return f"{folder.relative_to(root).as_posix()}/  {', '.join(names) or 'nothing there yet'}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return lines whose columns are padded to one width each."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [f"  {'  '.join(map(str.ljust, row, widths))}".rstrip() for row in rows]


def main() -> int:
    """Write the README's table and docs/results.md from the results."""
    argparse.ArgumentParser(
        prog="python -m solesearch.pipeline.report", description=main.__doc__
    ).parse_args()
    return exit_status(lambda: update_pages(repository_root()))


if __name__ == "__main__":
    sys.exit(main())

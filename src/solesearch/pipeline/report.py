"""What is written from the committed results: tables of the README and of docs/, the terminal's summary.

`python -m solesearch.pipeline.report` (`make readme`) writes the first two, and `make repro` ends with the
third. A person writes the sentences; a test compares their numbers with the results. No TensorFlow, no
matplotlib.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

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
    read_result,
    title,
    with_range,
    without_weights,
)
from solesearch.core.model_names import (
    MODEL_NAMES,
    NO_WEIGHTS_WORDS,
    PROPOSED,
    UNTRAINED,
    is_plain_network,
    model_name,
)
from solesearch.core.paths import Paths, repository_root
from solesearch.core.settings import active_profiles, check_known
from solesearch.pipeline.reader_tables import charts_table, claims_by_stage
from solesearch.pipeline.results_page import printed_precision, results_page, run_cells

COMPARED = ("sample", "paper")  # columns beside the papers' own numbers
COMMITTED = (*COMPARED, "chapter")
EXCLUDED = "product_excluded"


def readme_table(profiles: Sequence[str]) -> str:
    """Return the README's table as Markdown: five models, what P prints, then both galleries by profile.

    The ablation judges without the query's own product alone, so its best model has no naive precision.
    """
    tables = {name: precision(name) for name in profiles}
    columns = [(gallery, name) for gallery in GALLERIES for name in profiles]
    header = ["Precision@5", "printed in P", *(f"{name}, {GALLERIES[gallery]}" for gallery, name in columns)]
    rows = []
    for model in (PROPOSED, UNTRAINED, "hog"):
        cells = [precision_words(tables[name], model, gallery) for gallery, name in columns]
        rows.append([model_name(model), printed_precision(model), *cells])
    best = {name: best_without_labels(name) for name in profiles}
    titles = dict.fromkeys(words for words, _ in best.values() if words)
    cells = [best[name][1] if gallery == EXCLUDED else NONE for gallery, name in columns]
    rows.append([f"Best without labels: {'; '.join(titles) or NOT_RUN}", NONE, *cells])
    network = best_network(profiles)
    cells = [_network_words(network, name, tables[name], gallery) for gallery, name in columns]
    rows.append([f"Best ImageNet network: {network or NONE}", printed_precision(network or ""), *cells])
    return markdown_table(header, rows)


def best_without_labels(profile: str) -> tuple[str, str]:
    """Return title and precision, mean and range of its trainings, of the ablation's first on test photos."""
    table = read_result(profile, "ladder")
    if table is None:
        return "", NOT_RUN
    judged = (table["finalist"] == 1) & (table["split"] == "test") & (table["gallery"] == EXCLUDED)
    rows = table[judged & (table["k"] == K) & (table["seed"].astype(str) != "all")]
    if rows.empty:
        return "", NONE
    values = rows["value"]
    trained_as, _, _ = rows["title"].iloc[0].partition(":")  # the post-processing follows
    return trained_as, with_range(values.mean(), values.min(), values.max())


def best_network(profiles: Sequence[str]) -> str | None:
    """Return the ImageNet network with ImageNet weights that leads the naive gallery of all test photos.

    The last profile where there is one decides; None where no profile has one.
    """
    for name in reversed(profiles):
        if (table := precision(name)) is None:
            continue
        naive, untrained = table.xs("naive", level="gallery"), without_weights(name)
        whole = naive[naive["n"] == naive["n"][PROPOSED]]["mean"]
        real = [model for model in whole.index if is_plain_network(model) and model not in untrained]
        if real:
            return whole[real].idxmax()
    return None


def _network_words(network: str | None, profile: str, table: pd.DataFrame | None, gallery: str) -> str:
    if table is not None and (network is None or network in without_weights(profile)):
        return "no ImageNet weights"
    return precision_words(table, network or "", gallery)


# --- the pages -------------------------------------------------------------------------------------------


def filled(path: Path, name: str, table: str) -> str:
    """Return a page with `table` between its markers `name`; raises InputError where they are missing."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise InputError(f"{path}: needs a line {begin} and a line {end} after it, for the table")
    return f"{before}{begin}\n\n{table}\n\n{end}{after}"


def pages(root: Path) -> dict[Path, str]:
    """Return path -> text as the results give it, of the README and of the pages in docs/ with tables."""
    tables = {
        "README.md": ("results", readme_table(COMPARED)),
        "docs/reviewer.md": ("claims", claims_by_stage(COMMITTED)),
        "docs/author.md": ("charts", charts_table(root)),
    }
    texts = {root / page: filled(root / page, *table) for page, table in tables.items()}
    return {**texts, root / "docs" / "results.md": results_page(COMPARED, committed=COMMITTED)}


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
    """Write the tables of the README and of docs/ from the results."""
    argparse.ArgumentParser(
        prog="python -m solesearch.pipeline.report", description=main.__doc__
    ).parse_args()
    return exit_status(lambda: update_pages(repository_root()))


if __name__ == "__main__":
    sys.exit(main())

"""The README's tables as Markdown, measured values beside what the papers print."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from solesearch.core.errors import InputError
from solesearch.core.measures import (
    GALLERIES,
    NONE,
    NOT_RUN,
    TENSORFLOW,
    K,
    measure,
    precision_rows,
    read_result,
    time_ratios,
    title,
    untrained_rows,
)
from solesearch.core.model_names import (
    MODEL_NAMES,
    PROPOSED,
    is_plain_network,
    model_name,
    network_row,
    published_networks,
)
from solesearch.core.paths import Paths
from solesearch.core.published import CHAPTER_TIME_S, published_ratio, published_row

README_PROFILES = ("sample", "zappos", "paper")  # the last one only where it was run
CHECKPOINT = "training checkpoint"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """Return a Markdown table; the first `left` columns are set left, the others right."""
    lines = [header, ["---" if column < left else "---:" for column in range(len(header))], *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def readme_profiles() -> list[str]:
    """Return the README's columns: sample and zappos always, paper once it has results."""
    return [name for name in README_PROFILES if name != "paper" or precision_rows(name) is not None]


def results_table(profiles: Sequence[str]) -> str:
    """Return precision@5 as Markdown: a row a model; P's column, then each profile's two galleries."""
    header = ["Model", "paper"]
    header += [f"{title(profile)}, {words}" for profile in profiles for words in GALLERIES.values()]
    measured = {profile: precision_rows(profile) for profile in profiles}
    rows = []
    for model, name in MODEL_NAMES.items():
        paper = published_row(model)
        cells = [name, NONE if paper is None else f"{paper['precision']:.2f}"]
        for profile in profiles:
            cells += precision_cells(measured[profile], model)
        rows.append(cells)
    return markdown_table(header, rows)


def precision_cells(rows: pd.DataFrame | None, model: str) -> list[str]:
    """Return a model's cells, one a gallery."""
    if rows is None:
        return [NOT_RUN] * len(GALLERIES)
    return [str(measure(rows, model, gallery) or NONE) for gallery in GALLERIES]


def results_note(profiles: Sequence[str]) -> str:
    """Return what the table's numbers are: measure, seeds, number of queries, and the paper's terms."""
    counts = []
    for profile in profiles:
        rows = precision_rows(profile)
        if rows is not None and not rows.empty:
            seeds = sorted({int(seed) for seed in rows["seed"] if seed})
            named = f", seeds {', '.join(map(str, seeds))}" if seeds else ""
            counts.append(f"{profile} {int(rows['n'].max()):,} queries{named}")
    measured = f" Measured: {'; '.join(counts)}." if counts else ""
    paper = published_row("infogan")
    return (
        f"Precision@{K} over all test queries, mean over the seeds and their range in parentheses.{measured} "
        f"Paper: {paper['source'].partition(' (')[0]}, for 10,000 UT-Zap50K photos in eight classes, k not "
        "stated; it stands beside the measured columns, not against them."
    )


def read_latency(profile: str) -> pd.DataFrame | None:
    """Return latency.csv; None if not run. Raises InputError that names the file for an impossible value."""
    numbers = "batch median_ms images_per_s parameters file_mb"
    table = read_result(profile, "latency", text="model runtime machine", numbers=numbers)
    if table is not None and (table["median_ms"] <= 0).any():
        raise InputError(f"{Paths.of(profile).result('latency')}: a median is not above 0; measure again")
    return table


def latency_table(profiles: Sequence[str]) -> str:
    """Return time and throughput of all but the compiled ImageNet networks as Markdown (those: `table_two`).

    A row a model and runtime, a profile's medians at batch 1 and photos a second at batch 32 beside each
    other; parameters and file size from the first profile that has the row.
    """
    header = ["Model", "Runtime"]
    header += [words for name in profiles for words in (f"{name}, ms", f"{name}, photos/s at 32")]
    tables = {name: table for name in profiles if (table := read_latency(name)) is not None}
    rows = pd.concat(tables.values()) if tables else pd.DataFrame(columns=["model", "runtime"])
    inside = rows["model"].map(is_plain_network).astype(bool) & (rows["runtime"] == TENSORFLOW)
    wanted = rows[~inside].drop_duplicates(["model", "runtime"])
    cells = [_latency_cells(row, tables, profiles) for row in wanted.to_dict("records")]
    machines = [f"{name}: {words}" for name, table in tables.items() for words in table["machine"].unique()]
    note = f"Batch 1 is a single decoded photo. {'. '.join(machines)}." if machines else ""
    body = cells or [[NOT_RUN] * (len(header) + 2)]
    return f"{markdown_table([*header, 'parameters', 'file MB'], body, left=2)}\n\n{note}".strip()


def _latency_cells(row: dict, tables: dict[str, pd.DataFrame], profiles: Sequence[str]) -> list[str]:
    cells = [model_name(row["model"]), row["runtime"]]
    for profile in profiles:
        if profile not in tables:
            cells += [NOT_RUN] * 2
            continue
        table = tables[profile]
        mine = table[(table["model"] == row["model"]) & (table["runtime"] == row["runtime"])]
        single, many = (mine[mine["batch"] == batch] for batch in (1, 32))
        cells.append(f"{single['median_ms'].iloc[0]:.3g}" if len(single) else NONE)
        cells.append(f"{many['images_per_s'].iloc[0]:,.0f}" if len(many) else NONE)
    cells.append(f"{int(row['parameters']):,}" if row["parameters"] else NONE)
    return [*cells, f"{row['file_mb']:.1f}" if row["file_mb"] else NONE]


# --- P Table II ------------------------------------------------------------------------------------------


def table_two(profiles: Sequence[str]) -> str:
    """Return P Table II as Markdown: size, time and precision, what P prints beside what was measured."""
    header = ["Model", "MB, paper", "MB, with classifier", "MB, without", "ms, paper"]
    header += [f"ms, {profile}" for profile in profiles]
    header += ["precision, paper", *[f"precision, {profile}" for profile in profiles]]
    sizes = {name: read_result(name, "sizes", text="model what", numbers="megabytes") for name in profiles}
    times = {name: read_latency(name) for name in profiles}
    precision = {name: precision_rows(name) for name in profiles}
    rows = []
    for model in _table_two_models([*sizes.values(), *times.values(), *precision.values()]):
        paper = published_row(model)
        rows.append([model_name(model), NONE if paper is None else f"{paper['size_mb']:g}"])
        rows[-1] += _size_cells(list(sizes.values()), model)
        rows[-1] += [_paper_time(model), *[_time_cell(times[profile], model) for profile in profiles]]
        rows[-1] += [NONE if paper is None else f"{paper['precision']:.2f}"]
        rows[-1] += [_precision_cell(profile, precision[profile], model) for profile in profiles]
    return f"{markdown_table(header, rows)}\n\n{_table_two_note(profiles, precision)}"


def _table_two_models(tables: Iterable[pd.DataFrame | None]) -> list[str]:
    """Return the thirteen models in P's order, other widths that were run after theirs."""
    found = {model for table in tables if table is not None for model in table["model"]}
    widths = sorted(model for model in found if is_plain_network(model) and "-" in model)
    models = []
    for network in published_networks().index:
        models += [network, *[one for one in widths if network_row(one).published_name == network]]
    return [*models, PROPOSED]


def _size_cells(tables: Sequence[pd.DataFrame | None], model: str) -> list[str]:
    there = [table for table in tables if table is not None]
    if not there:
        return [NOT_RUN] * 2
    rows = pd.concat(there)
    rows = rows[rows["model"] == model].drop_duplicates("what").set_index("what")["megabytes"]
    whole = f"{rows['with classifier']:.3g}" if "with classifier" in rows else NONE
    if CHECKPOINT in rows:
        whole = f"{rows[CHECKPOINT]:.3g} ({CHECKPOINT})"
    return [whole, f"{rows['embedding']:.3g}" if "embedding" in rows else NONE]


def _with_ratio(milliseconds: float, ratio: float | None) -> str:
    return f"{milliseconds:.3g}" + (f" ({ratio:.3g}×)" if ratio is not None else "")


def _paper_time(model: str) -> str:
    paper = published_row(model)
    if paper is None:
        return NONE
    ratio = published_ratio(model, proposed_s=float(published_row(PROPOSED)["time_s"]))
    return _with_ratio(paper["time_s"] * 1000, ratio)


def _time_cell(latency: pd.DataFrame | None, model: str) -> str:
    if latency is None:
        return NOT_RUN
    rows = latency[(latency["batch"] == 1) & (latency["runtime"] == TENSORFLOW)]
    median = rows.loc[rows["model"] == model, "median_ms"]
    if median.empty:
        return NONE if rows["model"].map(is_plain_network).any() else NOT_RUN
    ratios = time_ratios(latency)["measured"]
    return _with_ratio(median.iloc[0], ratios.get(model))


def _precision_cell(profile: str, rows: pd.DataFrame | None, model: str) -> str:
    if rows is None:
        return NOT_RUN
    found = measure(rows, model, "naive")
    if not found:
        return NONE if rows["model"].map(is_plain_network).any() else NOT_RUN
    proposed = measure(rows, PROPOSED, "naive")
    subset = f" (n = {found.queries:,})" if proposed and found.queries != proposed.queries else ""
    untrained = "untrained: " if model in untrained_rows(profile, rows[rows["model"] == model]) else ""
    return f"{untrained}{found}{subset}"


def _table_two_note(profiles: Sequence[str], precision: dict[str, pd.DataFrame | None]) -> str:
    counts = []
    for profile in profiles:
        rows = precision[profile]
        proposed = None if rows is None else measure(rows, PROPOSED, "naive")
        counts += [f"{profile} n = {proposed.queries:,}"] if proposed else []
    return (
        "MB: with classifier, the file that Keras publishes (for the proposed model: all networks and the "
        "optimisers' state); without, float32 weights of what embeds a photo. ms: one decoded photo, "
        "compiled TensorFlow, in parentheses the multiple of the proposed model's time, which C gives as "
        f"around {CHAPTER_TIME_S:g} s. Precision@{K}: naive gallery, {', '.join(counts) or NOT_RUN}; another "
        "n is part of the test photos, where fewer can be found. *untrained*: no ImageNet weights here, so "
        "the row stands outside every conclusion; size and time do not depend on weights."
    )


# --- checkpoints -----------------------------------------------------------------------------------------


def checkpoints_table(profiles: Sequence[str]) -> str:
    """Return the chosen training step of each seed as Markdown, beside the untrained step 0."""
    header = ["Profile", "Seed", "Chosen step", "of checkpoints"]
    header += [f"{when}, {words}" for when in ("chosen", "untrained") for words in GALLERIES.values()]
    rows = []
    for profile in profiles:
        table = read_result(
            profile, "checkpoints", text="model gallery metric chosen", numbers="seed step k value n"
        )
        if table is None:
            rows.append([title(profile), *[NOT_RUN] * (len(header) - 1)])
            continue
        swept = table[table["model"] == "infogan"]  # the controls stand there, too, without a choice
        rows += [_checkpoint_cells(profile, seed, found) for seed, found in swept.groupby("seed")]
    note = (
        f"Precision@{K} on the validation photos, by which the step was chosen; test photos played no part."
    )
    return f"{markdown_table(header, rows)}\n\n{note}"


def _checkpoint_cells(profile: str, seed: float, rows: pd.DataFrame) -> list[str]:
    steps = rows.loc[rows["chosen"].str.lower() == "true", "step"].unique()
    if len(steps) != 1:
        path = Paths.of(profile).result("checkpoints")
        raise InputError(f"{path}: seed {seed:g} has {len(steps)} chosen steps; run stage evaluate again")
    trained = rows.loc[rows["step"] > 0, "step"].nunique()
    values = rows[(rows["metric"] == "precision") & (rows["k"] == K)].set_index(["step", "gallery"])["value"]
    cells = [title(profile), f"{seed:g}", f"{steps[0]:g}", str(trained)]
    for step in (steps[0], 0):
        cells += [f"{values[step, name]:.3f}" if (step, name) in values else NONE for name in GALLERIES]
    return cells

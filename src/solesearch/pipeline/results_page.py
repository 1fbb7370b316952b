"""docs/results.md: every model's time, size and precision beside what the papers print."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from solesearch.claims.verdicts import MARKS, report_file
from solesearch.core.errors import InputError
from solesearch.core.measures import (
    GALLERIES,
    NONE,
    NOT_RUN,
    TENSORFLOW,
    K,
    markdown_table,
    precision,
    precision_words,
    read_result,
    time_ratios,
    title,
    with_range,
    without_weights,
)
from solesearch.core.model_names import (
    MODEL_NAMES,
    PRIOR,
    PROPOSED,
    is_plain_network,
    model_name,
    network_row,
    published_networks,
)
from solesearch.core.paths import Paths, repository_root
from solesearch.core.published import CHAPTER_TIME_S, published_ratio, published_row

NOT_RECORDED = "not recorded"
PICTURES = "../figures/sample/galleries"
RUN = ["Profile", "minutes", "longest stage", "peak memory", "machine", "versions"]
PROPOSED_S = float(published_row(PROPOSED)["time_s"])
PAGE = """\
# Results in full

Every table in one place, written by `make readme` from the files in [`results/`](../results); the \
[README](../README.md) and [claims.md](claims.md) say what they mean.

## Precision@{k}

Over all test queries: {queries}. The mean of the training seeds and, in parentheses, their range.

{precision}

*Printed in P* is P Table II, for 10,000 UT-Zap50K photos in eight classes; it stands beside the measured \
columns, not against them. *naive*: query and gallery are the same photos, the query itself left out, as in \
the papers. *product excluded*: other photos of the query's own product may not answer either.

## P Table II

What P prints beside what was measured here.

{table_two}

MB: with classifier, the file that Keras publishes (for the proposed model: all networks and the optimisers' \
state); without, float32 weights of what embeds a photo. ms: one decoded photo, compiled TensorFlow, in \
parentheses the multiple of the proposed model's time, which C gives as around {chapter:g} s. \
Precision@{k}: naive gallery, mean over the seeds and their range; another n is part of the test photos, \
where fewer can be found. †: of these weights Keras publishes no hash, or another one, so they may come from \
another ImageNet training. *untrained*: no ImageNet weights here, so the row stands outside every \
conclusion; size and time do not depend on weights.

## Time of a photo, size of a model

{latency}

Batch 1 is a single decoded photo. {machines} Compiled ImageNet networks stand in the table above.

## Checkpoints

The training step that each seed was judged with: precision@{k} on the validation photos, by which it was \
chosen; test photos played no part.

{checkpoints}

## Every class alike

Macro precision@{k}, the mean of the classes' means, with its 95 % interval over products: what the first \
table says of all queries, where the large classes do not decide. *untrained*: as above, on the same part.

{macro}

## Alike in what the catalogue says

What the nearest photos of other products have in common with their query: the mean overlap of the two \
lists of values, which is the share of answers with the query's value where each photo has one; in \
parentheses the 95 % interval. Chance is what a random photo has in common with the same queries.

{attributes}

Unknown values are left out; `attributes.csv` counts them. *short*: on the ablation's schedule; notebook 11 \
says who its best are. *untrained*: no ImageNet weights here.

## Verdicts on the papers' claims

{scorecard}

Each claim with its number, interval, reason, figure and command: {claims}.

## Pictures

Of the synthetic catalogue: [one query and every model]({pictures}/models_side_by_side.png) (P Fig 4), \
[top 5 of unseen queries]({pictures}/unseen_queries.png) (P Fig 5, C Fig 8.7), \
[bags among shoes]({pictures}/handbags/handbags.png) (C Fig 8.8), \
[with and without the query's own product]({pictures}/other_products.png), \
[best and worst]({pictures}/best_and_worst.png), \
[what the generator drew]({pictures}/generated_samples.png). \
[gallery.html]({pictures}/gallery.html) is one page to browse: a row from every model for each query, with \
filters by class and model. Download it and open it; it needs no connection. Stage 07 writes the same for \
your photographs to `figures/<profile>/galleries/`, which Git ignores there. Which queries are shown is a \
matter of `gallery.seed` and `gallery.query_ids` in [`params.yaml`](../params.yaml). Charts: \
[author.md](author.md#charts).

## Minutes and memory

{machine}

Measured by the runner on the machine named.
"""


def results_page(profiles: Sequence[str], *, committed: Sequence[str]) -> str:
    """Return docs/results.md: `profiles` beside the papers, all `committed` ones where the papers are not."""
    latency = {name: read_result(name, "latency") for name in profiles}
    machines = [
        f"{name}: {words}."
        for name, table in latency.items()
        for words in ([] if table is None else table["machine"].unique())
    ]
    reports = {name: report_file(Paths.of(name)) for name in committed}
    links = [
        f"[{name}](../{path.relative_to(repository_root())})"
        for name, path in reports.items()
        if path.is_file()
    ]
    return PAGE.format(
        k=K,
        chapter=CHAPTER_TIME_S,
        pictures=PICTURES,
        queries=_queries(profiles),
        precision=precision_table(profiles),
        table_two=table_two(profiles),
        latency=latency_table(latency),
        machines=" ".join(machines),
        checkpoints=checkpoints_table(committed),
        macro=macro_table(profiles),
        attributes=attributes_table(profiles),
        scorecard=scorecard_table(committed),
        claims=", ".join(links) or NOT_RUN,
        machine=markdown_table(RUN, [[title(name), *run_cells(name)] for name in committed], left=len(RUN)),
    )


def pick(table: pd.DataFrame | None, column: str, form: str, **where: Any) -> str:
    """Return the one cell of a results table as text; a dash where there is no such row or no number."""
    if table is None:
        return NOT_RUN
    rows = table.loc[(table[list(where)] == pd.Series(where)).all(axis=1), column]
    return form.format(rows.iloc[0]) if rows.head(1).notna().any() else NONE


# --- precision -------------------------------------------------------------------------------------------


def _queries(profiles: Sequence[str]) -> str:
    """Return `454 of sample, 4,576 of paper`: how many test photos ask in each profile that has run."""
    tables = {name: table for name in profiles if (table := precision(name)) is not None}
    counts = [f"{table['n'].max():,} of {name}" for name, table in tables.items()]
    return ", ".join(counts) or NOT_RUN


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
        cells = [precision_words(table, model, gallery) for table in tables for gallery in GALLERIES]
        rows.append([name, printed_precision(model), *cells])
    return markdown_table(header, rows)


def printed_precision(model: str) -> str:
    """Return what P Table II prints for a model, `0.84`, or a dash."""
    printed = published_row(model)
    return NONE if printed is None else f"{printed['precision']:.2f}"


# --- P Table II ------------------------------------------------------------------------------------------


def table_two(profiles: Sequence[str]) -> str:
    """Return P Table II as Markdown: size, time and precision, what P prints beside what was measured."""
    sizes = [table for name in profiles if (table := read_result(name, "sizes")) is not None]
    latency = {name: read_result(name, "latency") for name in profiles}
    judged = {name: (precision(name), without_weights(name), _unknown_weights(name)) for name in profiles}
    header = ["Model", "MB, printed", "MB, with classifier", "MB, without", "ms, printed"]
    header += [f"ms, {name}" for name in profiles]
    header += ["precision, printed", *(f"precision, {name}" for name in profiles)]
    rows = []
    for model in thirteen_models([table for table in latency.values() if table is not None]):
        of_p, ratio = published_row(model), published_ratio(model, proposed_s=PROPOSED_S)
        printed = [NONE] * 3
        if of_p is not None:
            milliseconds = f"{of_p['time_s'] * 1000:.3g} ({ratio:.3g}×)"
            printed = [f"{of_p['size_mb']:g}", milliseconds, f"{of_p['precision']:.2f}"]
        row = [model_name(model), printed[0], *_sizes(pd.concat(sizes) if sizes else None, model), printed[1]]
        row += [*(_time(latency[name], model) for name in profiles), printed[2]]
        rows.append(row + [_precision(*judged[name], model) for name in profiles])
    return markdown_table(header, rows)


def thirteen_models(tables: Sequence[pd.DataFrame]) -> list[str]:
    """Return the thirteen models in P's order, other widths that were run after theirs."""
    run = {model for table in tables for model in table["model"]}
    widths = sorted(model for model in run if is_plain_network(model) and "-" in model)
    models = []
    for network in published_networks().index:
        models += [network, *(model for model in widths if network_row(model).published_name == network)]
    return [*models, PROPOSED]


def _sizes(sizes: pd.DataFrame | None, model: str) -> list[str]:
    what, form = ("with classifier", "{:.3g}")
    if model == PROPOSED:  # its file holds all networks
        what, form = "training checkpoint", "{:.3g} (training checkpoint)"
    whole = pick(sizes, "megabytes", form, model=model, what=what)
    return [whole, pick(sizes, "megabytes", "{:.3g}", model=model, what="embedding")]


def _time(latency: pd.DataFrame | None, model: str) -> str:
    milliseconds = pick(latency, "median_ms", "{:.3g}", model=model, runtime=TENSORFLOW, batch=1)
    ratio = None if latency is None else time_ratios(latency)["measured"].get(model)
    return milliseconds if ratio is None else f"{milliseconds} ({ratio:.3g}×)"


def _unknown_weights(profile: str) -> set[str]:
    """Return the networks whose weights are not known to be those that Keras publishes."""
    table = read_result(profile, "weights")
    if table is None:
        return set()
    return set(table.loc[table["published_file"].isin(["no", "unknown"]), "network"])


def _precision(table: pd.DataFrame | None, untrained: set[str], unknown: set[str], model: str) -> str:
    words = precision_words(table, model)
    if words in (NOT_RUN, NONE):
        return words
    queries, all_queries = (table["n"].get((name, "naive")) for name in (model, PROPOSED))
    subset = f" (n = {queries:,})" if queries != all_queries else ""
    mark = " †" if model in unknown else ""
    return f"{'untrained: ' if model in untrained else ''}{words}{mark}{subset}"


# --- the other tables ------------------------------------------------------------------------------------


def latency_table(tables: dict[str, pd.DataFrame | None]) -> str:
    """Return time and throughput of all but the compiled ImageNet networks, a row a model and runtime.

    Parameters and file size are those of the first profile that has the row.
    """
    header = ["Model", "Runtime"]
    header += [words for name in tables for words in (f"{name}, ms", f"{name}, photos/s at 32")]
    there = [table for table in tables.values() if table is not None]
    whole = pd.concat(there) if there else pd.DataFrame(columns=["model", "runtime"])
    whole = whole.replace({"parameters": {0: np.nan}, "file_mb": {0: np.nan}})  # 0: there are none
    rows = []
    for model, runtime in dict.fromkeys(zip(whole["model"], whole["runtime"], strict=True)):
        if is_plain_network(model) and runtime == TENSORFLOW:
            continue
        row, where = [model_name(model), runtime], {"model": model, "runtime": runtime}
        for table in tables.values():
            row.append(pick(table, "median_ms", "{:.3g}", batch=1, **where))
            row.append(pick(table, "images_per_s", "{:,.0f}", batch=32, **where))
        row.append(pick(whole, "parameters", "{:,.0f}", **where))
        rows.append([*row, pick(whole, "file_mb", "{:.1f}", **where)])
    return markdown_table([*header, "parameters", "file MB"], rows, left=2)


def checkpoints_table(profiles: Sequence[str]) -> str:
    """Return the chosen training step of each seed beside the untrained step 0."""
    header = ["Profile", "Seed", "Chosen step", "of checkpoints"]
    header += [f"{when}, {words}" for when in ("chosen", "untrained") for words in GALLERIES.values()]
    rows = []
    for profile in profiles:
        table = read_result(profile, "checkpoints")
        if table is None:
            rows.append([title(profile), *[NOT_RUN] * (len(header) - 1)])
            continue
        swept = table[(table["model"] == PROPOSED) & (table["metric"] == "precision") & (table["k"] == K)]
        for seed, judged in swept.groupby("seed"):
            [chosen] = judged.loc[judged["chosen"], "step"].unique()
            steps = judged["step"].nunique() - 1  # without the untrained one
            cells = [
                pick(judged, "value", "{:.3f}", step=step, gallery=gallery)
                for step in (chosen, 0)
                for gallery in GALLERIES
            ]
            rows.append([title(profile), str(seed), str(chosen), str(steps), *cells])
    return markdown_table(header, rows)


def macro_table(profiles: Sequence[str]) -> str:
    """Return macro precision@5 with its interval, a column a profile and gallery."""
    tables = {name: read_result(name, "macro_intervals") for name in profiles}
    judged = {
        name: table.query("seed == 'all' and metric == 'precision' and k == @K")
        for name, table in tables.items()
        if table is not None
    }
    return interval_table(judged, column="gallery")


def attributes_table(profiles: Sequence[str]) -> str:
    """Return what answers have in common with their query, a column a profile and attribute, chance first."""
    tables = {name: read_result(name, "attributes") for name in profiles}
    there = {name: table for name, table in tables.items() if table is not None and len(table)}
    chances = [table[table["model"] == PRIOR].drop_duplicates("attribute") for table in there.values()]
    first = ["Chance", *(f"{chance:.3f}" for table in chances for chance in table["chance"])]
    others = {name: table[table["model"] != PRIOR] for name, table in there.items()}
    return interval_table(others, column="attribute", first=first)


def interval_table(tables: dict[str, pd.DataFrame], *, column: str, first: Sequence[str] = ()) -> str:
    """Return profile -> rows of model, value, low, high as Markdown, a column a profile and `column`'s value.

    A row a model, retrained and rescaled networks left out; the cells `first` are a row before the others.
    """
    cells: dict[tuple[str, str], dict[str, str]] = {}  # profile and value -> model -> words
    for profile, table in tables.items():
        untrained = without_weights(profile)
        for row in table[[_stands_alone(model) for model in table["model"]]].to_dict("records"):
            words = with_range(row["value"], row["low"], row["high"])
            mark = "untrained: " if row["model"] in untrained else ""
            cells.setdefault((profile, row[column]), {})[row["model"]] = f"{mark}{words}"
    if not cells:
        return NOT_RUN
    header = ["Model", *(f"{profile}, {value.replace('_', ' ')}" for profile, value in cells)]
    models = dict.fromkeys(model for column in cells.values() for model in column)
    rows = [[model_name(model), *(told.get(model, NONE) for told in cells.values())] for model in models]
    return markdown_table(header, [list(first), *rows] if first else rows)


def _stands_alone(model: str) -> bool:
    return network_row(model) is None or is_plain_network(model)


def scorecard_table(profiles: Sequence[str]) -> str:
    """Return how many claims got which verdict, a column a profile."""
    tables = [read_result(profile, "claims") for profile in profiles]
    rows = []
    for verdict, mark in MARKS.items():
        counts = [NOT_RUN if table is None else str((table["verdict"] == verdict).sum()) for table in tables]
        rows.append([f"{mark} {verdict}", *counts])
    return markdown_table(["Verdict", *map(title, profiles)], rows)


def run_cells(profile: str) -> list[str]:
    """Return minutes, longest stage, peak memory, machine and versions of a profile's run.

    Raises InputError that names run.json when it is not a record of a run.
    """
    record = _run_record(profile)
    if record is None:
        return [NOT_RECORDED] * (len(RUN) - 1)
    seconds, peak = record["seconds"], record["peak"]
    longest = max(seconds, key=seconds.get)
    words = [minutes(sum(seconds.values())), f"{longest} ({minutes(seconds[longest])})"]
    return [*words, f"{peak / 1024:.1f} GiB", record["machine"], record["versions"]]


def stage_seconds(profile: str) -> dict[str, float]:
    """Return notebook -> seconds of a profile's run, {} where none is recorded; InputError as `run_cells`."""
    record = _run_record(profile)
    return {} if record is None else record["seconds"]


def _run_record(profile: str) -> dict[str, Any] | None:
    """Return a run's seconds by notebook, peak memory in MB, machine and versions; None without a record."""
    path = Paths.of(profile).results / "run.json"
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        stages = record["stages"]
        return {
            "seconds": {name: float(stage["seconds"]) for name, stage in stages.items()},
            "peak": max(float(stage["peak_memory_mb"]) for stage in stages.values()),
            "machine": "{cpu}, {cores:g} cores, {memory_gb:g} GiB".format(**record),
            "versions": ", ".join(f"{name} {number}" for name, number in record["versions"].items()),
        }
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path}: not a record of a run ({error}); run the profile again") from error


def minutes(seconds: float) -> str:
    """Return seconds as minutes: one decimal below ten, none above."""
    return f"{seconds / 60:.1f}" if seconds < 600 else f"{seconds / 60:.0f}"

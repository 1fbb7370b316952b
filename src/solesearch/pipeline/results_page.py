"""docs/results.md: every model's time, size and precision beside what the papers print."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

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
)
from solesearch.core.model_names import (
    NO_WEIGHTS,
    PROPOSED,
    is_plain_network,
    model_name,
    network_row,
    published_networks,
)
from solesearch.core.paths import Paths, repository_root
from solesearch.core.published import CHAPTER_TIME_S, published_ratio, published_row

NOT_RECORDED = "not recorded"
CHECKPOINT = "training checkpoint"
PAGE = """\
# Results in full

Written by `make readme` from the files in [`results/`](../results). The README tells what they mean.

## P Table II

What the paper prints beside what was measured here.

{table_two}

MB: with classifier, the file that Keras publishes (for the proposed model: all networks and the optimisers' \
state); without, float32 weights of what embeds a photo. ms: one decoded photo, compiled TensorFlow, in \
parentheses the multiple of the proposed model's time, which C gives as around {chapter:g} s. \
Precision@{k}: naive gallery, mean over the seeds and their range; another n is part of the test photos, \
where fewer can be found. *untrained*: no ImageNet weights here, so the row stands outside every conclusion; \
size and time do not depend on weights.

## Time of a photo, size of a model

{latency}

Batch 1 is a single decoded photo. {machines} Compiled ImageNet networks stand in the table above.

## Checkpoints

The training step that each seed was judged with: precision@{k} on the validation photos, by which it was \
chosen; test photos played no part.

{checkpoints}

## Verdicts on the papers' claims

{scorecard}

Each claim with its number, interval, reason, figure and command: {claims}.

## Minutes and memory

{machine}

Measured by the runner on the machine named.
"""


def results_page(profiles: Sequence[str]) -> str:
    """Return docs/results.md as Markdown, the profiles beside each other."""
    latencies = {name: read_result(name, "latency") for name in profiles}
    there = {name: table for name, table in latencies.items() if table is not None}
    machines = [f"{name}: {words}." for name, table in there.items() for words in table["machine"].unique()]
    reports = [(name, report_file(Paths.of(name))) for name in profiles]
    root = repository_root()
    links = [f"[{name}](../{path.relative_to(root).as_posix()})" for name, path in reports if path.is_file()]
    return PAGE.format(
        k=K,
        chapter=CHAPTER_TIME_S,
        table_two=table_two(profiles),
        latency=latency_table(latencies),
        machines=" ".join(machines),
        checkpoints=checkpoints_table(profiles),
        scorecard=scorecard_table(profiles),
        claims=", ".join(links) or NOT_RUN,
        machine=machine_table(profiles),
    )


# --- P Table II ------------------------------------------------------------------------------------------


def table_two(profiles: Sequence[str]) -> str:
    """Return P Table II as Markdown: size, time and precision, what P prints beside what was measured."""
    sizes = [table for name in profiles if (table := read_result(name, "sizes")) is not None]
    latencies = {name: read_result(name, "latency") for name in profiles}
    precisions = {name: precision(name) for name in profiles}
    header = ["Model", "MB, paper", "MB, with classifier", "MB, without", "ms, paper"]
    header += [f"ms, {name}" for name in profiles]
    header += ["precision, paper", *(f"precision, {name}" for name in profiles)]
    rows = []
    for model in thirteen_models(latencies.values()):
        paper = published_row(model)
        row = [model_name(model), NONE if paper is None else f"{paper['size_mb']:g}", *_sizes(sizes, model)]
        row += [_paper_time(model), *(_time(latencies[name], model) for name in profiles)]
        row += [NONE if paper is None else f"{paper['precision']:.2f}"]
        rows.append(row + [_precision(name, precisions[name], model) for name in profiles])
    return markdown_table(header, rows)


def thirteen_models(tables: Sequence[pd.DataFrame | None]) -> list[str]:
    """Return the thirteen models in P's order, other widths that were run after theirs."""
    run = {model for table in tables if table is not None for model in table["model"]}
    widths = sorted(model for model in run if is_plain_network(model) and "-" in model)
    models = []
    for network in published_networks().index:
        models += [network, *(model for model in widths if network_row(model).published_name == network)]
    return [*models, PROPOSED]


def _sizes(tables: Sequence[pd.DataFrame], model: str) -> list[str]:
    if not tables:
        return [NOT_RUN] * 2
    rows = pd.concat(tables)
    megabytes = rows[rows["model"] == model].drop_duplicates("what").set_index("what")["megabytes"]
    whole = f"{megabytes['with classifier']:.3g}" if "with classifier" in megabytes else NONE
    if CHECKPOINT in megabytes:
        whole = f"{megabytes[CHECKPOINT]:.3g} ({CHECKPOINT})"
    return [whole, f"{megabytes['embedding']:.3g}" if "embedding" in megabytes else NONE]


def _paper_time(model: str) -> str:
    paper = published_row(model)
    if paper is None:
        return NONE
    ratio = published_ratio(model, proposed_s=float(published_row(PROPOSED)["time_s"]))
    return f"{paper['time_s'] * 1000:.3g} ({ratio:.3g}×)"


def _time(latency: pd.DataFrame | None, model: str) -> str:
    if latency is None:
        return NOT_RUN
    mine = (latency["model"] == model) & (latency["batch"] == 1) & (latency["runtime"] == TENSORFLOW)
    if not mine.any():
        return NONE
    ratio = time_ratios(latency)["measured"].get(model)
    milliseconds = f"{latency.loc[mine, 'median_ms'].iloc[0]:.3g}"
    return milliseconds if ratio is None else f"{milliseconds} ({ratio:.3g}×)"


def _precision(profile: str, table: pd.DataFrame | None, model: str) -> str:
    words = precision_words(table, model)
    if table is None or words == NONE:
        return words
    queries, all_queries = (table["n"].get((name, "naive")) for name in (model, PROPOSED))
    subset = f" (n = {queries:,})" if queries != all_queries else ""
    return f"{'untrained: ' if model in without_weights(profile) else ''}{words}{subset}"


def without_weights(profile: str) -> set[str]:
    """Return the ImageNet networks of a profile that ran without ImageNet weights."""
    table = read_result(profile, "networks")
    return set() if table is None else set(table.loc[table["weights"] == NO_WEIGHTS, "model"])


# --- the other tables ------------------------------------------------------------------------------------


def latency_table(tables: dict[str, pd.DataFrame | None]) -> str:
    """Return time and throughput of all but the compiled ImageNet networks, a row a model and runtime.

    Parameters and file size are those of the first profile that has the row.
    """
    header = [
        "Model",
        "Runtime",
        *(words for name in tables for words in (f"{name}, ms", f"{name}, photos/s at 32")),
    ]
    there = [table for table in tables.values() if table is not None]
    rows = pd.concat(there).drop_duplicates(["model", "runtime"]) if there else pd.DataFrame()
    cells = [
        [model_name(row["model"]), row["runtime"], *_speeds(tables.values(), row), *_weight(row)]
        for row in rows.to_dict("records")
        if not (is_plain_network(row["model"]) and row["runtime"] == TENSORFLOW)
    ]
    return markdown_table([*header, "parameters", "file MB"], cells, left=2)


def _speeds(tables: Sequence[pd.DataFrame | None], row: dict[str, Any]) -> list[str]:
    cells = []
    for table in tables:
        if table is None:
            cells += [NOT_RUN] * 2
            continue
        mine = table[(table["model"] == row["model"]) & (table["runtime"] == row["runtime"])].set_index(
            "batch"
        )
        cells.append(f"{mine['median_ms'][1]:.3g}" if 1 in mine.index else NONE)
        cells.append(f"{mine['images_per_s'][32]:,.0f}" if 32 in mine.index else NONE)
    return cells


def _weight(row: dict[str, Any]) -> list[str]:
    if not row["parameters"]:
        return [NONE, NONE]
    return [f"{int(row['parameters']):,}", f"{row['file_mb']:.1f}"]


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
        for seed, found in swept.groupby("seed"):
            [chosen] = found.loc[found["chosen"], "step"].unique()
            values = found.set_index(["step", "gallery"])["value"].to_dict()
            judged = [values.get((step, gallery)) for step in (chosen, 0) for gallery in GALLERIES]
            cells = [NONE if value is None else f"{value:.3f}" for value in judged]
            trained = found.loc[found["step"] > 0, "step"].nunique()
            rows.append([title(profile), str(seed), str(chosen), str(trained), *cells])
    return markdown_table(header, rows)


def scorecard_table(profiles: Sequence[str]) -> str:
    """Return how many claims got which verdict, a column a profile."""
    tables = [read_result(profile, "claims") for profile in profiles]
    rows = [
        [
            f"{mark} {verdict}",
            *(NOT_RUN if table is None else str((table["verdict"] == verdict).sum()) for table in tables),
        ]
        for verdict, mark in MARKS.items()
    ]
    return markdown_table(["Verdict", *map(title, profiles)], rows)


def machine_table(profiles: Sequence[str]) -> str:
    """Return minutes and memory of each profile, and the machine they were taken on."""
    header = ["Profile", "minutes", "longest stage", "peak memory", "machine", "versions"]
    return markdown_table(header, [[title(name), *run_cells(name)] for name in profiles], left=6)


def read_run(profile: str) -> dict[str, Any]:
    """Return results/<profile>/run.json (the machine's facts and `stages`); {} if absent.

    Raises InputError that names the file when it is not such a record.
    """
    path = Paths.of(profile).results / "run.json"
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        stages = record.get("stages", {}).values()
        [float(stage[key]) for stage in stages for key in ("seconds", "peak_memory_mb") if key in stage]
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a record of a run ({error}); run the profile again") from error
    return record


def run_cells(profile: str) -> list[str]:
    """Return minutes, longest stage, peak memory, machine and versions of a profile, as far as recorded."""
    record = read_run(profile)
    stages = record.get("stages", {})
    seconds = {name: float(stage["seconds"]) for name, stage in stages.items() if "seconds" in stage}
    peaks = [float(stage["peak_memory_mb"]) for stage in stages.values() if "peak_memory_mb" in stage]
    longest = max(seconds, key=seconds.get, default="")
    facts = {"cpu": "{}", "cores": "{:g} cores", "memory_gb": "{:g} GiB"}
    cells = [
        minutes(sum(seconds.values())) if seconds else "",
        f"{longest} ({minutes(seconds[longest])})" if longest else "",
        f"{max(peaks) / 1024:.1f} GiB" if peaks else "",
        ", ".join(words.format(record[key]) for key, words in facts.items() if key in record),
        ", ".join(f"{name} {number}" for name, number in record.get("versions", {}).items()),
    ]
    return [cell or NOT_RECORDED for cell in cells]


def minutes(seconds: float) -> str:
    """Return seconds as minutes: one decimal below ten, none above."""
    return f"{seconds / 60:.1f}" if seconds < 600 else f"{seconds / 60:.0f}"

"""What reviewers and authors look up: the claims that carry the papers, by stage; charts and their tables."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
import yaml

from solesearch.claims.ledger import Claim, read_ledger
from solesearch.claims.verdicts import MARKS, number
from solesearch.core.measures import NONE, NOT_RUN, markdown_table, read_result
from solesearch.core.paths import STAGE_OF, repository_root
from solesearch.core.provenance import SOURCE
from solesearch.core.published import published
from solesearch.pipeline.results_page import stage_seconds

# In the order of the papers' argument; the other claims stand in the reports (results/<profile>/claims/).
CENTRAL = (
    *(f"P-T2-precision-{model}" for model in published()["model"]),
    *("P-precision-ordering", "P-precision-best", "P-training-helps", "P-better-than-descriptors"),
    *("P-iterations-ideal", "C-iterations-ideal", "C-discriminator-wins", "C-precision-best"),
    *("C-retraining-helps", "C-handbags", "P-T2-time-Proposed", "C-time-0.04", "P-fastest", "C-fastest"),
    *("P-time-grows-with-depth", "P-T2-size-Proposed", "P-size-ratio", "P-features-1536"),
    *("P-features-1536-at-64x96", "C-features-12544-at-224", "P-needs-no-labels"),
    *("P-extends-by-adding-photos", "P-query-left-out", "C-FAISS-nearest"),
)


def claims_by_stage(profiles: Sequence[str]) -> str:
    """Return the central claims as Markdown: a heading with command and minutes a stage, a row a claim."""
    claims = {claim.id: claim for claim in read_ledger()}
    central = [claims[name] for name in CENTRAL]
    tables = {name: read_result(name, "claims") for name in profiles}
    judged = {name: None if table is None else table.set_index("claim") for name, table in tables.items()}
    parts = []
    for stage in dict.fromkeys(claim.stage for claim in central):
        rows = [_claim_row(claim, judged.values()) for claim in central if claim.stage == stage]
        parts.append(f"### `dvc repro {stage}@PROFILE`\n\n{_stage_minutes(stage, profiles)}")
        parts.append(markdown_table(["Claim", "Expected", *profiles], rows, left=2))
    return "\n\n".join(parts)


def _claim_row(claim: Claim, judged: Iterable[pd.DataFrame | None]) -> list[str]:
    expected = claim.expected if isinstance(claim.expected, str) else number(claim.expected)
    cells = [NOT_RUN if rows is None else _measured_words(rows.loc[claim.id]) for rows in judged]
    return [f"{claim.claim} ({claim.id[0]}, {claim.section})", expected, *cells]


def _measured_words(row: pd.Series) -> str:
    """Return `0.8056 (0.7802 to 0.8311) ✗`, or the verdict's mark alone where nothing is measured."""
    mark = MARKS[row["verdict"]]
    if pd.isna(row["measured"]):
        return mark
    value, low, high = (number(row[end]) for end in ("measured", "low", "high"))
    return f"{value} {mark}" if low == high else f"{value} ({low} to {high}) {mark}"


def _stage_minutes(stage: str, profiles: Sequence[str]) -> str:
    """Return `Notebook 06_evaluate, minutes: 0.2 for sample, 3.1 for paper.`, as the runs recorded them."""
    read = yaml.safe_load((repository_root() / "dvc.yaml").read_text(encoding="utf-8"))
    [notebook] = re.findall(r"notebook run (\S+)", read["stages"][stage]["do"]["cmd"])
    seconds = {name: stage_seconds(name).get(notebook) for name in profiles}
    words = [f"{spent / 60:.1f} for {name}" for name, spent in seconds.items() if spent is not None]
    return f"Notebook {notebook}, minutes: {', '.join(words) or NOT_RUN}."


# --- charts ----------------------------------------------------------------------------------------------


def charts_table(root: Path, *, profile: str = "paper") -> str:
    """Return every chart as Markdown: name, what it shows, its tables, the committed picture of `profile`.

    `root` is the repository; a name is a link to the chart's code. Charts are read from the code and not
    imported, so that no matplotlib is loaded.
    """
    rows = []
    for path in sorted((SOURCE / "solesearch").glob("*/*.py")):
        code = path.relative_to(SOURCE).as_posix()
        for function in ast.parse(path.read_bytes()).body:
            tables = _registered_tables(function)
            if tables:
                words = ast.get_docstring(function).splitlines()[0].removeprefix("Draw ").rstrip(".")
                picture = Path("figures", profile, "charts", f"{function.name}.png")
                shown = f"[{profile}](../{picture.as_posix()})" if (root / picture).is_file() else NONE
                made = ", ".join(f"{STAGE_OF[table]}/{table}" for table in tables)
                rows.append([f"[`{function.name}`](../src/{code})", words, made, shown])
    header = ["Chart", "Shows", "Tables", "Committed"]
    in_order = sorted(rows, key=lambda row: row[0].split("`")[1])
    return markdown_table(header, in_order, left=len(header))


def _registered_tables(statement: ast.stmt) -> list[str]:
    """Return the results tables that `@chart(...)` names before a function; none for any other statement."""
    for call in getattr(statement, "decorator_list", []):
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "chart":
            return [ast.literal_eval(table) for table in call.args]
    return []

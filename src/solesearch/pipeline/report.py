"""The README's generated blocks, made from the committed results alone: no figure is typed by hand.

`python -m solesearch.pipeline.report` fills README's blocks (`<!-- NAME:begin -->` to `<!-- NAME:end -->`),
`--check` exits 1 when they are not what the results give, `--summary [PROFILE ...]` ends `make repro` with a
plain table. Tables come from tables.py, sentences from findings.py. Needs pandas and nothing heavier: no
TensorFlow, no matplotlib.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from solesearch.claims.claims_report import scorecard_block
from solesearch.core import files
from solesearch.core.errors import InputError, exit_status
from solesearch.core.measures import GALLERIES, NOT_RUN, K, precision_rows, title, untrained_rows
from solesearch.core.model_names import MODEL_NAMES, NO_WEIGHTS_WORDS, is_plain_network
from solesearch.core.paths import Paths, repository_root
from solesearch.core.settings import active_profiles, check_known
from solesearch.evaluation.tables import (
    checkpoints_table,
    latency_table,
    markdown_table,
    precision_cells,
    readme_profiles,
    results_note,
    results_table,
    table_two,
)
from solesearch.pipeline.beyond import beyond_block
from solesearch.pipeline.findings import findings

NOT_RECORDED = "not recorded"
MARKER = re.compile(r"<!-- ([A-Za-z][\w-]*):(begin|end) -->")


# --- time and memory -------------------------------------------------------------------------------------


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


def machine_block(profiles: Sequence[str]) -> str:
    """Return minutes and memory of each profile as Markdown, and the machine they were taken on."""
    header = ["Profile", "minutes", "longest stage", "peak memory", "machine", "versions"]
    return markdown_table(header, [[title(name), *run_cells(name)] for name in profiles], left=6)


def run_cells(profile: str) -> list[str]:
    """Return minutes, longest stage, peak memory, machine and versions of a profile, as far as recorded."""
    record = read_run(profile)
    stages = record.get("stages", {})
    seconds = {name: float(stage["seconds"]) for name, stage in stages.items() if "seconds" in stage}
    peaks = [float(stage["peak_memory_mb"]) for stage in stages.values() if "peak_memory_mb" in stage]
    longest = max(seconds, key=seconds.get) if seconds else None
    facts = [record.get("cpu"), _with_unit(record, "cores", "cores"), _with_unit(record, "memory_gb", "GiB")]
    versions = record.get("versions") or {}
    return [
        minutes(sum(seconds.values())) if seconds else NOT_RECORDED,
        f"{longest} ({minutes(seconds[longest])})" if longest else NOT_RECORDED,
        f"{max(peaks) / 1024:.1f} GiB" if peaks else NOT_RECORDED,
        ", ".join(fact for fact in facts if fact) or NOT_RECORDED,
        ", ".join(f"{name} {number}" for name, number in versions.items()) or NOT_RECORDED,
    ]


def _with_unit(record: dict[str, Any], key: str, unit: str) -> str | None:
    return f"{record[key]:g} {unit}" if isinstance(record.get(key), int | float) else None


def minutes(seconds: float) -> str:
    """Return seconds as minutes: one decimal below ten, none above."""
    return f"{seconds / 60:.1f}" if seconds < 600 else f"{seconds / 60:.0f}"


# --- the README ------------------------------------------------------------------------------------------


def results_block() -> str:
    """Return precision, time and chosen checkpoints, one table each."""
    profiles = readme_profiles()
    parts = [
        results_table(profiles),
        results_note(profiles),
        "How long a photo takes, and how large the model is:",
    ]
    parts += [latency_table(profiles), "The checkpoint that each seed was judged with:"]
    return "\n\n".join([*parts, checkpoints_table(profiles)])


def findings_block() -> str:
    """Return the findings as a list."""
    return "\n".join(f"- {sentence}" for sentence in findings(readme_profiles()))


BLOCKS: dict[str, Callable[[], str]] = {
    "results": results_block,
    "findings": findings_block,
    "scorecard": lambda: scorecard_block(readme_profiles()),
    "table2": lambda: table_two(readme_profiles()),
    "beyond": beyond_block,
    "machine": lambda: machine_block(readme_profiles()),
}


def filled(text: str, *, name: str) -> str:
    """Return `text` with every block's content replaced; raises InputError for markers that do not pair."""
    kept, inside = [], None
    for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        marker = MARKER.fullmatch(line.strip())
        if marker is None:
            kept += [line] if inside is None else []
            continue
        block, edge = marker.groups()
        if block not in BLOCKS or (edge == "begin") != (inside is None) or (inside or block) != block:
            raise InputError(
                f"{name}, line {number}: {line.strip()} is out of place or unknown; blocks are "
                f"{', '.join(BLOCKS)}, each begun and ended once"
            )
        kept += [line, "", BLOCKS[block](), ""] if edge == "begin" else [line]
        inside = block if edge == "begin" else None
    if inside:
        raise InputError(f"{name}: <!-- {inside}:begin --> is never ended; add <!-- {inside}:end -->")
    return "\n".join(kept) + "\n"


def read_readme(path: Path) -> str:
    """Return the README's text; raises InputError when it is missing or has no results block."""
    if not path.is_file():
        raise InputError(
            f"{path}: not there; write it with <!-- results:begin --> and <!-- results:end --> lines"
        )
    text = path.read_text(encoding="utf-8")
    if "<!-- results:begin -->" not in text.splitlines():
        raise InputError(f"{path}: has no line <!-- results:begin -->, so no table can be put in")
    return text


def update_readme(path: Path) -> bool:
    """Fill the README's blocks from the results, whole or not at all; return whether it changed."""
    old = read_readme(path)
    new = filled(old, name=path.name)
    if new != old:
        files.write_text(path, new)
    return new != old


# --- the terminal ----------------------------------------------------------------------------------------


def summary(profiles: Sequence[str]) -> str:
    """Return where results and figures lie, and precision@5, as plain text for the terminal.

    Without profiles: those that params.yaml runs. Raises InputError for a profile that it does not have.
    """
    check_known(profiles)
    return "\n\n".join(_profile_summary(name) for name in (profiles or active_profiles()))


def _profile_summary(profile: str) -> str:
    paths, rows = Paths.of(profile), precision_rows(profile)
    if rows is None:
        return f"{title(profile)}: {NOT_RUN}; add it to `profiles` in params.yaml, then `make repro`"
    table = [[f"precision@{K}", *GALLERIES.values()]]
    table += [[name, *precision_cells(rows, model)] for model, name in MODEL_NAMES.items()]
    networks = rows[rows["model"].map(is_plain_network).astype(bool)]
    untrained = untrained_rows(profile, networks)
    for network in networks["model"].unique():
        marked = f"{network}, {NO_WEIGHTS_WORDS}" if network in untrained else network
        table.append([marked, *precision_cells(rows, network)])
    spent, _, peak, *_ = run_cells(profile)
    lines = [
        title(profile),
        f"  results   {_listed(paths.results, paths.root, '**/*.csv')}",
        f"  figures   {_listed(paths.figures, paths.root, '**/*.png')}",
        f"  notebooks {_listed(paths.notebooks, paths.root, '*.ipynb')}",
        f"  minutes   {spent}, peak memory {peak}",
        "",
        *(f"  {line}" for line in plain_table(table)),
    ]
    return "\n".join(lines)


def _listed(folder: Path, root: Path, pattern: str) -> str:
    names = sorted(path.name for path in folder.glob(pattern))
    return f"{folder.relative_to(root).as_posix()}/  {', '.join(names) or 'nothing there yet'}"


def plain_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return lines whose columns are padded to one width each."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _readme(path: Path, *, check: bool) -> int:
    if not check:
        print(f"{path.name}: {'updated' if update_readme(path) else 'unchanged'}")
        return 0
    if filled(text := read_readme(path), name=path.name) == text:
        return 0
    print(f"{path.name}: not what the results give; run `make readme`", file=sys.stderr)
    return 1


def main(arguments: list[str] | None = None) -> int:
    """Fill the README's blocks from the results, check them, or print a summary."""
    parser = argparse.ArgumentParser(prog="python -m solesearch.pipeline.report", description=main.__doc__)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--check", action="store_true", help="write nothing; exit 1 when the README is stale")
    choice.add_argument("--summary", nargs="*", metavar="PROFILE", help="print where everything lies")
    parser.add_argument("--readme", type=Path, help="another file than README.md")
    chosen = parser.parse_args(arguments)

    def work() -> int | None:
        if chosen.summary is not None:
            return print(summary(chosen.summary))
        return _readme(chosen.readme or repository_root() / "README.md", check=chosen.check)

    return exit_status(work)


if __name__ == "__main__":
    sys.exit(main())

"""The verdicts as pages: Markdown, one HTML file that needs nothing else, and the README's block.

Each starts with the scorecard, and links a claim to its figure and to the command that computes it.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

import pandas as pd

from solesearch.claims import claims
from solesearch.claims.claims import NOT_REPRODUCED, NOT_TESTABLE, PARTLY, REPRODUCED, VERDICTS, Claim
from solesearch.core import files
from solesearch.core.measures import NONE, NOT_RUN, title
from solesearch.core.paths import Paths
from solesearch.evaluation.tables import markdown_table

MARKS = {
    REPRODUCED: "✓",
    PARTLY: "≈",
    NOT_REPRODUCED: "✗",
    NOT_TESTABLE: "–",
}  # a verdict is never a colour alone
COLOURS = {REPRODUCED: "#d7f0e3", PARTLY: "#fdf0d0", NOT_REPRODUCED: "#f9dcd2", NOT_TESTABLE: "#ececec"}
PAPERS = {"P": "Ay, Koyun, Demir, Aydin 2019", "C": "the book chapter by Ay and Aydin"}
HEADER = ["Claim", "In our words", "Expected", "Measured", "Verdict", "Reason", "Figure", "Command"]
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 2rem auto;
  max-width: 80rem; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; width: 100%; }
caption { text-align: left; font-weight: 600; padding: .5rem 0; }
th, td { border: 1px solid #8a8a8a; padding: .35rem .5rem; text-align: left; vertical-align: top; }
thead th { background: #f2f2f2; }
.score { width: auto; } .score td { text-align: right; }
.wide { overflow-x: auto; } code { font-size: .85rem; } a { color: #004f8a; }
a:focus, .wide:focus { outline: 3px solid #004f8a; outline-offset: 2px; }
"""


def rule_lines() -> list[str]:
    """Return the rule of the verdicts as the module `claims` states it, a line a paragraph or list item."""
    paragraphs = claims.__doc__.partition("\n\n")[2].strip().split("\n\n")
    return [line for text in paragraphs for line in _unwrapped(text)]


def _unwrapped(text: str) -> list[str]:
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("- ") or not lines:
            lines.append(line.strip())
        else:
            lines[-1] += f" {line.strip()}"
    return lines


def measured_words(row: pd.Series) -> str:
    """Return `0.856 (0.84 to 0.87)`; a number without an interval stands alone."""
    if row["measured"] == "":
        return NONE
    exact = row["low"] == row["high"]
    return row["measured"] if exact else f"{row['measured']} ({row['low']} to {row['high']})"


def figure_link(claim: Claim, profile: str) -> str:
    """Return the path from results/<profile>/ to a claim's figure; empty where it has none."""
    return f"../../figures/{profile}/{claim.figure}.png" if claim.figure else ""


def command_of(claim: Claim, profile: str) -> str:
    """Return the command that computes what a claim is measured by."""
    return claim.command.replace("{profile}", profile)


# --- Markdown --------------------------------------------------------------------------------------------


def scorecard_table(table: pd.DataFrame) -> str:
    """Return how many claims got which verdict, as a Markdown table."""
    header = ["Verdict", *PAPERS, "all"]
    rows = [
        [f"{MARKS[row['verdict']]} {row['verdict']}", *(str(row[name]) for name in (*PAPERS, "all"))]
        for row in claims.scorecard(table).to_dict("records")
    ]
    return markdown_table(header, rows)


def markdown_report(profile: str, table: pd.DataFrame, ledger: Sequence[Claim]) -> str:
    """Return results/<profile>/claims.md: scorecard, rule, then every claim by verdict."""
    by_id = {claim.id: claim for claim in ledger}
    parts = [f"# What holds of the two papers: profile {title(profile)}", _introduction(table)]
    parts += [scorecard_table(table), "## How a verdict is reached", "\n".join(_spaced(rule_lines()))]
    for verdict in VERDICTS:
        rows = table[table["verdict"] == verdict]
        if len(rows):
            parts.append(f"## {MARKS[verdict]} {verdict[0].upper()}{verdict[1:]} ({len(rows)})")
            parts.append(markdown_table(HEADER, _markdown_rows(rows, by_id, profile), left=len(HEADER)))
    return "\n\n".join(parts) + "\n"


def _introduction(table: pd.DataFrame) -> str:
    papers = "; ".join(f"{name}: {words}" for name, words in PAPERS.items())
    return f"{len(table)} claims, judged by code from the tables beside this file. {papers}."


def _spaced(lines: Sequence[str]) -> list[str]:
    """Put an empty line between paragraphs, none between the items of a list."""
    spaced: list[str] = []
    for line in lines:
        in_list = line.startswith("- ") and bool(spaced) and spaced[-1].startswith("- ")
        spaced += [line] if in_list or not spaced else ["", line]
    return spaced


def _markdown_rows(rows: pd.DataFrame, ledger: dict[str, Claim], profile: str) -> list[list[str]]:
    cells = []
    for _, row in rows.iterrows():
        claim = ledger[row["claim"]]
        link = figure_link(claim, profile)
        shown = f"[{claim.figure}]({link})" if link else NONE
        words = [claim.id, f"{claim.claim} ({claim.section})", row["expected"], measured_words(row)]
        cells.append([*words, row["verdict"], row["reason"], shown, f"`{command_of(claim, profile)}`"])
    return cells


# --- HTML ------------------------------------------------------------------------------------------------


def html_report(profile: str, table: pd.DataFrame, ledger: Sequence[Claim]) -> str:
    """Return results/<profile>/claims.html: one page, no script, nothing loaded from elsewhere."""
    by_id, heading = {claim.id: claim for claim in ledger}, f"What holds of the two papers: {title(profile)}"
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f"<title>{html.escape(heading)}</title>",
        f'<meta name="viewport" content="width=device-width">\n<style>{STYLE}</style>\n</head>',
        "<body>\n<main>",
        f"<h1>{html.escape(heading)}</h1>\n<p>{html.escape(_introduction(table))}</p>",
        _html_scorecard(table),
        f"<h2>How a verdict is reached</h2>\n{_html_rule()}",
    ]
    for verdict in VERDICTS:
        rows = table[table["verdict"] == verdict]
        if len(rows):
            parts.append(_html_section(verdict, rows, by_id, profile))
    return "\n".join([*parts, "</main>\n</body>\n</html>"]) + "\n"


def _html_scorecard(table: pd.DataFrame) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Verdict", *PAPERS, "all"))
    body = "".join(
        f'<tr><th scope="row" style="background:{COLOURS[row["verdict"]]}">'
        f'<a href="#{_anchor(row["verdict"])}">{MARKS[row["verdict"]]} {row["verdict"]}</a></th>'
        + "".join(f"<td>{row[name]}</td>" for name in (*PAPERS, "all"))
        + "</tr>"
        for row in claims.scorecard(table).to_dict("records")
    )
    caption = "<caption>Scorecard: claims by verdict and paper</caption>"
    return f'<table class="score">{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _anchor(verdict: str) -> str:
    return verdict.replace(" ", "-")


def _html_rule() -> str:
    parts, items = [], []
    for line in [*rule_lines(), ""]:
        if line.startswith("- "):
            items.append(f"<li>{html.escape(line[2:])}</li>")
            continue
        if items:
            parts.append(f"<ul>{''.join(items)}</ul>")
            items = []
        if line:
            parts.append(f"<p>{html.escape(line)}</p>")
    return "\n".join(parts)


def _html_section(verdict: str, rows: pd.DataFrame, ledger: dict[str, Claim], profile: str) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in HEADER)
    body = "\n".join(_html_row(row, ledger[row["claim"]], profile) for _, row in rows.iterrows())
    name = f"{MARKS[verdict]} {verdict[0].upper()}{verdict[1:]}"
    return (
        f'<h2 id="{_anchor(verdict)}">{name} ({len(rows)})</h2>\n'
        f'<div class="wide" tabindex="0" role="region" aria-label="Claims: {verdict}">\n'
        f"<table><caption>Claims: {verdict}</caption><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n"
        "</tbody></table>\n</div>"
    )


def _html_row(row: pd.Series, claim: Claim, profile: str) -> str:
    link = figure_link(claim, profile)
    figure = f'<a href="{html.escape(link)}">{html.escape(claim.figure)}</a>' if link else NONE
    words = [f"{claim.claim} ({claim.section})", row["expected"], measured_words(row)]
    cells = "".join(f"<td>{html.escape(word)}</td>" for word in words)
    cells += f'<td style="background:{COLOURS[row["verdict"]]}">{MARKS[row["verdict"]]} {row["verdict"]}</td>'
    cells += f"<td>{html.escape(row['reason'])}</td><td>{figure}</td>"
    cells += f"<td><code>{html.escape(command_of(claim, profile))}</code></td>"
    return f'<tr id="{html.escape(claim.id)}"><th scope="row">{html.escape(claim.id)}</th>{cells}</tr>'


# --- the README ------------------------------------------------------------------------------------------


def read_verdicts(profile: str) -> pd.DataFrame | None:
    """Return results/<profile>/claims.csv as text; None where the profile was not judged yet."""
    path = Paths.of(profile).result("claims")
    if not path.is_file():
        return None
    return files.read_table(path, made_by="stage claims", dtype=str, keep_default_na=False)


def scorecard_block(profiles: Sequence[str]) -> str:
    """Return the README's scorecard as Markdown: a row a verdict, a column a profile, with links."""
    tables = {profile: read_verdicts(profile) for profile in profiles}
    judged = {profile: table for profile, table in tables.items() if table is not None}
    header = ["Verdict", *(title(profile) for profile in profiles)]
    rows = [
        [f"{MARKS[verdict]} {verdict}", *(_count(table, verdict) for table in tables.values())]
        for verdict in VERDICTS
    ]
    if not judged:
        return f"{markdown_table(header, rows)}\n\nNo profile is judged yet."
    count = max(map(len, judged.values()))
    links = ", ".join(f"[{profile}](results/{profile}/claims.md)" for profile in judged)
    note = f"{count} claims, each with its number, interval, reason, figure and command: {links}."
    return f"{markdown_table(header, rows)}\n\n{note}"


def _count(table: pd.DataFrame | None, verdict: str) -> str:
    return NOT_RUN if table is None else str(int((table["verdict"] == verdict).sum()))

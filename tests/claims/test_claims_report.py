"""The reports start with the scorecard, link figures and commands, and need nothing from elsewhere."""

import re
from html.parser import HTMLParser

import pytest
from small_world import write_results

from solesearch.claims import claims, claims_report

VOID = {"meta", "link", "br", "img"}


class Outline(HTMLParser):
    """Collects tags with their attributes, and checks that they nest."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.faults = [], [], []

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)


@pytest.fixture
def reports(workspace) -> tuple[str, str]:
    write_results("paper")
    table = claims.write_claims("paper")
    assert len(table) == len(claims.read_ledger())
    folder = workspace / "results" / "paper"
    return (folder / "claims.md").read_text(), (folder / "claims.html").read_text()


def test_both_start_with_the_scorecard_and_hold_every_claim(reports) -> None:
    markdown, page = reports
    for text in reports:
        first = min(text.index(one.id) for one in claims.read_ledger())
        assert text.index("not testable here") < first
        assert all(one.id in text for one in claims.read_ledger())
    assert "../../figures/paper/precision_bars.png" in markdown and "`dvc repro evaluate@paper`" in markdown
    assert "../../figures/paper/precision_bars.png" in page and "{profile}" not in page + markdown


def test_markdown_tables_are_whole(reports) -> None:
    for line in reports[0].splitlines():
        if line.startswith("|"):
            assert len(re.split(r"(?<!\\)\|", line)) in (6, 10), line  # the scorecard, or eight columns


def test_page_nests_loads_nothing_and_can_be_read_aloud(reports) -> None:
    outline = Outline()
    outline.feed(reports[1])
    assert (outline.faults, outline.open) == ([], [])
    tags = [tag for tag, _ in outline.seen]
    assert not {"script", "img", "link", "iframe"} & set(tags)
    assert "http" not in reports[1]
    assert ("html", {"lang": "en"}) in outline.seen
    assert tags.count("h1") == 1 and "main" in tags
    assert tags.count("caption") == tags.count("table") > 2
    assert all("scope" in attributes for tag, attributes in outline.seen if tag == "th")
    targets = {attributes["id"] for _, attributes in outline.seen if "id" in attributes}
    inner = {a["href"][1:] for tag, a in outline.seen if tag == "a" and a["href"].startswith("#")}
    assert inner and inner <= targets


def test_words_are_escaped(workspace) -> None:
    ledger = [
        claims.Claim("P-x", "P", "4", "a < b & c | d", "elsewhere", "none", 1, "", "make", reason="<script>")
    ]
    table = claims.verdicts("paper", ledger=ledger)
    page = claims_report.html_report("paper", table, ledger)
    assert "a &lt; b &amp; c | d" in page and "<script>" not in page
    assert r"a < b & c \| d" in claims_report.markdown_report("paper", table, ledger)


def test_rule_is_told_as_the_module_states_it() -> None:
    lines = claims_report.rule_lines()
    assert lines[0].startswith("The rule.")
    assert sum(line.startswith("- ") for line in lines) == 4
    assert "wide interval can never reproduce" in " ".join(lines)


def test_readme_block_counts_verdicts_of_each_profile(workspace) -> None:
    assert "No profile is judged yet" in claims_report.scorecard_block(["sample"])
    write_results("sample")
    table = claims.write_claims("sample")
    block = claims_report.scorecard_block(["sample", "zappos"])
    missing = int((table["verdict"] == claims.NOT_TESTABLE).sum())
    assert f"| – not testable here | {missing} | not run yet |" in block
    assert "[sample](results/sample/claims.md)" in block and "zappos/claims.md" not in block


def test_command_line_names_a_bad_profile(workspace, capsys: pytest.CaptureFixture) -> None:
    assert claims.main(["nowhere"]) == 1
    assert "profile 'nowhere' has no section" in capsys.readouterr().err

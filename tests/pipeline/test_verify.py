"""The reviewer's command passes on untouched results and fails on anything changed, put in for real."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from small_world import paint, write_results

from solesearch.claims import verdicts
from solesearch.core.paths import Paths
from solesearch.pipeline import charts, verify

CHART = "figures/sample/charts/precision_bars.png"


def lock(paths: Paths) -> None:
    """Write dvc.lock as a run would: the md5 of every stage's folder of results and figures."""
    folders = [*paths.results.glob("*/"), *paths.figures.glob("*/")]
    outs = [
        {"path": path.relative_to(paths.root).as_posix(), "md5": verify.recorded_digest(path)}
        for path in folders
    ]
    (paths.root / "dvc.lock").write_text(yaml.safe_dump({"stages": {"evaluate@sample": {"outs": outs}}}))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """Results, one chart, verdicts and lock that agree; made once and copied for each test."""
    root = tmp_path_factory.mktemp("template")
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(repository / name, root / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOLESEARCH_ROOT", str(root))
        paths = write_results("sample")
        patch.setattr(charts, "SHOWN", ("precision_bars",))
        charts.redraw("sample", shown=True)
        verdicts.write_verdicts("sample")
        lock(paths)
    return root


@pytest.fixture
def project(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """A copy of the template that a test may damage."""
    paths = Paths("sample", tmp_path / "project")
    shutil.copytree(template, paths.root)
    monkeypatch.setenv("SOLESEARCH_ROOT", str(paths.root))
    return paths


def failed(paths: Paths) -> list[str]:
    return [check.name for check in verify.quick(paths) if check.state == verify.FAIL]


def tamper(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_untouched_results_pass(project: Paths, capsys: pytest.CaptureFixture) -> None:
    assert verify.main(["sample"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("sample: ") and ", 0 failed, " in lines[-1]
    assert all(line.split()[0] == "PASS" for line in lines[:-1])


@pytest.mark.parametrize(
    ("table", "old", "new", "noticed"),
    [
        ("retrieval", "0.83", "0.53", {"results/sample/claims/claims.csv", CHART}),
        ("latency", "100", "900", {"results/sample/claims/claims.csv"}),
        ("claims", "not testable here", "reproduced", {"results/sample/claims/claims.csv"}),
    ],
)
def test_tampered_number_fails(project: Paths, table: str, old: str, new: str, noticed: set) -> None:
    """Noticed by its hash, and, were the record forged as well, by what follows from the number."""
    tamper(project.result(table), old, new)
    folder = project.result(table).parent.relative_to(project.root).as_posix()
    assert folder in {one.name for one in verify.check_recorded(project) if one.state == verify.FAIL}
    lock(project)
    assert set(failed(project)) == noticed


def test_tampered_chart_fails_by_hash_and_by_its_pixels(project: Paths) -> None:
    paint(project.root / CHART)
    assert failed(project) == ["figures/sample/charts", CHART]
    lock(project)
    assert failed(project) == [CHART]
    (project.root / CHART).write_text("no picture")
    assert CHART in failed(project)


@pytest.mark.parametrize("name", ["evaluate/retrieval.csv", "run.json", "claims/claims.csv"])
def test_missing_file_fails(project: Paths, name: str) -> None:
    (project.results / name).unlink()
    assert failed(project)


def test_run_without_its_machine_fails(project: Paths) -> None:
    tamper(project.results / "run.json", '"cpu"', '"chip"')
    assert failed(project) == ["results/sample/run.json"]


def test_no_record_of_a_run_fails_and_pictures_of_photographs_are_skipped(project: Paths) -> None:
    (project.root / "dvc.lock").write_text("stages: {}")
    assert "dvc.lock" in failed(project)
    out = {"path": "figures/paper/galleries", "md5": "0"}
    (project.root / "dvc.lock").write_text(yaml.safe_dump({"stages": {"galleries@paper": {"outs": [out]}}}))
    [check] = verify.check_recorded(Paths("paper", project.root))
    assert check.state == verify.SKIP
    (project.root / "dvc.lock").write_text("stages: [")
    assert "recorded" in failed(project)


def test_folders_are_compared_file_by_file(project: Paths) -> None:
    """The md5 was recorded by DVC 3.67 itself, for a folder that holds x.txt with the line `hi`."""
    out = {"path": "figures/sample/galleries", "md5": "0e23f18096eddf8f598b5c51a8d6e625.dir"}
    (project.root / "dvc.lock").write_text(yaml.safe_dump({"stages": {"galleries@sample": {"outs": [out]}}}))
    assert [check.state for check in verify.check_recorded(project)] == [verify.FAIL]
    project.galleries.mkdir(parents=True)
    (project.galleries / "x.txt").write_text("hi\n")
    assert [check.state for check in verify.check_recorded(project)] == [verify.PASS]
    (project.galleries / "y.txt").write_text("more\n")
    assert [check.state for check in verify.check_recorded(project)] == [verify.FAIL]


def test_unknown_profile_is_one_line(workspace, capsys: pytest.CaptureFixture) -> None:
    assert verify.main(["nowhere"]) == 1
    assert capsys.readouterr().err.startswith("error: params.yaml has no section for profile 'nowhere'")


@pytest.mark.parametrize(
    ("kind", "tolerance", "again", "fault"),
    [
        ("absolute", 0, [1.0, 2.0], False), ("absolute", 0, [1.0, 2.1], True),
        ("absolute", 0.2, [1.1, 2.1], False), ("absolute", 0.05, [1.0, 2.1], True),
        ("factor", 2, [1.9, 1.1], False), ("factor", 2, [1.0, 4.1], True), ("factor", 2, [1.0, 0.0], True),
        ("share", 0.5, [1.0, 9.0], False), ("share", 0.6, [1.0, 9.0], True),
        ("skip", 0, [7.0, 9.0], False), ("absolute", 1, [1.0, float("nan")], True),
        ("absolute", 0.2, ["1.0", "2.0"], True), ("factor", 2, [-1.0, 2.0], True),
        ("factor", 2, [float("nan"), 2.0], True),
    ],
)  # fmt: skip
def test_tolerances_of_a_second_run(kind: str, tolerance: float, again: list, fault: bool) -> None:
    said = verify.column_fault(pd.Series([1.0, 2.0]), pd.Series(again), kind=kind, tolerance=tolerance)
    assert bool(said) is fault


def test_a_factor_of_negative_numbers_is_none() -> None:
    first, second = pd.Series([-1.0, 2.0]), pd.Series([-5.0, 2.0])
    assert verify.column_fault(first, second, kind="factor", tolerance=2).startswith("row 1: -1.0, run again")
    assert not verify.column_fault(first, first, kind="factor", tolerance=2)


def test_a_changed_verdict_is_named_by_column_and_row(project: Paths) -> None:
    table = pd.read_csv(project.result("claims"), keep_default_na=False)
    row = table["verdict"].tolist().index("not testable here")
    tamper(project.result("claims"), "not testable here", "reproduced")
    [check] = verify.check_verdicts(project)
    assert check.words == (
        f"verdict, row {row + 1}: reproduced, run again not testable here "
        f"(absolute 0 allowed, 1 of {len(table)} rows beyond)"
    )


def test_every_tolerance_names_a_known_kind_and_nothing_else_may_differ() -> None:
    rules = verify.tolerances()
    assert {rule.kind for rule in rules} == {"absolute", "factor", "share", "skip"}
    assert tuple(rules[-1])[:4] == ("*", "*", "absolute", 0)


def test_second_run_is_held_against_the_committed_one(project: Paths, tmp_path: Path) -> None:
    again = Paths("sample", tmp_path / "again")
    shutil.copytree(project.results, again.results)
    assert {check.state for check in verify.compare_results(project, again)} == {verify.PASS}
    tamper(again.result("retrieval"), "0.83", "0.53")
    tamper(again.result("latency"), "100", "900")  # seconds are no part of it
    again.result("training").unlink()
    found = {c.name: c.words for c in verify.compare_results(project, again) if c.state == verify.FAIL}
    table = "results/sample/evaluate/retrieval.csv"
    assert set(found) == {table, "results/sample/evaluate/training.csv"}
    assert found[table] == "value, row 1: 0.83, run again 0.53 (absolute 0.12 allowed, 1 of 20 rows beyond)"


def test_rows_that_have_become_real_are_told_from_wrong_ones(project: Paths, tmp_path: Path) -> None:
    """VGG16 had no ImageNet weights in the committed run and has some here; HOG is wrong."""
    again = Paths("sample", tmp_path / "again")
    shutil.copytree(project.results, again.results)
    for paths, kind in ((project, "untrained"), (again, "imagenet")):
        networks = pd.DataFrame({"model": ["VGG16"], "network": ["VGG16"], "weights": [kind]})
        networks.to_csv(paths.result("networks"), index=False)
    table = pd.read_csv(project.result("retrieval")).head(2).assign(model=["VGG16+classes", "hog"])
    table.to_csv(project.result("retrieval"), index=False)
    name = "results/sample/evaluate/retrieval.csv"
    for hog, state in ((table["value"][1], verify.PASS), (0.123, verify.FAIL)):
        table.assign(value=[0.99, hog]).to_csv(again.result("retrieval"), index=False)
        found = [check for check in verify.compare_results(project, again) if check.name == name]
        assert [check.state for check in found] == [state, verify.SKIP]
        assert "1 rows of VGG16, real here" in found[1].words
    tamper(again.result("mechanics"), "1536", "1537")  # no network is in it, so nothing excuses a fault
    states = {check.name: check.state for check in verify.compare_results(project, again)}
    assert states["results/sample/claims/mechanics.csv"] == verify.FAIL


@pytest.mark.parametrize("listed", ["profiles:\n  - sample", "profiles: [sample]", "mine: 1"])
def test_copy_for_the_second_run(project: Paths, tmp_path: Path, listed: str) -> None:
    """The copy runs the one profile, in whichever way params.yaml lists others or none."""
    tamper(project.root / "params.yaml", "profiles:\n  - sample", listed)
    (project.root / "runs" / "sample").mkdir(parents=True)
    (project.root / "data" / "paper").mkdir(parents=True)
    target = tmp_path / "copy" / "solesearch"
    verify.copy_project(Paths("paper", project.root), target)
    assert yaml.safe_load((target / "params.yaml").read_text())["profiles"] == ["paper"]
    assert (target / "data" / "paper").is_symlink() and not (target / "runs").exists()
    assert (target / "results" / "sample" / "claims" / "claims.csv").is_file()


def test_failed_pipeline_is_a_fail(project: Paths, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    (project.root / "data").mkdir()
    monkeypatch.setattr(verify, "run_pipeline", lambda root: "ended with status 1")
    assert verify.main(["sample", "--full"]) == 1
    assert "FAIL  dvc repro: ended with status 1" in capsys.readouterr().out

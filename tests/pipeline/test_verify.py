"""The reviewer's command passes on untouched results and fails on anything changed, put in for real."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import yaml
from small_world import paint, write_results

from solesearch.claims import claims
from solesearch.core.paths import Paths
from solesearch.figures import figures, registry
from solesearch.pipeline import charts, report, verify

README = "# x\n\n<!-- results:begin -->\n\n<!-- results:end -->\n"


def lock(paths: Paths) -> None:
    """Write dvc.lock as a run would: the md5 of every result and figure but run.json."""
    made = [*paths.results.glob("claims.*"), *paths.results.glob("*.csv"), *paths.figures.glob("*.p*")]
    outs = [
        {"path": path.relative_to(paths.root).as_posix(), "md5": hashlib.md5(path.read_bytes()).hexdigest()}
        for path in sorted(set(made))
    ]
    (paths.root / "dvc.lock").write_text(yaml.safe_dump({"stages": {"evaluate@sample": {"outs": outs}}}))


def numbers_of(paths: Paths) -> str:
    """Stand in for the README's results block: whatever follows from retrieval.csv."""
    return str(registry.read_result(paths, "retrieval").sum())


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """Results, one chart, verdicts, lock and README that agree; made once and copied for each test."""
    root = tmp_path_factory.mktemp("template")
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(repository / name, root / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOLESEARCH_ROOT", str(root))
        paths = write_results("sample")
        patch.setitem(report.BLOCKS, "results", lambda: numbers_of(paths))
        figures.draw_chart("photos_per_class", profile="sample")
        claims.write_claims("sample")
        (root / "README.md").write_text(report.filled(README, name="README.md"))
        lock(paths)
    return root


@pytest.fixture
def project(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """A copy of the template that a test may damage; only its one chart is known."""
    paths = Paths("sample", tmp_path / "project")
    shutil.copytree(template, paths.root)
    monkeypatch.setenv("SOLESEARCH_ROOT", str(paths.root))
    monkeypatch.setitem(report.BLOCKS, "results", lambda: numbers_of(paths))
    for name in [name for name in charts.CHARTS if name != "photos_per_class"]:
        monkeypatch.delitem(charts.CHARTS, name)
    return paths


def failed(paths: Paths, *, drawn: bool = False) -> list[str]:
    """Return what fails; charts are drawn again only if `drawn`, since that takes most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        kept = [check for check in verify.QUICK if drawn or check is not verify.check_figures]
        patch.setattr(verify, "QUICK", kept)
        return [check.name for check in verify.quick(paths) if check.state == verify.FAIL]


def test_untouched_results_pass(project: Paths, capsys: pytest.CaptureFixture) -> None:
    assert verify.main(["sample"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "sample: about half a minute"
    assert lines[-1].startswith("sample: ") and ", 0 failed, " in lines[-1]
    assert all(line.split()[0] in ("PASS", "SKIP") for line in lines[1:-1])


def tamper(path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize("relocked", [False, True])
@pytest.mark.parametrize(
    ("table", "old", "new", "noticed"),
    [
        ("retrieval", "0.83", "0.93", {"results/sample/claims.csv", "README.md"}),
        ("catalogue", "heels,test,10", "heels,test,11", {"figures/sample/photos_per_class.png"}),
        ("latency", "100", "900", {"results/sample/claims.csv", "results/sample/claims.md"}),
        ("claims", "not testable here", "reproduced", {"results/sample/claims.csv"}),
    ],
)
def test_tampered_number_fails(
    project: Paths, table: str, old: str, new: str, noticed: set, relocked: bool
) -> None:
    """Noticed by its hash, and, were the record forged as well, by what follows from the number."""
    tamper(project.result(table), old, new)
    if relocked:
        lock(project)
    found = set(failed(project, drawn=table == "catalogue"))
    assert noticed <= found
    assert (f"results/sample/{table}.csv" in found) or relocked


def test_tampered_figure_fails_by_hash_and_by_its_pixels(project: Paths) -> None:
    path = project.figures / "photos_per_class.png"
    paint(path)
    assert failed(project, drawn=True) == ["figures/sample/photos_per_class.png"] * 2
    lock(project)
    assert failed(project, drawn=True) == ["figures/sample/photos_per_class.png"]
    assert verify.picture_fault(path.read_bytes(), project.root / "README.md", most=1)[0]  # no picture


@pytest.mark.parametrize(
    "name",
    ["results/sample/retrieval.csv", "figures/sample/photos_per_class.png", "results/sample/claims.html",
     "results/sample/run.json", "results/sample/claims.csv"],
)  # fmt: skip
def test_missing_file_fails(project: Paths, name: str) -> None:
    (project.root / name).unlink()
    assert name in failed(project)


def test_stale_readme_fails_and_so_does_the_command(project: Paths) -> None:
    tamper(project.root / "README.md", "value", "valve")
    assert failed(project) == ["README.md"]
    patched = [verify.check_readme]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verify, "QUICK", patched)
        assert verify.main(["sample"]) == 1


def test_readme_older_than_a_run_of_ones_own_is_no_failure(project: Paths) -> None:
    """As after `make repro` in a clone: results and dvc.lock are new. Results alone are a failure."""

    def git(*words: str) -> None:
        who = ("-c", "user.name=test", "-c", "user.email=test@example.org")
        subprocess.run(["git", "-C", str(project.root), *who, *words], check=True, capture_output=True)

    git("init")
    git("add", "--all")
    git("commit", "--message", "as published")
    tamper(project.result("retrieval"), "0.83", "0.93")
    assert "README.md" in failed(project)
    lock(project)
    assert "README.md" not in failed(project)
    states = {check.name: check.state for check in verify.check_readme(project)}
    assert states == {"README.md": verify.SKIP}


def test_run_without_its_machine_fails(project: Paths) -> None:
    tamper(project.results / "run.json", '"cpu"', '"chip"')
    assert failed(project) == ["results/sample/run.json"]


def test_no_record_of_a_run_fails_and_pictures_of_photographs_are_skipped(project: Paths) -> None:
    (project.root / "dvc.lock").write_text("stages: {}")
    assert "dvc.lock" in failed(project)
    out = {"path": "figures/zappos/galleries/unseen_queries.png", "md5": "0"}
    (project.root / "dvc.lock").write_text(yaml.safe_dump({"stages": {"galleries@zappos": {"outs": [out]}}}))
    [check] = verify.check_recorded(Paths("zappos", project.root))
    assert check.state == verify.SKIP
    (project.root / "dvc.lock").write_text("stages: [")
    assert "recorded" in failed(project)


def test_folders_are_compared_file_by_file(project: Paths) -> None:
    """The md5 was recorded by DVC 3.67 itself, for a folder that holds x.txt with the line `hi`."""
    out = {"path": "figures/sample/galleries/handbags", "md5": "0e23f18096eddf8f598b5c51a8d6e625.dir"}
    (project.root / "dvc.lock").write_text(yaml.safe_dump({"stages": {"galleries@sample": {"outs": [out]}}}))
    folder = project.galleries / "handbags"
    assert [check.state for check in verify.check_recorded(project)] == [verify.FAIL]
    folder.mkdir(parents=True)
    (folder / "x.txt").write_text("hi\n")
    assert [check.state for check in verify.check_recorded(project)] == [verify.PASS]
    (folder / "y.txt").write_text("more\n")
    assert [check.state for check in verify.check_recorded(project)] == [verify.FAIL]


def test_unknown_profile_is_one_line(workspace, capsys: pytest.CaptureFixture) -> None:
    assert verify.main(["nowhere"]) == 1
    assert capsys.readouterr().err.startswith("error: profile 'nowhere' has no section")


def test_table_fault_names_line_column_and_both_values() -> None:
    first = pd.DataFrame({"a": [0.5, 1.0], "b": ["x", "y"], "c": [True, False]})
    assert verify.table_fault(first, first.copy()) == ""
    assert verify.table_fault(first, first.assign(a=[0.5, 1.00001])) == ""  # six digits
    assert verify.table_fault(first, first.assign(a=[0.5, 1.001])) == "line 3: a is 1.001, computed again 1.0"
    assert verify.table_fault(first, first.assign(b=["x", "z"])).startswith("line 3: b is z")
    assert verify.table_fault(first, first.assign(c=[True, True])).startswith("line 3: c is True")
    assert verify.table_fault(first, first.head(1)) == "has 1 rows, not 2"
    assert verify.table_fault(first, first.drop(columns="b")).startswith("has the columns a, c, not a, b")


@pytest.mark.parametrize(
    ("kind", "tolerance", "again", "fault"),
    [
        ("equal", 0, [1.0, 2.0], False), ("equal", 0, [1.0, 2.1], True),
        ("absolute", 0.2, [1.1, 2.1], False), ("absolute", 0.05, [1.0, 2.1], True),
        ("factor", 2, [1.9, 1.1], False), ("factor", 2, [1.0, 4.1], True), ("factor", 2, [1.0, 0.0], True),
        ("share", 0.5, [1.0, 9.0], False), ("share", 0.6, [1.0, 9.0], True),
        ("skip", 0, [7.0, 9.0], False), ("absolute", 1, [1.0, float("nan")], True),
    ],
)  # fmt: skip
def test_tolerances_of_a_second_run(kind: str, tolerance: float, again: list, fault: bool) -> None:
    found = verify.column_fault(pd.Series([1.0, 2.0]), pd.Series(again), kind=kind, tolerance=tolerance)
    assert bool(found) is fault


def test_every_tolerance_names_a_known_kind_and_a_reason() -> None:
    rules = verify.tolerances()
    assert set(rules["kind"]) <= {"absolute", "factor", "share", "skip", "pixels"}
    assert (rules["reason"] != "").all() and not rules.duplicated(["file", "column"]).any()


def test_second_run_is_held_against_the_committed_one(project: Paths, tmp_path) -> None:
    again = Paths("sample", tmp_path / "again")
    shutil.copytree(project.results, again.results)
    shutil.copytree(project.figures, again.figures)
    assert {check.state for check in verify.compare_results(project, again)} == {verify.PASS}
    tamper(again.result("retrieval"), "0.83", "0.93")
    paint(again.figures / "photos_per_class.png")
    again.result("latency").unlink()
    found = {c.name: c.words for c in verify.compare_results(project, again) if c.state == verify.FAIL}
    assert set(found) == {
        "results/sample/retrieval.csv",
        "results/sample/latency.csv",
    }  # 60 pixels move little
    assert found["results/sample/retrieval.csv"].startswith("value: line 2: 0.83, run again 0.93")


def test_rows_that_have_become_real_are_told_from_wrong_ones(project: Paths, tmp_path) -> None:
    """VGG16 had no ImageNet weights in the committed run and has some here; HOG is wrong."""
    again = Paths("sample", tmp_path / "again")
    for paths, kind in ((project, "untrained"), (again, "imagenet")):
        if paths is again:
            shutil.copytree(project.results, again.results)
            shutil.copytree(project.figures, again.figures)
        networks = pd.DataFrame({"model": ["VGG16"], "network": ["VGG16"], "weights": [kind]})
        networks.to_csv(paths.result("networks"), index=False)
    table = pd.read_csv(project.result("retrieval")).head(2).assign(model=["VGG16+classes", "hog"])
    table.to_csv(project.result("retrieval"), index=False)
    table.assign(value=[0.99, table["value"][1]]).to_csv(again.result("retrieval"), index=False)
    name = "results/sample/retrieval.csv"
    states = [check.state for check in verify.compare_results(project, again) if check.name == name]
    assert states == [verify.PASS, verify.SKIP]
    table.assign(value=[0.99, 0.123]).to_csv(again.result("retrieval"), index=False)
    found = [check for check in verify.compare_results(project, again) if check.name == name]
    assert [check.state for check in found] == [verify.FAIL, verify.SKIP]
    assert "1 rows have become real: ImageNet weights of VGG16" in found[1].words
    mechanics = pd.DataFrame({"name": ["a"], "value": [1]})  # no network is in it, so nothing excuses a fault
    mechanics.to_csv(project.result("mechanics"), index=False)
    mechanics.assign(value=2).to_csv(again.result("mechanics"), index=False)
    (again.figures / "photos_per_class.png").write_bytes(b"")
    states = {check.name: check.state for check in verify.compare_results(project, again)}
    assert states["results/sample/mechanics.csv"] == verify.FAIL
    assert states["figures/sample/photos_per_class.png"] == verify.FAIL
    assert not [check for check in verify.compare_results(project, project) if check.state == verify.SKIP]


@pytest.mark.parametrize("listed", ["profiles:\n  - sample", "profiles: [sample]", "profiles: []", "mine: 1"])
def test_copy_for_the_second_run(project: Paths, tmp_path, listed: str) -> None:
    """The copy runs the one profile, in whichever way params.yaml lists others or none."""
    tamper(project.root / "params.yaml", "profiles:\n  - sample", listed)
    (project.root / "runs" / "sample").mkdir(parents=True)
    (project.root / "data" / "zappos").mkdir(parents=True)
    target = tmp_path / "copy" / "solesearch"
    verify.copy_project(Paths("zappos", project.root), target)
    assert yaml.safe_load((target / "params.yaml").read_text())["profiles"] == ["zappos"]
    assert (target / "data" / "zappos").is_symlink() and not (target / "runs").exists()
    assert (target / "results" / "sample" / "claims.csv").is_file()


def test_failed_pipeline_is_a_fail_and_minutes_come_from_the_record(
    project: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (project.root / "data").mkdir()
    monkeypatch.setattr(verify, "run_pipeline", lambda root: "ended with status 1")
    assert verify.main(["sample", "--full"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "sample: about 1 minutes"  # 60 seconds in run.json
    assert lines[1] == "FAIL  dvc repro: ended with status 1"

"""The pipeline as a user runs it: a clean clone, `dvc repro`, a second run, a kill, a ZIP, a bad folder."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from pipeline_runs import copy_of, environment, run
from solved_notebooks import misjudged, solve

from solesearch.core.paths import Paths
from solesearch.pipeline.charts import CHARTS, SHOWN

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

MEASURED = {"latency.csv", "run.json", "03_networks.ipynb"}  # and all charts of time
MEASURED |= {"claims.csv", "claims.md", "09_claims.ipynb"}  # hold ratios of times
MEASURED |= {"ladder.csv", "ladder_goals.csv", "10_beyond_the_paper.ipynb"}  # hold times
MEASURED |= {"index.csv", "recall_speed.png", "time_comparison.png", "05_index.ipynb"}
MEASURED |= {"growth_seconds.csv", "14_adding_photos.ipynb"}
LAST_COMPARED = ("likeness", "galleries", "human_study")  # with what they stand on: what runs twice in a test


@pytest.fixture(scope="module")
def clone(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone without `.git`, as a ZIP gives it, after one `dvc repro` of the profile `smoke`.

    Its notebooks solve their own exercises at their end, so that no second run is needed for that.
    """
    root = copy_of(repository, tmp_path_factory.mktemp("clone") / "solesearch", profiles="  - smoke\n")
    for path in (root / "notebooks").glob("*.ipynb"):
        solve(path, name=path.stem)
    run(root, "dvc", "config", "--local", "core.no_scm", "true")
    ended = run(root, "dvc", "repro")
    noise = re.findall(r"(?i)cuda|onednn|absl|AVX2|UserWarning|kernel died", ended.stdout + ended.stderr)
    assert not noise, f"start-up noise reached the terminal: {noise}"
    assert "smoke/02_train_infogan: done in" in ended.stdout + ended.stderr
    return root


def snapshot(root: Path) -> dict[str, bytes]:
    """Return the bytes of everything a profile makes, but for what is measured anew."""
    kept = {}
    for folder in ("results/smoke", "figures/smoke", "runs/smoke"):
        for path in sorted((root / folder).rglob("*")):
            measured = path.name in MEASURED or path.parent.name == "training-seconds"
            if path.is_file() and not measured:
                # the page's notebook names the port that was free, which other tests may take
                content = re.sub(rb"127\.0\.0\.1:\d+", b"127.0.0.1:PORT", path.read_bytes())
                kept[str(path.relative_to(root))] = content
    return kept


def is_later(name: str) -> bool:
    """Tell whether a file of the snapshot belongs to a stage that runs once, for time."""
    folder, file = name.split("/")[2], name.rsplit("/", maxsplit=1)[-1]
    later = ("ladder", "growth", "claims", "index", "showcase", "latent_codes")
    return folder.startswith(later) or file.startswith(("05_", "09_", "10_", "12_", "13_", "14_"))


def test_executed_notebooks_hold_pictures_and_no_errors(clone: Path) -> None:
    executed = sorted((clone / "runs" / "smoke" / "notebooks").glob("*.ipynb"))
    assert {path.name for path in executed} == {path.name for path in (clone / "notebooks").glob("*.ipynb")}
    for path in executed:
        read, stage = nbformat.read(path, as_version=4), path.stem
        outputs = [output for cell in read.cells for output in cell.get("outputs", [])]
        assert outputs, stage
        assert not [output for output in outputs if output.output_type == "error"]
        noise = [output.text for output in outputs if output.get("name") == "stderr"]
        assert not noise, f"{stage}: {noise}"
        pictures = [output for output in outputs if "image/png" in output.get("data", {})]
        assert pictures, stage


def test_every_check_says_unanswered_right_and_wrong(clone: Path) -> None:
    executed = sorted((clone / "runs" / "smoke" / "notebooks").glob("*.ipynb"))
    read = {path.stem: nbformat.read(path, as_version=4) for path in executed}
    assert {name: wrong for name, one in read.items() if (wrong := misjudged(one))} == {}
    tags = [tag for one in read.values() for cell in one.cells for tag in cell.metadata.get("tags", [])]
    assert tags.count("solved") == tags.count("unanswered") >= 2 * len(read)
    assert tags.count("spoiled") >= tags.count("solved")


def test_results_have_the_promised_columns(clone: Path) -> None:
    paths = Paths("smoke", clone)
    columns = {
        "retrieval": "model seed gallery metric k class value n",
        "training": "seed step d_real d_fake generator mutual_information",
        "latency": "model runtime batch median_ms p95_ms images_per_s runs parameters file_mb machine",
        "weights": "network weights sha256 published_file",
        "sizes": "model what parameters megabytes",
        "likeness": "model seed gallery measure class value low high n",
        "attributes": "model attribute k n value low high chance queries_unknown answers_unknown",
        "human_study_annotators": "annotator tasks checks failed none median_ms kept reason answers",
        "retraining": "model step loss gradient_norm mean_probability",
    }
    for name, wanted in columns.items():
        assert " ".join(pd.read_csv(paths.result(name)).columns) == wanted
    retrieval = pd.read_csv(paths.result("retrieval"))
    assert set(retrieval["gallery"]) == {"naive", "product_excluded"}
    assert {"all", "macro", "heels", "handbags"} <= set(retrieval["class"])
    assert retrieval["value"].between(0, 1).all()
    assert {"MobileNet", "MobileNetV2", "MobileNetV2+one_unit"} < set(retrieval["model"])
    networks = pd.read_csv(paths.result("networks")).set_index("model")
    assert networks["weights"].unique().tolist() == ["untrained"]
    assert pd.read_csv(paths.result("training"))["step"].tolist() == list(range(1, 9))
    stages = json.loads((paths.results / "run.json").read_text())["stages"]
    assert sorted(stages) == sorted(path.stem for path in (clone / "notebooks").glob("*.ipynb"))


def test_charts_are_there_and_redraw_to_the_same_bytes(clone: Path) -> None:
    figures = clone / "figures" / "smoke"
    before = {path.name: path.read_bytes() for path in (figures / "charts").glob("*")}
    assert sorted(before) == sorted(f"{name}.png" for name in SHOWN)
    assert len(list((figures / "galleries").glob("*.png"))) == 5
    assert (figures / "galleries" / "handbags" / "handbags.png").is_file()
    assert "handbags (" in (figures / "galleries" / "gallery.html").read_text()
    run(clone, sys.executable, "-m", "solesearch.pipeline.charts", "smoke")  # `make figures`
    again = figures / "all"
    assert {path.stem for path in again.glob("*.pdf")} == CHARTS.keys() - {"training_speed"}  # `make speed`
    assert {name: (again / name).read_bytes() for name in before} == before


def test_dvc_shows_metrics_and_plots(clone: Path) -> None:
    pipeline = clone / "dvc.yaml"  # metrics and plots are named for the profile that everyone has
    pipeline.write_text(pipeline.read_text().replace("/sample/", "/smoke/"))
    shown = json.loads(run(clone, "dvc", "metrics", "show", "--json").stdout)
    [values] = shown[""]["data"].values()
    retrieval = pd.read_csv(Paths("smoke", clone).result("retrieval"))
    rows = retrieval.query("metric == 'precision' and k == 5 and `class` == 'all' and model == 'hog'")
    for gallery, value in zip(rows["gallery"], rows["value"], strict=True):
        assert values["data"]["precision_at_5"][gallery]["hog"] == pytest.approx(value, abs=1e-4)
    run(clone, "dvc", "plots", "show")
    page = (clone / "dvc_plots" / "index.html").read_text()
    assert "mutual_information" in page and "precision_bars.png" in page.replace("_png", ".png")


def test_second_run_is_quick_and_says_so(clone: Path) -> None:
    start = time.monotonic()
    ended = run(clone, "dvc", "repro")
    assert "up to date" in ended.stdout
    assert "Running stage" not in ended.stdout
    assert time.monotonic() - start < 30  # about 2 s on an idle machine


def test_a_notebook_saved_with_outputs_retrains_nothing(clone: Path) -> None:
    path = clone / "notebooks" / "02_train_infogan.ipynb"
    clean = path.read_text()
    read = nbformat.reads(clean, as_version=4)
    read.cells[1].execution_count = 5
    path.write_text(nbformat.writes(read))
    ended = run(clone, "dvc", "repro")
    path.write_text(clean)
    assert re.findall(r"Running stage '([\w@]+)'", ended.stdout) == ["strip"]


def test_changed_code_stales_what_it_decides_and_a_comment_nothing(clone: Path) -> None:
    path = clone / "src" / "solesearch" / "gan" / "infogan.py"
    code = path.read_text()
    path.write_text(code + "# a remark\n")
    ended = run(clone, "dvc", "repro")
    assert re.findall(r"Running stage '([\w@]+)'", ended.stdout) == ["strip"]
    path.write_text(code.replace("tf.ones_like(logit) if real", "0.9 * tf.ones_like(logit) if real"))
    run(clone, "dvc", "repro", "strip")
    stale = json.loads(run(clone, "dvc", "status", "--json").stdout)
    path.write_text(code)
    run(clone, "dvc", "repro", "strip")
    assert {"train@smoke", "embed@smoke", "ladder@smoke", "growth@smoke"} <= stale.keys()
    assert "prepare@smoke" not in stale


def test_everything_anew_killed_in_training_and_resumed_gives_the_same_bytes(clone: Path) -> None:
    """Nothing is left but the committed files; SIGKILL to everything in the middle of training; go on.

    One run shows both: that a second run from nothing gives the first one's bytes, and that a kill changes
    none of them. Of stages with trainings of their own only the ablation's runs again, since likeness judges
    what it trained; test_variant_training.py and test_growth.py kill and compare the others.
    """
    before = {name: content for name, content in snapshot(clone).items() if not is_later(name)}
    shutil.rmtree(clone / "runs")
    shutil.rmtree(clone / ".dvc" / "cache")
    process = subprocess.Popen(
        ["dvc", "repro", "--force"],
        cwd=clone, env=environment(clone), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    state = clone / "runs" / "smoke" / "infogan" / "seed-1" / "state.npz"
    while not state.is_file():
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = {path.name for path in state.parent.iterdir()}
    ended = run(clone, "dvc", "repro", *(f"{stage}@smoke" for stage in LAST_COMPARED))
    assert "smoke/02_train_infogan: done in" in ended.stdout + ended.stderr
    assert kept <= {path.name for path in state.parent.iterdir()}
    after = {name: content for name, content in snapshot(clone).items() if not is_later(name)}
    assert sorted(before) == sorted(after)
    assert [name for name in before if before[name] != after[name]] == []

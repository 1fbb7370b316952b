"""The papers' own protocol through the whole pipeline."""

from pathlib import Path

import pandas as pd
import pytest
import yaml
from official_tree import write_official_tree
from pipeline_runs import copy_of, run

from solesearch.core.paths import Paths

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def test_the_papers_profile_runs_on_the_official_tree(repository: Path, tmp_path: Path) -> None:
    """The protocol of P section 4 on a small tree with the official names; sizes and steps are cut."""
    root = copy_of(repository, tmp_path / "solesearch", profiles="  - paper\n")
    write_official_tree(root / "data" / "paper")
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["paper"]["catalog"].update(test_photos=60)
    params["paper"]["gan"].update(seeds=[1], batch_size=8, steps=2, checkpoint_every=1, resume_every=1)
    params["paper"]["networks"] = {**params["smoke"]["networks"], "names": ["MobileNetV2"]}
    for section in ("retraining", "latency", "index", "uncertainty", "claims", "ladder"):  # minutes else
        params["paper"][section] = params["smoke"][section]
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    run(root, "dvc", "config", "--local", "core.no_scm", "true")
    # for time without stages that the tree's names do not reach
    ends = ("likeness", "galleries", "human_study", "claims", "showcase")
    run(root, "dvc", "repro", *(f"{stage}@paper" for stage in ends))
    retrieval = pd.read_csv(Paths("paper", root).result("retrieval"))
    total = retrieval.query("`class` == 'all' and metric == 'precision' and k == 5")
    assert (total["n"] - 60).abs().max() <= 8  # whole products, class by class
    papers = {"heels", "sandals", "sports", "boots", "high_boots", "loafers", "slippers", "flats"}
    assert set(retrieval["class"]) - {"all", "macro"} <= papers

"""A small human study without networks: 24 photos of three classes, three models, a plan on the disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from solesearch.core import files
from solesearch.core.paths import Paths
from solesearch.people import human_study
from solesearch.people.answers import Answer
from solesearch.people.human_study import HumanStudySettings, Plan, PlanFiles, Task
from solesearch.people.serving import first_free_port
from solesearch.retrieval.uncertainty import Resampling

LABELS = np.array(["boots", "flats", "heels"] * 8)
MODELS = [("infogan", 1), ("hog", 0), ("mean_colour", 0)]
RESAMPLES = Resampling(resamples=60, permutations=9, confidence=0.95, significance=0.05, seed=1)


def settings(**changes) -> HumanStudySettings:
    values = {
        "queries": 10, "k": 3, "models": [], "repeats": 0.1, "attention_checks": 3, "seed": 4,
        "most_failed_checks": 0.25, "shortest_median_ms": 500, "fewest_tasks": 2, "simulated_annotators": 4,
        "simulated_careless": 1,
    }  # fmt: skip
    return HumanStudySettings.checked({**values, **changes}, where="human_study")


def planned(rules: HumanStudySettings) -> tuple[dict[str, Task], pd.DataFrame]:
    """Return tasks and key for the first photos as queries, rows drawn at random."""
    draw = np.random.default_rng(0)
    rows = {
        model: np.stack([draw.choice(24, size=rules.k, replace=False) for _ in range(rules.queries)])
        for model in MODELS
    }
    return human_study.plan_tasks(
        range(rules.queries), rows, LABELS, distractors=np.arange(24), settings=rules
    )


def write_small_plan(paths: Paths) -> tuple[Plan, pd.DataFrame]:
    """Write plan and key as the stage does, and pixels to show."""
    rules = settings()
    tasks, key = planned(rules)
    plan = Plan(id="p1an", profile=paths.profile, k=rules.k, catalogue="catalogue", tasks=tasks)
    key.insert(0, "plan", plan.id)
    PlanFiles.shown(paths).write(plan, key)
    shades = np.linspace(0, 255, 24).astype(np.uint8)
    pixels = np.broadcast_to(shades[:, None, None, None], (24, 32, 48, 3)).copy()
    pixels[:, 8:24, 12:36, 1] = 120
    files.write_array(paths.pixels, pixels)
    return PlanFiles.shown(paths).read()


def given(task: str = "t001", rows: str = "A", *, annotator: str = "ann", milliseconds: int = 900) -> Answer:
    return Answer(plan="p1an", annotator=annotator, task=task, rows=rows, milliseconds=milliseconds)


class Server:
    """The study's own server in a process of its own, so that it can be killed for real."""

    def __init__(self, root: Path):
        """Choose a port; `start` begins."""
        self.root, self.port = root, first_free_port([0])
        self.address = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen | None = None

    def start(self) -> Server:
        """Start and wait until it listens, which it says in one line."""
        module = "solesearch.people.annotation_page"
        command = [sys.executable, "-m", module, "smoke", "--port", str(self.port)]
        environment = {**os.environ, "SOLESEARCH_ROOT": str(self.root)}
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        assert f"{self.address}/study/" in self.process.stdout.readline()
        return self

    def kill(self) -> None:
        """SIGKILL: no handler, no flush."""
        self.process.kill()
        self.process.communicate()

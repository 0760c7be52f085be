"""The shop's notebook, run as a data scientist or a CI runs it, on simulated days and on the Magazine ratings."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime
from html import escape
from pathlib import Path
from typing import Any

import pytest
from conftest_loop import Project
from hostile_titles import hostile_drawing

from tidemill.cli.commands.init_command import write_project
from tidemill.core.clock import FixedClock
from tidemill.core.ledger.ledger import redact_surrogates
from tidemill.loop import open_project
from tidemill.loop.training.train import train

MISSING = [
    name for name in ("papermill", "jupytext", "nbconvert", "ipykernel") if importlib.util.find_spec(name) is None
]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (tidemill[notebook])"),
]


@dataclass
class Done:
    """An executed notebook."""

    project: Project
    notebook: dict[str, Any]
    #: The same as HTML, a page of its own.
    page: Path

    @property
    def outputs(self) -> list[dict[str, Any]]:
        return [output for cell in self.notebook["cells"] for output in cell.get("outputs", [])]

    def texts(self, kind: str) -> str:
        """All outputs of a kind: `text/html`, or what was printed."""
        found = [output.get("text", "") for output in self.outputs if kind == "printed"]
        found += [output.get("data", {}).get(kind, "") for output in self.outputs]
        return "\n".join("".join(text) for text in found)


def make(base: Path, sources: str = "") -> Project:
    path = base / "shop"
    write_project(path, "shop")
    (path / "tidemill.toml").write_text(f'[laptop]\nkeys = "{base / "keys"}"\nsearch = "exact"\n{sources}')
    return Project(path, FixedClock(datetime(2026, 11, 1, tzinfo=UTC)))


def go_live(project: Project) -> None:
    stores, graph = project.open()
    made = train(stores, graph, "for_you").release
    with stores.leases.take("run") as lease:
        stores.releases.promote(made.name, lease=lease)


def of_the_ci_file(project: Project) -> tuple[dict[str, str], list[str]]:
    """What the project's own CI file sets and types, but for the installation."""
    yaml = pytest.importorskip("yaml")  # jupytext brings it
    job = yaml.safe_load((project.path / "ci.yml").read_text())["jobs"]["mill"]
    lines = [step["run"] for step in job["steps"] if "run" in step]
    assert lines[0].startswith("pip install ")
    return job["env"], lines[1:]


def typed(project: Project, base: Path, env: dict[str, str], *lines: str) -> None:
    """Type lines into a shell in the project, with a kernel of this environment and nothing of this machine's."""
    jupyter = base / "jupyter"
    kernel = jupyter / "kernels" / "python3"
    kernel.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": command, "display_name": "test", "language": "python"}))
    kept = {name: value for name, value in os.environ.items() if name in ("LANG", "LC_ALL", "TMPDIR")}
    about = {name: str(jupyter / name) for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR")}
    about |= {"HOME": str(base), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    about |= {"JUPYTER_DATA_DIR": str(jupyter), "OMP_NUM_THREADS": "1"}
    for line in lines:
        done = subprocess.run(
            ["bash", "-c", line], cwd=project.path, env=kept | about | env, capture_output=True, text=True, timeout=400
        )
        assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


def rendered(project: Project, base: Path) -> Done:
    """The executed notebook, as a page too."""
    typed(project, base, {}, "jupyter nbconvert --to html --template basic done.ipynb")
    page = project.path / "done.html"
    page.write_text(f'<!doctype html><meta charset="utf-8"><title>x</title>{page.read_text("utf-8")}', "utf-8")
    return Done(project, json.loads((project.path / "done.ipynb").read_text("utf-8")), page)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """The project's CI file from top to bottom; before the notebook a model goes live."""
    base = tmp_path_factory.mktemp("simulated")
    project = make(base)
    env, lines = of_the_ci_file(project)
    notebook = next(place for place, line in enumerate(lines) if line.startswith("jupytext "))
    typed(project, base, env, *lines[:notebook])
    go_live(project)
    typed(project, base, env, *lines[notebook:-1], f"{lines[-1]} -p n_neighbours 5 -p n_mapped 60")
    return rendered(project, base)


@pytest.fixture(scope="module")
def magazines(tmp_path_factory: pytest.TempPathFactory, magazine: Path, magazine_items: Path) -> Done:
    """The same lines on real ratings, with titles, and nothing live."""
    base = tmp_path_factory.mktemp("magazines")
    sources = 'reviews = "file:data/reviews.csv.gz"\nitems = "file:data/items.json.gz"\n'
    project = make(base, f"[laptop.sources]\n{sources}")
    shutil.copy(magazine, project.path / "data" / "reviews.csv.gz")
    shutil.copy(magazine_items, project.path / "data" / "items.json.gz")
    mill = project.path / "mill.py"
    category = "    category: str | None = None\n"
    assert mill.read_text().count(category) == 1
    mill.write_text(mill.read_text().replace(category, f"{category}    title: str | None = None\n"))
    project.run(date(2018, 9, 19), backfill=True)
    typed(project, base, {}, *of_the_ci_file(project)[1][-2:])
    return rendered(project, base)


def went_through(done: Done) -> None:
    """No cell failed or complained, and what is shown is what the notebook promises."""
    assert [output for output in done.outputs if output["output_type"] == "error"] == []
    assert [output for output in done.outputs if output.get("name") == "stderr"] == []
    shown, printed = done.texts("text/html"), done.texts("printed")
    assert 'class="tidemill-map"' in shown and shown.count("<svg") == 2
    assert "on the same users" in shown
    for words in ("1. Retrieved:", "2. Filtered:", "3. Scored:", "4. Ordered:", "5. Fallback", "6. The slate"):
        assert words in printed
    everything = json.dumps(done.notebook)
    assert redact_surrogates(everything) == everything, "a person's surrogate stands in the notebook"


def kept_its_runs(done: Done, before: int) -> None:
    """Each experiment is a run of the ledger, measured on the same users as the others."""
    stores, _ = done.project.open()
    runs = list(reversed(stores.runs.all("for_you")))[before:]
    assert [run.learner for run in runs] == ["popularity", "item_knn", "spectral", "transitions"]
    assert {(run.kind, run.state) for run in runs} == {("notebook", "finished")}
    assert all("ndcg@10[all]" in run.metrics and "figures" in run.artefacts for run in runs)
    for run in runs:
        assert run.name in done.texts("text/html") + done.texts("printed") + done.texts("text/plain")
    assert stores.ledger.verify() == []


def test_it_runs_on_simulated_days(simulated: Done) -> None:
    went_through(simulated)
    kept_its_runs(simulated, before=1)
    assert "for_you@1 is live" in simulated.texts("printed")
    assert simulated.texts("text/html").count("<circle") == 60


def test_it_runs_on_real_ratings_with_nothing_live(magazines: Done) -> None:
    went_through(magazines)
    kept_its_runs(magazines, before=0)
    assert "no champion yet: tidemill train for_you" in magazines.texts("printed")
    shown = magazines.texts("text/html")
    assert shown.count("<circle") == 600
    assert "a-color-secondary" not in shown, "a title's markup is shown"
    titles = open_project(magazines.project.path).names("for_you").titles.values()
    assert len(titles) > 100 and sum(escape(title) in shown for title in titles) > 10


# ---- in a browser


def pointed_at(browser: Any, file: Path) -> None:
    """Open a page with a map, point at items, and hold what is listed against the page's own table."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(file.as_uri())
    box = page.locator(".tidemill-map")
    box.scroll_into_view_if_needed()
    assert "Point at an item" in box.locator(".told").inner_text()
    circles = box.locator("circle")
    for place in (0, circles.count() // 2):
        circles.nth(place).hover(force=True)
        at = box.evaluate("box => [...box.querySelectorAll('circle')].findIndex(c => c.classList.contains('at'))")
        listed = box.locator(".told li").all_text_contents()
        row = box.evaluate("(box, at) => [...box.querySelectorAll('tbody tr')[at].cells].map(c => c.textContent)", at)
        assert listed, "no neighbours are listed"
        assert box.locator(".told b").text_content() == row[0]
        told = len(re.findall(r" \d\.\d\d(?=; |$)", row[6]))
        assert {told, box.locator("circle.near").count(), box.locator("line").count()} == {len(listed)}
        assert row[6].startswith(re.split(r" \d\.\d\d", listed[0])[0])
    box.locator("input").fill(row[1])
    assert box.locator(".told b").text_content() == row[0]
    assert box.evaluate("box => box.scrollWidth <= box.clientWidth && box.getBoundingClientRect().right <= innerWidth")
    assert page.evaluate("window.hacked") is None
    assert asked == [file.as_uri()], "something was loaded"
    assert said == []
    page.close()


@pytest.mark.browser
def test_hostile_titles_stay_texts(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "map.html"
    file.write_text(f'<!doctype html><meta charset="utf-8"><title>x</title>{hostile_drawing().html()}', "utf-8")
    pointed_at(browser, file)


@pytest.mark.browser
def test_pointing_lists_the_nearest(simulated: Done, browser: Any) -> None:
    pointed_at(browser, simulated.page)


@pytest.mark.browser
def test_pointing_lists_the_nearest_of_magazines(magazines: Done, browser: Any) -> None:
    pointed_at(browser, magazines.page)

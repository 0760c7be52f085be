"""Mistakes of the first hour: each is answered with the line, the nearest name or the command, also as JSON."""

from __future__ import annotations

import io
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from conftest_loop import FIRST, Project, daily, new_project
from markdown_pages import PAGES
from typed_command import tidemill

import tidemill as tm
from tidemill.cli import program
from tidemill.cli.program_console import ProgramConsole
from tidemill.core.errors import FunctionFailed, GraphError, SettingError, TypeMismatch
from tidemill.loop.pipeline.run_plan import plan
from tidemill.loop.project.mill import Mill
from tidemill.loop.project.project import load_mill
from tidemill.sources import Shop


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return new_project(tmp_path)


def changed(project: Project, old: str, new: str, file: str = "mill.py") -> int:
    """Change a file of the project; returns the line of the change."""
    path = project.path / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return text[: text.index(old)].count("\n") + 1


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ('ge="1", le=5', "it must be a number"), ("ge=5, le=1", "no value is in this range"),
        ("ge=float('nan')", "it must be a number"), ("ge=True", "it must be a number"),
        ("default='x'", "the default 'x' is not a number"),
    ],
)  # fmt: skip
def test_a_contract_that_cannot_hold_is_refused_with_its_line(project: Project, wrong: str, says: str) -> None:
    line = changed(project, "ge=1, le=5", wrong)
    with pytest.raises(TypeMismatch) as refused:
        load_mill(project.path)
    assert says in refused.value.message
    number = int(refused.value.message.removeprefix("mill.py, line ").partition(":")[0])
    assert number in (line, line - 1, line - 2, line - 3)  # that of the field, or of its class
    status, out, err = tidemill("plan", at=project.path)
    assert status == 1 and out == "" and f"mill.py, line {number}: " in err


def test_bounds_of_a_text_are_refused() -> None:
    with pytest.raises(TypeMismatch, match="bounds of numbers"):

        class Wrong(tm.Event):
            name: str = tm.field(ge=1)
            at: datetime = tm.event_time(zone="UTC")


@pytest.mark.parametrize(
    ("new", "says"),
    [("import nothing_of_this_name\n", "ModuleNotFoundError"), ("x = (\n", "SyntaxError"), ("1 / 0\n", "ZeroDivision")],
)
def test_code_that_does_not_load_names_its_line(project: Project, new: str, says: str) -> None:
    file = project.path / "mill.py"
    file.write_text(file.read_text() + new)
    with pytest.raises(GraphError) as refused:
        load_mill(project.path)
    assert says in refused.value.message and "line " in refused.value.message


def test_a_function_that_fails_on_rows_names_its_line(project: Project) -> None:
    project.write("reviews-1.csv", daily(1))
    line = changed(
        project, "    return reviews.unique(", "    assert not reviews.collect().shape[0]\n    return reviews.unique("
    )
    with pytest.raises(FunctionFailed, match=rf"'ratings' \(mill\.py, line {line}\) failed on the rows"):
        project.run(FIRST)


@pytest.mark.parametrize(
    ("url", "says"),
    [("fil:data/x", "no source reads `fil:` URLs: did you mean `file`"), ("file:x?columns=nothing", "nothing")],
)
def test_plan_refuses_a_source_that_cannot_be_read(project: Project, url: str, says: str) -> None:
    file = project.path / "tidemill.toml"
    file.write_text(
        "\n".join(f'reviews = "{url}"' if "reviews =" in line else line for line in file.read_text().split("\n"))
    )
    stores, graph = project.open()
    with pytest.raises(SettingError, match=says):
        plan(stores, graph, None, stores.settings)
    status, out, _ = tidemill("plan", "--json", at=project.path)
    assert status == 1 and says.partition(":")[0] in json.loads(out)["error"]["message"]


def test_print_in_the_project_does_not_break_json(project: Project) -> None:
    changed(project, "mill = tm.Mill", 'print("hello")\nmill = tm.Mill')
    changed(project, "    return reviews.unique(", '    print("rows")\n    return reviews.unique(')
    status, out, err = tidemill("plan", "--json", at=project.path)
    assert status == 0 and {step["what"] for step in json.loads(out)} >= {"reviews", "ratings"}
    assert "hello" in err and "rows" in err
    assert "hello" in tidemill("plan", at=project.path)[1]  # without --json it is printed as usual


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("trian", "for_you"), "did you mean `train`?"), (("run", "--until", "tomorrow"), "is not a date"),
        (("run", "--untill", "2024-01-01"), "No such option"), (("promote",), "Missing argument"),
    ],
)  # fmt: skip
def test_a_usage_error_is_json_too(project: Project, words: tuple[str, ...], says: str) -> None:
    status, out, err = tidemill(*words, "--json", at=project.path)
    assert status == 2
    assert says in json.loads(out)["error"]["message"] and says in err
    assert tidemill(*words, at=project.path)[1] == ""


def test_a_missing_file_is_answered_with_the_nearest_name(project: Project) -> None:
    project.write("reviews-1.csv", daily(1))
    _, _, err = tidemill("check", "reviews", "--replace", "1", "data/review-1.csv", at=project.path)
    assert "did you mean `data/reviews-1.csv`?" in err
    _, _, err = tidemill("auto", "data/review-1.csv", "--target", "x", at=project.path)
    assert "did you mean `reviews-1.csv`?" in err


def test_decorators_work_without_parentheses() -> None:
    mill = Mill("bare")

    class Row(tm.Event):
        at: datetime = tm.event_time(zone="UTC")

    mill.stream("rows", Row, key="_row")

    @mill.table
    def copies(rows: Any) -> Any:
        return rows

    @mill.on_demand
    def ratio(a: Any) -> dict[str, Any]:
        return {"ratio": a}

    assert mill.tables["copies"] is copies and copies.inputs == ("rows",)
    assert mill.on_demands["ratio"] is ratio


def test_a_command_is_printed_as_it_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / ".venv" / "bin" / "tidemill"
    script.parent.mkdir(parents=True)
    script.touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [".venv/bin/tidemill", "run"])
    monkeypatch.setenv("PATH", "/usr/bin")
    assert program.with_program("cd p; tidemill train x") == f"cd p; {script} train x"
    assert program.with_program("the tidemill. /x/tidemill run") == "the tidemill. /x/tidemill run"
    monkeypatch.setenv("PATH", str(script.parent))
    assert program.with_program("cd p; tidemill train x") == "cd p; tidemill train x"


def test_a_name_with_colons_is_printed_as_it_is() -> None:
    file = io.StringIO()
    ProgramConsole(file=file, highlight=False).print("a:b: and :warning:")
    assert file.getvalue() == "a:b: and :warning:\n"


def commands() -> list[tuple[str, str]]:
    return [
        (page.name, line[2:]) for page in PAGES for line in page.read_text("utf-8").split("\n") if line[:7] == "$ curl "
    ]


def test_requests_on_pages_are_complete() -> None:
    found = commands()
    assert len(found) > 4
    for page, line in found:
        assert "localhost:8400/" in line, page
        if " -d " in line:
            assert "-H 'Content-Type: application/json'" in line, page
            json.loads(line.partition(" -d '")[2].removesuffix("'"))


def test_the_tutorial_names_what_its_shop_has() -> None:
    (tutorial,) = [page for page in PAGES if page.name == "tutorial.md"]
    text = tutorial.read_text("utf-8")
    shop = Shop("shop:?seed=7&customers=300&items=120")
    for _, line in (one for one in commands() if one[0] == "tutorial.md" and " -d " in one[1]):
        body = json.loads(line.partition(" -d '")[2].removesuffix("'"))
        named = {body.get("user_id", body.get("user")), body.get("item_id", shop.items[0])}
        assert named <= {*shop.customers, *shop.items}, line
    assert "seed=7&customers=300&items=120" in text

"""`tidemill demo`: a complete example on this machine, then the API and the console until Ctrl-C."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.markup import escape

from tidemill.cli.commands.init_command import write_project
from tidemill.cli.evaluation_table import quality
from tidemill.cli.program_console import ProgramConsole
from tidemill.cli.wait_for_signal import wait_for_end
from tidemill.console.web.console_process import console_start
from tidemill.core.formatting import count
from tidemill.core.settings import load
from tidemill.loop.demo.demo import MARK, Demo, DemoResult, clear
from tidemill.loop.demo.demo_worlds import DemoWorld, RealReviews, SimulatedShop
from tidemill.loop.project.project import load_mill

FAILED = 1


@click.command("demo")
@click.option(
    "--reviews",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Real reviews (Amazon format) instead of the simulated shop.",
)
@click.option("--items", type=click.Path(path_type=Path), metavar="FILE", help="Metadata of the items (Amazon format).")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    default=Path("tidemill-demo"),
    show_default=True,
    help="Folder of the demo. An earlier demo there is removed.",
)
@click.option("--exit", "leave", is_flag=True, help="Exit at the end. Always so without a terminal.")
@click.option("--port", type=int, metavar="PORT", help="Port of the API. Default: 8400, or a free one with --exit.")
@click.option(
    "--console-port", type=int, metavar="PORT", help="Port of the console. Default: 8401, or a free one with --exit."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    reviews: Path | None,
    items: Path | None,
    folder: Path,
    leave: bool,
    port: int | None,
    console_port: int | None,
    as_json: bool,
) -> int:
    """Run a complete example on this machine: ingest, check, train, release, serve, feedback."""
    leave = leave or not sys.stdin.isatty()
    err = ProgramConsole(stderr=True, highlight=False)
    started = time.monotonic()
    project = folder.resolve()
    clear(project)
    write_project(project, "shop")
    (project / MARK).touch()
    mill = load_mill(project)
    world: DemoWorld = RealReviews(reviews, items, mill.streams["reviews"].contract) if reviews else SimulatedShop()
    (project / "tidemill.toml").write_text(_settings(world))
    free = 0 if leave else None
    ports = (free if port is None else port, free if console_port is None else console_port)
    overrides = {"serve.port": ports[0], "serve.console_port": ports[1]}
    console = console_start(load(project, overrides=overrides), overrides, list(mill.models))

    def report(sentence: str) -> None:
        err.print(f"[dim]{time.monotonic() - started:6.1f} s[/]  {escape(sentence)}", soft_wrap=True)

    demo = Demo(project, world, report, console=console, ports=ports)
    try:
        result = demo.play(leave=leave)
        if as_json:
            sys.stdout.write(msgspec.json.encode(_numbers(result)).decode() + "\n")
        else:
            show(ProgramConsole(highlight=False, markup=False, width=110), result, folder)
        if not leave:
            _stay(err, demo)
    finally:
        demo.close()
    report("stopped")
    for refusal in result.tally.refusals:
        report(f"a request failed: {refusal}")
    return FAILED if result.tally.failures else 0


def _settings(world: DemoWorld) -> str:
    sources = "\n".join(f'{name} = "{url}"' for name, url in world.sources.items())
    return f"# Written by `tidemill demo`.\n[laptop.sources]\n{sources}\n"


def _numbers(result: DemoResult) -> dict[str, object]:
    tally = result.tally
    counted = asdict(result) | {"evaluation": result.evaluation}
    counted["tally"] = {
        "answers": tally.answers,
        "failures": tally.failures,
        "retries": tally.retries,
        "per_second": round(tally.per_second(), 1),
        "p50_ms": round(tally.quantile_ms(0.5), 2),
        "p99_ms": round(tally.quantile_ms(0.99), 2),
        "by_release": tally.by_release,
        "shown": tally.shown,
        "taken": tally.taken,
    }
    return counted


def show(out: Console, played: DemoResult, folder: Path) -> None:
    """Print the main figures, and commands to try next."""
    tally = played.tally
    out.rule("Summary")
    out.print(
        f"rows       {played.rows_in:,} in, {played.merged:,} merged, {played.repeated:,} repeated, "
        f"{played.refused:,} refused to quarantine, {played.held_rows:,} held; {count(played.warnings, 'warning')}"
    )
    if played.evaluation:
        out.print("quality    on days after all training data:")
        out.print(quality(played.evaluation))
    if played.truth:
        true, popular, best = played.truth
        out.print(
            f"truth      probability that a list contains the customer's next choice, from the simulation: {true:.3f}; "
            f"popularity {popular:.3f}; best possible list {best:.3f}"
        )
    out.print(f"releases   {', '.join(played.releases)}; responses by release: {_by_release(tally.by_release)}")
    out.print(
        f"serving    {tally.answers:,} responses, {tally.per_second():,.0f} per second during all other work, "
        f"p50 {tally.quantile_ms(0.5):.1f} ms, p99 {tally.quantile_ms(0.99):.1f} ms, "
        f"{tally.retries} retries, {tally.failures} failures"
    )
    out.print(
        f"log        {played.predictions:,} predictions, also repeated ones, and {played.outcomes:,} outcomes "
        "are in the lake"
    )
    out.rule("Commands to try next")
    for stream, number in played.held[:1]:
        out.print(f"  cd {folder}; tidemill check {stream} --accept {number} --by you --reason 'to see it published'")
    out.print(f"  cd {folder}; tidemill status")
    out.print(f"  cd {folder}; tidemill verify")


def _by_release(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in sorted(counts.items()))


def _stay(err: Console, demo: Demo) -> None:
    assert demo.server is not None
    serve = demo.stores.settings.serve
    console_url = f"http://{serve.host}:{serve.console_port}"
    line = f"API: {demo.server.url}. Console: {console_url}. Stop with Ctrl-C."
    wait_for_end(lambda: err.print(line))
    err.print("")

"""`anchorbench sweep`: carry out a study, every run of it once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anchorbench.cli.show import RESULTS, Cache, Json, Results, bars, cache_folder, print_json, say, stderr, stdout

if TYPE_CHECKING:
    from rich.table import Table

    from anchorbench.runs.board import Board
    from anchorbench.runs.sweep import SweepPlan


def sweep(
    study: Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="The study, as those in studies/.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show the plan: runs, which are done, time, ladders, disk.")
    ] = False,
    launcher: Annotated[str, typer.Option(help="local: processes here; ray: a cluster.")] = "local",
    ray_address: Annotated[
        str, typer.Option(help="Of a Ray cluster; auto finds one, local starts one on this machine.")
    ] = "local",
    gpu_share: Annotated[float, typer.Option(min=0.01, max=1.0, help="On Ray: the part of a GPU a run has.")] = 1.0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Runs at once [default: one a core, no more than are left; 1 on a GPU].")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, help="Threads a run [default: OMP_NUM_THREADS, else cores / workers; on Ray 1: a run's CPUs]."
        ),
    ] = None,
    force: Annotated[bool, typer.Option(help="Run again what is finished.")] = False,
    offline: Annotated[bool, typer.Option(envvar="ANCHORBENCH_OFFLINE", help="Touch no network.")] = False,
    results: Results = RESULTS,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Plan and carry out all runs of a study; ladders that are missing are fetched first.

    A finished run is not run again, one that fails stops no other, and after a stop the same command goes on.
    """
    from anchorbench.runs.launch import RayWords
    from anchorbench.runs.study_file import read_study
    from anchorbench.runs.sweep import plan_sweep
    from anchorbench.runs.sweep import sweep as carry_out

    file = read_study(study)
    with bars() as tell:
        plan = plan_sweep(file, results=results, cache=cache_folder(cache), tell=tell)
    if dry_run:
        _show_plan(plan, device=device, force=force, as_json=as_json)
        return
    ray = RayWords(address=ray_address, device=device, gpu_share=gpu_share, cpus=threads or 1)
    with ExitStack() as before:
        tell = before.enter_context(bars())

        def watch(board: Board) -> AbstractContextManager[None]:
            before.close()  # bars and table would draw over one another
            return live_table(board)

        done = carry_out(
            plan,
            device=device,
            workers=workers,
            threads=threads,
            force=force,
            offline=offline,
            launch=launcher,
            ray=ray,
            say=say,
            tell=tell,
            watch=watch,
        )
    say(f"{len(done)} runs in {results}; see them:  anchorbench report --results {results}")
    if as_json:
        print_json(plan.record() | {"results": str(results), "runs": done})


@contextmanager
def live_table(board: Board) -> Iterator[None]:
    """The board on stderr, drawn anew every second; where stderr is no terminal, once at the end."""
    from rich.live import Live

    console = stderr()
    with (
        redirect_stdout(sys.stderr),
        Live(get_renderable=lambda: board_table(board), console=console, refresh_per_second=1),
    ):
        yield


def board_table(board: Board) -> Table:
    """Counts by row, and the time that is left."""
    from rich.table import Table

    from anchorbench.runs.board import STATES
    from anchorbench.runs.estimate import minutes

    table = Table(box=None, pad_edge=False)
    for name in ("dataset", "model", "method"):
        table.add_column(name)
    for name in (*STATES, "left"):
        table.add_column(name, justify="right")
    totals = dict.fromkeys(STATES, 0)
    for row in board.rows:
        count = board.count(row)
        totals = {state: totals[state] + count[state] for state in STATES}
        left = board.seconds_left(row)
        numbers = [str(count[state] or "") for state in STATES]
        table.add_row(row.dataset, row.model, _method(row), *numbers, minutes(left) if left else "")
    table.add_section()
    left = board.seconds_left()
    table.add_row("all", "", "", *(str(totals[state]) for state in STATES), minutes(left) if left else "")
    return table


def _show_plan(plan: SweepPlan, *, device: str, force: bool, as_json: bool) -> None:
    from rich.table import Table

    from anchorbench.data.fetch import announce
    from anchorbench.runs.estimate import minutes
    from anchorbench.runs.session import choose_device
    from anchorbench.runs.sweep import estimates

    where = choose_device(device)
    seconds = estimates(plan, where)
    left = {spec.folder: spec for spec in plan.left(force=force)}
    absent = [one for one in plan.ladders.values() if not plan.there(one)]
    lacking = {one.spec.digest for one in absent}
    rows: list[dict[str, Any]] = []
    for row in plan.rows():
        to_do = [name for name in row.runs if name in left]
        known = all(left[name].ladder not in lacking for name in to_do)
        rows.append({
            "dataset": row.dataset, "model": row.model, "method": _method(row), "runs": len(row.runs),
            "done": len(row.runs) - len(to_do),
            "seconds": sum(seconds.get(name, 0.0) for name in to_do) if known else None,
        })  # fmt: skip
    fetched = [line for one in absent if (line := announce(one, plan.cache, device=str(where))) is not None]
    refused = plan.record()["not_run"]
    if as_json:
        print_json({
            "schema": 1, "name": plan.file.study.name, "size": plan.file.study.size, "rows": rows,
            "runs": len(plan.runs), "left": len(left), "seconds": sum(seconds.values()), "fetch": fetched,
            "megabytes": plan.disk(force=force), "not_run": refused,
        })  # fmt: skip
        return
    table = Table(box=None, pad_edge=False)
    for name in ("dataset", "model", "method"):
        table.add_column(name)
    for name in ("runs", "done", "time"):
        table.add_column(name, justify="right")
    for made in rows:
        took = "data first" if made["seconds"] is None else minutes(made["seconds"]) if made["seconds"] else ""
        words = (made["dataset"], made["model"], made["method"], made["runs"], made["done"], took)
        table.add_row(*(str(word) for word in words))
    stdout().print(table)
    for line in fetched:
        say(f"to fetch: {line}")
    for one in plan.refused:
        say(f"not run: {one.cell.name}: {one.refused}")
    after = " of what can be timed now" if absent else ""
    say(
        f"{len(left)} of {len(plan.runs)} runs to do, about {minutes(sum(seconds.values()))} of training on one worker"
        f"{after}; {plan.disk(force=force):.0f} MB of disk; nothing was written"
    )


def _method(row: Any) -> str:
    return f"{row.method} ({row.label})" if row.label else str(row.method)

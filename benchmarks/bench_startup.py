"""`anchorbench --help` against a bare typer + rich program with as many commands: CPU time of whole processes.

python benchmarks/bench_startup.py
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys

GOAL = 1.3
BARE = """
import sys
import typer
app = typer.Typer()
for name in ("fetch", "train", "evaluate", "report", "list"):
    def command(a: int = 1, b: str = "x", c: bool = False): "One line of help."
    app.command(name)(command)
sys.argv = ["bare", "--help"]
app()
"""


def cpu(arguments: list[str]) -> float:
    """User and system seconds of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    ratios = []
    for _ in range(8):
        ours = cpu(["-m", "anchorbench", "--help"])
        ratios.append(ours / cpu(["-c", BARE]))
    print("anchorbench --help / a bare typer + rich program, CPU time")
    print(f"  {statistics.median(ratios[1:]):.2f} [{min(ratios[1:]):.2f}]   goal <= {GOAL}")


if __name__ == "__main__":
    main()

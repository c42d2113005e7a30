"""Launchers: one small interface; processes here, and tasks of a Ray cluster that outlive a worker that is killed."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from anchorbench.errors import ConfigError, TrainingError
from anchorbench.runs import launch, work
from anchorbench.runs.launch import Launcher, Local, RayWords, launcher
from anchorbench.runs.launch_ray import News
from anchorbench.runs.store import RunFolder
from anchorbench.runs.work import Job, carry_out

here_is_ray = pytest.mark.skipif(find_spec("ray") is None, reason="the extra `ray` is not installed")


def finished(results: Path) -> set[str]:
    return {path.parent.name for path in results.glob("*/DONE")}


def native_jobs(bench, results: Path) -> list[Job]:
    """Three runs, each of which begins with the weights of the one before."""
    settings = {"native": {"warm_start": True}, "train": {"steps": 4}}
    return [bench.job(spec, results) for spec in bench.specs("baseline", settings=settings, with_references=True)]


# -- the interface -----------------------------------------------------------------------------------------------------


def test_local_carries_out_every_job_and_tells_how_each_ended(bench, tmp_path):
    jobs = native_jobs(bench, tmp_path)
    told: list[tuple] = []
    crew: Launcher = Local(1)
    assert crew.places == 1
    assert crew.run(jobs[::-1], tell=lambda *news: told.append(news)) == []
    ends = [(name, what) for name, what, _, _ in told if what in ("done", "failed")]
    assert ends == [(job.spec.folder, "done") for job in jobs], "who warm-starts waits"


def test_local_passes_over_a_mistake_and_over_a_bug_and_keeps_the_lines_of_the_bug(bench, tmp_path, monkeypatch):
    jobs = [bench.job(bench.spec(seed=seed), tmp_path) for seed in (0, 1, 2)]
    real = work.train

    def fails(session, run, **words):
        if session.spec.seed == 0:
            raise TrainingError("the loss is nan at step 3")
        if session.spec.seed == 1:
            raise IndexError("nobody thought of this")
        return real(session, run, **words)

    monkeypatch.setattr(work, "train", fails)
    told: list[tuple] = []
    failed = dict(Local(1).run(jobs, tell=lambda *news: told.append(news)))
    assert failed[jobs[0].spec.folder] == "the loss is nan at step 3"
    assert "IndexError: nobody thought of this" in failed[jobs[1].spec.folder]
    assert "in fails" in (tmp_path / jobs[1].spec.folder / "traceback.txt").read_text()
    assert finished(tmp_path) == {jobs[2].spec.folder}
    assert [what for _, what, _, _ in told if what in ("done", "failed")] == ["failed", "failed", "done"]


def test_a_launcher_that_there_is_not_is_refused_with_those_that_are():
    with pytest.raises(ConfigError, match="Did you mean 'local'"):
        launcher("locale", workers=1)
    assert launcher("local", workers=3) == Local(3)


def test_ray_is_asked_for_only_where_it_is_chosen(monkeypatch):
    assert "ray" not in launch.__dict__
    monkeypatch.setitem(sys.modules, "ray", None)  # as where it is not installed
    with pytest.raises(ConfigError, match=r"needs the package ray.*\n.*pip install 'anchorbench\[ray\]'"):
        launcher("ray", workers=1, ray=RayWords())


def test_of_the_news_of_each_run_the_latest_is_taken_and_once():
    news = News()
    for words in (("a", "training", 0.1, None), ("b", "training", 0.2, None), ("a", "training", 0.3, None)):
        news.tell(*words)
    assert news.take() == [("a", "training", 0.3, None), ("b", "training", 0.2, None)]
    assert news.take() == []


# -- a Ray cluster -----------------------------------------------------------------------------------------------------


@pytest.fixture
def cluster() -> Iterator[object]:
    """A head without CPUs, for the driver, and two nodes of one CPU each, all on this machine."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        made.nodes = [made.add_node(num_cpus=1) for _ in range(2)]
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


def on_a_cluster(test: Callable) -> Callable:
    """Slow, only where Ray is installed, and its own warnings are not ours."""
    for mark in (pytest.mark.slow, here_is_ray, pytest.mark.filterwarnings("default")):
        test = mark(test)
    return test


def training_process(name: str) -> int | None:
    """The process that trains a run: Ray names a worker after its task."""
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if line.read_bytes().startswith(f"ray::{name}".encode()):
                return int(line.parent.name)
        except OSError:
            continue
    return None


@on_a_cluster
def test_two_nodes_do_what_one_process_does_to_the_bit(bench, tmp_path, cluster):
    alone = native_jobs(bench, tmp_path / "one")
    Local(1).run(alone)
    told: list[tuple] = []
    crew = launcher("ray", workers=1, ray=RayWords(address=cluster.address))
    assert crew.places == 2
    others = [bench.job(bench.spec("frl", seed=seed), tmp_path / "ray") for seed in (0, 1)]
    assert crew.run([*native_jobs(bench, tmp_path / "ray")[::-1], *others], tell=lambda *n: told.append(n)) == []
    assert finished(tmp_path / "ray") == {job.spec.folder for job in [*alone, *others]}
    for job in alone:
        one, two = (RunFolder.at(job.spec, tmp_path / where).load_weights() for where in ("one", "ray"))
        assert all(torch.equal(two[key], w) for key, w in one.items())
    assert {name for name, what, *_ in told if what == "done"} == finished(tmp_path / "ray")


@on_a_cluster
@pytest.mark.parametrize("what", ["worker", "node"])
def test_a_run_whose_worker_or_node_is_killed_goes_on_from_its_state_on_another(bench, tmp_path, cluster, what):
    spec = bench.spec(steps=1500, validate_every=50)
    job = bench.job(spec, tmp_path / "ray")
    state = tmp_path / "ray" / spec.folder / "state.pt"
    killed: list[tuple[int, float]] = []
    told: list[tuple[float, float]] = []

    def kill() -> None:
        deadline = time.monotonic() + 120
        while not state.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        step = torch.load(state, weights_only=True)["step"]
        process = training_process(spec.folder)
        assert process is not None
        if what == "worker":
            os.kill(process, signal.SIGKILL)
        else:
            parent = int(Path(f"/proc/{process}/status").read_text().split("PPid:")[1].split()[0])
            node = next(n for n in cluster.nodes if n.all_processes["raylet"][0].process.pid == parent)
            cluster.remove_node(node, allow_graceful=False)
        killed.append((step, time.monotonic()))

    def tell(name, what, share, progress) -> None:
        if what == "training":
            told.append((time.monotonic(), share))

    killer = threading.Thread(target=kill)
    killer.start()
    crew = launcher("ray", workers=1, ray=RayWords(address=cluster.address))
    failed = crew.run([job], tell=tell)
    killer.join()
    assert failed == []
    assert finished(tmp_path / "ray") == {spec.folder}
    ((step, when),) = killed
    after = [share for at, share in told if at > when + 1.0]  # what it said before is here by then
    assert min(after) > step / 1500 > 0, "it went on from the state, not from the beginning"
    whole = bench.job(spec, tmp_path / "whole")
    carry_out(whole)
    one, two = (RunFolder.at(spec, tmp_path / where).load_weights() for where in ("whole", "ray"))
    assert all(torch.equal(two[key], w) for key, w in one.items()), "as if it had never been killed"


@on_a_cluster
def test_on_ray_too_a_mistake_and_a_bug_fail_their_runs_alone(bench, tmp_path, cluster):
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, in_channels, out_channels):\n"
        "        super().__init__()\n"
        "        self.net = nn.Conv2d(in_channels, out_channels, 1)\n"
        "    def forward(self, x):\n"
        "        return self.net(x) if not self.training else self.nothing\n"
    )
    results = tmp_path / "results"
    bug = bench.job(bench.spec(model=f"{tmp_path / 'net.py'}:Net"), results)
    mistake = bench.job(bench.spec(learning_rate=1e30, clip=1e30, steps=200), results)
    good = bench.job(bench.spec(), results)
    failed = dict(launcher("ray", workers=1, ray=RayWords(address=cluster.address)).run([bug, mistake, good]))
    assert failed.keys() == {bug.spec.folder, mistake.spec.folder}
    assert "no attribute 'nothing'" in failed[bug.spec.folder]
    assert "finite" in failed[mistake.spec.folder] or "nan" in failed[mistake.spec.folder]
    assert finished(results) == {good.spec.folder}


@on_a_cluster
def test_ctrl_c_reaches_the_runs_of_a_cluster_and_each_keeps_its_state(bench, tmp_path, cluster):
    jobs = [bench.job(bench.spec(seed=seed, steps=100_000, validate_every=50), tmp_path) for seed in (0, 1)]

    def interrupt() -> None:
        deadline = time.monotonic() + 120
        while len(list(tmp_path.glob("*/state.pt"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    crew = launcher("ray", workers=1, ray=RayWords(address=cluster.address))
    stopper = threading.Thread(target=interrupt)
    stopper.start()
    with pytest.raises(KeyboardInterrupt):
        crew.run(jobs)
    stopper.join()
    states = [torch.load(path, weights_only=True) for path in tmp_path.glob("*/state.pt")]
    assert len(states) == 2
    assert any(state["step"] % 50 for state in states), "saved where it was, not at the last look"
    assert all(training_process(job.spec.folder) is None for job in jobs)


@on_a_cluster
def test_a_cluster_that_has_not_what_a_run_wants_is_one_line(bench, tmp_path, cluster):
    job = bench.job(bench.spec(), tmp_path)
    with pytest.raises(ConfigError, match="the cluster has 2 CPUs, a run wants 64"):
        launcher("ray", workers=1, ray=RayWords(address=cluster.address, cpus=64)).run([job])

"""The work list: each run once, in an order that warm starts allow, in one process or several, stopped cleanly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from anchorbench.runs import work
from anchorbench.runs.store import RunFolder
from anchorbench.runs.work import Job, WorkList, carry_out, carry_out_all

#: A model of a user whose process the kernel ends in the middle of a step, as it does when memory runs out.
DOOMED = """
import os, signal
from torch import nn
class Net(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.net = nn.Conv2d(in_channels, out_channels, 1)
    def forward(self, x):
        if self.training:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.net(x)
"""


def weights_of(results: Path, job: Job) -> dict[str, torch.Tensor]:
    return RunFolder.at(job.spec, results).load_weights()


def finished(results: Path) -> set[str]:
    return {path.parent.name for path in results.glob("*/DONE")}


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


# -- one run -----------------------------------------------------------------------------------------------------------


def test_a_finished_run_is_not_run_again_but_by_force(bench, tmp_path):
    job = bench.job(bench.spec(), tmp_path)
    name = carry_out(job)
    before = stamps(tmp_path / name)
    assert carry_out(job) == name
    assert stamps(tmp_path / name) == before
    weights = weights_of(tmp_path, job)
    carry_out(replace(job, force=True))
    after = stamps(tmp_path / name)
    assert all(after[file] > before[file] for file in ("DONE", "curve.nc", "model.safetensors", "log.csv"))
    again = weights_of(tmp_path, job)
    assert all(torch.equal(again[key], w) for key, w in weights.items())


def test_a_run_holds_the_files_of_the_contract_and_no_state_when_it_is_done(bench, tmp_path):
    name = carry_out(bench.job(bench.spec(), tmp_path))
    files = {path.name for path in (tmp_path / name).iterdir() if not path.name.startswith(".")}
    assert files == {
        "spec.yaml", "environment.json", "log.csv", "model.safetensors", "curve.nc", "card.json", "DONE",
    }  # fmt: skip


def test_a_run_that_was_killed_after_its_training_is_evaluated_and_not_trained_again(bench, tmp_path, monkeypatch):
    job = bench.job(bench.spec(), tmp_path)

    class Killed(BaseException):
        pass

    def dies(*args, **kwargs):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(work, "evaluate", dies)
        with pytest.raises(Killed):
            carry_out(job)
    assert not finished(tmp_path)
    monkeypatch.setattr(work, "train", dies)
    name = carry_out(job)
    assert finished(tmp_path) == {name}


def test_what_is_told_ends_at_the_whole_of_each_stage(bench, tmp_path):
    told = []
    carry_out(bench.job(bench.spec(), tmp_path), lambda *news: told.append(news))
    stages = {what: share for _, what, share, _ in told}
    assert stages == {"training": 1.0, "evaluating": 1.0}


# -- several runs, one process -----------------------------------------------------------------------------------------


def native_jobs(bench, results: Path) -> list[Job]:
    settings = {"native": {"warm_start": True}, "train": {"steps": 4}}
    return [bench.job(spec, results) for spec in bench.specs("baseline", settings=settings, with_references=True)]


def test_a_run_waits_for_the_one_that_it_begins_from_though_it_comes_first(bench, tmp_path):
    jobs = native_jobs(bench, tmp_path)[::-1]
    assert [job.spec.train_rung for job in jobs] == [32, 16, 8], "the longest first, as train orders them"
    assert carry_out_all(jobs, workers=1) == []
    assert len(finished(tmp_path)) == 3
    order = sorted(jobs, key=lambda job: (tmp_path / job.spec.folder / "DONE").stat().st_mtime_ns)
    assert [job.spec.train_rung for job in order] == [8, 16, 32]


def test_the_work_list_holds_back_what_waits_and_lets_it_go_however_the_other_ends(bench, tmp_path):
    baseline, first, second = native_jobs(bench, tmp_path)
    other = bench.job(bench.spec(seed=5), tmp_path)
    todo = WorkList([second, first, baseline, other])
    assert todo.next() is baseline
    assert todo.next() is other
    assert todo.next() is None
    todo.end(other)
    assert todo.next() is None
    todo.end(baseline, "it failed")
    assert todo.next() is first
    todo.end(first)
    assert todo.next() is second
    assert todo.failed == [(baseline.spec.folder, "it failed")]


def test_a_run_that_fails_does_not_stop_the_others_and_is_named(bench, tmp_path, monkeypatch):
    jobs = [*native_jobs(bench, tmp_path), bench.job(bench.spec("frl"), tmp_path)]
    real = work.train

    def fails(session, run, **words):
        if session.spec.kind == "native" and session.spec.train_rung == 16:
            from anchorbench.errors import TrainingError

            raise TrainingError("the loss is nan at step 3")
        return real(session, run, **words)

    monkeypatch.setattr(work, "train", fails)
    failed = dict(carry_out_all(jobs, workers=1))
    baseline, first, second, frl = (job.spec.folder for job in jobs)
    assert failed.keys() == {first, second}
    assert "nan at step 3" in failed[first]
    assert f"{first} has no trained weights" in failed[second], "it waited in vain"
    assert finished(tmp_path) == {baseline, frl}


# -- several processes -------------------------------------------------------------------------------------------------


def test_two_processes_do_what_one_does_to_the_bit_and_outlive_one_that_is_killed(bench, tmp_path):
    (tmp_path / "net.py").write_text(DOOMED)
    here, there = tmp_path / "one", tmp_path / "two"
    alone = native_jobs(bench, here)[:2]
    carry_out_all(alone, workers=1)
    doomed = bench.job(bench.spec(model=f"{tmp_path / 'net.py'}:Net"), there)
    told = []
    jobs = [doomed, *native_jobs(bench, there)[:2]]
    ((name, message),) = carry_out_all(jobs, workers=2, tell=lambda *news: told.append(news))
    assert name == doomed.spec.folder
    assert message.startswith("its process ended with signal 9 (SIGKILL)")
    assert finished(there) == {job.spec.folder for job in alone}
    for job in alone:
        one, two = weights_of(here, job), weights_of(there, job)
        assert all(torch.equal(two[key], w) for key, w in one.items())
    assert {news[0] for news in told} >= {job.spec.folder for job in alone}


def test_a_bug_in_a_process_is_raised_with_its_own_lines(bench, tmp_path):
    (tmp_path / "net.py").write_text(DOOMED.replace("os.kill(os.getpid(), signal.SIGKILL)", "self.nothing"))
    jobs = [bench.job(bench.spec(seed=seed, model=f"{tmp_path / 'net.py'}:Net"), tmp_path) for seed in (0, 1)]
    with pytest.raises(RuntimeError, match=r"(?s)turbulence2d-baseline-net-s\d.*in forward.*no attribute 'nothing'"):
        carry_out_all(jobs, workers=2)


# -- stopped -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def training(bench, tmp_path):
    """`anchorbench train` of two seeds in two processes, in a group of its own, once both have saved a state."""
    started = []
    environment = {**os.environ, "ANCHORBENCH_DATASETS": str(bench.catalog), "OMP_NUM_THREADS": "1"}
    options = ["train.validate_every=50", "train.batch=4", "model.width=4", "model.layers=1", "model.modes=4"]

    def start(results: Path, *, steps: int, workers: int = 2, wait: bool = True) -> subprocess.Popen:
        sets = [word for option in (*options, f"train.steps={steps}") for word in ("--set", option)]
        process = subprocess.Popen(
            [
                sys.executable, "-m", "anchorbench", "train", "--size", "tiny", "--seeds", "2",
                "--workers", str(workers), "--threads", "1", "--device", "cpu", *sets,
                "--results", str(results), "--cache", str(bench.cache),
            ],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip
        started.append(process)
        deadline = time.monotonic() + 120
        while wait and len(list(results.glob("*/state.pt"))) < 2:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return process

    yield start
    for process in started:
        if group_of(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def group_of(leader: int) -> list[int]:
    """The processes of that group, but for those that are dead and not yet reaped."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
        except (OSError, ValueError):
            continue
        if int(group) == leader and state != "Z":
            found.append(int(stat.parent.name))
    return found


def gone(leader: int, *, within: float) -> bool:
    """multiprocessing's own tracker ends a moment after its parent."""
    deadline = time.monotonic() + within
    while group_of(leader) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not group_of(leader)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["ctrl-c", "sigterm to the parent"])
def test_a_stop_ends_every_process_with_its_state_saved_and_the_same_command_goes_on(training, tmp_path, how):
    results = tmp_path / "results"
    process = training(results, steps=100_000)
    if how == "ctrl-c":
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.terminate()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "the same command goes on from here" in err
    assert "Traceback" not in err
    assert gone(process.pid, within=5)
    states = [torch.load(path, weights_only=True) for path in results.glob("*/state.pt")]
    assert len(states) == 2
    assert any(state["step"] % 50 for state in states), "saved where it was, not at the last look"

    few = tmp_path / "few"
    process = training(few, steps=400)
    os.killpg(process.pid, signal.SIGINT if how == "ctrl-c" else signal.SIGTERM)
    process.communicate(timeout=60)
    process = training(few, steps=400, wait=False)
    process.communicate(timeout=120)
    assert process.returncode == 0
    whole = tmp_path / "whole"
    process = training(whole, steps=400, workers=1, wait=False)
    process.communicate(timeout=120)
    names = finished(whole)
    assert finished(few) == names
    for name in names:
        if (whole / name / "model.safetensors").exists():
            assert (few / name / "model.safetensors").read_bytes() == (whole / name / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_children_whose_parent_is_killed_end_by_themselves(training, tmp_path):
    process = training(tmp_path / "results", steps=1_000_000)
    assert len(group_of(process.pid)) >= 3
    process.kill()
    process.wait()
    assert gone(process.pid, within=30)

"""The loop: exact after any stop, deterministic by seed, keeps the best weights, and never saves what is not finite."""

from __future__ import annotations

import errno
import itertools
import math
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from anchorbench.config import TrainOptions
from anchorbench.data.ladder import Ladder
from anchorbench.errors import LadderError, ModelError, RunError, TrainingError
from anchorbench.methods.baseline import Baseline
from anchorbench.runs import train as loop
from anchorbench.runs.session import make_deterministic
from anchorbench.runs.store import RunFolder
from anchorbench.runs.train import learning_rate, train
from anchorbench.runs.warm_start import require_permitted
from anchorbench.runs.work import carry_out

#: The rows of a log of 12 steps, a look each 4, a row each 3.
LOGGED_STEPS = [3, 4, 6, 8, 9, 12]

DROPOUT = """
from torch import nn
class Net(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(in_channels, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Dropout(0.5),
                                 nn.Conv2d(8, out_channels, 1))
    def forward(self, x):
        return self.net(x)
"""

COMPLEX = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.w = nn.Parameter(0.1 * torch.randn(out_channels, in_channels, dtype=torch.cfloat))
    def forward(self, x):
        return torch.fft.irfft2(torch.einsum("oc,bcyx->boyx", self.w, torch.fft.rfft2(x)), s=x.shape[-2:])
"""


@pytest.fixture(autouse=True)
def rows_every_three_steps(monkeypatch):
    monkeypatch.setattr(loop, "LOG_EVERY", 3)


def weights_of(run: RunFolder) -> dict[str, torch.Tensor]:
    return run.load_weights()


def rows_of(run: RunFolder) -> list[dict[str, str]]:
    """The log but for its wall-clock times."""
    return [{name: value for name, value in row.items() if name != "seconds"} for row in run.logged()]


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def never_stopped(bench, tmp_path_factory):
    """The same run without an interruption."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "LOG_EVERY", 3)
        spec = bench.spec()
        run = bench.run(spec, tmp_path_factory.mktemp("whole"))
        train(bench.session(spec), run)
    return run


def finish(bench, spec, results: Path) -> RunFolder:
    run = bench.run(spec, results)
    train(bench.session(spec), run)
    return run


def stop_after(monkeypatch, step: int, number: signal.Signals) -> None:
    """The signal arrives in the middle of that step."""
    calls = itertools.count(1)
    draw = loop.draw_batch

    def drawn(*args):
        if next(calls) == step:
            os.kill(os.getpid(), number)
        return draw(*args)

    monkeypatch.setattr(loop, "draw_batch", drawn)


# -- stopped and started again -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", [1, 4, 7, 12])
def test_a_run_stopped_by_a_signal_goes_on_to_the_same_weights_and_log(
    bench, never_stopped, tmp_path, monkeypatch, number, step
):
    run = bench.run(never_stopped.spec, tmp_path)
    with monkeypatch.context() as patch:
        stop_after(patch, step, number)
        with pytest.raises(KeyboardInterrupt):
            train(bench.session(run.spec), run)
    state = run.load_state()
    assert state is not None
    assert state["step"] == step, "the step in which the signal came is finished and saved"
    assert not (run.path / "model.safetensors").exists()
    train(bench.session(run.spec), run)
    assert same(weights_of(run), weights_of(never_stopped))
    assert rows_of(run) == rows_of(never_stopped)


def test_the_log_has_each_row_once_and_in_order(never_stopped):
    rows = never_stopped.logged()
    assert [int(row["step"]) for row in rows] == LOGGED_STEPS
    assert [int(row["step"]) for row in rows if row["validation"]] == [4, 8, 12]


class Killed(BaseException):
    """The process is gone: nothing after it runs."""


def test_a_run_killed_at_any_file_operation_goes_on_to_the_same_weights_and_log(
    bench, never_stopped, tmp_path, monkeypatch
):
    """Before or after each row and each file that training writes, one kill after another on the same run."""
    run = bench.run(never_stopped.spec, tmp_path)
    deaths = 0
    for at in itertools.count():
        counter = itertools.count()

        def dying(real, counter=counter, at=at):
            def operation(*args):
                if (n := next(counter)) == 2 * at:
                    raise Killed
                out = real(*args)
                if n == 2 * at + 1:
                    raise Killed
                return out

            return operation

        with monkeypatch.context() as patch:
            patch.setattr(RunFolder, "log", dying(RunFolder.log))
            patch.setattr(RunFolder, "replace", dying(RunFolder.replace))
            try:
                train(bench.session(run.spec), run)
            except Killed:
                deaths += 1
            else:
                break
    assert deaths >= 3, "the run was never killed: the test shows nothing"
    assert same(weights_of(run), weights_of(never_stopped))
    assert rows_of(run) == rows_of(never_stopped)
    assert not list(run.path.glob(".*.part"))


SCRIPT = """
import os, signal, sys, pickle
from pathlib import Path
from anchorbench.runs import train as loop
from anchorbench.runs.work import carry_out
loop.LOG_EVERY = 3
if __name__ == "__main__":
    job, at = pickle.loads(Path(sys.argv[1]).read_bytes()), int(sys.argv[2])
    draw, calls = loop.draw_batch, [0]
    def drawn(*args):
        calls[0] += 1
        if calls[0] == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return draw(*args)
    loop.draw_batch = drawn
    print("ready", flush=True)
    carry_out(job)
"""


@pytest.fixture
def in_a_process(bench, tmp_path):
    """carry_out in a process of its own; it kills itself in the step that it is told, or never."""
    import pickle

    script, job = tmp_path / "script.py", tmp_path / "job.pickle"
    script.write_text(SCRIPT)

    def start(spec, *, kill_at: int = 0) -> subprocess.Popen:
        job.write_bytes(pickle.dumps(bench.job(spec, tmp_path / "results")))
        command = [sys.executable, str(script), str(job), str(kill_at)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


def test_a_run_killed_by_sigkill_goes_on_to_the_same_weights_and_log(bench, never_stopped, tmp_path, in_a_process):
    process = in_a_process(never_stopped.spec, kill_at=7)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    run = bench.run(never_stopped.spec, tmp_path / "results")
    state = run.load_state()
    assert state is not None
    assert state["step"] == 4, "the last look before step 7"
    train(bench.session(run.spec), run)
    assert same(weights_of(run), weights_of(never_stopped))
    assert rows_of(run) == rows_of(never_stopped)


@pytest.mark.slow
def test_a_run_killed_again_and_again_at_random_moments_ends_as_if_it_never_was(bench, tmp_path, in_a_process):
    spec = bench.spec(steps=400, validate_every=20)
    whole = finish(bench, spec, tmp_path / "whole")
    moments, kills = random.Random(0), 0
    for _ in range(40):
        process = in_a_process(spec)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(moments.uniform(0.0, 0.5))
        process.kill()
        process.communicate(timeout=120)
        kills += process.returncode == -signal.SIGKILL
        if (tmp_path / "results" / spec.folder / "DONE").exists():
            break
    assert kills >= 3
    process = in_a_process(spec)
    process.communicate(timeout=300)
    run = bench.run(spec, tmp_path / "results")
    assert run.finished
    assert same(weights_of(run), weights_of(whole))
    assert rows_of(run) == rows_of(whole)


def test_a_model_with_its_own_randomness_and_statistics_goes_on_exactly_too(bench, tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text(DROPOUT)
    spec = bench.spec(model=f"{tmp_path / 'net.py'}:Net")
    whole = finish(bench, spec, tmp_path / "whole")
    run = bench.run(spec, tmp_path / "stopped")
    with monkeypatch.context() as patch:
        stop_after(patch, 6, signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            train(bench.session(spec), run)
    torch.rand(17)  # whatever else the process drew meanwhile
    train(bench.session(spec), run)
    assert same(weights_of(run), weights_of(whole))


# -- what is trained ---------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(bench, never_stopped, tmp_path):
    again = finish(bench, bench.spec(), tmp_path)
    other = finish(bench, bench.spec(seed=1), tmp_path)
    assert same(weights_of(again), weights_of(never_stopped))
    assert not same(weights_of(other), weights_of(never_stopped))


def test_no_two_steps_of_no_two_seeds_draw_alike():
    first = {loop.step_generator(seed, step).initial_seed() for seed in range(5) for step in range(2000)}
    assert len(first) == 5 * 2000
    draws = {float(torch.rand(1, generator=loop.step_generator(s, t))) for s in range(3) for t in range(300)}
    assert len(draws) > 890  # 900 floats of 24 bits: one chance in 40 of a single pair


def test_the_rate_rises_in_a_line_then_falls_along_half_a_cosine_to_a_hundredth():
    options = TrainOptions(steps=100, learning_rate=1.0, warmup=0.1)
    assert learning_rate(0, options) == pytest.approx(0.1)
    assert learning_rate(4, options) == pytest.approx(0.5)
    assert learning_rate(9, options) == pytest.approx(1.0)
    assert learning_rate(10, options) == pytest.approx(1.0)  # cos 0
    assert learning_rate(55, options) == pytest.approx(0.01 + 0.99 / 2)  # cos π/2
    assert learning_rate(100, options) == pytest.approx(0.01)  # cos π, which the last step nearly reaches
    rates = [learning_rate(step, options) for step in range(10, 100)]
    assert all(a > b for a, b in itertools.pairwise(rates))


def test_a_constant_schedule_stays_after_its_warm_up():
    options = TrainOptions(steps=50, learning_rate=0.3, warmup=0.2, schedule="constant")
    assert [learning_rate(step, options) for step in (4, 9, 10, 30, 49)] == pytest.approx([0.15, 0.3, 0.3, 0.3, 0.3])


def test_the_weights_kept_are_those_of_the_lowest_validation_error(bench, tmp_path, monkeypatch):
    errors, seen = iter([0.3, 0.1, 0.2]), []

    def scripted(session, trained, windows):
        assert windows.grid.rung == bench.asked.size.train_rung
        seen.append({name: w.clone() for name, w in trained.state_dict().items()})
        return next(errors)

    monkeypatch.setattr(loop, "validation_error", scripted)
    run = bench.run(bench.spec(), tmp_path)
    returned = train(bench.session(run.spec), run)
    assert len(seen) == 3
    assert not same(seen[1], seen[2])
    assert same(weights_of(run), seen[1])
    assert same(dict(returned.state_dict()), seen[1])


def test_the_validation_error_is_the_pooled_rms_in_deviations_of_the_truth(bench):
    """By hand: the model predicts 0, so the error is the RMS of the normalised targets themselves."""
    session = bench.session(bench.spec(increment=False))
    windows = session.training_windows("validation", 8)
    trained = session.build_model()
    for w in trained.parameters():
        nn.init.zeros_(w)
    targets = windows.batch(range(len(windows))).targets.double()
    by_hand = math.sqrt(float(targets.square().mean()))
    assert loop.validation_error(session, trained, windows) == pytest.approx(by_hand, rel=1e-6)
    assert loop.validation_error(session, trained, windows, size=3) == pytest.approx(by_hand, rel=1e-6)


def test_no_step_sees_a_gradient_longer_than_the_clip(bench, tmp_path, monkeypatch):
    norms, step = [], torch.optim.Adam.step

    def watched(self, *args, **kwargs):
        grads = [w.grad for group in self.param_groups for w in group["params"]]
        norms.append(math.sqrt(sum(float(g.double().square().sum()) for g in grads)))
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.Adam, "step", watched)
    spec = bench.spec(clip=1e-3)
    train(bench.session(spec), bench.run(spec, tmp_path))
    assert len(norms) == 12
    assert max(norms) <= 1e-3 * (1 + 1e-4)
    assert max(norms) > 0.9e-3, "nothing was clipped"


def test_complex_weights_can_be_trained(bench, tmp_path):
    (tmp_path / "net.py").write_text(COMPLEX)
    run = finish(bench, bench.spec(model=f"{tmp_path / 'net.py'}:Net"), tmp_path)
    assert weights_of(run)["model.w"].dtype == torch.complex64
    assert float(run.logged()[-1]["loss"]) < float(run.logged()[0]["loss"])


def test_a_model_without_weights_is_refused(bench, tmp_path):
    (tmp_path / "net.py").write_text("from torch import nn\nclass Net(nn.Identity): pass\n")
    spec = bench.spec(model=f"{tmp_path / 'net.py'}:Net")
    with pytest.raises(ModelError, match="no parameters"):
        train(bench.session(spec), bench.run(spec, tmp_path))


def test_half_precision_trains_to_other_weights_that_are_near(bench, never_stopped, tmp_path):
    run = finish(bench, bench.spec(precision="bf16"), tmp_path)
    assert not same(weights_of(run), weights_of(never_stopped))
    here, there = (float(r.logged()[-1]["validation"]) for r in (run, never_stopped))
    assert here == pytest.approx(there, rel=0.2)


def test_progress_tells_loss_samples_per_second_and_the_share_done(bench, tmp_path):
    told = []
    spec = bench.spec()
    train(bench.session(spec), bench.run(spec, tmp_path), on_progress=told.append)
    assert [p.step for p in told] == LOGGED_STEPS
    assert all(p.steps == 12 and p.loss > 0 and p.samples_per_second > 0 for p in told)
    assert [p.validation is not None for p in told] == [step % 4 == 0 for step in LOGGED_STEPS]


# -- warm start --------------------------------------------------------------------------------------------------------


def test_a_warm_start_begins_with_the_weights_of_the_other_run(bench, never_stopped, tmp_path):
    first = finish(bench, bench.spec(), tmp_path)
    spec = bench.spec(warm_start=first.path.name, learning_rate=1e-12, steps=1)
    second = finish(bench, spec, tmp_path)
    for name, w in weights_of(second).items():
        assert torch.allclose(w, weights_of(first)[name], atol=1e-9)
    cold = finish(bench, bench.spec(learning_rate=1e-12, steps=1), tmp_path)
    assert not same(weights_of(cold), weights_of(second))


def test_a_warm_start_from_a_run_that_is_not_there_or_does_not_fit_is_refused(bench, tmp_path):
    spec = bench.spec(warm_start="nobody-s0")
    with pytest.raises(RunError, match="no trained weights"):
        train(bench.session(spec), bench.run(spec, tmp_path))
    frl = finish(bench, bench.spec("frl"), tmp_path)
    spec = bench.spec(warm_start=frl.path.name)
    with pytest.raises(RunError, match="do not fit"):
        train(bench.session(spec), bench.run(spec, tmp_path))


def donor(bench, spec, results: Path) -> RunFolder:
    """A run as it lies on disk when its training is over; what its weights are does not matter here."""
    run = bench.run(spec, results)
    run.save_weights({"w": torch.zeros(1)})
    return run


def test_a_zero_shot_run_may_not_begin_with_weights_that_saw_a_finer_rung(bench, tmp_path):
    """Neither at once nor through others: that would be the oracle under the name of the method."""
    baseline, middle, finest = bench.specs("baseline", with_references=True, settings={"native": {"warm_start": True}})
    for spec in (baseline, middle, finest):
        donor(bench, spec, tmp_path)
    require_permitted(finest, tmp_path)  # r008, r016, r032: each saw no more than the next
    mix = donor(bench, bench.spec("multires"), tmp_path)
    between = donor(bench, bench.spec(warm_start=finest.folder), tmp_path)
    other = donor(bench, baseline.model_copy(update={"ladder": "0" * 64}), tmp_path)
    for name, why in (
        (finest.folder, "seen rung r032, above its r008"),
        (middle.folder, "seen rung r016, above its r008"),
        (mix.path.name, "'multires' is assisted"),
        (between.path.name, "seen rung r032, above its r008"),
        (other.path.name, "another ladder"),
    ):
        for method in ("baseline", "frl"):
            spec = bench.spec(method, warm_start=name)
            with pytest.raises(RunError, match=why):
                train(bench.session(spec), bench.run(spec, tmp_path))
    require_permitted(bench.spec(warm_start=donor(bench, bench.spec("frl"), tmp_path).path.name), tmp_path)


def test_an_assisted_run_may_begin_with_one_of_its_own_mix_or_with_a_zero_shot_one(bench, tmp_path):
    mix = donor(bench, bench.spec("multires"), tmp_path)
    plain = donor(bench, bench.spec(), tmp_path)
    for name in (mix.path.name, plain.path.name):
        require_permitted(bench.spec("multires", warm_start=name), tmp_path)
    settings = {"method": {"hold_out": True}, "train": {"warm_start": mix.path.name}}
    (held,) = bench.specs("multires", settings=settings)
    with pytest.raises(RunError, match="another mix of rungs"):
        require_permitted(held, tmp_path)


@pytest.mark.parametrize("name", ["../other/run", "a/b", "..", "a\\b", "/elsewhere/run"])
def test_a_warm_start_is_a_name_and_no_path(bench, tmp_path, name):
    spec = bench.spec(warm_start=name)
    with pytest.raises(RunError, match="name of a run's folder"):
        train(bench.session(spec), bench.run(spec, tmp_path))


# -- where it computes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "threads"), [(None, 2), (1, 1)])
def test_a_run_goes_on_with_the_threads_it_began_with_unless_a_number_was_asked_for(
    bench, tmp_path, monkeypatch, asked, threads
):
    run = bench.run(bench.spec(), tmp_path)
    try:
        torch.set_num_threads(2)
        with monkeypatch.context() as patch:
            stop_after(patch, 6, signal.SIGINT)
            with pytest.raises(KeyboardInterrupt):
                train(bench.session(run.spec), run)
        torch.set_num_threads(1)
        train(bench.session(run.spec), run, threads=asked)
        assert run.environment()["threads"] == threads
    finally:
        torch.set_num_threads(1)


def test_a_gpu_is_told_to_be_deterministic_and_a_cpu_is_left_as_it_is(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    make_deterministic(torch.device("cpu"))
    assert not torch.are_deterministic_algorithms_enabled()
    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    try:
        make_deterministic(torch.device("cuda"))
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark) == (True, False)
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before
        os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def spoil_loss(monkeypatch, step: int, spoil) -> None:
    loss = Baseline.loss

    def spoilt(self, trained, batch, *, step: int, rng, at: int = step):
        out = loss(self, trained, batch, step=step, rng=rng)
        return spoil(out, trained) if step + 1 == at else out

    monkeypatch.setattr(Baseline, "loss", spoilt)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_names_step_loss_and_rung_and_keeps_the_last_good_state(
    bench, tmp_path, monkeypatch, bad
):
    spoil_loss(monkeypatch, 7, lambda loss, _: loss * bad)
    run = bench.run(bench.spec(), tmp_path)
    with pytest.raises(TrainingError) as error:
        train(bench.session(run.spec), run)
    assert f"the loss is {bad} at step 7 on rung r008" in str(error.value)
    state = run.load_state()
    assert state is not None
    assert state["step"] == 4
    assert all(bool(torch.isfinite(w).all()) for w in state["weights"].values())
    assert [int(row["step"]) for row in run.logged()] == [3, 4, 6]


class InfiniteGradient(torch.autograd.Function):
    """Adds 0, and tells infinity as its slope."""

    @staticmethod
    def forward(ctx, loss, w):
        ctx.shape = w.shape
        return loss.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad, torch.full(ctx.shape, math.inf)


@pytest.mark.parametrize("step", [6, 8])  # a row's step, and a look's
def test_a_finite_loss_with_an_infinite_gradient_does_not_overwrite_the_last_good_state(
    bench, tmp_path, monkeypatch, step
):
    spoil_loss(monkeypatch, step, lambda loss, trained: InfiniteGradient.apply(loss, next(trained.parameters())))
    run = bench.run(bench.spec(), tmp_path)
    with pytest.raises(TrainingError, match=f"weights are not finite after step {step} on rung r008"):
        train(bench.session(run.spec), run)
    state = run.load_state()
    assert state is not None
    assert state["step"] == 4
    assert all(bool(torch.isfinite(w).all()) for w in state["weights"].values())


def test_a_full_disk_is_one_message_and_the_last_good_state_is_kept(bench, tmp_path, monkeypatch):
    saves, real = itertools.count(1), torch.save

    def full(*args, **kwargs):
        if next(saves) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*args, **kwargs)

    run = bench.run(bench.spec(), tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(TrainingError) as error:
            train(bench.session(run.spec), run)
    first, *rest = str(error.value).splitlines()
    assert "state.pt could not be written: No space left on device; the last good state is kept" in first
    assert len(rest) == 1
    state = run.load_state()
    assert state is not None
    assert state["step"] == 4
    assert not list(run.path.glob(".*.part"))
    assert same(weights_of(finish(bench, run.spec, tmp_path)), weights_of(finish(bench, run.spec, tmp_path / "other")))


@pytest.fixture
def no_file_longer_than():
    """The kernel itself refuses to write beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(n_bytes: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (lambda run: run.save_state({"weights": torch.zeros(100_000)}), "state.pt"),
        (lambda run: run.save_weights({"w": torch.ones(100_000)}), "model.safetensors"),
        (lambda run: run.save_environment({"text": "x" * 400_000}), "environment.json"),
        (lambda run: [run.log(dict.fromkeys(("step",), "9" * 20_000)) for _ in range(20)], "log.csv"),
    ],
)
def test_every_file_of_a_run_that_the_disk_refuses_is_a_training_error(
    bench, tmp_path, no_file_longer_than, write, name
):
    run = bench.run(bench.spec(), tmp_path)
    no_file_longer_than(100_000)
    with pytest.raises(TrainingError, match=f"{name} could not be written"):
        write(run)
    assert not list(run.path.glob(".*.part"))


# -- what training may open --------------------------------------------------------------------------------------------


@pytest.fixture
def opened(monkeypatch):
    """Every (split, rung) whose fields were asked for."""
    asked: list[tuple[str, int]] = []
    array, static = Ladder.array, Ladder.static

    def watched(self, split, rung, variable):
        asked.append((split, rung))
        return array(self, split, rung, variable)

    def watched_static(self, rung):
        asked.append(("train", rung))
        return static(self, rung)

    monkeypatch.setattr(Ladder, "array", watched)
    monkeypatch.setattr(Ladder, "static", watched_static)
    return asked


@pytest.mark.parametrize("method", ["baseline", "frl"])
def test_a_zero_shot_run_opens_no_finer_rung_and_no_test_split(bench, tmp_path, opened, method):
    spec = bench.spec(method)
    train(bench.session(spec), bench.run(spec, tmp_path))
    assert set(opened) == {("train", 8), ("validation", 8)}


def test_an_assisted_run_trains_on_its_mix_and_chooses_its_checkpoint_on_the_train_rung(bench, tmp_path, opened):
    spec = bench.spec("multires")
    train(bench.session(spec), bench.run(spec, tmp_path))
    assert set(opened) == {("train", 8), ("train", 16), ("train", 32), ("validation", 8)}


def test_the_test_split_is_opened_by_evaluation_alone(bench, tmp_path, opened):
    carry_out(bench.job(bench.spec(), tmp_path))
    first_test = [split for split, _ in opened].index("test")
    assert all(rung == 8 for _, rung in opened[:first_test])
    assert {rung for split, rung in opened if split == "test"} == {8, 16, 32}


def test_a_zero_shot_session_refuses_a_finer_rung_even_when_asked(bench):
    session = bench.session(bench.spec())
    with pytest.raises(LadderError, match="may not open rung r016"):
        session.training_windows("train", 16)
    with pytest.raises(LadderError, match="may not open the test split"):
        session.training_windows("test", 8)


def test_a_reference_has_nothing_to_train(bench, tmp_path):
    spec = bench.reference("persistence")
    with pytest.raises(RunError, match="is a reference"):
        train(bench.session(spec), bench.run(spec, tmp_path))

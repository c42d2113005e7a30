"""A run on disk: written whole or not at all, and never mistaken for another."""

from __future__ import annotations

import multiprocessing as mp
import os
from pathlib import Path

import pytest
import torch
import yaml

from anchorbench.config import RunSpec, save_yaml
from anchorbench.errors import AnchorbenchError, RunError
from anchorbench.runs.store import LOG_FIELDS, RunFolder, find_runs, read_spec


@pytest.fixture
def spec(bench) -> RunSpec:
    return bench.spec()


@pytest.fixture
def run(bench, spec, tmp_path) -> RunFolder:
    return bench.run(spec, tmp_path)


def row(step: int) -> dict[str, str]:
    return dict(zip(LOG_FIELDS, (str(step), "0.5", "0.001", "", "1.25"), strict=True))


def test_looking_at_a_run_writes_nothing(spec, tmp_path):
    RunFolder.at(spec, tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_a_spec_reads_back_equal_and_so_has_its_digest(run, spec):
    assert read_spec(run.path) == spec
    assert read_spec(run.path).digest == spec.digest
    assert run.path.name.endswith(spec.digest[:8])


@pytest.mark.parametrize("method", ["baseline", "multires", "frl"])
def test_the_specs_of_all_methods_read_back_equal(bench, tmp_path, method):
    spec = bench.spec(method)
    assert read_spec(bench.run(spec, tmp_path).path) == spec


def test_a_folder_that_holds_another_spec_is_refused_and_left_as_it_is(run, spec, tmp_path):
    other = spec.model_copy(update={"lead": 2})
    save_yaml(other, run.path / "spec.yaml")
    before = (run.path / "spec.yaml").read_bytes()
    with pytest.raises(RunError, match=r"holds a run of another spec \(lead: 2 there, 1 asked for\)"):
        RunFolder.at(spec, tmp_path)
    assert (run.path / "spec.yaml").read_bytes() == before


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "kind: [", "kind: method\nflavour: sweet\n", "\x00"])
def test_a_spec_that_does_not_read_is_one_message_that_names_the_file(run, text):
    (run.path / "spec.yaml").write_text(text)
    with pytest.raises(RunError) as error:
        read_spec(run.path)
    assert str(run.path / "spec.yaml") in str(error.value)
    assert len(str(error.value).splitlines()) <= 2


def test_what_is_no_run_says_so(tmp_path):
    with pytest.raises(RunError, match="is no run"):
        read_spec(tmp_path / "nobody")


def test_a_writer_that_fails_leaves_the_last_good_file_and_no_part(run):
    run.replace("note", lambda part: part.write_text("good"))

    def fails(part: Path) -> None:
        part.write_text("ha")
        raise OSError(28, "No space left on device")

    with pytest.raises(AnchorbenchError, match="No space left on device; the last good state is kept"):
        run.replace("note", fails)
    assert (run.path / "note").read_text() == "good"
    assert not list(run.path.glob(".note*"))


def test_weights_read_back_as_they_were_also_where_two_names_share_one(run):
    w = torch.randn(3, 4)
    run.save_weights({"a": w, "b": w, "c": w.t()})
    back = run.load_weights()
    assert torch.equal(back["a"], w)
    assert torch.equal(back["b"], w)
    assert torch.equal(back["c"], w.t())


@pytest.mark.parametrize("content", [b"", b"not a state", b"PK\x03\x04 cut short"])
def test_a_damaged_state_or_weights_file_is_one_message(run, content):
    (run.path / "state.pt").write_bytes(content)
    (run.path / "model.safetensors").write_bytes(content)
    for load, name in ((run.load_state, "state.pt"), (run.load_weights, "model.safetensors")):
        with pytest.raises(RunError, match=f"{name} is damaged") as error:
            load()
        assert len(str(error.value).splitlines()) == 2


def test_a_run_without_a_state_begins_at_the_beginning(run):
    assert run.load_state() is None


def test_cutting_the_log_keeps_the_rows_up_to_that_step(run):
    for step in (5, 10, 15):
        run.log(row(step))
    run.cut_log(10)
    run.log(row(12))
    assert [r["step"] for r in run.logged()] == ["5", "10", "12"]
    assert (run.path / "log.csv").read_text().splitlines()[0] == ",".join(LOG_FIELDS)


@pytest.mark.parametrize("torn", ["1", "15,0.", "15,0.5,0.001,", "\x00\x00"])
def test_a_row_that_was_cut_short_is_no_row(run, torn):
    for step in (5, 10):
        run.log(row(step))
    with (run.path / "log.csv").open("a") as file:
        file.write(torn)
    run.cut_log(100)
    run.log(row(15))
    assert [r["step"] for r in run.logged()] == ["5", "10", "15"]


def test_force_forgets_all_that_was_made_but_not_the_spec(run):
    for name in ("DONE", "state.pt", "model.safetensors", "curve.nc", "log.csv", "card.json", "environment.json"):
        (run.path / name).write_text("old")
    run.prepare(force=True)
    assert sorted(path.name for path in run.path.iterdir()) == ["spec.yaml"]


def test_finishing_says_so_last_and_drops_the_state(run):
    run.save_state({"step": 1})
    assert not run.finished
    run.finish()
    assert run.finished
    assert not (run.path / "state.pt").exists()


def _hold(path: Path, spec: RunSpec, pipe) -> None:
    with RunFolder(path, spec).claimed():
        pipe.send("held")
        pipe.recv()


def test_two_processes_never_work_on_one_run_and_a_dead_one_holds_nothing(run):
    context = mp.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_hold, args=(run.path, run.spec, there))
    process.start()
    there.close()  # else nobody hears the child's end of it close
    try:
        assert here.poll(timeout=60), "the child said nothing in a minute"
        try:
            said = here.recv()
        except EOFError:
            process.join(timeout=10)
            pytest.fail(f"the child died before it held the run, exit code {process.exitcode}: see its traceback above")
        assert said == "held"
        with pytest.raises(RunError, match="another process is at work on"), run.claimed():
            pass
    finally:
        process.kill()
        process.join(timeout=10)
    with run.claimed():
        pass
    with run.claimed():
        pass


def test_a_results_folder_that_cannot_be_made_is_one_message(bench, spec, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(RunError, match=r"cannot be made: (Not a directory|File exists)"):
        bench.run(spec, tmp_path / "file")


def test_runs_are_found_by_name_finished_or_not(bench, tmp_path):
    assert find_runs(tmp_path / "nowhere") == []
    specs = [bench.spec(seed=seed) for seed in (1, 0)]
    runs = [bench.run(spec, tmp_path) for spec in specs]
    runs[0].finish()
    (tmp_path / "report").mkdir()
    found = find_runs(tmp_path)
    assert [r.path.name for r in found] == sorted(spec.folder for spec in specs)
    assert {r.spec.seed: r.finished for r in found} == {0: False, 1: True}


def test_the_environment_names_versions_threads_and_what_is_added(run):
    run.save_environment({"device": "cpu", "train_seconds": 1.5})
    found = run.environment()
    assert found["device"] == "cpu"
    assert found["train_seconds"] == 1.5
    assert found["packages"]["torch"] == torch.__version__
    assert found["threads"] == torch.get_num_threads()


def test_a_spec_names_no_folder_of_this_machine(run):
    text = yaml.safe_dump(yaml.safe_load((run.path / "spec.yaml").read_text()))
    assert str(run.path.parent) not in text
    assert os.sep not in text

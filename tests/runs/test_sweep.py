"""Studies: what a file means, what is refused with its line, each run once, failures apart, and those in studies/."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from anchorbench.config import merged
from anchorbench.data.catalog import Catalog
from anchorbench.data.catalog_file import load_catalog
from anchorbench.errors import AnchorbenchError, ConfigError, RunError
from anchorbench.runs import sweep as sweeping
from anchorbench.runs.board import Board, Row
from anchorbench.runs.study_file import cells_of, read_study
from anchorbench.runs.sweep import SweepPlan, plan_sweep, sweep
from anchorbench.runs.work import Job

STUDIES = sorted((Path(__file__).parents[2] / "studies").glob("*.yaml"))

QUICK = """\
name: quick
size: tiny
datasets: [turbulence2d]
seeds: 1
settings:
  {train: {steps: 12, batch: 4, validate_every: 4}, model: {fno: {width: 4, layers: 1, modes: 4, local_kernel: 0}}}
"""
#: A user's model that fails in training, as a bug does.
BROKEN = """
from torch import nn
class Net(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.net = nn.Conv2d(in_channels, out_channels, 1)
        self.steps = 0
    def forward(self, x):
        self.steps += self.training
        return self.net(x) if self.steps < 6 else self.nothing
"""


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    """The repository's own."""
    return load_catalog()


@pytest.fixture(scope="module")
def small_catalog(bench) -> Catalog:
    """The tests'."""
    return load_catalog(bench.catalog)


@pytest.fixture
def study(bench, small_catalog, tmp_path) -> Callable[..., SweepPlan]:
    """study(text): its plan on the tests' catalogue and cache."""

    def make(text: str, results: Path | None = None) -> SweepPlan:
        (tmp_path / "study.yaml").write_text(text)
        file = read_study(tmp_path / "study.yaml")
        return plan_sweep(file, results=results or tmp_path / "results", cache=bench.cache, catalog=small_catalog)

    return make


def names(plan: SweepPlan) -> list[str]:
    return [one.cell.name for one in plan.cells]


def options(plan: SweepPlan, method: str, name: str) -> list[object]:
    specs = [run.spec for run in plan.runs.values() if run.spec.method == method]
    return [spec.method_options[name] for spec in specs]


# -- what a study means ------------------------------------------------------------------------------------------------


def test_cells_are_the_product_of_the_lists_and_seeds_a_count_or_a_list(study):
    plan = study(QUICK.replace("seeds: 1", "seeds: [4, 2]") + "methods: [baseline, frl]\nmodels: [fno, unet]\n")
    assert names(plan) == [
        f"turbulence2d {model} {method}" for model in ("fno", "unet") for method in ("baseline", "frl")
    ]
    assert [one.cell.seeds for one in plan.cells] == [(2, 4)] * 4
    assert len([run for run in plan.runs.values() if run.spec.kind == "method"]) == 2 * 2 * 2


def test_include_adds_cells_of_its_own_lists_under_its_own_settings_and_label(study):
    plan = study(
        QUICK + "methods: [baseline, frl]\ninclude:\n"
        "  - {models: unet, methods: [baseline], seeds: 2, settings: {train: {steps: 7}}, label: short}\n"
    )
    assert names(plan) == ["turbulence2d fno baseline", "turbulence2d fno frl", "turbulence2d unet baseline (short)"]
    added = [spec for spec in plan.cells[-1].specs if spec.kind == "method"]
    assert [(spec.model, spec.seed, spec.train.steps, spec.train.batch) for spec in added] == [
        ("unet", 0, 7, 4), ("unet", 1, 7, 4),
    ]  # fmt: skip


def test_a_patch_changes_the_cells_that_match_and_adds_none(study):
    plan = study(
        QUICK + "methods: [baseline, frl]\ninclude:\n"
        "  - {patch: true, methods: [frl], settings: {method: {waves: 1}}, label: one wave, footing: steps}\n"
    )
    assert names(plan) == ["turbulence2d fno baseline", "turbulence2d fno frl (one wave)"]
    assert options(plan, "frl", "waves") == [1]
    assert [one.cell.footing for one in plan.cells] == ["cost", "steps"]


def test_exclude_leaves_out_what_matches_by_name_or_label_whoever_added_it(study):
    text = QUICK + "methods: [baseline, frl]\ninclude: [{label: wide, double_width: true}]\n"
    assert len(names(study(text))) == 4
    left = names(
        study(text + "exclude: [{methods: [frl], labels: [wide]}, {labels: [nowhere, wide], methods: baseline}]\n")
    )
    assert left == ["turbulence2d fno baseline", "turbulence2d fno frl"]


def test_an_option_named_by_its_method_or_model_reaches_no_other_and_an_entrys_lies_over_the_studys(study):
    plan = study(
        QUICK.replace("model: {fno:", "method: {frl: {waves: 3, levels: 0}}, model: {unet: {width: 5}, fno:")
        + "methods: [baseline, frl]\nmodels: [fno, unet]\ninclude:\n"
        "  - {models: [fno], methods: [frl], settings: {method: {waves: 1}}}\n"
    )
    assert sorted(options(plan, "frl", "waves")) == [1, 3, 3]
    assert set(options(plan, "frl", "levels")) == {0}
    assert {run.spec.model: run.spec.model_options["width"] for run in plan.runs.values() if run.spec.train} == {
        "fno": 4, "unet": 5,
    }  # fmt: skip


def test_what_several_cells_want_is_one_run(study):
    plan = study(QUICK + "methods: [baseline, frl, bandlimited]\nwith_references: true\nnative_seeds: 1\n")
    kinds = [(run.spec.kind, run.spec.method, run.spec.train_rung) for run in plan.runs.values()]
    assert sorted(kinds) == [
        ("method", "bandlimited", 8), ("method", "baseline", 8), ("method", "frl", 8),
        ("native", "baseline", 16), ("native", "baseline", 32),
        ("reference", "oracle_lowpass", 8), ("reference", "persistence", 8), ("reference", "solver", 8),
    ]  # fmt: skip
    rows = {(row.model, row.method): len(row.runs) for row in plan.rows()}
    assert rows == {
        ("", "references"): 3,
        ("fno", "baseline"): 1, ("fno", "native"): 2, ("fno", "frl"): 1, ("fno", "bandlimited"): 1,
    }  # fmt: skip
    assert all(one.specs for one in plan.cells), "every cell knows its own, shared or not"


def test_equal_cost_is_the_footing_of_a_study_that_names_none(study):
    frl = next(run.spec for run in study(QUICK + "methods: [frl]\n").runs.values() if run.spec.method == "frl")
    assert frl.footing == "cost"
    assert frl.train.steps > 12


def test_the_settings_of_data_make_ladders_of_their_own(study):
    plan = study(QUICK + "include: [{label: thick, settings: {data: {generator: {viscosity: 2.0e-3}}}}]\n")
    assert len(plan.ladders) == 2
    assert [plan.there(one) for one in plan.ladders.values()] == [True, False]


def test_a_plan_writes_nothing(study, bench, tmp_path):
    before = sorted(bench.cache.rglob("*"))
    plan = study(QUICK)
    assert plan.disk() > 0
    assert not (tmp_path / "results").exists()
    assert sorted(bench.cache.rglob("*")) == before


# -- mistakes ----------------------------------------------------------------------------------------------------------

MISTAKES = [
    ("methodz: [frl]\n", 7, "Did you mean 'methods'"),
    ("methods: [baseline,\n  frll]\n", 8, "Did you mean 'frl'"),
    ("models:\n  - fno\n  - unett\n", 9, "Did you mean 'unet'"),
    ("include:\n  - datasets: [turbulence]\n", 8, "Did you mean 'turbulence"),
    ("include:\n  - label: a\n    setings: {}\n", 9, "Did you mean 'settings'"),
    ("include:\n  - label: a\n    settings:\n      trane: {steps: 3}\n", 10, "Did you mean 'train'"),
    ("include:\n  - label: a\n    settings:\n      train:\n        stepps: 3\n", 11, "Did you mean 'steps'"),
    ("include:\n  - label: a\n    settings:\n      train: {batch: 3,\n        steps: none}\n", 11, "train: steps"),
    ("include:\n  - label: a\n    settings: {train: 3}\n", 9, "'train' is a group"),
    ("include:\n  - patch: true\n    methods: [multires]\n", 8, "this patch matches no cell"),
    ("exclude:\n  - methods: [multires]\n", 8, "this exclude matches no cell"),
    ("exclude:\n  - methods: [baseline]\n", 7, "everything is excluded"),
    (
        "include:\n  - label: a\n    settings:\n      method:\n        frl: {waves: 1}\n",
        11,
        "no cell has the method 'frl'",
    ),
    ("include:\n  - label: a\n    settings: {data: {generator: {viscosty: 1}}}\n", 9, "Did you mean 'viscosity'"),
    ("footing: cosy\n", 7, "footing"),
    ("native_seeds: 0\n", 7, "native_seeds"),
    ("name: other\n", 7, "stands twice"),
    ("models: [fno\n", 8, "no YAML"),
]


@pytest.mark.parametrize(("more", "line", "said"), MISTAKES)
def test_a_mistake_in_a_study_is_one_line_with_its_file_and_line(study, more, line, said):
    with pytest.raises(ConfigError, match=said) as raised:
        study(QUICK + more)
    assert f"study.yaml, line {line}: " in raised.value.what
    assert "\n" not in raised.value.what


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "a group of words"), ("- 1\n", "a group of words"), ("size: tiny\n", "name"),
     ("name: A B\ndatasets: x\n", "name"),
     (QUICK.replace("seeds: 1", "seeds: 0"), "number of seeds"), (QUICK.replace("seeds: 1", "seeds: [-1]"), "seeds"),
     (QUICK.replace("tiny", "tinny"), "size"), ("name: !!python/object:x y\n", "no YAML")],
)  # fmt: skip
def test_a_study_that_lacks_what_it_needs_says_so(study, text, said):
    with pytest.raises(ConfigError, match=said):
        study(text)


def test_a_study_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml cannot be read: No such file"):
        read_study(tmp_path / "nowhere.yaml")


# -- cells that cannot be ----------------------------------------------------------------------------------------------

REFUSED = (
    QUICK
    + "include:\n  - {datasets: [burgers], models: [unet]}\n  - {methods: [frl], settings: {method: {levels: 9}}}\n"
)


def test_a_refused_cell_stops_everything_before_it_starts(study, tmp_path, monkeypatch):
    monkeypatch.setattr(sweeping, "fetch_one", None)
    plan = study(REFUSED)
    with pytest.raises(RunError, match="2 of 3 cells cannot be run, so none is begun") as raised:
        sweep(plan)
    assert "burgers unet baseline: unet takes two axes" in raised.value.what
    assert "turbulence2d fno frl: frl: 9 levels" in raised.value.what
    assert not (tmp_path / "results").exists()


def test_with_skip_the_others_are_run_and_the_record_says_which_were_not_and_why(study, tmp_path, fake):
    crew = fake()
    sweep(study(REFUSED + "on_refused: skip\n"))
    assert {job.spec.method for job in crew.jobs} == {"baseline", "persistence", "oracle_lowpass", "solver"}
    record = json.loads((tmp_path / "results" / "sweep-quick.json").read_text())
    assert [(one["dataset"], one["model"], one["method"]) for one in record["not_run"]] == [
        ("burgers", "unet", "baseline"), ("turbulence2d", "fno", "frl"),
    ]  # fmt: skip
    assert "two axes" in record["not_run"][0]["why"]
    assert len(record["cells"]) == 1
    assert record["cells"][0]["runs"]


# -- carried out -------------------------------------------------------------------------------------------------------


@dataclass
class Crew:
    """A launcher that only writes down what it is given."""

    fails: str = ""
    places: int = 2
    jobs: list[Job] = field(default_factory=list)

    def run(self, jobs: Sequence[Job], *, tell=None) -> list[tuple[str, str]]:
        self.jobs = list(jobs)
        failed = [job.spec.folder for job in jobs if self.fails and self.fails in job.spec.folder]
        for job in jobs:
            tell(job.spec.folder, "training", 0.5, None)
            tell(job.spec.folder, "failed" if job.spec.folder in failed else "done", 1.0, None)
        return [(name, "it was told to") for name in failed]


@pytest.fixture
def fake(monkeypatch) -> Callable[..., Crew]:
    def make(**words) -> Crew:
        crew = Crew(**words)
        monkeypatch.setattr(sweeping, "launcher", lambda name, **how: crew)
        return crew

    return make


def test_all_runs_of_all_cells_are_one_list_the_longest_first(study, fake, monkeypatch):
    crew = fake()
    monkeypatch.setattr(sweeping, "estimate_seconds", lambda spec, *where: float(spec.train.steps if spec.train else 0))
    plan = study(
        QUICK + "footing: steps\nmethods: [baseline, frl]\ninclude: [{settings: {train: {steps: 40}}, seeds: 2}]\n"
    )
    done = sweep(plan)
    assert [job.spec.train.steps if job.spec.train else 0 for job in crew.jobs] == [40] * 4 + [12] * 2 + [0] * 3
    assert sorted(done) == sorted(job.spec.folder for job in crew.jobs)


def test_runs_that_fail_are_named_at_the_end_and_in_the_record(study, fake, tmp_path):
    fake(fails="-frl-")
    with pytest.raises(RunError, match=r"(?s)1 of 5 runs failed; .*turbulence2d-frl-fno-s0-\w+: it was told to"):
        sweep(study(QUICK + "methods: [baseline, frl]\n"))
    record = json.loads((tmp_path / "results" / "sweep-quick.json").read_text())
    assert [one["why"] for one in record["failed"]] == ["it was told to"]


def test_a_ladder_that_cannot_be_had_fails_its_runs_alone(study, fake):
    crew = fake()
    text = QUICK + "include: [{label: thick, settings: {data: {generator: {viscosity: 2.0e-3}}}}]\n"

    def half(wanted, *where, **how):
        if wanted.spec.origin["viscosity"] == 2e-3:
            raise AnchorbenchError("no such ladder today")
        return real(wanted, *where, **how)

    real = sweeping.fetch_one
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeping, "fetch_one", half)
        with pytest.raises(RunError, match="4 of 8 runs failed") as raised:
            sweep(study(text))
    assert raised.value.what.count("no such ladder today") == 1, "once, with the runs that it is about"
    assert len(crew.jobs) == 4


def test_a_bug_fails_its_run_alone_its_lines_are_kept_and_the_same_command_goes_on(study, tmp_path):
    (tmp_path / "net.py").write_text(BROKEN)
    text = QUICK + f"include: [{{models: ['{tmp_path / 'net.py'}:Net']}}]\n"
    boards: list[Board] = []

    def watched(board: Board):
        boards.append(board)
        from contextlib import nullcontext

        return nullcontext()

    with pytest.raises(RunError, match=r"1 of 5 runs failed.*") as raised:
        sweep(study(text), workers=1, threads=1, device="cpu", watch=watched)
    assert "no attribute 'nothing'" in raised.value.what
    results = tmp_path / "results"
    (broken,) = results.glob("*/traceback.txt")
    assert "in forward" in broken.read_text()
    assert {path.parent.name for path in results.glob("*/DONE")} == set(study(text).runs) - {broken.parent.name}
    assert [boards[0].count(row) for row in boards[0].rows][-1] == {"waiting": 0, "running": 0, "done": 0, "failed": 1}

    stamps = {path: path.stat().st_mtime_ns for path in results.glob("*/DONE")}
    with pytest.raises(RunError, match="1 of 1 runs failed"):
        sweep(study(text), workers=1, threads=1, device="cpu")
    assert {path: path.stat().st_mtime_ns for path in results.glob("*/DONE")} == stamps, (
        "finished runs are not repeated"
    )


# -- the board ---------------------------------------------------------------------------------------------------------


def test_a_board_counts_by_row_and_tells_the_time_left_at_so_many_at_once():
    rows = [Row("d", "m", "a", "", ("x", "y", "z")), Row("d", "m", "b", "", ("w",))]
    board = Board.of(rows, finished={"z"}, failed=set(), seconds={"x": 10.0, "y": 20.0, "w": 6.0}, places=2)
    assert board.seconds_left() == (10 + 20 + 6) / 2
    board.tell("x", "training", 0.5)
    board.tell("y", "evaluating", 0.1)
    assert board.count(rows[0]) == {"waiting": 0, "running": 2, "done": 1, "failed": 0}
    assert board.seconds_left() == (5 + 0 + 6) / 2  # of evaluation nobody knows
    board.tell("x", "failed", 1.0)
    board.tell("x", "training", 0.7)  # it comes late, over a network
    board.tell("y", "done", 1.0)
    assert board.count(rows[0]) == {"waiting": 0, "running": 0, "done": 2, "failed": 1}
    assert board.seconds_left(rows[0]) == 0


# -- the studies of this repository ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_says_what_it_is_and_names_only_what_there_is(path, catalog):
    file = read_study(path)
    assert file.study.name == path.stem
    assert file.study.size == "small"
    assert path.read_text().startswith("# ")
    assert cells_of(file, catalog)


#: Cells that a study plans at `small` and that a ladder of `tiny` has no place for.
NOT_AT_TINY = {
    "zero-shot-weather": "levels below rung 22 do not end at a whole rung",
    "fresh": "'mri/tiny' has no rung",
}
#: Studies that name the rungs of `small` for their factors.
ONLY_AT_SMALL = ("super-resolution",)


@pytest.mark.parametrize("size", ["tiny", pytest.param("small", marks=pytest.mark.slow)])
@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_can_be_planned(path, size, catalog, tmp_path):
    if size == "tiny" and path.stem in ONLY_AT_SMALL:
        pytest.skip("its factors need the truth of `small`")
    file = read_study(path)
    file = replace(file, study=file.study.model_copy(update={"size": size}))
    plan = plan_sweep(file, results=tmp_path / "results", cache=tmp_path / "cache", catalog=catalog)
    known = NOT_AT_TINY.get(path.stem) if size == "tiny" else None
    if file.study.on_refused == "stop":
        assert [one.refused for one in plan.refused if known is None or known not in str(one.refused)] == []
    assert sum(one.refused is None for one in plan.cells) > len(plan.cells) / 2
    assert list(tmp_path.iterdir()) == []


def test_the_studies_show_what_the_question_asks_for():
    studies = {path.stem: read_study(path).study for path in STUDIES}
    turbulence = studies["zero-shot-turbulence2d"]
    assert {*turbulence.methods} == {"baseline", "frl", "multires", "bandlimited", "hybrid"}
    assert turbulence.seeds == (0, 1, 2)
    assert turbulence.with_references
    assert {"held out", "capacity"} <= {entry.label for entry in turbulence.include}
    others = next(entry for entry in turbulence.include if entry.models)
    assert set(others.models) >= {"unet", "transformer", "gnn", "neural_ode", "mamba"}
    frl = merged(*(entry.settings.get("method", {}) for entry in studies["frl-ablation"].include))
    assert {"levels", "encoding", "spectral_weight"} <= set(frl)
    assert all(study.footing == "cost" for name, study in studies.items() if name.startswith(("zero-shot", "frl")))

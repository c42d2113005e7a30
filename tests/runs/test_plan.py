"""From words to specs: what is named, what is hashed, and what is refused before anything is made."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from anchorbench.config import RunSpec, merged
from anchorbench.data.catalog_file import load_catalog
from anchorbench.data.fetch import request
from anchorbench.errors import AnchorbenchError, ConfigError, LadderError, MethodError, ModelError
from anchorbench.runs import Asked, train_all, verbs
from anchorbench.runs.plan import group_key, plan_runs

NET = """
from torch import nn
class Net(nn.Module):
    def __init__(self, in_channels, out_channels, wide=4):
        super().__init__()
        self.net = nn.Conv2d(in_channels, out_channels, 1)
    def forward(self, x):
        return self.net(x)
"""


@pytest.fixture
def net(tmp_path) -> Path:
    path = tmp_path / "net.py"
    path.write_text(NET)
    return path


def plan(bench, *methods: str, **words) -> list[RunSpec]:
    words.setdefault("seeds", (0,))
    return plan_runs(bench.asked, methods=methods or ("baseline",), **words)


def only(specs: list[RunSpec], kind: str) -> list[RunSpec]:
    return [spec for spec in specs if spec.kind == kind]


def digests(specs: list[RunSpec]) -> set[str]:
    return {spec.digest for spec in specs}


# -- names and hashes --------------------------------------------------------------------------------------------------


def test_a_run_is_named_by_dataset_method_model_seed_and_the_beginning_of_its_hash(bench):
    (spec,) = only(plan(bench, "frl", seeds=(4,)), "method")
    assert spec.folder == f"turbulence2d-frl-fno-s4-{spec.digest[:8]}"
    assert re.fullmatch("[0-9a-f]{64}", spec.digest)


def test_a_native_run_is_named_by_its_rung(bench):
    names = [spec.folder for spec in only(plan(bench, with_references=True), "native")]
    assert [name.split("-")[1] for name in names] == ["native016", "native032"]


def test_a_hash_covers_no_device_no_path_and_no_count_of_workers():
    assert set(RunSpec.model_fields) == {
        "kind", "ladder", "dataset", "source", "size", "task", "lead", "frames_in", "input_rung", "degradation",
        "input_noise", "fields", "model",
        "model_options", "model_digest", "method", "method_options", "train", "train_rung", "band_rung", "seed",
        "footing", "time_factor",
        "protocol",
    }  # fmt: skip


@pytest.mark.parametrize(
    "settings",
    [{"train": {"steps": 7}}, {"model": {"width": 5}}, {"train": {"learning_rate": 1e-3}}, {"train": {"clip": 2.0}}],
)
def test_every_option_that_changes_numbers_changes_the_hash(bench, settings):
    assert not digests(only(plan(bench), "method")) & digests(only(plan(bench, settings=settings), "method"))


def test_seed_train_rung_ladder_and_method_change_the_hash(bench):
    asked = request(
        load_catalog(bench.catalog), "turbulence2d", size="tiny", settings={"generator": {"viscosity": 2e-3}}
    )
    runs = [
        only(specs, "method")
        for specs in (
            plan(bench), plan(bench, seeds=(1,)), plan(bench, train_rung=16), plan(bench, "frl"),
            plan(bench, model="unet"), plan_runs(asked, methods=("baseline",), seeds=(0,)),
        )
    ]  # fmt: skip
    assert len(set().union(*map(digests, runs))) == len(runs)


def test_an_option_given_as_its_default_is_the_same_run(bench):
    (plain,) = only(plan(bench), "method")
    assert plain.train is not None
    (spoken,) = only(plan(bench, settings={"train": {"clip": plain.train.clip}, "model": {"width": 8}}), "method")
    assert spoken.digest == plain.digest


def test_references_need_no_model_and_no_seed(bench):
    found = only(plan(bench, "baseline", "frl", seeds=(0, 1, 2), model="unet"), "reference")
    assert [spec.method for spec in found] == ["persistence", "oracle_lowpass", "solver"]
    assert digests(found) == digests(only(plan(bench, "multires", seeds=(7,)), "reference"))


def test_runs_of_one_ladder_task_and_band_are_one_group_and_native_belongs_to_it(bench):
    specs = plan(bench, "baseline", "multires", with_references=True)
    assert len({group_key(spec) for spec in specs}) == 1
    assert group_key(plan(bench, train_rung=16)[0]) != group_key(specs[0])


# -- what is planned ---------------------------------------------------------------------------------------------------


def test_one_run_a_method_and_seed_each_once(bench):
    specs = only(plan(bench, "frl", "baseline", "frl", seeds=(2, 0, 2)), "method")
    assert [(spec.method, spec.seed) for spec in specs] == [("frl", 0), ("frl", 2), ("baseline", 0), ("baseline", 2)]


def test_with_references_adds_the_baseline_and_native_at_each_finer_rung_of_the_preset(bench):
    specs = plan(bench, "frl", seeds=(1, 2), with_references=True)
    assert {(spec.method, spec.seed) for spec in only(specs, "method")} == {
        ("frl", 1), ("frl", 2), ("baseline", 1), ("baseline", 2),
    }  # fmt: skip
    native = only(specs, "native")
    assert [(spec.train_rung, spec.band_rung, spec.seed, spec.method) for spec in native] == [
        (16, 8, 1, "baseline"), (32, 8, 1, "baseline"),
    ]  # fmt: skip
    baseline = next(spec for spec in specs if spec.method == "baseline" and spec.kind == "method")
    assert all(spec.train == baseline.train for spec in native), "equal steps"


def test_a_warm_start_chains_native_from_the_rung_below(bench):
    settings = {"native": {"warm_start": True, "train": {"steps": 5}}}
    specs = plan(bench, with_references=True, settings=settings)
    (baseline,) = only(specs, "method")
    first, second = only(specs, "native")
    assert first.train is not None
    assert second.train is not None
    assert first.train.warm_start == baseline.folder
    assert second.train.warm_start == first.folder
    assert first.train.steps == second.train.steps == 5


def test_rungs_of_the_preset_that_this_ladder_lacks_are_passed_over_but_named_ones_are_not(bench):
    asked = request(load_catalog(bench.catalog), "turbulence2d", size="tiny", settings={"rungs": [8, 24, 32]})
    specs = plan_runs(asked, methods=("baseline",), seeds=(0,), with_references=True)
    assert [spec.train_rung for spec in only(specs, "native")] == [32], "the preset says 16 and 32"
    with pytest.raises(LadderError, match="no rung r016"):
        plan_runs(asked, methods=("baseline",), seeds=(0,), settings={"native": {"rungs": [16]}})
    with pytest.raises(ConfigError, match="not finer than the train rung 8"):
        plan(bench, settings={"native": {"rungs": [8, 16]}})
    one = plan(bench, with_references=True, settings={"native": {"rungs": 32}})
    assert [spec.train_rung for spec in only(one, "native")] == [32]


def test_the_train_rung_is_an_option_and_moves_the_scored_band(bench):
    specs = plan(bench, train_rung=16, with_references=True)
    assert {spec.band_rung for spec in specs} == {16}
    assert [spec.train_rung for spec in only(specs, "native")] == [32]


def test_an_option_of_one_method_is_set_by_its_name_and_of_all_without(bench):
    by_name = plan(bench, "baseline", "frl", settings={"method": {"frl": {"waves": 3}}})
    assert {spec.method: spec.method_options.get("waves") for spec in only(by_name, "method")} == {
        "baseline": None, "frl": 3,
    }  # fmt: skip
    (plain,) = only(plan(bench, "frl", settings={"method": {"waves": 3}}), "method")
    assert plain.digest == next(spec for spec in by_name if spec.method == "frl").digest
    (mixed,) = only(plan(bench, "multires", settings={"method": {"shares": {1: 0.5, 4: 0.5}}}), "method")
    assert mixed.method_options["shares"] == {"1": 0.5, "4": 0.5}


def test_options_of_a_method_do_not_reach_the_baseline_that_is_its_reference(bench):
    specs = plan(bench, "frl", settings={"method": {"waves": 3}}, with_references=True)
    (baseline,) = (spec for spec in only(specs, "method") if spec.method == "baseline")
    assert baseline.digest == only(plan(bench), "method")[0].digest


# -- a model of the user's own -----------------------------------------------------------------------------------------


def test_a_users_model_is_hashed_by_its_file_so_a_changed_file_is_another_run(bench, net):
    (before,) = only(plan(bench, model=f"{net}:Net"), "method")
    (again,) = only(plan(bench, model=f"{net}:Net"), "method")
    net.write_text(NET + "\n# one more line\n")
    (after,) = only(plan(bench, model=f"{net}:Net"), "method")
    assert before.digest == again.digest
    assert after.digest != before.digest
    assert before.folder.split("-")[2] == "net"


def test_a_users_model_takes_its_own_options_and_refuses_others(bench, net):
    (spec,) = only(plan(bench, model=f"{net}:Net", settings={"model": {"wide": 9}}), "method")
    assert spec.model_options == {"wide": 9}
    with pytest.raises(ConfigError, match=r"'widd'.*Did you mean 'wide'"):
        plan(bench, model=f"{net}:Net", settings={"model": {"widd": 9}})


def test_a_users_model_that_cannot_be_built_is_refused_whatever_its_options_are_called(bench, net):
    net.write_text(NET.replace("nn.Conv2d(in_channels", "nn.Conv2d('many'").replace("wide=4", "width=4"))
    with pytest.raises(ModelError, match="cannot be built"):
        plan(bench, model=f"{net}:Net", settings={"model": {"width": 8}})


# -- refused before anything is made -----------------------------------------------------------------------------------

REFUSED = [
    ({"methods": ("baselin",)}, MethodError, "Did you mean 'baseline'"),
    ({"methods": ("frl", "multiress")}, MethodError, "Did you mean 'multires'"),
    ({"model": "fnoo"}, ModelError, "Did you mean 'fno'"),
    ({"model": "nowhere/net.py:Net"}, ModelError, "does not exist"),
    ({"task": "forcast"}, ConfigError, "Did you mean 'forecast'"),
    ({"size": "smal"}, AnchorbenchError, "Did you mean 'small'"),
    ({"source": "generatd"}, AnchorbenchError, "Did you mean 'generated'"),
    ({"dataset": "turbulense2d"}, AnchorbenchError, "Did you mean 'turbulence2d'"),
    ({"train_rung": 17}, LadderError, "has no rung r017; it has r008, r016, r032"),
    ({"data": {"rungz": [8, 16]}}, ConfigError, "Did you mean 'rungs'"),
    ({"data": {"generator": {"interval": 1.0}}}, ConfigError, "no whole number of intervals"),
    ({"data": {"generator": {"interval": 0.1}}}, ConfigError, "no whole number of intervals"),
    ({"data": {"generator": {"interval": 0.05}}}, ConfigError, "too few"),
    ({"settings": {"trane": {"steps": 3}}}, ConfigError, "Did you mean 'train'"),
    ({"settings": {"train": {"stepps": 3}}}, ConfigError, "Did you mean 'steps'"),
    ({"settings": {"train": {"steps": 0}}}, ConfigError, "train: steps"),
    ({"settings": {"train": {"steps": "many"}}}, ConfigError, "train: steps"),
    ({"settings": {"train": {"learning_rate": float("inf")}}}, ConfigError, "learning_rate"),
    ({"settings": {"train": {"learning_rate": float("nan")}}}, ConfigError, "learning_rate"),
    ({"settings": {"train": 5}}, ConfigError, "'train' is a group"),
    ({"settings": {"model": {"widht": 3}}}, ConfigError, "Did you mean 'width'"),
    ({"settings": {"method": {"levels": 1}}}, ConfigError, "method baseline"),
    ({"settings": {"method": {"frl": {"levels": 1}}}}, ConfigError, "no method asked for 'frl'"),
    ({"settings": {"method": {"baseline": 3}}}, ConfigError, "group of options"),
    ({"methods": ("frl",), "settings": {"method": {"frl": {"level": 1}}}}, ConfigError, "Did you mean 'levels'"),
    ({"methods": ("frl",), "settings": {"method": {"levels": 9}}}, MethodError, "9 levels"),
    ({"settings": {"native": {"rung": [16]}}}, ConfigError, "Did you mean 'rungs'"),
    ({"settings": {"native": {"rungs": "fine"}}}, ConfigError, "native: rungs"),
    ({"settings": {"native": {"train": {"stepps": 1}}}}, ConfigError, "Did you mean 'steps'"),
    ({"settings": {"train": {"warm_start": "nobody"}}}, AnchorbenchError, "nobody has no trained weights"),
    ({"settings": {"train": {"warm_start": "../nobody"}}}, AnchorbenchError, "name of a run's folder"),
]


@pytest.mark.parametrize(("words", "error", "said"), REFUSED)
def test_what_is_wrong_in_the_words_is_found_before_anything_is_fetched_or_made(
    bench, tmp_path, monkeypatch, words, error, said
):
    def never(*args, **kwargs):
        raise AssertionError("it began to fetch")

    monkeypatch.setattr(verbs, "fetch_one", never)
    asked = Asked(**merged({"dataset": "turbulence2d", "size": "tiny"}, words))
    with pytest.raises(error, match=re.escape(said) if "*" not in said else said) as raised:
        train_all(asked, results=tmp_path / "results", cache=tmp_path / "cache", catalog=load_catalog(bench.catalog))
    assert len(str(raised.value).splitlines()) <= 2
    assert not (tmp_path / "results").exists()
    assert not (tmp_path / "cache").exists()


def test_a_rung_that_the_ladder_lacks_comes_with_the_option_that_makes_it(bench):
    with pytest.raises(LadderError, match=r"--set data\.rungs=8,16,17,32"):
        plan(bench, train_rung=17)


def test_cells_that_cross_those_of_the_train_rung_are_refused_before_anything_is_trained():
    rungs = {"rungs": [9, 36, 41, 72]}
    asked = request(load_catalog(), "weather", size="small", source="sample-msl", settings=rungs)
    with pytest.raises(LadderError, match="cells of 41 points do not lie within those of the train rung 36") as raised:
        plan_runs(asked, methods=["baseline"], seeds=[0], task="super_resolve", train_rung=36)
    assert raised.value.do.endswith("data.rungs=9,36,72")

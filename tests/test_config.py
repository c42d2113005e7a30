"""What defines a run: hashes, overrides, presets, and what they refuse."""

from __future__ import annotations

import inspect
import json
import math
import random

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from anchorbench import config
from anchorbench.config import (
    SIZES,
    Frozen,
    LadderSpec,
    RunSpec,
    TrainOptions,
    digest_of,
    load_preset,
    merged,
    parse_settings,
    save_yaml,
    validated,
)
from anchorbench.errors import ConfigError

RUN = {
    "ladder": "0" * 64,
    "dataset": "turbulence2d",
    "source": "generated",
    "size": "tiny",
    "task": "forecast",
    "model": "fno",
    "model_options": {"width": 8, "modes": [8, 8], "local_units": "physical"},
    "method": "multires",
    "method_options": {"shares": {"1": 0.8, "2": 0.2}, "hold_out": False},
    "train_rung": 16,
    "band_rung": 16,
}
LADDER = {
    "dataset": "d",
    "source": "generated",
    "size": "tiny",
    "restriction": "spectral",
    "rungs": [8, 16],
    "grid": {"shape": [16, 16], "extent": [1.0, 1.0]},
    "variables": [{"name": "u", "units": "1"}],
    "time_step": 0.25,
    "time_unit": "1",
    "origin": {"viscosity": 1e-3, "seed": 0},
}
#: One other value for each field of a RunSpec.
OTHER = {
    "kind": "native",
    "ladder": "1" * 64,
    "dataset": "sevir",
    "source": "sample",
    "size": "small",
    "task": "operator",
    "lead": 2,
    "frames_in": 4,
    "input_rung": 8,
    "time_factor": 3,
    "fields": 4,
    "model": "unet",
    "model_options": {"width": 9},
    "degradation": "bicubic",
    "input_noise": 0.1,
    "model_digest": "f" * 64,
    "method": "frl",
    "method_options": {},
    "train": None,
    "train_rung": 32,
    "band_rung": 32,
    "seed": 1,
    "protocol": 2,
}

scalars = st.one_of(
    st.booleans(), st.integers(-(10**12), 10**12), st.floats(allow_nan=False, allow_infinity=False), st.none()
)
words = st.text(st.characters(codec="ascii", categories=["Ll"]), min_size=1, max_size=8)


# -- the hash ----------------------------------------------------------------------------------------------------------


@given(st.randoms(use_true_random=False))
def test_the_order_in_which_fields_are_given_is_not_in_the_hash(shuffle: random.Random):
    items, options = list(RUN.items()), list(RUN["model_options"].items())
    shuffle.shuffle(items)
    shuffle.shuffle(options)
    assert RunSpec(**{**dict(items), "model_options": dict(options)}).digest == RunSpec(**RUN).digest


@pytest.mark.parametrize("name", [name for name in RunSpec.model_fields if name != "footing"])
def test_every_field_of_a_run_is_in_its_hash_but_the_footing_that_chose_some(name):
    spec = RunSpec(**RUN)
    assert spec.model_copy(update={name: OTHER[name]}).digest != spec.digest


@pytest.mark.parametrize("name", TrainOptions.model_fields)
def test_every_training_option_is_in_the_hash(name):
    other = {"schedule": "constant", "precision": "bf16", "increment": False, "compile": True, "warm_start": "a-run"}
    changed = {name: other.get(name, 7 if isinstance(getattr(TrainOptions(), name), int) else 0.05)}
    assert RunSpec(**RUN, train=changed).digest != RunSpec(**RUN).digest


def test_a_run_knows_no_device_no_path_and_no_number_of_workers():
    known = {*RunSpec.model_fields, *TrainOptions.model_fields}
    assert not known & {"device", "threads", "workers", "results", "cache", "path", "folder", "force"}


def test_the_hash_is_the_sha256_of_the_canonical_json():
    # printf '{"a":1,"b":[1.5,null]}' | sha256sum
    expected = "993a7a2ceb877d40fc4b026f38d1b9d56ea47505ed09b616e4ac8f06d00883b0"
    assert digest_of({"b": (1.5, None), "a": 1}) == expected
    # printf '{}' | sha256sum, a well-known digest
    assert digest_of({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def test_an_equal_number_written_otherwise_is_the_same_run():
    assert (
        RunSpec(**{**RUN, "train": {"learning_rate": 1}}).digest == RunSpec(**RUN, train={"learning_rate": 1.0}).digest
    )


def test_the_folder_names_what_a_person_looks_for():
    spec = RunSpec(**RUN, seed=3)
    assert spec.folder == f"turbulence2d-multires-fno-s3-{spec.digest[:8]}"
    native = spec.model_copy(update={"kind": "native", "train_rung": 32})
    assert native.folder.startswith("turbulence2d-native032-fno-s3-")
    own = spec.model_copy(update={"model": "models/mine.py:Net"})
    assert own.folder.startswith("turbulence2d-multires-mine-s3-")


def test_a_ladder_is_named_by_its_set_source_size_and_hash():
    spec = LadderSpec(**LADDER)
    assert spec.name == f"d/generated/tiny-{spec.digest[:8]}"


@pytest.mark.parametrize("rungs", [[], [16, 8], [8, 8, 16]])
def test_the_rungs_of_a_ladder_rise_and_differ(rungs):
    with pytest.raises(ValueError, match="rungs"):
        LadderSpec(**{**LADDER, "rungs": rungs})


# -- what a spec holds -------------------------------------------------------------------------------------------------


@given(
    st.dictionaries(words, st.one_of(scalars, st.text(max_size=12), st.lists(scalars, max_size=3)), max_size=4),
    st.floats(min_value=1e-300, max_value=1e300),
)
def test_a_saved_spec_reads_back_equal(tmp_path_factory, options, rate):
    spec = RunSpec(**{**RUN, "model_options": options}, train={"learning_rate": rate})
    path = tmp_path_factory.mktemp("spec") / "spec.yaml"
    save_yaml(spec, path)
    again = RunSpec(**yaml.safe_load(path.read_text()))
    assert again == spec
    assert again.digest == spec.digest


def test_tuples_and_number_keys_are_kept_as_they_will_be_read_back(tmp_path):
    spec = RunSpec(**{**RUN, "model_options": {"modes": (8, 8)}, "method_options": {"shares": {1: 0.8, 2: 0.2}}})
    save_yaml(spec, tmp_path / "spec.yaml")
    assert RunSpec(**yaml.safe_load((tmp_path / "spec.yaml").read_text())) == spec
    assert spec.method_options == {"shares": {"1": 0.8, "2": 0.2}}


def test_a_spec_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        RunSpec(**RUN).seed = 4


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_refused_wherever_they_stand(bad):
    with pytest.raises(ConfigError, match="clip"):
        validated(TrainOptions, {"clip": bad}, where="train")
    with pytest.raises(ConfigError, match="finite"):
        RunSpec(**{**RUN, "model_options": {"deep": {"er": [bad]}}})
    with pytest.raises(ConfigError, match="finite"):
        digest_of({"a": bad})


def test_an_object_is_no_option():
    with pytest.raises(ConfigError, match="finite numbers, words"):
        RunSpec(**{**RUN, "model_options": {"x": object()}})


# -- mistakes ----------------------------------------------------------------------------------------------------------


class Colours(Frozen):
    hue: int = 0
    saturation: float = 0.5


def test_an_unknown_option_names_the_nearest_one_that_exists():
    with pytest.raises(ConfigError, match=r"paint: there is no option 'saturatoin'.*'saturation'.*hue, saturation"):
        validated(Colours, {"saturatoin": 1}, where="paint")


@pytest.mark.parametrize("values", [{"hue": "red"}, {"hue": 0.5}, {"hue": None}, {"hue": [1]}])
def test_a_value_of_the_wrong_kind_is_named_with_its_option(values):
    with pytest.raises(ConfigError, match="paint: hue: "):
        validated(Colours, values, where="paint")


def test_an_option_that_is_no_word_is_a_mistake_and_not_a_bug():
    with pytest.raises(ConfigError, match="paint"):
        validated(Colours, {1: 2}, where="paint")


# -- --set -------------------------------------------------------------------------------------------------------------


def text_of(value) -> str:
    return json.dumps(value)


@given(st.lists(words, min_size=1, max_size=4), scalars)
def test_a_setting_says_what_json_says(path, value):
    tree = parse_settings([f"{'.'.join(path)}={text_of(value)}"])
    for part in path:
        tree = tree[part]
    assert tree == value
    assert type(tree) is type(value)


@given(st.lists(scalars, min_size=2, max_size=5))
def test_a_comma_list_is_a_list(values):
    assert parse_settings(["a=" + ",".join(map(text_of, values))]) == {"a": values}


@given(st.dictionaries(words, st.dictionaries(words, scalars, min_size=1, max_size=3), min_size=1, max_size=3))
def test_settings_of_one_group_come_together(tree):
    settings = [f"{group}.{name}={text_of(v)}" for group, values in tree.items() for name, v in values.items()]
    assert parse_settings(settings) == tree


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),  # YAML 1.1 takes it for a word
        ("010", 10),  # and this for eight
        ("2018-05-01", "2018-05-01"),  # and this for a date
        ("10:30", "10:30"),  # and this for 630
        ("no", "no"),  # and this for false
        ("none", "none"),
        ("true", True),
        ("null", None),
        ("", None),
        ("16,", [16]),
        ("'a,b'", "a,b"),
        ("{1: 0.8, 2: 0.2}", {1: 0.8, 2: 0.2}),
        ("[8, 8]", [8, 8]),
        ("a=b", "a=b"),
    ],
)
def test_a_value_is_read_as_a_person_means_it(text, value):
    assert parse_settings([f"x={text}"]) == {"x": value}


@pytest.mark.parametrize("setting", ["steps", "=3", ".=3", "a..b=3", "a.=3", ""])
def test_a_setting_without_a_name_and_a_value_is_refused(setting):
    with pytest.raises(ConfigError, match="name=value"):
        parse_settings([setting])


@pytest.mark.parametrize(
    "text", ["[1", "{a", "*x", "a: b: c", "!!python/object:os.system x", "!!int x", "!!binary aGk="]
)
def test_what_is_no_yaml_value_is_refused(text):
    with pytest.raises(ConfigError, match="no YAML value"):
        parse_settings([f"x={text}"])


def test_a_value_has_no_options_below_it():
    with pytest.raises(ConfigError, match="'train' already has a value"):
        parse_settings(["train=3", "train.steps=4"])


# -- laying trees over one another -------------------------------------------------------------------------------------


def test_the_last_tree_lies_on_top_and_what_it_does_not_name_stays():
    assert merged({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"c": 4}}, {"e": 5}) == {"a": {"b": 1, "c": 4}, "d": 3, "e": 5}


def test_a_group_that_is_a_single_value_is_a_mistake_and_not_a_bug():
    with pytest.raises(ConfigError, match="group of options"):
        merged({"steps": 1}, 3)


@given(st.dictionaries(words, scalars, max_size=3))
def test_merging_changes_none_of_its_trees(tree):
    before = {"g": dict(tree)}
    below = {"g": dict(tree)}
    merged(below, {"g": {"new": 1}})
    assert below == before


# -- presets -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dataset", ["turbulence2d", "sevir", "one of the user's own"])
def test_every_size_has_a_preset_whose_training_options_validate(size, dataset):
    preset = load_preset(size, dataset)
    validated(TrainOptions, preset.train, where=size)
    assert preset.model in preset.models


def test_a_dataset_has_its_own_preset_over_the_default_one():
    assert load_preset("tiny", "sevir").model != load_preset("tiny", "turbulence2d").model


def test_an_unknown_size_names_the_nearest():
    with pytest.raises(ConfigError, match=r"no size 'smal'.*Did you mean 'small'"):
        load_preset("smal", "turbulence2d")


def test_the_module_needs_nothing_heavy():
    assert not {"torch", "numpy", "xarray"} & {line.split()[1].partition(".")[0] for line in
               inspect.getsource(config).splitlines() if line.startswith(("import ", "from "))}  # fmt: skip

"""datasets.yaml: found where it should be, read strictly, and every mistake in it named with its line."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from anchorbench.config import SIZES
from anchorbench.data import catalog as module
from anchorbench.data.catalog_file import load_catalog
from anchorbench.data.sources import load_module
from anchorbench.errors import CatalogError

TOP = Path(module.__file__).parents[2] / "datasets.yaml"


@pytest.fixture(scope="module")
def catalog():
    return load_catalog(TOP)


@pytest.fixture
def edited(tmp_path):
    """The catalogue with one text replaced by another; returns the file and the number of the first changed line."""

    def edit(old: str, new: str) -> tuple[Path, int]:
        text = TOP.read_text()
        assert old in text
        path = tmp_path / "datasets.yaml"
        path.write_text(text.replace(old, new, 1))
        return path, text[: text.index(old)].count("\n") + 1

    return edit


def test_every_dataset_has_every_size_a_task_and_a_source_with_terms(catalog):
    assert set(catalog.names) == {
        "turbulence2d", "turbulence3d", "burgers", "darcy", "weather", "sevir", "mri", "comephore", "topography",
        "photographs", "solids",
    }  # fmt: skip
    for name in catalog.names:
        dataset = catalog.dataset(name)
        assert dataset.name == name
        assert tuple(dataset.sizes) == SIZES
        for size in SIZES:
            kind, source = dataset.source("auto", size=size)
            assert kind == dataset.size(size).source
        for source in dataset.sources.values():
            assert source.producer
            assert source.terms
            assert source.display_name
            assert load_module(source.reader).Options
        for name in dataset.sources:
            seen = dataset.seen_from(name)
            assert tuple(seen.sizes) == SIZES
            assert (seen.time is None) <= ("forecast" not in seen.tasks)


def test_radar_rungs_halve_the_crop_and_cells_stay_one_kilometre(catalog):
    sevir = catalog.dataset("sevir")
    assert sevir.size("small").rungs == (23, 46, 92, 184)
    assert sevir.size("small").train_rung == 46
    assert sevir.restriction == "block_mean"
    assert sevir.box("small").extent == (184.0, 184.0)
    assert sevir.box("tiny").extent == (92.0, 92.0)
    assert sevir.box("small", crop=46).extent == (46.0, 46.0)
    for size in SIZES:
        entry = sevir.size(size)
        assert entry.rungs[-1] == entry.crop
        assert all(entry.crop % rung == 0 for rung in entry.rungs)


def test_the_stand_in_never_bears_the_real_sets_name(catalog):
    sevir = catalog.dataset("sevir")
    assert sevir.sources["sample"].display_name == "RADOLAN-YW"
    shown = [text for name, s in sevir.sources.items() if name != "public" for text in (s.display_name, s.producer)]
    assert not [text for text in (sevir.title, *shown) if "sevir" in text.lower()]
    comephore = catalog.dataset("comephore")
    shown = [s.display_name for name, s in comephore.sources.items() if name != "public"]
    assert not [text for text in shown if "comephore" in text.lower()]


def test_turbulence_is_solved_at_least_twice_finer_than_its_finest_rung(catalog):
    turbulence = catalog.dataset("turbulence2d")
    assert turbulence.size("small").rungs == (8, 16, 24, 32, 48, 64)
    for size in SIZES:
        entry = turbulence.size(size)
        assert entry.generator["truth_rung"] >= 2 * max(entry.rungs)
        assert entry.generator["interval"] == turbulence.time.step
        assert isinstance(entry.generator["viscosity"], float)


def test_the_lead_is_counted_in_steps(catalog):
    assert catalog.dataset("sevir").time.lead_steps == 2  # 10 min in steps of 5
    assert catalog.dataset("turbulence2d").time.lead_steps == 1


def test_a_misspelt_dataset_meets_the_nearest_name(catalog):
    with pytest.raises(CatalogError, match=r"there is no dataset 'turbulence2'\. Did you mean 'turbulence2d'\?"):
        catalog.dataset("turbulence2")


def test_a_size_or_source_that_is_not_there_names_those_that_are(catalog):
    sevir = catalog.dataset("sevir")
    with pytest.raises(CatalogError, match=r"dataset 'sevir': there is no size 'smal'\. Did you mean 'small'\?"):
        sevir.size("smal")
    with pytest.raises(CatalogError, match=r"dataset 'sevir': there is no source 'publik'.*Did you mean 'public'\?"):
        sevir.source("publik", size="small")


def test_the_catalogue_cannot_be_changed_by_its_readers(catalog):
    with pytest.raises(ValidationError):
        catalog.dataset("sevir").frames_in = 2


MISTAKES = {
    "an unknown key": ("    frames_in: 4", "    frames_on: 4", "sevir.frames_on: there is no such key|frames_in: this"),
    "a wrong type": ("    frames_in: 4", "    frames_in: four", "sevir.frames_in: Input should be a valid integer"),
    "an unknown task": ("tasks: [forecast]", "tasks: [forcast]", r"turbulence2d.tasks.0: Input should be 'forecast'"),
    "a train rung that is none": (
        "train_rung: 23",
        "train_rung: 24",
        "tiny.train_rung: is one of the rungs 23, 46, 92",
    ),
    "rungs that fall": ("[23, 46, 92]", "[46, 23, 92]", "tiny.rungs: are positive, rise and differ"),
    "a short digest": ("sha256: c72fb031b", "sha256: c72", "files.0.member.sha256: String should match"),
    "a source that does not work": (
        "source: sample",
        "source: sampel",
        "sevir.sizes: tiny: there is no source 'sampel'",
    ),
    "a lead between two frames": ("lead: 10", "lead: 7", "time.lead: is a whole number of steps of 5"),
    "an artefact of another kind": (
        "name: pycomlink-0.6.0-py3-none-any.whl",
        "name: pycomlink.exe",
        "a wheel or an sdist",
    ),
    "a headline that is none": ("headline: rainfall_amount", "headline: rain", "there is no variable 'rain'"),
    "a version read as a number": ("version: 0.6.0", "version: 0.6", "files.0.version: Input should be a valid string"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_with_file_line_and_key(edited, mistake):
    old, new, words = MISTAKES[mistake]
    path, line = edited(old, new)
    with pytest.raises(CatalogError, match=words) as caught:
        load_catalog(path)
    named = int(re.match(rf"{re.escape(str(path))}, line (\d+): ", caught.value.what)[1])
    assert "\n" not in caught.value.what
    # a mistake between two entries is named at the key above them both
    assert named == line or mistake in ("an unknown key", "a source that does not work")
    assert named <= line


def test_an_unknown_key_is_named_at_its_own_line(edited):
    path, line = edited("    frames_in: 4\n", "    frames_in: 4\n    colour: blue\n")
    with pytest.raises(CatalogError, match=rf", line {line + 1}: datasets\.sevir\.colour: there is no such key"):
        load_catalog(path)


def test_a_missing_key_is_named_at_the_entry_that_lacks_it(edited):
    path, _ = edited("\n    restriction: block_mean\n", "\n")
    line = path.read_text()[: path.read_text().index("  sevir:")].count("\n") + 1
    with pytest.raises(CatalogError, match=rf", line {line}: datasets\.sevir\.restriction: this key is missing"):
        load_catalog(path)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("datasets:\n  a: [1, 2\n  b: 3\n", 3),
        ("datasets:\n  a: 1\n a: 2\n", 3),
        ("datasets:\n\ta: 1\n", 2),
        ("datasets:\n  a: 1\n  a: 2\n", 3),
        ("datasets: *gone\n", 1),
        ("- 1\n--- \n- 2\n", 2),
    ],
)
def test_broken_yaml_names_its_line(tmp_path, text, line):
    path = tmp_path / "datasets.yaml"
    path.write_text(text)
    with pytest.raises(CatalogError, match=rf"{re.escape(str(path))}, line {line}: this is no YAML") as caught:
        load_catalog(path)
    assert "\n" not in caught.value.what


@pytest.mark.parametrize(
    "content",
    [b"", b"datasets: {}\n", b"[1, 2]\n", b"datasets: 3\n", b"\xff\xfe\x00", b"a: \x07\n", b"a: 2018-13-45"],
)
def test_a_file_that_is_no_catalogue_is_one_line(tmp_path, content):
    path = tmp_path / "datasets.yaml"
    path.write_bytes(content)
    with pytest.raises(CatalogError, match=re.escape(str(path))) as caught:
        load_catalog(path)
    assert "\n" not in caught.value.what


def test_the_path_wins_over_the_environment_and_that_over_the_package(edited, monkeypatch):
    path, _ = edited("title: forced two-dimensional turbulence", "title: mine")
    monkeypatch.setenv("ANCHORBENCH_DATASETS", str(path))
    assert load_catalog().dataset("turbulence2d").title == "mine"
    assert load_catalog(TOP).dataset("turbulence2d").title == "forced two-dimensional turbulence"


def test_an_environment_variable_that_names_no_file_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("ANCHORBENCH_DATASETS", str(tmp_path / "gone.yaml"))
    with pytest.raises(CatalogError, match=r"ANCHORBENCH_DATASETS names .*gone\.yaml, where there is no file"):
        load_catalog()


def test_a_catalogue_in_the_current_folder_is_not_taken_silently(edited, monkeypatch):
    path, _ = edited("title: forced two-dimensional turbulence", "title: a stranger's")
    monkeypatch.delenv("ANCHORBENCH_DATASETS", raising=False)
    monkeypatch.chdir(path.parent)
    assert load_catalog().dataset("turbulence2d").title == "forced two-dimensional turbulence"


def test_the_copy_inside_an_installed_package_is_found_from_any_folder_without_heavy_imports(tmp_path):
    """As in a wheel: anchorbench/datasets.yaml, and nothing beside the package."""
    package = tmp_path / "site" / "anchorbench"
    (package / "data").mkdir(parents=True)
    copied = ("__init__.py", "errors.py", "config.py", "data/__init__.py", "data/catalog.py", "data/catalog_file.py")
    for name in copied:
        shutil.copy(TOP.parent / "anchorbench" / name, package / name)
    text = TOP.read_text().replace("title: forced two-dimensional turbulence", "title: packaged")
    (package / "datasets.yaml").write_text(text)
    script = (
        "import sys; from anchorbench.data.catalog_file import load_catalog\n"
        "print(load_catalog().dataset('turbulence2d').title)\n"
        "print([m for m in ('numpy', 'torch', 'xarray', 'requests', 'netCDF4') if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(package.parent), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split("\n")[:2] == ["packaged", "[]"]


def test_no_number_of_the_catalogue_is_read_as_a_word():
    """YAML 1.1 takes 1e-3 for a word: a generator would meet text where it wants a number."""

    def words(value):
        if isinstance(value, dict):
            return [word for v in value.values() for word in words(v)]
        if isinstance(value, list):
            return [word for v in value for word in words(v)]
        return [value] if isinstance(value, str) else []

    found = words(yaml.safe_load(TOP.read_text()))
    assert not [word for word in found if re.fullmatch(r"[-+]?[\d.]+e[-+]?\d+", word)]

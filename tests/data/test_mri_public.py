"""Public heads in their layouts on loopback: IXI's tar, OpenNeuro's bucket, a fastMRI folder; and their troubles."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from functools import cache
from pathlib import Path
from urllib.parse import urlencode

import h5py
import nibabel
import numpy as np
import pytest

from anchorbench.config import validated
from anchorbench.data import download
from anchorbench.data.catalog import SizeEntry, Source
from anchorbench.data.catalog_file import load_catalog, read_catalog
from anchorbench.data.fetch import fetch, request
from anchorbench.data.remote import get_files
from anchorbench.data.sources import Ask, fastmri, load_module, openneuro
from anchorbench.data.sources.t1w import subjects_of
from anchorbench.errors import ConfigError, DownloadError
from anchorbench.fields import Grid

BOX = Grid((16, 16), (16.0, 16.0), unit="mm")
SMALL = {"subjects": {"train": 2, "validation": 1, "test": 1}, "slices": 3}
NAMES = [
    f"IXI{n:03d}-{site}-0{n}28-T1.nii.gz" for n, site in ((2, "Guys"), (12, "HH"), (13, "HH"), (15, "IOP"), (16, "HH"))
]


@cache
def nifti(seed: int) -> bytes:
    """A head, brighter upward, as IXI stores it: sagittal slices last."""
    rng = np.random.default_rng(seed)
    place = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in (10, 16, 16)), indexing="ij"))
    head = np.where((place**2).sum(0) < 0.8, 400 + 100 * place[2] + seed, rng.uniform(0, 9, (10, 16, 16)))
    image = nibabel.Nifti1Image(head.astype(np.int16), np.diag([1.2, 1.0, 1.0, 1.0]))
    codes = nibabel.orientations.axcodes2ornt(tuple("PSR"))
    return gzip.compress(image.as_reoriented(codes).to_bytes(), mtime=0)


def tar_of(members: dict[str, bytes], *, ends: bool = True) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        end = tar.offset
    return buffer.getvalue() if ends else buffer.getvalue()[:end]


@cache
def ixi_tar() -> bytes:
    heads = {name: nifti(i) for i, name in enumerate(NAMES)}
    first, *rest = heads.items()
    return tar_of(dict([("._IXI002-Guys-0828-T1.nii.gz", b"\0" * 700), first, ("notes.txt", b"hello"), *rest]))


def loaded(
    reader: str, cache_folder: Path, urls: dict[str, str], *, offline=False, finest=BOX, checksums=None, **options
):
    module = load_module(reader)
    source = Source(display_name="heads", producer="p", terms="t", reader=reader, urls=urls, checksums=checksums or {})
    asked = Ask(
        entry=catalog().dataset("mri"),
        source=source,
        options=validated(module.Options, {**SMALL, **options}, where="here"),
        size=SizeEntry(source="public", rungs=(8, 16), train_rung=8),
        finest=finest,
        cache=cache_folder,
        offline=offline,
    )
    return module.load(asked)


@cache
def catalog():
    return load_catalog()


def in_cache(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock")}


# IXI


def heads_in(folder: Path) -> set[str]:
    """The heads that are kept, their place in the tar left out."""
    return {path.name[7:] for path in folder.rglob("*.nii.gz")}


def ixi(host, folder: Path, n: int = 1, **options):
    """n heads for training, one for validation and one for test."""
    counts = {"train": n, "validation": 1, "test": 1}
    return loaded("ixi", folder, {"T1": host.url("IXI-T1.tar")}, **{"subjects": counts, **options})


def test_ixi_is_left_when_there_are_enough_heads(host, tmp_path):
    host.files["/IXI-T1.tar"] = ixi_tar() + bytes(3_000_000)  # and 500 heads more
    ixi(host, tmp_path)
    assert heads_in(tmp_path) == set(NAMES[:3])
    assert next(tmp_path.rglob(f"*{NAMES[1]}")).read_bytes() == nifti(1)
    assert host.requests_of("IXI-T1.tar") == [None]


def test_ixi_heads_become_slices_of_subjects_that_are_apart(host, tmp_path):
    host.files["/IXI-T1.tar"] = ixi_tar()
    made = ixi(host, tmp_path, 2)
    assert {s: f.values["intensity"].shape for s, f in made.splits.items()} == {
        "train": (6, 1, 16, 16),
        "validation": (3, 1, 16, 16),
        "test": (3, 1, 16, 16),
    }
    assert made.splits["test"].attrs["subjects_test"] == NAMES[0]
    assert made.splits["train"].attrs["subjects_train"] == f"{NAMES[2]}, {NAMES[3]}"
    assert made.splits["train"].clusters.tolist() == [0, 0, 0, 1, 1, 1]
    image = made.splits["train"].values["intensity"][1, 0]
    assert image[11, 8] > image[4, 8] + 0.1  # turned from posterior-superior-right: rows run upward


def test_more_subjects_go_on_behind_the_last_member_and_fewer_need_no_network(host, tmp_path):
    host.files["/IXI-T1.tar"] = ixi_tar()
    ixi(host, tmp_path)
    ixi(host, tmp_path, 2)
    begin = int(host.requests_of("IXI-T1.tar")[1].removeprefix("bytes=").rstrip("-"))
    assert ixi_tar()[begin:].startswith(NAMES[3].encode())
    made = ixi(host, tmp_path, 1, offline=True)
    assert len(host.asked) == 2
    assert made.splits["train"].attrs["subjects_train"] == NAMES[2]


def test_a_connection_that_breaks_off_goes_on_and_every_head_is_whole(host, tmp_path):
    host.files["/IXI-T1.tar"] = ixi_tar()
    host.breaks = [len(nifti(0)) + 3000, len(nifti(0)) + 1200]
    ixi(host, tmp_path, 3)
    assert heads_in(tmp_path) == set(NAMES)
    assert all(next(tmp_path.rglob(f"*{name}")).read_bytes() == nifti(i) for i, name in enumerate(NAMES))


def test_a_tar_that_ends_in_the_middle_of_a_head_is_one_error_and_keeps_what_was_whole(host, tmp_path):
    whole = ixi_tar()
    host.files["/IXI-T1.tar"] = whole[: whole.index(NAMES[3].encode()) + 512 + 40]
    with pytest.raises(DownloadError, match=r"IXI-T1\.tar ends in the middle.*truncated tar"):
        ixi(host, tmp_path, 2)
    assert heads_in(tmp_path) == set(NAMES[:3])
    assert ixi(host, tmp_path, 1, offline=True).splits["train"].n_samples == 3


def test_a_tar_with_fewer_heads_than_asked_for_says_how_many_it_has(host, tmp_path):
    host.files["/IXI-T1.tar"] = tar_of({name: nifti(i) for i, name in enumerate(NAMES[:3])})
    with pytest.raises(ConfigError, match=r"IXI-T1\.tar has 3 subjects, fewer than the 4 that are asked for"):
        ixi(host, tmp_path, 2)


def test_a_limit_takes_fewer_heads_and_fewer_slices(host, tmp_path):
    host.files["/IXI-T1.tar"] = ixi_tar()
    made = ixi(host, tmp_path, 3, limit=2)
    assert {split: fields.n_samples for split, fields in made.splits.items()} == {
        "train": 2,
        "validation": 2,
        "test": 2,
    }
    assert len(heads_in(tmp_path)) == 2 + 1 + 1


def test_the_md5_of_the_whole_archive_is_checked_where_all_of_it_is_asked_for(host, tmp_path):
    host.files["/IXI-T1.tar"] = ixi_tar()
    right = hashlib.md5(ixi_tar(), usedforsecurity=False).hexdigest()
    made = ixi(host, tmp_path / "a", whole=True, checksums={"T1": f"MD5:{right}"})
    streamed = ixi(host, tmp_path / "b")
    np.testing.assert_array_equal(made.splits["test"].values["intensity"], streamed.splits["test"].values["intensity"])
    with pytest.raises(DownloadError, match=f"MD5 {'0' * 32}, found {right}"):
        ixi(host, tmp_path / "c", whole=True, checksums={"T1": f"MD5:{'0' * 32}"})
    assert not [name for name in in_cache(tmp_path / "c") if name.endswith((".tar", ".part"))]


def test_a_damaged_head_is_named(host, tmp_path):
    bad = bytearray(nifti(1))
    bad[len(bad) // 2] ^= 255
    host.files["/IXI-T1.tar"] = tar_of({NAMES[0]: nifti(0), NAMES[1]: bytes(bad), NAMES[2]: nifti(2)})
    with pytest.raises(DownloadError, match=f"{NAMES[1]} cannot be read as NIfTI"):
        ixi(host, tmp_path)


@pytest.mark.parametrize(("status", "requests"), [(403, 1), (500, download.TRIES)])
def test_a_status_that_stays_is_one_error_without_the_address(host, tmp_path, status, requests):
    host.files["/IXI-T1.tar"], host.statuses = ixi_tar(), [status] * 9
    with pytest.raises(DownloadError, match=rf"IXI-T1\.tar could not be fetched: the host answered {status}") as caught:
        ixi(host, tmp_path)
    assert "127.0.0.1" not in str(caught.value)
    assert len(host.requests_of("IXI-T1.tar")) == requests


def test_offline_without_the_heads_says_so(host, tmp_path):
    with pytest.raises(DownloadError, match="offline mode"):
        ixi(host, tmp_path, offline=True)


def test_asking_for_more_training_leaves_validation_and_test():
    names = [f"s{i}" for i in range(9)]
    few = subjects_of(names, {"train": 2, "validation": 1, "test": 2}, where="x")
    more = subjects_of(names, {"train": 6, "validation": 1, "test": 2}, where="x")
    assert few == {"train": ["s3", "s4"], "validation": ["s2"], "test": ["s0", "s1"]}
    assert (more["validation"], more["test"]) == (few["validation"], few["test"])
    assert more["train"][:2] == few["train"]


def test_ixi_of_the_catalogue_makes_a_periodic_ladder_of_240_millimetres(host, tmp_path):
    host.files["/IXI-T1.tar"] = ixi_tar()
    text = (Path(fastmri.__file__).parents[3] / "datasets.yaml").read_text()
    real = "http://biomedic.doc.ic.ac.uk/brain-development/downloads/IXI/IXI-T1.tar"
    assert text.count(real) == 1
    (tmp_path / "datasets.yaml").write_text(text.replace(real, host.url("IXI-T1.tar")))
    settings = {"subjects": SMALL["subjects"], "slices": 2}
    asked = request(read_catalog(tmp_path / "datasets.yaml"), "mri", size="tiny", source="public", settings=settings)
    ladder = fetch(asked, tmp_path / "cache")
    assert ladder.grid(64).extent == (240.0, 240.0)
    assert ladder.grid(64).periodic == (True, True)
    assert ladder.array("train", 64, "intensity").shape == (4, 1, 64, 64)
    assert ladder.about["attrs"]["subjects_test"] == NAMES[0]
    assert ladder.about["attrs"]["terms"] == "CC BY-SA 3.0; derived files share alike"


# OpenNeuro


def page(contents=(), prefixes=(), *, token=None) -> bytes:
    """An answer of ListObjectsV2."""
    keys = "".join(
        f"<Contents><Key>{key}</Key><ETag>&quot;{etag}&quot;</ETag><Size>{size}</Size></Contents>"
        for key, size, etag in contents
    )
    common = "".join(f"<CommonPrefixes><Prefix>{p}</Prefix></CommonPrefixes>" for p in prefixes)
    more = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<IsTruncated>{'true' if token else 'false'}</IsTruncated>{more}{keys}{common}</ListBucketResult>"
    ).encode()


@pytest.fixture
def bucket(host):
    """Five subjects: one with sessions, one without a T1-weighted scan; the list comes in two pages."""

    def query(**words) -> str:
        return f"/openneuro?{urlencode({'list-type': '2'} | words)}"

    def put(key: str, content: bytes, *, etag: str | None = None) -> tuple[str, int, str]:
        host.files[f"/openneuro/{key}"] = content
        return key, len(content), etag or hashlib.md5(content, usedforsecurity=False).hexdigest()

    ds = "ds000030"
    host.files[query(prefix=f"{ds}/sub-", delimiter="/")] = page(
        prefixes=[f"{ds}/sub-{i}/" for i in (1, 2, 3)], token="a+b/c="
    )
    host.files[query(prefix=f"{ds}/sub-", delimiter="/") + "&" + urlencode({"continuation-token": "a+b/c="})] = page(
        prefixes=[f"{ds}/sub-4/", f"{ds}/sub-5/"]
    )
    for i in (1, 2, 3, 4, 5):
        anat = f"{ds}/sub-{i}/ses-b/anat/sub-{i}_ses-b" if i == 2 else f"{ds}/sub-{i}/anat/sub-{i}"
        listed = [put(f"{ds}/sub-{i}/anat/sub-{i}_T2w.nii.gz", b"other contrast")]
        if i == 2:  # two sessions, uploaded in parts: the ETag is no MD5
            listed.append(put(f"{anat}_T1w.nii.gz", nifti(22), etag=f"{'a' * 32}-2"))
            listed.append(put(f"{anat.replace('ses-b', 'ses-a')}_run-1_T1w.nii.gz", nifti(2), etag=f"{'b' * 32}-2"))
        elif i != 3:
            listed.append(put(f"{anat}_T1w.nii.gz", nifti(i)))
        host.files[query(prefix=f"{ds}/sub-{i}/")] = page(listed)
    return host


def heads_of(made) -> list[str]:
    return [entry["key"].rpartition("/")[2] for entry in json.loads(made.attrs["objects"])]


def test_openneuro_takes_the_first_t1w_of_each_subject_that_has_one(bucket, tmp_path):
    made = loaded("openneuro", tmp_path, {"bucket": bucket.url("openneuro")})
    files = ["sub-1_T1w.nii.gz", "sub-2_ses-a_run-1_T1w.nii.gz", "sub-4_T1w.nii.gz", "sub-5_T1w.nii.gz"]
    assert heads_of(made) == files
    assert made.splits["test"].attrs["subjects_test"] == files[0]
    assert made.splits["train"].attrs["subjects_train"] == ", ".join(files[2:])
    assert made.splits["train"].values["intensity"].shape == (6, 1, 16, 16)
    assert not [path for path, _ in bucket.asked if "T2w" in path]


def test_openneuro_keeps_etag_and_size_and_asks_for_no_object_twice(bucket, tmp_path):
    url = {"bucket": bucket.url("openneuro")}
    first = loaded("openneuro", tmp_path, url)
    entry = json.loads(first.attrs["objects"])[0]
    assert entry["size"] == len(nifti(1))
    assert entry["etag"] == hashlib.md5(nifti(1), usedforsecurity=False).hexdigest()
    bucket.asked.clear()
    loaded("openneuro", tmp_path, url)
    assert not [path for path, _ in bucket.asked if path.endswith(".nii.gz")]
    bucket.asked.clear()
    assert heads_of(loaded("openneuro", tmp_path, url, offline=True)) == heads_of(first)
    assert not bucket.asked


def test_openneuro_subjects_by_name_need_no_list_of_the_dataset(bucket, tmp_path):
    chosen = ("sub-5", "sub-4", "sub-1")
    counts = {"train": 1, "validation": 1, "test": 1}
    made = loaded("openneuro", tmp_path, {"bucket": bucket.url("openneuro")}, names=chosen, subjects=counts)
    assert heads_of(made) == [f"{name}_T1w.nii.gz" for name in chosen]
    assert not [path for path, _ in bucket.asked if "delimiter" in path]


def test_an_object_is_kept_as_stored_though_its_host_calls_it_a_compressed_answer(host, tmp_path):
    host.files["/o/sub-1_T1w.nii.gz"], host.headers = nifti(1), {"Content-Encoding": "gzip"}
    file = openneuro.remote_file(host.url("o"), openneuro.Object("sub-1_T1w.nii.gz", len(nifti(1)), "c" * 32 + "-3"))
    (path,) = get_files([file], tmp_path)
    assert path.read_bytes() == nifti(1)


def test_an_object_that_changed_since_it_was_listed_is_refused_and_deleted(bucket, tmp_path):
    bucket.files["/openneuro/ds000030/sub-1/anat/sub-1_T1w.nii.gz"] = bytes(len(nifti(1)))
    with pytest.raises(DownloadError, match=r"sub-1_T1w\.nii\.gz is not the promised file: expected MD5"):
        loaded("openneuro", tmp_path, {"bucket": bucket.url("openneuro")})
    assert not [name for name in in_cache(tmp_path) if name.startswith(("sub-1", ".sub-1"))]


@pytest.mark.parametrize("status", [403, 500])
def test_openneuro_statuses_are_one_error_without_the_address(bucket, tmp_path, status):
    bucket.statuses = [status] * 9
    with pytest.raises(
        DownloadError, match=f"ds000030 on OpenNeuro could not be fetched: the host answered {status}"
    ) as e:
        loaded("openneuro", tmp_path, {"bucket": bucket.url("openneuro")})
    assert "127.0.0.1" not in str(e.value)


def test_a_dataset_that_there_is_not_and_a_page_that_is_no_list_are_one_line(host, tmp_path):
    empty = f"/openneuro?{urlencode({'list-type': '2', 'prefix': 'ds999999/sub-', 'delimiter': '/'})}"
    host.files[empty] = page()
    with pytest.raises(DownloadError, match="OpenNeuro has no dataset ds999999, or no subjects in it"):
        loaded("openneuro", tmp_path, {"bucket": host.url("openneuro")}, dataset="ds999999")
    host.files[empty] = b"<html>a proxy's page"
    with pytest.raises(DownloadError, match="no list of a bucket"):
        loaded("openneuro", tmp_path, {"bucket": host.url("openneuro")}, dataset="ds999999")
    with pytest.raises(ConfigError, match="dataset"):
        validated(openneuro.Options, {"dataset": "../etc"}, where="here")


# fastMRI

HEADER = """<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding>
<encodedSpace><matrixSize><x>32</x><y>16</y><z>1</z></matrixSize></encodedSpace>
<reconSpace><matrixSize><x>16</x><y>16</y><z>1</z></matrixSize>
<fieldOfView_mm><x>16</x><y>16</y><z>5</z></fieldOfView_mm></reconSpace></encoding></ismrmrdHeader>"""


def image(n_slices=4, *, seed=0) -> np.ndarray:
    """Oversampled in the readout: 32 x 16, the head in the middle 16 x 16."""
    full = np.zeros((n_slices, 32, 16))
    full[:, 10:22, 3:13] = np.random.default_rng(seed).uniform(1, 2, (n_slices, 12, 10))
    return full


def write_volume(path: Path, full: np.ndarray, *, rss=True, patient=None, top=True, header=HEADER) -> Path:
    """The layout of fastMRI: k-space of three coils whose sensitivities' squares sum to 1."""
    angle = np.linspace(0, np.pi / 2, 16)
    sensitivities = np.stack([np.cos(angle), np.sin(angle) * 0.6, np.sin(angle) * 0.8j])[:, None, :]
    coils = full[:, None] * sensitivities
    axes = (-2, -1)
    kspace = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(coils, axes=axes), axes=axes, norm="ortho"), axes=axes)
    with h5py.File(path, "w") as file:
        file["kspace"] = kspace.astype(np.complex64)
        if header:
            file["ismrmrd_header"] = header.encode()
        if rss:
            file["reconstruction_rss"] = full[:, 8:24].astype(np.float32)
        if top:
            file.attrs["max"] = full.max()
        if patient:
            file.attrs["patient_id"] = patient
        file.attrs["acquisition"] = "AXT1"
    return path


def test_kspace_alone_gives_the_reconstruction_that_is_left_out(tmp_path):
    full = image()
    given = fastmri.volume(write_volume(tmp_path / "a.h5", full), crop=16)
    made = fastmri.volume(write_volume(tmp_path / "b.h5", full, rss=False), crop=16)
    np.testing.assert_allclose(made.values, given.values, atol=1e-5)
    # cut, not shrunk: 16 of the 32 rows of the readout, as they were
    np.testing.assert_allclose(made.values[:, :, 0].T, full[0, 8:24] / full.max(), atol=1e-5)
    assert made.voxel[:2] == (1.0, 1.0)


def test_a_volume_without_max_or_header_has_its_own_largest_value_and_the_option_s_crop(tmp_path):
    volume = fastmri.volume(write_volume(tmp_path / "a.h5", image(), rss=False, top=False, header=""), crop=12)
    assert volume.values.max() == pytest.approx(1.0)
    assert volume.values.shape == (12, 12, 4)


def test_volumes_of_one_patient_are_one_cluster_of_one_split(tmp_path):
    for i, patient in enumerate(["x", "y", "x", "z", "w"]):
        write_volume(tmp_path / f"file{i}.h5", image(seed=i), patient=patient)
    made = loaded("fastmri", tmp_path / "cache", {}, folder=str(tmp_path), slices=4)
    subjects = {s: f.attrs[f"subjects_{s}"].split(", ") for s, f in made.splits.items()}
    assert subjects == {"train": ["file3.h5", "file4.h5"], "validation": ["file1.h5"], "test": ["file0.h5", "file2.h5"]}
    assert made.splits["test"].clusters.tolist() == [0] * 8
    assert made.splits["train"].clusters.tolist() == [0] * 4 + [1] * 4


def test_the_ladder_is_named_by_the_volumes_and_not_by_the_folder(tmp_path):
    digests = []
    for name, n in (("here", 4), ("there", 4), ("other", 5)):
        (tmp_path / name).mkdir()
        for i in range(n):
            write_volume(tmp_path / name / f"file{i}.h5", image())
        settings = {"folder": str(tmp_path / name), **SMALL, "rungs": [8, 16]}
        asked = request(catalog(), "mri", size="tiny", source="public-fastmri", settings=settings)
        assert str(tmp_path) not in asked.spec.model_dump_json()
        digests.append(asked.spec.digest)
    assert digests[0] == digests[1] != digests[2]


def test_without_a_folder_or_a_volume_in_it_the_way_to_the_data_is_said(tmp_path):
    for settings in ({}, {"folder": str(tmp_path)}, {"folder": str(tmp_path / "gone")}):
        with pytest.raises(ConfigError, match=r"register at https://fastmri\.med\.nyu\.edu/"):
            request(catalog(), "mri", size="tiny", source="public-fastmri", settings=settings)


def test_a_file_that_is_no_volume_is_named(tmp_path):
    (tmp_path / "text.h5").write_text("no HDF5")
    with pytest.raises(DownloadError, match=r"text\.h5 cannot be read as a fastMRI volume"):
        fastmri.volume(tmp_path / "text.h5", crop=16)
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    with pytest.raises(DownloadError, match=r"empty\.h5 cannot be read as a fastMRI volume"):
        fastmri.volume(tmp_path / "empty.h5", crop=16)

"""The page: one file that fetches nothing, says each verdict, and shows a hostile name as text."""

from __future__ import annotations

import json
import re
import struct
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from anchorbench.errors import ConfigError
from anchorbench.report import build
from anchorbench.report.page import write_page, write_results
from anchorbench.report.plots import PLOTS, draw_all

VOID = {"meta", "img", "br", "hr", "link", "input"}


def tiny_png() -> bytes:
    """One white pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0\xff")) + chunk(b"IEND", b"")


class Reader(HTMLParser):
    """Every tag with its attributes and the text; fails on a tag that closes out of turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append((self.open[-1] if self.open else "", data))

    def said(self) -> str:
        return " ".join(" ".join(data for tag, data in self.text if tag not in ("style", "code", "pre")).split())


def pixels(document: dict[str, Any]) -> dict[tuple[Any, str], bytes]:
    """A figure for every place, without the time that drawing takes."""
    return {(group.get("id"), plot): tiny_png() for group in document["groups"] for plot in PLOTS}


def written(document: dict[str, Any], folder: Path) -> tuple[Reader, str]:
    html, markdown = write_page(document, pixels(document), folder)
    return Reader(html.read_text()), markdown.read_text()


def test_the_page_is_well_formed_and_fetches_nothing(document: dict[str, Any], tmp_path: Path) -> None:
    html, _ = write_page(document, draw_all(document, ["error-vs-res", "ratio"]), tmp_path, formats=["svg"])
    page = Reader(html.read_text())
    assert {tag for tag, _ in page.tags}.isdisjoint({"link", "iframe", "object", "embed"})
    assert [attributes for tag, attributes in page.tags if tag == "script"] == [{}]  # its own, and from nowhere
    for _, attributes in page.tags:
        for name in ("src", "href", "srcset", "data", "action"):
            value = attributes.get(name) or ""
            assert not value or value.startswith(("data:image/", "#"))
    assert not re.search(r"url\(|@import", html.read_text())
    assert sum((a.get("src") or "").startswith("data:image/svg+xml;base64,") for _, a in page.tags) == 4


def test_every_link_inside_the_page_has_one_target(document: dict[str, Any], tmp_path: Path) -> None:
    page, _ = written(document, tmp_path)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.tags:
        if tag == "a":
            assert (attributes["href"] or "").removeprefix("#") in ids


def test_every_picture_has_the_verdict_as_its_text_and_every_table_its_headers(
    document: dict[str, Any], tmp_path: Path
) -> None:
    page, _ = written(document, tmp_path)
    alts = [attributes["alt"] or "" for tag, attributes in page.tags if tag == "img"]
    assert sum("frl's error in the band it knows is anchored" in alt for alt in alts) == len(PLOTS)
    assert all(alts)
    assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")
    tables = sum(tag == "table" for tag, _ in page.tags)
    assert tables == sum(tag == "caption" for tag, _ in page.tags) > 0


def test_page_and_markdown_name_every_curve_with_its_words(document: dict[str, Any], tmp_path: Path) -> None:
    page, markdown = written(document, tmp_path)
    for text in (page.said(), markdown):
        for curve in document["curves"]:
            assert curve["label"] in text
            assert (curve["verdict"] or "") in text
            assert curve["words"] in text
        for wanted in ("DL-DE-BY-2.0: cite DWD", "68 % less error", "+0.44", "protocol 1", "How to read this"):
            assert wanted in text


def test_the_answer_comes_before_the_figure_and_the_figure_before_the_table(
    document: dict[str, Any], tmp_path: Path
) -> None:
    _, markdown = written(document, tmp_path)
    places = [markdown.index(x) for x in ("is anchored.", "error-vs-res.png", "| Curve |", "ratio.png", "fields.png")]
    assert places == sorted(places)


def test_a_hostile_name_is_text_on_the_page_and_in_markdown(document: dict[str, Any], tmp_path: Path) -> None:
    evil = "<script>alert(1)</script> | [x](http://evil) `y` \"onload='z'"
    for curve in document["curves"][:2]:
        curve["label"] = curve["words"] = evil
    group = document["groups"][0]
    group["display_name"] = group["terms"] = group["id"] = evil
    for curve in document["curves"]:
        curve["group"] = evil if curve["group"] == "turbulence2d-small-forecast" else curve["group"]
    group["specs"] = [{"run": evil, "spec": f"```\n{evil}\n````\nafter"}]
    page, markdown = written(document, tmp_path)
    assert evil in page.said()
    assert sum(tag == "script" for tag, _ in page.tags) == 1  # the page's own
    assert not any("onload" in attributes for _, attributes in page.tags)
    fence = "`````"
    outside = re.sub(rf"{fence}\n.*?\n{fence}", "", markdown, flags=re.S)
    assert outside != markdown
    assert "<script" not in outside
    assert not re.search(r"(?<!\\)\]\(http", outside)
    rows = [line for line in markdown.splitlines() if line.startswith("| &lt;script")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows if "0.191°" in row} == {
        5 + 6 + 1
    }  # its own bar is escaped
    assert all(path.resolve().is_relative_to(tmp_path.resolve()) for path in tmp_path.rglob("*"))


def test_every_picture_of_the_markdown_is_beside_it(document: dict[str, Any], tmp_path: Path) -> None:
    _, markdown = write_page(document, pixels(document), tmp_path)
    links = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", markdown.read_text())
    assert len(links) == len(set(links)) == 2 * len(PLOTS)
    for link in links:
        assert (tmp_path / link).read_bytes() == tiny_png()


def test_a_figure_is_also_kept_for_a_paper(document: dict[str, Any], tmp_path: Path) -> None:
    write_page(document, draw_all(document, ["ratio"]), tmp_path)
    for suffix in ("png", "svg", "pdf"):
        assert len(list((tmp_path / "figures").glob(f"*-ratio.{suffix}"))) == 2


def test_png_is_always_written_the_page_takes_it_where_there_is_no_svg_and_no_other_format_is_made_up(
    document: dict[str, Any], tmp_path: Path
) -> None:
    html, _ = write_page(document, draw_all(document, ["ratio"]), tmp_path, formats=["pdf"])
    assert {path.suffix for path in (tmp_path / "figures").iterdir()} == {".png", ".pdf"}
    assert html.read_text().count("data:image/png;base64,") == 2
    with pytest.raises(ConfigError, match="eps"):
        build.make_report(tmp_path, out=tmp_path / "out", formats=["eps"])


def test_a_stand_in_never_bears_the_name_of_the_set_it_stands_in_for(document: dict[str, Any], tmp_path: Path) -> None:
    page, markdown = written(document, tmp_path)
    assert "RADOLAN-YW 1 km, 5 min" in page.said()
    assert "sevir" not in page.said().lower()  # a command, which stands in <code>, has to
    assert "SEVIR" not in markdown
    assert not any("sevir" in path.name for path in tmp_path.rglob("*"))


def test_a_document_of_nulls_and_an_empty_one_give_a_page(document: dict[str, Any], tmp_path: Path) -> None:
    for name in ("groups", "curves"):
        document[name] = [
            {k: (v if k in ("id", "group", "kind") else None) for k, v in item.items()} for item in document[name]
        ]
    page, markdown = written(document, tmp_path / "nulls")
    for text in (page.said(), markdown):
        assert not re.search(r"\b(None|nan|Undefined)\b", text)
    page, _ = written({"groups": [], "curves": []}, tmp_path / "empty")
    assert "No finished runs to show." in page.said()


def test_eight_groups_of_one_name_keep_their_pictures_apart(document: dict[str, Any], tmp_path: Path) -> None:
    document["groups"] = [document["groups"][1] | {"id": n} for n in range(8)]
    page, _ = written(document, tmp_path)
    assert len(list((tmp_path / "figures").iterdir())) == 8 * len(PLOTS)
    assert sum(tag == "h2" for tag, _ in page.tags) == 8 + 3


def test_results_come_back_from_parquet_and_json(document: dict[str, Any], tmp_path: Path) -> None:
    document["curves"][0]["slope"] = float("nan")
    table, text = write_results(document, tmp_path)
    frame = pd.read_parquet(table)
    assert frame[(frame.label == "multires") & (frame.rung == 64)].error.tolist() == [0.104]
    assert frame[frame.label == "baseline"].slope.isna().sum() == 6  # its six turbulence rungs
    back = json.loads(text.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert back["schema"] == 1
    assert back["curves"][0]["slope"] is None
    assert back["curves"][1]["error"] == document["curves"][1]["error"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json", "results.parquet"]


def test_the_page_lists_each_environment_and_the_unseen_error_beside_the_budget(
    document: dict[str, Any], tmp_path: Path
) -> None:
    document["groups"][0]["environments"] = [{"runs": 2, "device": "cpu"}, {"runs": 1, "device": "cuda H200"}]
    document["groups"][0]["notes"] = ["native has one seed: headroom and A are given that seed"]
    page, markdown = written(document, tmp_path)
    for text in (page.said(), markdown):
        for wanted in ("Environment of 2 runs", "Environment of 1 run", "cuda H200", "E_uns, beside", "native has one"):
            assert wanted in text
    rows = [line for line in markdown.splitlines() if line.startswith("| baseline | 64 |")]
    assert any(row.endswith("| 0.130 |") for row in rows)  # E_uns of the fixture's finest rung


def test_a_second_report_leaves_no_figure_of_the_first_and_touches_no_other_file(
    document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "collect", lambda *_, **__: document)
    monkeypatch.setattr(
        build, "draw_all", lambda _, names: {k: v for k, v in pixels(document).items() if k[1] in names}
    )
    build.make_report(tmp_path, out=tmp_path / "out", plots=["ratio", "fields"])
    mine = tmp_path / "out" / "figures" / "my-ratio.png"
    mine.write_bytes(b"")
    build.make_report(tmp_path, out=tmp_path / "out", plots=["ratio"])
    left = {path.name for path in mine.parent.iterdir()}
    assert mine.name in left
    assert len(left) == 1 + 2
    assert not any("fields" in name for name in left)

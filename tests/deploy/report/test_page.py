"""The page of runs: whole HTML, every part there or its reason, nothing from elsewhere, no number from nothing."""

import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import override

import pytest

from deploy.cli import main
from deploy.report.page import write
from deploy.report.tints import Tint
from tests.deploy.report.runs import measured, simulated

SECTIONS = ("short", "run", "memory", "curves", "times", "worlds", "probes", "health", "attention", "neighbours")
VOID = {"meta", "img", "br", "link", "input", "hr"}
MOST_BYTES = 5_000_000


class Page(HTMLParser):
    """Reads a page strictly: every element that opens closes, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.words = text, list[str]()
        self.open, self.ids, self.counts = list[str](), Counter[str](), Counter[str]()
        self.links, self.figures = list[str](), list[list[str]]()
        self.feed(text)
        self.close()
        assert self.open == []

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] += 1
        given = {name: value or "" for name, value in attrs}
        self.ids.update([given["id"]] if "id" in given else [])
        self.links += [given[name] for name in ("src", "href", "srcset", "action") if name in given]
        if tag == "figure":
            self.figures.append([])
        elif "figure" in self.open:
            self.figures[-1].append(f"{tag}.{given.get('class', '')}")
        if tag not in VOID:
            self.open.append(tag)

    @override
    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    @override
    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag

    @override
    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def said(self) -> str:
        return " ".join(self.words)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return {"measured": measured(folder), "one": simulated(folder, 0), "two": simulated(folder, 1)}


@pytest.fixture(scope="module")
def pages(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Page]:
    out = tmp_path_factory.mktemp("pages")
    chosen = {"measured": ["measured"], "simulated": ["one"], "both": ["one", "two"]}
    return {
        name: Page(write([folders[run] for run in runs], out / f"{name}.html").read_text("utf-8"))
        for name, runs in chosen.items()
    }


@pytest.mark.parametrize("name", ["measured", "simulated", "both"])
def test_the_page_is_whole_small_and_alone(pages: dict[str, Page], name: str) -> None:
    page = pages[name]
    assert len(page.text.encode()) < MOST_BYTES
    assert page.ids.total() == len(page.ids), "an id stands twice"
    assert set(SECTIONS) <= page.ids.keys()
    for link in page.links:
        assert link.startswith("data:image/") or (link.startswith("#") and link[1:] in page.ids), link[:80]
    for inner in re.findall(r"url\(#([^)]*)\)", page.text):
        assert inner in page.ids
    assert page.counts["script"] == 0
    assert page.text.count("://") == page.text.count('xmlns="http://www.w3.org/2000/svg"'), "something lies elsewhere"
    assert not re.search(r"@import|url\((?!#)", page.text)


@pytest.mark.parametrize("name", ["measured", "simulated", "both"])
def test_no_number_comes_from_nothing(pages: dict[str, Page], name: str) -> None:
    page = pages[name]
    assert not re.search(r"\b(nan|NaN|inf|None|null)\b", page.said)
    assert not re.search(r"[\"' ,]nan[\"' ,]", page.text, re.IGNORECASE)


@pytest.mark.parametrize("name", ["measured", "simulated", "both"])
def test_every_figure_has_title_and_caption_and_both_widths(pages: dict[str, Page], name: str) -> None:
    for parts in pages[name].figures:
        assert "h3." in parts
        assert "figcaption." in parts or "p.missing" in parts
        drawn = [part for part in parts if part in ("svg.wide", "svg.narrow")]
        assert drawn in ([], ["svg.wide", "svg.narrow"])
        assert drawn or {"p.missing", "div.maps", "div.queries"} & set(parts)


@pytest.mark.parametrize("name", ["measured", "simulated", "both"])
def test_colours_of_drawings_follow_the_theme(pages: dict[str, Page], name: str) -> None:
    text = pages[name].text
    body = text[text.index("<body>") :]
    assert not [tint for tint in Tint if tint.value in body]
    fixed = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{3,8})", body))
    assert fixed <= {"#000000"}, "a colour that is the same on light and dark ground"
    assert body.count("on-light") == body.count("on-dark") > 0


def test_a_measured_run_has_its_figures(pages: dict[str, Page]) -> None:
    drawn = {name.split("-w-")[0] for name in pages["measured"].ids if "-w-" in name}
    assert {"heat", "kinds", "contrast", "age", "places", "probes", "health"} <= drawn
    said = pages["measured"].said
    for word in ("580", "411", "ACC", "forgetting", "random-init", "never entered", "<died> & came back"):
        assert word in said
    assert pages["measured"].counts["img"] > 20


def test_planted_memories_have_curves_and_times(pages: dict[str, Page]) -> None:
    drawn = {name.split("-w-")[0] for name in pages["simulated"].ids if "-w-" in name}
    assert {"heat", "survival", "law", "age"} <= drawn
    assert re.search(r"It took an experience \d+ \[\d+,\s\d+\] seconds to be memorised", pages["simulated"].said)


def test_what_is_missing_says_why_in_its_place(pages: dict[str, Page]) -> None:
    said = pages["simulated"].said
    for reason in (
        "the rows hold no place scores of single worlds",
        "there is no checkpoint that can be read",
        "the rows of this run do not hold it",
    ):
        assert f"because {reason}" in said


def test_several_runs_stand_side_by_side(pages: dict[str, Page]) -> None:
    text = pages["both"].text
    assert text.count('<th scope="col">simulated-0</th><th scope="col">simulated-1</th>') >= 3
    assert "Tables show them side by side" in pages["both"].said


@pytest.mark.parametrize("content", ["", '{"v":1,"schema":2,"row":"other"}\n'], ids=["empty", "foreign"])
def test_a_run_without_evaluations_has_a_page_of_reasons(tmp_path: Path, content: str) -> None:
    (tmp_path / "evaluations.jsonl").write_text(content, "utf-8")
    page = Page(write([tmp_path], tmp_path / "page.html").read_text("utf-8"))
    assert set(SECTIONS) <= page.ids.keys()
    assert page.counts["svg"] == 0
    assert page.said.count("because") >= 12
    assert not re.search(r"\b(nan|NaN|inf|None|null)\b", page.said)


def test_names_from_rows_are_text_and_nothing_else(folders: dict[str, Path], tmp_path: Path) -> None:
    evil = '<b onclick="x">$w_0$ & "w0"</b>'
    rows = (folders["measured"] / "evaluations.jsonl").read_text("utf-8")
    (tmp_path / "evaluations.jsonl").write_text(rows.replace('"w0"', json.dumps(evil, ensure_ascii=False)), "utf-8")
    page = Page(write([tmp_path], tmp_path / "page.html").read_text("utf-8"))
    assert page.counts["b"] == page.text.count("<b>")
    assert evil in page.said


def test_the_command_writes_into_the_first_run_and_refuses_what_is_no_run(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(folders["measured"])]) == 0
    path = folders["measured"] / "report" / "report.html"
    assert str(path) in capsys.readouterr().out
    assert path.read_text("utf-8").startswith("<!DOCTYPE html>")
    assert main(["report", str(tmp_path)]) == 2
    assert "must be a run directory with evaluations.jsonl" in capsys.readouterr().err

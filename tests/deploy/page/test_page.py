"""The page in a real browser: first of a run that stands still, then of a real one that is paused and resumed there."""

import json
import re
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, override

import pytest

from common.messages import Datum
from deploy.page.live import STATIC
from deploy.report.tints import Tint, better_or_worse, variables
from tests.deploy.page.browser import PROGRAM, Browser, browser
from tests.deploy.page.served import NASTY, Served
from tests.runs import LiveRun, live, small_run, wait_until

STATIC_FOLDER = Path(__file__).parents[3] / "deploy" / "page" / "static"
in_browser = pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine")

CONTRASTS = """(() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = parts(colour).map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if ((parts(colour)[3] ?? 1) === 1) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  return [...document.querySelectorAll("body *")]
    .filter((e) => e.checkVisibility() && [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()))
    .map((e) => {
      const style = getComputedStyle(e);
      const [a, b] = [light(e instanceof SVGElement ? style.fill : style.color), light(ground(e))];
      return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.textContent.slice(0, 40)];
    });
})()"""
"""Contrast of every text that is seen with what is behind it (WCAG 2.2), and its beginning."""


def troubles(page: Browser) -> list[Any]:
    """What the browser complained of."""
    failed = [answer for answer in page.told("Network.responseReceived") if answer["response"]["status"] >= 400]
    logged = [entry for entry in page.told("Log.entryAdded") if entry["entry"]["level"] in ("error", "warning")]
    said = [call for call in page.told("Runtime.consoleAPICalled") if call["type"] in ("error", "warning")]
    return [*failed, *logged, *said, *page.told("Runtime.exceptionThrown")]


def hosts(page: Browser) -> set[str]:
    """Where the browser has sent anything."""
    urls = [sent["request"]["url"] for sent in page.told("Network.requestWillBeSent")]
    return {url.split("/")[2] for url in urls if not url.startswith(("data:", "about:"))}


def tile(page: Browser, name: str) -> str:
    """Number and note of one of the main numbers."""
    found = (
        f"[...document.querySelectorAll('.tile')].find((t) => t.querySelector('dt').textContent === {json.dumps(name)})"
    )
    return str(page.run(f"{found}?.querySelector('dd').innerText ?? ''"))


def state(page: Browser) -> str:
    return str(page.run("document.getElementById('state').textContent"))


def test_the_colours_are_those_of_the_report() -> None:
    style = (STATIC_FOLDER / "page.css").read_text("utf-8")
    light, dark = style.split("@media (prefers-color-scheme: dark)", 1)
    for sheet, is_dark in ((light, False), (dark.split("\n}\n", 1)[0], True)):
        given = dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6});", sheet))
        for name, value in re.findall(r"--([a-z]+): (#[0-9a-f]{6});", variables(dark=is_dark)):
            assert given[name] == value, name
        colours = better_or_worse(dark=is_dark)
        for place, name in enumerate(("less-2", "less-1", "equal", "more-1", "more-2")):
            ours = [int(given[name][at : at + 2], 16) for at in (1, 3, 5)]  # a colour map has but 256 colours
            assert ours == pytest.approx([255 * float(part) for part in colours(place / 4)[:3]], abs=2), name
    assert len(Tint) == len(re.findall(r"--[a-z]+:", variables(dark=False)))


def test_all_files_of_the_page_are_served_and_packed() -> None:
    assert {path.name for path in STATIC_FOLDER.iterdir()} == {"index.html", *STATIC}
    packing = (Path(__file__).parents[3] / "pyproject.toml").read_text("utf-8")
    assert '"deploy.page" = ["static/*"]' in packing


@in_browser
@pytest.mark.timeout(240)
def test_it_is_readable_and_takes_text_for_text(
    served: Served, make_datum: Callable[..., Datum], tmp_path: Path
) -> None:
    served.write(make_datum())
    served.page.look()
    with browser(tmp_path / "profile") as page:
        for width, dark in ((1280, False), (1280, True), (400, False), (400, True), (320, False)):
            page.size(width, 900, dark=dark)
            page.open(served.server.url)
            page.wait("document.querySelectorAll('.tile').length === 8 && document.readyState === 'complete'")
            page.wait("document.querySelectorAll('.picture img').length === 1")
            assert page.run("document.documentElement.scrollWidth") <= width, "no scrolling to the side"
            found = page.run(CONTRASTS)
            assert len(found) > 50
            assert [entry for entry in found if entry[0] < 4.5] == []
        assert page.run("document.querySelector('.actor dd').textContent") == NASTY
        assert page.run("document.querySelector('#messages li').textContent") == f"message 49 {NASTY}"
        assert page.run("document.querySelectorAll('img[src=x], script:not([src])').length") == 0
        columns = "getComputedStyle(document.querySelector('.three')).gridTemplateColumns.split(' ').length"
        page.size(400, 900)
        assert page.run(columns) == 1
        page.size(1280, 900)
        assert page.run(columns) == 3
        names = page.run("[...document.querySelectorAll('button, svg.plot, progress')].filter((e) => "
                         "!(e.textContent.trim() || e.getAttribute('aria-label') || e.hidden || e.matches('.gone')))"
                         ".length")  # fmt: skip
        assert names == 0
        assert page.run("document.querySelectorAll('[role=status][aria-live=polite]').length") == 2
        # The status says `paused`, so only these can be pressed.
        assert page.run("[...document.querySelectorAll('button')].map((b) => b.disabled)") == [True, False, False]
        page.click("#resume")
        wait_until(served.server.has_commands, 10, "the button has reached the API")
        page.wait("document.querySelectorAll('button:disabled').length === 3")
        assert hosts(page) == {f"127.0.0.1:{served.port}"}
        assert troubles(page) == []
        # Code that somebody got into the page all the same would not run, nor reach any other host.
        refused = page.run(
            "new Promise((done) => { const seen = []; addEventListener('securitypolicyviolation', (e) => {"
            " seen.push(e.effectiveDirective);"
            " if (seen.length === 3) done([window.evil ?? 'not run', ...seen.sort()]); });"
            " const s = document.createElement('script'); s.textContent = 'window.evil = 1'; document.body.append(s);"
            " new Image().src = 'http://localhost:9/x.png'; fetch('http://localhost:9/').catch(() => 0); })"
        )
        assert refused == ["not run", "connect-src", "img-src", "script-src-elem"]


@in_browser
@pytest.mark.timeout(500)
def test_a_real_run_is_seen_paused_and_resumed(tmp_path: Path) -> None:
    config = small_run(tmp_path / "run", tmp_path / "cache")
    config = replace(config, evaluator=replace(config.evaluator, nice=0, trajectories=8))  # bits ask for 64 frames
    with browser(tmp_path / "profile") as page, live(config) as run:
        wait_until(lambda: bool(run.status.control_url), 60, "the page is there before the run begins")
        url = run.status.control_url
        page.size(1280, 900)
        page.open(url)
        page.wait("document.getElementById('state').textContent === 'starting'")
        wait_until(lambda: run.status.phase == "running", 180, "the run begins")
        page.wait("document.getElementById('state').textContent === 'running'", 30)
        page.wait("document.querySelectorAll('.picture img').length === 2", 60)
        assert page.run("document.querySelector('.picture img').naturalWidth") == 48
        before = page.run("document.querySelector('.picture img').src")
        page.wait(f"document.querySelector('.picture img').src !== {json.dumps(before)}", 20)
        wait_until(lambda: run.status.learner.step > 5, 120, "the run trains")
        loss = "document.querySelector('#learning path.line.blue')"
        drawn = "[...document.querySelectorAll('#learning .plot path.line')]"
        page.wait(f"{loss} && {drawn}.every((p) => p.getAttribute('d').split('L').length > 4)", 60)
        wait_until(lambda: bool(run.status.evaluator and run.status.evaluator.evaluations >= 2), 180, "two evaluations")
        _map_is_drawn(page, run)
        _probes_are_drawn(page)
        _pausing_and_resuming(page, run)
        page.size(400, 860)
        time.sleep(2.0)
        assert page.run("document.documentElement.scrollWidth") == 400
        page.open(url)
        page.wait(f"{loss} && {loss}.getAttribute('d').split('L').length > 10", 30)  # a reload loses nothing
        assert hosts(page) == {url.removeprefix("http://")}
        assert troubles(page) == []
        _another_page_can_do_nothing(page, run)
        page.open(url)
        page.wait("document.getElementById('state').textContent === 'running'", 30)
        run.stop()
        page.wait("document.body.dataset.state === 'lost'", 60)
        assert "run has ended" in state(page)
        assert page.run("document.querySelectorAll('button:disabled').length") == 3


def _map_is_drawn(page: Browser, run: LiveRun) -> None:
    page.wait("document.querySelectorAll('.block:not([hidden]) canvas[aria-label]').length >= 2", 60)
    page.wait("/\\((\\d+)\\)/.test(document.querySelector('.block h3').textContent)", 30)
    shown = int(page.run("document.querySelector('.block h3').textContent.match(/\\((\\d+)\\)/)[1]"))
    rows = [row for row in run.directory.read_evaluations() if row.get("kind") == "exposed"]
    assert 0 < shown <= len({row["experience"] for row in rows})
    colours = page.run(
        "(() => { const c = document.querySelector('.block canvas'); const d = c.getContext('2d')"
        ".getImageData(12, 0, c.width - 12, c.height).data; const s = new Set();"
        " for (let i = 0; i < d.length; i += 4) s.add(`${d[i]},${d[i + 1]},${d[i + 2]}`); return s.size; })()"
    )
    assert colours >= 3, "ground, the dash of what was lived, and memory"
    box = page.run("(() => { const b = document.querySelector('.block:not([hidden]) canvas'); b.scrollIntoView();"
                   " const r = b.getBoundingClientRect(); return [r.right - 4, r.top + 2]; })()")  # fmt: skip
    page.move(*box)
    page.wait("/^exposed, .*lived/.test(document.querySelector('.told').textContent)", 10)


def _probes_are_drawn(page: Browser) -> None:
    page.wait("document.querySelectorAll('#probes .chart:not([hidden]) .plot path.line').length >= 3", 30)
    words = page.run("document.querySelector('#probes .chart:not([hidden]) .legend').innerText")
    for encoder in ("trained", "random-init", "pixels"):
        assert re.search(rf"{encoder}\s*−?\d\.\d+", words)


def _pausing_and_resuming(page: Browser, run: LiveRun) -> None:
    page.click("#pause")
    page.wait("document.getElementById('state').textContent === 'paused'", 30)
    wait_until(lambda: all(actor.paused for actor in run.status.actors), 20, "all actors stand still")
    wait_until(lambda: run.status.learner.waiting == "paused", 20, "the learner stands still")
    wait_until(lambda: bool(run.status.evaluator and run.status.evaluator.paused), 20, "the evaluator too")
    assert run.status.phase == "paused"
    page.wait("[...document.querySelectorAll('button')].map((b) => b.disabled).join() === 'true,false,false'", 20)
    before = run.status
    time.sleep(3.0)
    assert [actor.frames for actor in run.status.actors] == [actor.frames for actor in before.actors]
    assert run.status.learner.step == before.learner.step
    assert f"step {before.learner.step:,}" in tile(page, "loss"), "the page shows what the run says"
    page.click("#save")
    wait_until(lambda: any(row["kind"] == "save_asked" for row in run.directory.read_events()), 20, "saving was asked")
    page.wait("document.getElementById('messages').textContent.includes('save_asked')", 20)
    page.wait("!document.getElementById('resume').disabled", 20)
    page.click("#resume")
    page.wait("document.getElementById('state').textContent === 'running'", 30)
    wait_until(lambda: run.status.learner.step > before.learner.step, 60, "the learner goes on")
    wait_until(lambda: run.status.actors[0].frames > before.actors[0].frames, 30, "actors go on")


def _another_page_can_do_nothing(page: Browser, run: LiveRun) -> None:
    """A page of another server on this machine tries everything that needs no permission."""
    url = run.status.control_url
    body = (
        f"<form id=f method=post action={url}/api/pause target=t></form><iframe name=t></iframe>"
        f"<iframe src={url}/></iframe><img id=i src={url}/live/frames/actor-0>"
    )
    with elsewhere(body) as other:
        page.open(other)
        page.wait("document.readyState === 'complete'", 30)
        assert page.run("document.getElementById('i').naturalWidth") == 0
        tried = page.run(
            f"Promise.all(['cors', 'no-cors'].map((mode) => fetch('{url}/api/pause', {{method: 'POST', mode}})"
            ".then(() => mode, () => 'refused')))"
        )
        assert tried[0] == "refused"
        assert page.run(f"fetch('{url}/live/status').then((a) => a.text(), () => 'refused')") == "refused"
        page.run("document.getElementById('f').submit()")
        time.sleep(2.0)
    assert run.driver.status().phase != "paused"
    assert [row["kind"] for row in run.directory.read_events()].count("paused") == 1, "ours"


@contextmanager
def elsewhere(body: str) -> Generator[str]:
    """A page of another server on this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body.encode())

        @override
        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""What the page's server answers, and to whom, over real sockets and with a real stream."""

import io
import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from common.codec import Codec
from common.messages import Datum
from common.stream import StreamKeys
from common.wire import encode
from deploy.control.gate import TOKEN_VARIABLE
from deploy.page.frames import NewestFrames
from deploy.page.live import STATIC
from deploy.store import EmbeddedStore
from tests.deploy.page.served import NASTY, STREAM, Served, signed


def test_the_page_and_its_parts_are_served_and_nothing_is_loaded_from_elsewhere(served: Served) -> None:
    for path, kind in {"/": "text/html", **{f"/static/{name}": kind for name, kind in STATIC.items()}}.items():
        status, headers, body = served.ask(path)
        assert status == 200, path
        assert headers["content-type"].partition(";")[0] == kind
        text = body.decode()
        assert len(text) > 100
        assert not [word for word in ("https://", "//cdn", "@import", "eval(", "innerHTML") if word in text], path
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", ""), path
    page = served.ask("/")[2].decode()
    assert "style=" not in page
    assert "onclick" not in page
    assert page.count("<script") == page.count('<script type="module" src="/static/page.js"></script>') == 1


def test_every_answer_says_what_a_browser_may_do_with_it(served: Served) -> None:
    answers = [
        served.ask("/"),
        served.ask("/static/page.js"),
        served.ask("/live/status"),
        served.ask("/api/status"),
        served.ask("/nowhere"),
        served.ask("/live/status", "POST"),
        served.ask("/", Host="evil.example"),
    ]
    assert [status for status, _, _ in answers] == [200, 200, 200, 200, 404, 405, 403]
    for _, headers, _ in answers:
        policy = dict(rule.strip().split(" ", 1) for rule in headers["content-security-policy"].split(";"))
        assert policy == {
            "default-src": "'none'",
            "script-src": "'self'",
            "style-src": "'self'",
            "img-src": "'self' data:",
            "connect-src": "'self'",
            "base-uri": "'none'",
            "form-action": "'none'",
            "frame-ancestors": "'none'",
        }
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/", "/static/page.css", "/live/status", "/live/history", "/live/memory"])
def test_what_is_read_cannot_be_written(served: Served, path: str) -> None:
    status, headers, body = served.ask(path, "HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 0
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert served.ask(path, method)[0] == 405


@pytest.mark.parametrize(
    "path",
    [
        "/static/../live.py",
        "/static/..%2flive.py",
        "/static/%2e%2e/live.py",
        "/static//etc/passwd",
        "/static/index.html/../page.js",
        "/static/page.js%00",
        "/static/PAGE.JS",
        "/static/",
        "/live/frames/actor-9",
        "/live/frames/../status",
        "/live/frames/actor-0%0a",
        "/live/frames/actor-0%2f..",
        "/live/frames/*",
        "/live/",
    ],
)
def test_other_names_lead_nowhere(served: Served, path: str) -> None:
    status, _, body = served.ask(path)
    assert status == 404
    assert set(json.loads(body)) == {"error"}


def test_only_this_machine_and_this_page_get_an_answer(served: Served) -> None:
    own = f"127.0.0.1:{served.port}"
    paths = (
        "/",
        "/static/page.js",
        "/live/status",
        "/live/history",
        "/live/frames/actor-0",
        "/live/memory",
        "/api/status",
    )
    for path in (*paths, "/api/status"):
        assert served.ask(path, Host="evil.example")[0] == 403
        assert served.ask(path, Host=f"evil.example:{served.port}")[0] == 403
        assert served.ask(path, Origin="http://evil.example")[0] == 403
        assert served.ask(path, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors")[0] == 403
        assert served.ask(path, Sec_Fetch_Site="same-site", Sec_Fetch_Mode="cors")[0] == 403
        assert served.ask(path, Host=f"localhost:{served.port}")[0] in (200, 204)
        assert served.ask(path, Host=own, Origin=f"http://{own}", Sec_Fetch_Site="same-origin")[0] in (200, 204)
    assert served.ask("/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")[0] == 200, "a link may lead here"


def test_no_other_page_can_press_the_buttons(served: Served) -> None:
    own = f"127.0.0.1:{served.port}"
    pages = (
        "http://evil.example",
        "null",
        "http://localhost:3000",
        f"http://localhost:{served.port}",
        f"https://{own}",
    )
    for path in ("/api/pause", "/api/resume", "/api/save-state", "/api/shutdown"):
        for origin in pages:
            assert served.ask(path, "POST", Origin=origin)[0] == 403
        for mode in ("navigate", "no-cors", "cors"):  # a form, too, is a navigation
            assert served.ask(path, "POST", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode=mode)[0] == 403
        assert served.ask(path)[0] == 405
    assert not served.server.has_commands()
    assert served.ask("/api/pause", "POST", Origin=f"http://{own}", Sec_Fetch_Site="same-origin")[0] == 200
    assert served.server.has_commands()


def test_beyond_loopback_the_page_needs_the_token_as_well(
    store: EmbeddedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "a long enough secret")
    outside = Served(store, tmp_path, host="0.0.0.0")
    try:
        bearer = "Bearer a long enough secret"
        for path in ("/", "/static/page.js", "/live/status", "/live/frames/actor-0"):
            assert outside.ask(path)[0] == 403
            assert outside.ask(path, Authorization="Bearer wrong")[0] == 403
            assert outside.ask(path, Authorization=bearer)[0] in (200, 204)
            assert outside.ask(path, Authorization=bearer, Origin="http://localhost")[0] == 403
    finally:
        outside.close()


def test_the_status_is_strict_json_without_what_the_page_does_not_show(served: Served) -> None:
    found = served.json("/live/status")
    assert (found["run"], found["phase"], found["state"]) == ("demo", "running", "paused")
    assert found["actors"][0]["world"] == NASTY
    assert found["restarts"] == {"actor-0": 1}
    assert len(found["messages"]) == 12
    assert found["messages"][-1].startswith("message 49")
    assert "private" not in json.dumps(found)


def test_the_history_is_given_whole_and_from_a_moment(served: Served) -> None:
    for _ in range(3):
        served.page.look()
    found = served.json("/live/history")
    assert found["points"] == []
    assert found["now"][0] == 12.0
    assert found["now"][1 + found["names"].index("loss")] == 0.5
    assert found["now"][1 + found["names"].index("rankme")] is None
    assert served.json("/live/history?after=3")["spacing"] == 1.0
    for wrong in ("x", "nan", ""):
        assert served.ask(f"/live/history?after={wrong}")[0] == 400


def test_the_newest_frame_is_a_picture(served: Served, make_datum: Callable[..., Datum]) -> None:
    assert served.ask("/live/frames/actor-0")[::2] == (204, b"")
    time.sleep(1.1)
    served.write(make_datum(data=np.full((40, 60, 3), 200, np.uint8)))
    status, headers, body = served.ask("/live/frames/actor-0")
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    with Image.open(io.BytesIO(body)) as picture:
        assert picture.size == (60, 40)
        assert np.abs(np.asarray(picture).astype(int) - 200).max() < 5
    served.write(make_datum(seq=2, data=np.zeros((40, 60, 3), np.uint8)), Codec.JPEG)
    assert served.ask("/live/frames/actor-0")[2] == body, "asked of the stream once a second, whoever looks"
    time.sleep(1.1)
    served.write(make_datum(seq=3, data={"hidden": np.zeros(3, np.float32)}))
    with Image.open(io.BytesIO(served.ask("/live/frames/actor-0")[2])) as picture:
        assert np.asarray(picture).max() < 5
    assert served.ask("/live/frames/actor-1")[0] == 204


def test_what_is_no_frame_or_too_large_is_not_shown(served: Served, make_datum: Callable[..., Datum]) -> None:
    bomb: Any = encode(make_datum(seq=1), Codec.JPEG) | {b"shape": b"8000,8000,3"}
    broken: Any = encode(make_datum(seq=2)) | {b"shape": b"-1,x,3"}
    short: Any = {b"v": b"1", b"seq": b"3", b"actor": b"actor-0"}
    for number, fields in enumerate((bomb, broken, short), 1):
        served.put("actor-0", f"{number}-0", signed(fields))
    assert served.ask("/live/frames/actor-0")[0] == 204
    served.client.delete(StreamKeys(STREAM).frames("actor-1"))
    served.client.set(StreamKeys(STREAM).frames("actor-1"), b"no stream")
    assert served.ask("/live/frames/actor-1")[0] == 204


FORGERIES: dict[str, Callable[[Any], Any]] = {
    "unsigned": lambda fields: fields,
    "with another key": lambda fields: signed(fields, bytes(32)),
    "of another actor": lambda fields: signed(fields | {b"actor": b"actor-1"}),
    "used again": lambda fields: signed(fields | {b"seq": b"1"}),
}


@pytest.mark.parametrize("what", FORGERIES)
def test_what_others_wrote_is_not_shown(served: Served, make_datum: Callable[..., Datum], what: str) -> None:
    served.write(make_datum(seq=1, data=np.full((40, 60, 3), 200, np.uint8)))
    served.put("actor-0", "2-0", FORGERIES[what](encode(make_datum(seq=2, data=np.zeros((40, 60, 3), np.uint8)))))
    with Image.open(io.BytesIO(served.ask("/live/frames/actor-0")[2])) as picture:
        assert np.asarray(picture).min() > 190


def test_large_frames_are_made_small(served: Served, make_datum: Callable[..., Datum]) -> None:
    served.write(make_datum(data=np.zeros((720, 1280, 3), np.uint8)))
    with Image.open(io.BytesIO(served.ask("/live/frames/actor-0")[2])) as picture:
        assert picture.size == (480, 270)


def test_a_server_that_hangs_holds_nobody_up_for_long() -> None:
    """A listener that never answers, as Redis in trouble."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        frames = NewestFrames(f"redis://127.0.0.1:{silent.getsockname()[1]}", STREAM, key=None)
        began = time.monotonic()
        asking = [threading.Thread(target=frames.picture, args=("actor-0",)) for _ in range(8)]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
        assert frames.picture("actor-0") is None
        assert time.monotonic() - began < 3.0
        frames.close()


def test_the_map_comes_with_the_rows(served: Served, tmp_path: Path) -> None:
    empty = served.json("/live/memory")
    assert (empty["evaluations"], empty["rows"], empty["cells"], empty["behind"]) == (0, [], [], False)
    assert served.ask("/live/memory?known=0")[::2] == (204, b"")
    bits = {"bits": {"value": 1.5, "halves": [1.5, 1.5]}}
    fields = dict.fromkeys(("exposures", "admitted_step", "first_step", "last_step", "first_ns", "last_ns"))
    rows: list[dict[str, Any]] = [
        {"schema": 2, "row": "evaluation", "version": 1, "step": 9, "created_ns": 0, "system_time": 30.0, "worlds": {},
         "health": {"trained": {}}, "learner_health": {}, "memory": {"placebo": {"bits": {"value": 1.0}}}},
        {"schema": 2, "row": "experience", "version": 1, "experience": NASTY, "kind": "exposed", "visit": "v",
         "world": "w", "start": 0.0, "end": 10.0, "measures": bits, **fields},
        {"schema": 2, "row": "experience", "version": 1, "experience": "p", "kind": "placebo", "visit": "p",
         "world": "w", "start": None, "end": None, "measures": {"bits": {"not_measurable": "why"}}, **fields},
    ]  # fmt: skip
    (tmp_path / "evaluations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = served.json("/live/memory?known=0")
    assert (found["evaluations"], found["baseline"], found["cells"]) == (1, "placebo", [[0.5], [None]])
    assert found["rows"][0] == {"name": NASTY, "kind": "exposed", "world": 0, "start": 0.0, "end": 10.0}
    assert found["rows"][1]["start"] is None
    assert served.ask("/live/memory?known=1")[0] == 204

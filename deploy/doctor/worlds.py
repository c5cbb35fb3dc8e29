"""The worlds: whether actors could live in them on this machine."""

import time
from pathlib import Path

from actors.desktop import Desktop, open_desktop
from actors.worlds import check_worlds
from actors.worlds.kinds import kind_of
from actors.worlds.vrchat.log import log_folder, newest_log
from common.config.vrchat import Picture
from deploy.doctor.finding import Case, Check, Verdict, beside, fine, poor, wrong
from deploy.doctor.trial import attempt

_START = 20.0
"""Seconds that a game, or a camera, may take to show something, the start of its process included."""


def _look_at_kind(case: Case) -> Verdict:
    world = case.run.world
    if case.run.playback.recording:
        return beside("a recording takes the actors' place")
    check_worlds(world, here=case.lives_here)
    names = ", ".join(world.worlds[:3]) + (f" and {len(world.worlds) - 3} more" if len(world.worlds) > 3 else "")
    wishes = [text for wish in kind_of(world).wishes if (text := wish.missing())] if case.lives_here else []
    if wishes:
        return poor(f"{world.kind}: {names}; {'; '.join(wishes)}", "start it, then look again")
    return fine(f"{world.kind}: {names}")


def _look_at_doom(case: Case) -> Verdict:
    if not case.lives_here or case.run.world.kind != "doom":
        return beside("no actor here plays it")
    from actors.worlds.doom_folder import sweep_leftovers

    try:
        return attempt(
            "doom", case.run.world.worlds[0], patience=_START, fix="look again; if it stays so, install vizdoom again"
        )
    finally:
        sweep_leftovers()


def _look_at_camera(case: Case) -> Verdict:
    vrchat = case.run.world.vrchat
    if not case.lives_here or case.run.world.kind != "vrchat" or vrchat.picture is not Picture.CAMERA:
        return beside("no actor here looks through one")
    fix = "start OBS and its virtual camera, or set world.vrchat.camera; world.vrchat.picture window needs none"
    return attempt("camera", vrchat.camera, patience=_START, fix=fix)


def _look_at_log(case: Case) -> Verdict:
    vrchat = case.run.world.vrchat
    if not case.lives_here or case.run.world.kind != "vrchat":
        return beside("no actor here lives in VRChat")
    folder = Path(vrchat.logs) if vrchat.logs else log_folder()
    if folder is None:
        return poor("VRChat has left no log here", "start VRChat once, or set world.vrchat.logs")
    newest = newest_log(folder) if folder.is_dir() else None
    if newest is None:
        return poor(f"no log of VRChat in {folder}", "start VRChat with logging on, or set world.vrchat.logs")
    age = time.time() - newest.stat().st_mtime
    if vrchat.log_silence and age > vrchat.log_silence:
        return poor(f"{newest.name} has not grown for {age:.0f} s", "start VRChat")
    return fine(f"{newest.name} grows")


def _look_at_window(case: Case) -> Verdict:
    world = case.run.world
    of_vrchat = world.kind == "vrchat" and world.vrchat.picture is Picture.WINDOW
    if not case.lives_here or not (of_vrchat or world.kind == "screen"):
        return beside("no actor here looks at one")
    title = world.vrchat.window if of_vrchat else world.screen.title
    desktop = open_desktop()
    try:
        return _window(desktop, title)
    finally:
        desktop.close()


def _window(desktop: Desktop, title: str) -> Verdict:
    if not title:
        return fine("the whole screen")
    found = desktop.find(title)
    place = desktop.place(found) if found is not None else None
    if place is None:
        return poor(f"no window's title contains {title!r}", "open it; the actor looks for it once a second")
    if not place.shown:
        return poor(f"the window {title!r} is minimised", "show it: what is hidden cannot be captured")
    if min(place.width, place.height) < 16:
        return wrong(f"the window {title!r} is {place.width} x {place.height} pixels", "make it larger")
    return fine(f"{title!r}, {place.width} x {place.height} pixels")


CHECKS = (
    Check(name="worlds", look=_look_at_kind),
    Check(name="doom", look=_look_at_doom, patience=_START + 2.0),
    Check(name="camera", look=_look_at_camera, patience=_START + 2.0),
    Check(name="vrchat log", look=_look_at_log),
    Check(name="window", look=_look_at_window),
)

"""Ports on this machine: free where the run listens, taken where VRChat does."""

import socket
from contextlib import suppress

import psutil

from common.stream.connection import is_loopback
from deploy.doctor.finding import Case, Check, Verdict, beside, fine, poor, wrong

_UDP = socket.SOCK_DGRAM


def holder(port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> str:
    """Names the process that has a port here; nobody where it is not known, or not told to this user."""
    with suppress(psutil.Error):
        for one in psutil.net_connections("udp" if kind is _UDP else "tcp"):
            if not one.laddr or one.laddr.port != port or one.pid is None:
                continue
            if kind is _UDP or one.status == psutil.CONN_LISTEN:
                return f"{psutil.Process(one.pid).name()}, process {one.pid}"
    return "somebody"


def is_taken(host: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> bool:
    """Whether nobody else may listen at a port here.

    Raises:
        OSError: The host is none of this machine's addresses.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as tried:
        if kind is socket.SOCK_STREAM:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: those that left do not count
        tried.bind((host, 0))
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as tried:
        if kind is socket.SOCK_STREAM:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, port))
        except OSError:
            return True
    return False


def _look_at_metrics(case: Case) -> Verdict:
    port = case.run.metrics_port
    if not port:
        return beside("a free one is taken")
    if is_taken("127.0.0.1", port):
        return wrong(f"{holder(port)} has {port}", "another metrics_port, or 0 for a free one")
    return fine(f"{port} is free")


def _look_at_control(case: Case) -> Verdict:
    control = case.run.control
    if not control.enabled or not control.port:
        return beside("none is fixed")
    if is_taken(control.host, control.port):
        said = f"{holder(control.port)} has {control.port}"
        if is_loopback(control.host):
            return poor(said, "the run takes a free one and says which; or set control.port")
        return wrong(said, "another control.port")
    return fine(f"{control.host}:{control.port} is free")


def _look_at_osc(case: Case) -> Verdict:
    vrchat = case.run.world.vrchat
    if not case.lives_here or case.run.world.kind != "vrchat" or not vrchat.control:
        return beside("no actor here steers VRChat")
    if not is_loopback(vrchat.osc_host):
        return beside("VRChat is on another host")
    if is_taken(vrchat.osc_host, vrchat.osc_port, _UDP):
        return fine(f"{holder(vrchat.osc_port, _UDP)} listens at {vrchat.osc_port}")
    fix = "start VRChat and enable OSC in its action menu (Options, OSC, Enabled)"
    return poor(f"nobody listens at {vrchat.osc_port}: no control would reach VRChat", fix)


def _look_at_feedback(case: Case) -> Verdict:
    port = case.run.world.vrchat.feedback_port
    if not case.lives_here or case.run.world.kind != "vrchat" or not port:
        return beside("nothing listens to VRChat")
    if is_taken("127.0.0.1", port, _UDP):
        fix = "end it, or VRChat's --osc=9000:127.0.0.1:PORT with world.vrchat.feedback_port"
        return poor(f"{holder(port, _UDP)} has {port}: AFK and menus would go unnoticed", fix)
    return fine(f"{port} is free")


CHECKS = (
    Check(name="metrics port", look=_look_at_metrics),
    Check(name="control port", look=_look_at_control),
    Check(name="osc", look=_look_at_osc),
    Check(name="osc feedback", look=_look_at_feedback, needed=False),
)

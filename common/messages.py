"""What the parts tell each other about frames: immutable records, each field with shape and unit."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

type Frame = NDArray[np.uint8]
"""One RGB observation, uint8 [H, W, 3]."""

type Data = NDArray[Any] | Mapping[str, NDArray[Any]]
"""What one collector took in one step: a frame, another array, or arrays by name."""

type Action = NDArray[np.float32]
"""What the agent does in one step, float32 [A]; the meaning of each entry is the world's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Labels:
    """Ground truth of one frame, given by worlds that know it.

    Attributes:
        x: East-west position, in the world's own unit (Doom: map units, 32 = one metre).
        y: North-south position, same unit.
        heading: Direction of view, radians in [-pi, pi), counter-clockwise from east.
        depth: Median distance in each cell of a 3×3 grid over the picture, float32 [3, 3],
            in the renderer's 0–255 scale (Doom: 1.83 map units each, 252 and more for 460 units and more).
        objects: How many objects of each category are visible.
    """

    x: float
    y: float
    heading: float
    depth: NDArray[np.float32]
    objects: Mapping[str, int] = field(default_factory=dict[str, int])


class Unfit(StrEnum):
    """Why a frame shows no world that anything could be learned of: it is counted, and written nowhere."""

    MISSING = "missing"
    """No picture came: the window or camera is not there, minimised, or off the screen."""
    UNFOCUSED = "unfocused"
    """Another window has the keyboard: no control gets through, and what is seen may be that window."""
    BLACK = "black"
    """The picture is black."""
    FROZEN = "frozen"
    """The same picture, to the bit, for some seconds."""
    LOADING = "loading"
    """Between two worlds: a portal or a loading screen."""
    UNKNOWN_WORLD = "unknown_world"
    """Nothing tells which world this is."""
    MENU = "menu"
    """Controls have no effect: a menu is open."""
    AFK = "afk"
    """The avatar is marked as away from keyboard."""
    DISCONNECTED = "disconnected"
    """The program has quit or lost its server."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """What an environment shows its agent in one step.

    Attributes:
        frame: uint8 [H, W, 3].
        captured_ns: Wall clock at capture, nanoseconds since the epoch.
        world: Name of the world the frame was seen in, for example `freedoom2:map01`.
        visit: Number of this stay, counted from 0 by the environment; grows at each change of world.
        visit_time: Seconds of pamiq-core system time since the visit began.
        labels: Ground truth, or None where the world has none.
        unfit: Why the frame is not to be admitted; None for a good one.
    """

    frame: Frame
    captured_ns: int
    world: str
    visit: int
    visit_time: float
    labels: Labels | None = None
    unfit: Unfit | None = None


class Datum(NamedTuple):
    """One datum of one buffer of one actor, as it travels in the stream.

    A tuple, because every process makes one for every frame: a frozen dataclass takes three times as long to make.

    Attributes:
        buffer: Name of the pamiq-core buffer that it is collected for.
        actor: Name of the actor.
        seq: Number given at capture, from 1, never reused over the actor's whole life.
        visit: Id of the visit, unique within the stream.
        world: Name of the world.
        experience: Id of the experience: the visit and the number of the block in it.
        captured_ns: Wall clock at capture, nanoseconds since the epoch.
        system_time: pamiq-core system time at capture, seconds (stops during pause, scales).
        visit_time: Seconds of system time since the visit began.
        weights_version: Version of the weights that acted on this frame; 0 before the first.
        action: float32 [A].
        labels: Ground truth or None.
        data: uint8 [H, W, 3] for frames; another array or arrays by name for other pamiq-core buffers.
        ordinal: How many entries this actor had written to the stream before this one; -1 before it is written.
        sent_ns: Wall clock when the entry was last sent to the server, nanoseconds since the epoch; 0 before.
    """

    buffer: str
    actor: str
    seq: int
    visit: str
    world: str
    experience: str
    captured_ns: int
    system_time: float
    visit_time: float
    weights_version: int
    action: Action
    labels: Labels | None
    data: Data
    ordinal: int = -1
    sent_ns: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionInfo:
    """What is known of one weights version without its parameters.

    Attributes:
        version: Grows by one at each candidate, from 1.
        step: Optimiser steps done.
        created_ns: Wall clock, nanoseconds since the epoch.
        gradient_ns: Wall clock at the end of its last optimiser step, nanoseconds since the epoch; 0 without one.
        system_time: pamiq-core system time, seconds.
        digest: Hash of the encoder's parameters as published (see `common.weights`).
        published: False for a candidate that the guardrail held back.
        health: Numbers measured at this version, for example `loss` and `feature_std`.
    """

    version: int
    step: int
    created_ns: int
    gradient_ns: int = 0
    system_time: float
    digest: str
    published: bool = True
    health: Mapping[str, float] = field(default_factory=dict[str, float])

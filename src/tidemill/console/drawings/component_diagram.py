"""Diagram of the components as a ring: geometry of the stations, their labels and the links between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tidemill.console.state.components import RoomState


@dataclass(frozen=True)
class RoomStation:
    """A component on the ring; coordinates in the drawing's units."""

    room: RoomState
    number: int
    x: float
    y: float
    #: Position of the label, and which end of it is there.
    label_x: float
    label_y: float
    anchor: str


@dataclass(frozen=True)
class Link:
    """The link from one station to the next as an SVG path, with its state."""

    path: str
    #: `flows`, `stands` (the next component has no data yet) or `closes`/`open` for the link back to the start.
    state: str


@dataclass(frozen=True)
class RoomDiagram:
    """All geometry of the drawing."""

    width: float
    height: float
    cx: float
    cy: float
    radius: float
    node: float
    stations: tuple[RoomStation, ...]
    channels: tuple[Link, ...]
    #: Height of the water level in the middle, and the share of healthy components that it represents.
    water_y: float
    water: float
    inner: float
    paddles: tuple[tuple[float, float, float, float], ...]


def room_diagram(rooms: Sequence[RoomState], *, closed: bool, wide: bool) -> RoomDiagram:
    """Place `rooms` clockwise from the top; `wide` leaves space for labels next to the stations."""
    width, height, radius, node = (700.0, 560.0, 196.0, 23.0) if wide else (360.0, 360.0, 146.0, 22.0)
    cx, cy = width / 2, height / 2
    angles = [-math.pi / 2 + 2 * math.pi * i / len(rooms) for i in range(len(rooms))]
    stations = tuple(
        _station(room, i, angle, cx, cy, radius, node)
        for i, (room, angle) in enumerate(zip(rooms, angles, strict=True))
    )
    pad = (node + 7) / radius
    channels = [
        Link(
            path=_arc(cx, cy, radius, angle + pad, angle + 2 * math.pi / len(rooms) - pad),
            state=_flow(rooms, i, closed),
        )
        for i, angle in enumerate(angles)
    ]
    inner = radius - node - 24
    water = sum(room.state == "well" for room in rooms) / len(rooms)
    return RoomDiagram(
        width=width, height=height, cx=cx, cy=cy, radius=radius, node=node, stations=stations, channels=tuple(channels),
        water=water, water_y=round(cy + inner - 2 * inner * (0.05 + 0.29 * water), 1), inner=inner,
        paddles=tuple(_paddle(cx, cy, inner + 4, inner + 12, 2 * math.pi * k / 48) for k in range(48)),
    )  # fmt: skip


def _station(room: RoomState, i: int, angle: float, cx: float, cy: float, radius: float, node: float) -> RoomStation:
    cos, sin = math.cos(angle), math.sin(angle)
    away = radius + node + 16
    return RoomStation(
        room=room,
        number=i + 1,
        x=round(cx + radius * cos, 1),
        y=round(cy + radius * sin, 1),
        label_x=round(cx + away * cos, 1),
        label_y=round(cy + away * sin + (-18 if sin < -0.9 else 8 if sin > 0.85 else -4), 1),
        anchor="middle" if abs(cos) < 0.2 else "start" if cos > 0 else "end",
    )


def _flow(rooms: Sequence[RoomState], i: int, closed: bool) -> str:
    if i == len(rooms) - 1:
        return "closes" if closed else "open"
    return "stands" if rooms[i + 1].state == "waits" else "flows"


def _arc(cx: float, cy: float, radius: float, start: float, end: float) -> str:
    x0, y0 = cx + radius * math.cos(start), cy + radius * math.sin(start)
    x1, y1 = cx + radius * math.cos(end), cy + radius * math.sin(end)
    return f"M{x0:.1f} {y0:.1f}A{radius:g} {radius:g} 0 0 1 {x1:.1f} {y1:.1f}"


def _paddle(cx: float, cy: float, start: float, end: float, angle: float) -> tuple[float, float, float, float]:
    cos, sin = math.cos(angle), math.sin(angle)
    return tuple(round(v, 1) for v in (cx + start * cos, cy + start * sin, cx + end * cos, cy + end * sin))  # type: ignore[return-value]

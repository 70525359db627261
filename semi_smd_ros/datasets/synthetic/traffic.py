# SPDX-License-Identifier: Apache-2.0
"""Who is on the road: vehicles in the lanes, turning, crossing and parked; riders; people who walk and cross."""

from __future__ import annotations

import math

from .cars import draw_car
from .palette import Palette
from .people import bicycle, motorcycle, person, rider
from .primitives import TableBuilder
from .road import Road
from .scene import Bodies, free
from .tracks import Track
from .trucks import draw_bus, draw_tram, draw_truck
from .vehicles import Vehicle

_HEAVY = {'urban': 0.12, 'suburb': 0.1, 'park': 0.12, 'lot': 0.08, 'highway': 0.3, 'industrial': 0.35, 'narrow': 0.04}


def _draw(p: Palette, kind: str) -> Vehicle:
    if not p.chance(_HEAVY[kind]):
        return draw_car(p)
    return draw_bus(p) if p.chance(0.3) else draw_truck(p)


def put(b: TableBuilder, bodies: Bodies, p: Palette, vehicle: Vehicle, track: Track) -> bool:
    """Build a vehicle where it has room: fine near the ego vehicle, coarse far away."""
    if not bodies.place(track, vehicle.length / 2, vehicle.width / 2):
        return False
    gap = math.hypot(track.s - 2.0, track.lat - bodies.road.ego_lat)
    p.engine = track.moves or p.chance(0.15)
    vehicle.build(b, p, 2 if gap < 20 else (1 if gap < 45 else 0))
    return True


def traffic(b: TableBuilder, bodies: Bodies, p: Palette, road: Road) -> None:
    """Vehicles in the lanes, several of them near; none meets another or the ego vehicle in the next seconds."""
    ego = bodies.ego
    queue = p.chance(0.15)
    density = p.u(0.55, 0.9) if queue else p.u(0.08, 0.6)
    _crossing(b, bodies, p, road)
    # The ego's own lane keeps its pace, or it would be run into.
    straight = ego._replace(turn_at=1e6, angle=0.0, shift=0.0)
    if p.chance({'urban': 0.35, 'suburb': 0.06}.get(road.kind, 0.0)):
        lanes = [lane for lane in road.lanes() if abs(lane[0] - road.ego_lat) > road.lane_width / 2]
        if lanes:
            lat, way = min(lanes, key=lambda lane: abs(lane[0]))
            for s in (p.u(-30, 30), p.u(20, 60), p.u(-60, -20)):
                track = Track(s, lat, 0.0 if way > 0 else math.pi, p.u(0.0, 8.0))
                if put(b, bodies, p, draw_tram(p), track):
                    break
    for lat, way in road.lanes():
        own = abs(lat - road.ego_lat) < road.lane_width / 2
        pace = p.u(0.0, 2.0) if queue else (ego.speed * p.u(0.75, 1.25) if way > 0 else p.u(3.0, 17.0))
        slow = 0.0 if queue or p.chance(0.75) else p.u(-3.0, -0.7)
        middle = straight if own else Track(0.0, lat, speed=pace, accel=slow, top=max(pace, 1.0))
        for near in (True, False):
            _lane(b, bodies, p, middle._replace(lat=lat, heading=0.0 if way > 0 else math.pi), density, near, own)
    _changing(b, bodies, p, road)
    for _ in range(int(p.u(0, 3.0)) if road.kind != 'highway' else 0):
        side = -1 if p.chance(0.6) else 1
        edge = road.right_edge if side < 0 else road.left_edge
        lat = edge - side * p.u(0.5, 0.9)
        track = Track(p.u(-18, 40), lat, 0.0 if side < 0 else math.pi, p.u(2.5, 6.5))
        if bodies.place(track, 0.95, 0.4):
            rider(b, p, motor=False)
    bodies.world()


def _lane(b: TableBuilder, bodies: Bodies, p: Palette, track: Track, density: float, near: bool, own: bool) -> None:
    """Fill a lane: first the few places about the ego vehicle, then the rest."""
    kind = bodies.road.kind
    if near:
        # Over half of what is hard to see right is a vehicle at 3 to 10 m.
        if own:
            starts = [s for s in (p.u(8.0, 16.0), -p.u(7.5, 15.0)) if p.chance(0.4)]
        else:
            starts = [p.u(-10.0, 11.0)] if p.chance(0.42) else []
    else:
        starts, s = [], -75.0 + p.u(0, 12)
        while s < 140:
            if p.chance(density):
                starts.append(s)
            s += p.u(8.0, 24.0)
    for s in starts:
        lat = track.lat + p.u(-0.2, 0.2)
        here = track._replace(s=s, lat=lat)
        if p.chance(0.05):
            if bodies.place(here, 1.1, 0.45):
                rider(b, p, motor=True)
        else:
            # A lorry right beside hides all else: fewer of them there.
            put(b, bodies, p, draw_car(p) if near and not own and p.chance(0.5) else _draw(p, kind), here)


def _changing(b: TableBuilder, bodies: Bodies, p: Palette, road: Road) -> None:
    """Somebody overtakes: faster than the rest, over to the next lane."""
    lanes = [lat for lat, way in road.lanes() if way > 0]
    for _ in range(2 if len(lanes) > 1 else 0):
        k = int(p.u(0, len(lanes)))
        other = lanes[k - 1] if k else lanes[1]
        speed = bodies.ego.speed + p.u(0.5, 5.0)
        over = max(15.0, speed * 3.0)
        track = Track(p.u(-25, 20), lanes[k], speed=speed, shift=other - lanes[k], shift_at=p.u(-8, 4), shift_over=over)
        put(b, bodies, p, draw_car(p), track)


def _crossing(b: TableBuilder, bodies: Bodies, p: Palette, road: Road) -> None:
    """Vehicles in the side street: waiting, coming out and turning, driving across."""
    j = road.junction
    if j is None:
        return
    for arm in j.arms:
        edge = road.right_edge if arm < 0 else road.left_edge
        corner = (j.s1 - j.s0 - j.carriageway) / 2
        quarter = j.carriageway / 4
        # Towards the main road on the right of the street, seen in the direction of travel.
        towards, away = j.middle - arm * -quarter, j.middle + arm * -quarter
        lat = edge + arm * (corner + p.u(3.0, 5.0))
        speed, accel = (0.0, 0.0) if p.chance(0.45) else (p.u(1.5, 5.0), p.u(0.0, 1.0))
        first = Track(towards, lat, -arm * math.pi / 2, speed, accel, 6.0, swerve=0.0)
        if speed and j.island <= 0.0 and p.chance(0.8):
            lanes = [a for a, w in road.lanes() if w * arm < 0]
            if lanes:
                target = min(lanes, key=lambda a: abs(a - edge))
                radius = 6.0
                first = first._replace(turn_at=abs(lat - target) - radius, radius=radius, angle=-math.pi / 2)
        if p.chance(0.7):
            put(b, bodies, p, _draw(p, road.kind), first)
        for k in range(int(p.u(0, 3))):
            waiting = first._replace(lat=lat + arm * 8.0 * (k + 1), speed=0.0, accel=0.0)
            put(b, bodies, p, draw_car(p), waiting)
        for _ in range(int(p.u(0, 2.5))):
            leaving = Track(away, edge + arm * (corner + p.u(4.0, 40.0)), arm * math.pi / 2, p.u(0.0, 9.0), swerve=0.0)
            put(b, bodies, p, draw_car(p), leaving)


def parked(b: TableBuilder, bodies: Bodies, p: Palette, road: Road, side: int, edge: float) -> None:
    """Vehicles at the kerb, or nose to the kerb on a parking lot."""
    still = Track(0.0, 0.0, swerve=0.0)
    if road.kind == 'lot':
        for row in range(int(p.u(1, 3))):
            lat = edge - side * (2.7 + row * 9.0)
            for i in range(-14, 24):
                if p.chance(0.55):
                    turn = side * math.pi / 2 * (1 if p.chance(0.7) else -1) + p.u(-0.05, 0.05)
                    track = still._replace(s=i * 2.6 + 1.3, lat=lat + p.u(-0.25, 0.25), heading=turn)
                    put(b, bodies, p, draw_car(p), track)
        return
    lanes = [lat for lat, _ in road.lanes() if lat * side > 0] or [road.ego_lat]
    bay = abs(edge) - max(abs(lat) for lat in lanes) - road.lane_width / 2
    chance = {'urban': 0.75, 'suburb': 0.55, 'park': 0.3, 'industrial': 0.6, 'narrow': 0.3, 'highway': 0.15}[road.kind]
    if bay < 1.6 or not p.chance(chance):
        return
    fill, s = p.u(0.35, 0.9) if road.kind != 'highway' else 0.04, -60.0 + p.u(0, 5)
    while s < 95:
        vehicle = draw_car(p) if p.chance(0.93) else draw_truck(p)
        if p.chance(fill) and free(road, s, 6.0, side):
            turn = math.pi if (side > 0) != p.chance(0.1) else 0.0
            lat = edge - side * (vehicle.width / 2 + p.u(0.12, 0.3))
            put(b, bodies, p, vehicle, still._replace(s=s, lat=lat, heading=turn + p.u(-0.03, 0.03)))
        s += vehicle.length + p.u(0.6, 2.5)


def walkers(b: TableBuilder, bodies: Bodies, p: Palette, road: Road, side: int, edge: float, margin: float) -> None:
    """People on the pavement and crossing the road, and parked two-wheelers."""
    many = {'urban': 9, 'suburb': 5, 'park': 4, 'lot': 7, 'highway': 0.6, 'industrial': 4, 'narrow': 7}[road.kind]
    for _ in range(int(p.u(0, many))):
        lat, s = edge + side * p.u(0.4, max(0.7, margin)), p.u(-15, 45)
        _somebody(b, bodies, p, Track(s, lat, 0.0 if p.chance(0.5) else math.pi, p.u(0.7, 1.7), swerve=0.0))
    if road.kind != 'highway' and p.chance(0.45):
        places = [(s0 + s1) / 2 for s0, s1, _, _, stripes in road.marks.zebras_z5 if stripes > 0.0] or [p.u(5, 35)]
        s = places[int(p.u(0, len(places)))]
        for _ in range(int(p.u(1, 4))):
            lat = edge - side * p.u(-1.0, 5.0)
            _somebody(b, bodies, p, Track(s + p.u(-1, 1), lat, -side * math.pi / 2, p.u(0.7, 1.9), swerve=0.0))
    if p.chance(0.35):
        start = p.u(-15, 30)
        for k in range(int(p.u(1, 6))):
            turn = p.u(1.3, 1.8)
            track = Track(start + 0.75 * k, edge + side * p.u(0.8, 1.1), turn, swerve=0.0)
            if margin > 1.5 and free(road, track.s, 1.0, side) and bodies.place(track, 0.9, 0.32):
                (motorcycle if p.chance(0.35) else bicycle)(b, p)
    bodies.world()


def _somebody(b: TableBuilder, bodies: Bodies, p: Palette, track: Track) -> None:
    if p.chance(0.25):
        track = track._replace(speed=0.0, heading=p.u(-3, 3))
    if bodies.place(track, 0.35, 0.35):
        person(b, p, track.moves)

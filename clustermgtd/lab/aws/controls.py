"""What the lab can do to EC2 that no customer can: `POST /lab/ec2/<verb>` with JSON, `GET /lab/ec2/state`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal, Self

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from clustermgtd.lab.ec2.buckets import REQUEST_BUCKETS, RESOURCE_BUCKETS, Bucket
from clustermgtd.lab.ec2.model import Ec2Model
from clustermgtd.lab.ec2.records import Ec2Error, ScheduledEvent
from clustermgtd.lab.ec2.scenario import ReservationSpec


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _OneInstance(_Strict):
    instance_id: str


class _SpotReclaim(_OneInstance):
    notice_s: Annotated[float, Field(ge=0)] = 120.0
    action: Literal["terminate", "hibernate"] = "terminate"


class _Interrupt(_OneInstance):
    notice_s: Annotated[float, Field(gt=0)] = 120.0


class _BlockEnd(_Strict):
    reservation: str
    ends_at: float


class _SetCapacity(_Strict):
    instance_type: str
    zone: str
    market: Literal["on-demand", "spot"] = "on-demand"
    capacity: Annotated[int, Field(ge=0)] | None = None


class _SetReservation(_Strict):
    """A capacity reservation; without a type EC2 forgets it."""

    id: Annotated[str, Field(pattern=r"^cr-[0-9a-z]+$")]
    instance_type: str = ""
    zone: str = ""
    count: Annotated[int, Field(ge=1)] = 1
    targeted: bool = False
    kind: Literal["default", "capacity-block"] = "default"
    starts_at: Annotated[float, Field(ge=0)] = 0.0
    ends_at: Annotated[float, Field(ge=0)] | None = None


class _Throttle(_Strict):
    """A token bucket; without a size the limit is lifted."""

    kind: Literal["request", "resource"]
    bucket: str
    size: Annotated[float, Field(ge=0)] | None = None
    refill_per_s: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _exists(self) -> Self:
        known = REQUEST_BUCKETS if self.kind == "request" else RESOURCE_BUCKETS
        if self.bucket not in known:
            raise ValueError(f"there is no such bucket; there are {', '.join(sorted(known))}")
        return self


class _Console(_OneInstance):
    text: str


class _Status(_OneInstance):
    system: Literal["ok", "impaired", "insufficient-data"] = "ok"
    instance: Literal["ok", "impaired", "insufficient-data"] = "ok"


class _Schedule(_OneInstance):
    event_id: str
    code: Literal["instance-reboot", "system-reboot", "system-maintenance", "instance-retirement", "instance-stop"]
    description: str = ""
    not_before: float
    not_after: float


class Controls:
    """The lab's handles on a model."""

    def __init__(self, model: Ec2Model, clock: Callable[[], float], pump: Callable[[], None]) -> None:
        self._model = model
        self._clock = clock
        self._pump = pump

    def add_routes(self, application: web.Application) -> None:
        verbs: dict[str, tuple[type[_Strict], Callable[[Any, float], None]]] = {
            "spot-reclaim": (_SpotReclaim, self._spot_reclaim),
            "kill": (_OneInstance, lambda p, now: self._model.kill_instance(p.instance_id, now)),
            "rebalance": (_OneInstance, lambda p, now: self._model.recommend_rebalance(p.instance_id, now)),
            "reservation-interrupt": (_Interrupt, self._interrupt),
            "block-ending": (_BlockEnd, self._block_end),
            "set-capacity": (_SetCapacity, self._set_capacity),
            "set-reservation": (_SetReservation, self._set_reservation),
            "throttle": (_Throttle, self._throttle),
            "console": (_Console, self._console),
            "status": (_Status, self._status),
            "schedule": (_Schedule, self._schedule),
        }
        application.router.add_get("/lab/ec2/state", self._state)
        for verb, (parameters, act) in verbs.items():
            application.router.add_post(f"/lab/ec2/{verb}", self._handler(parameters, act))

    def _handler(
        self, parameters: type[_Strict], act: Callable[[Any, float], None]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            try:
                act(parameters.model_validate_json(await request.read() or b"{}"), self._clock())
            except ValidationError as error:
                return web.json_response(
                    {"error": json.loads(error.json(include_url=False, include_context=False))}, status=400
                )
            except Ec2Error as error:
                return web.json_response({"error": error.message, "code": error.code}, status=400)
            self._pump()
            return web.json_response({})

        return handle

    def _spot_reclaim(self, p: _SpotReclaim, now: float) -> None:
        self._model.spot_reclaim(p.instance_id, now, p.notice_s, p.action)

    def _interrupt(self, p: _Interrupt, now: float) -> None:
        self._model.interrupt_reserved(p.instance_id, now, p.notice_s)

    def _block_end(self, p: _BlockEnd, now: float) -> None:
        self._model.announce_block_end(p.reservation, p.ends_at, now)

    def _set_capacity(self, p: _SetCapacity, _: float) -> None:
        self._model.set_capacity(p.instance_type, p.zone, p.market, p.capacity)

    def _set_reservation(self, p: _SetReservation, _: float) -> None:
        if p.instance_type:
            self._model.reservations.add(p.id, ReservationSpec(**p.model_dump(exclude={"id"})))
        else:
            self._model.reservations.remove(p.id)

    def _throttle(self, p: _Throttle, now: float) -> None:
        self._model.set_bucket(p.kind, p.bucket, None if p.size is None else Bucket(p.size, p.refill_per_s), now)

    def _console(self, p: _Console, _: float) -> None:
        self._model.consoles.append(self._model.instance(p.instance_id).id, p.text)

    def _status(self, p: _Status, now: float) -> None:
        id = self._model.instance(p.instance_id).id
        self._model.statuses.set(id, system=p.system, instance=p.instance, since=now)

    def _schedule(self, p: _Schedule, now: float) -> None:
        event = ScheduledEvent(p.event_id, p.code, p.description, p.not_before, p.not_after)
        self._model.schedule_event(p.instance_id, event, now)

    async def _state(self, _: web.Request) -> web.Response:
        self._pump()
        records = self._model.instances()
        return web.json_response(
            {
                "instances": [
                    {
                        "id": r.id,
                        "state": r.state,
                        "instance_type": r.instance_type,
                        "zone": r.zone,
                        "subnet": r.subnet,
                        "market": r.market,
                        "private_address": r.private_address,
                        "launched_at": r.launched_at,
                        "changed_at": r.changed_at,
                        "state_reason": r.state_reason_code,
                        "fleet_id": r.fleet_id,
                        "tags": dict(r.tags),
                    }
                    for r in records
                ],
                "instances_by_state": dict(sorted(Counter(r.state for r in records).items())),
                "zones": list(self._model.scenario.zones()),
                "calls": dict(sorted(self._model.calls.items())),
                "pools": [
                    {"instance_type": t, "zone": z, "market": m, "used": used}
                    for (t, z, m), used in self._model.capacity.used().items()
                ],
            }
        )

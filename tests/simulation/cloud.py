"""The lab's EC2 model behind the two calls that the simulated daemon makes, and what EC2's truth is."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace

from clustermgtd.adapters.aws.error_codes import kind_of
from clustermgtd.errors import ConfigurationError, PermanentError, ThrottledError, TransientError
from clustermgtd.lab.ec2.model import Ec2Model
from clustermgtd.lab.ec2.records import (
    Ec2Error,
    Ec2Event,
    FleetConfig,
    FleetOverride,
    FleetRequest,
    InstanceRecord,
    MarketOptions,
    TemplateRef,
)
from clustermgtd.lab.ec2.scenario import Faults, Scenario
from clustermgtd.model.claim import Launch, LaunchedInstance, LaunchError, LaunchResult, TerminateResult
from clustermgtd.model.failure import RETRIED, FailureKind
from clustermgtd.model.ids import InstanceId, InstanceType, LaunchToken, QueueName, SubnetId
from clustermgtd.model.instance import Instance, InstanceState
from clustermgtd.model.offering import Market, Offering

TOKEN_TAG = "clustermgtd:launch-token"
QUEUE_TAG = "clustermgtd:queue"


class Cloud:
    """EC2 as the daemon meets it."""

    def __init__(self, scenario: Scenario, rng: random.Random) -> None:
        self._rng = rng
        self.model = Ec2Model(scenario, rng)
        self.templates: dict[str, TemplateRef] = {}
        """By the name that policies use; others have no template."""
        self.refuses_until = 0.0
        """Somebody broke the permissions: launches are refused for good until then, replays of lost calls too."""

    def launch(self, launch: Launch, now: float, client_token: str | None = None) -> LaunchResult:
        """CreateFleet; `client_token` replaces the launch's own only to plant a bug."""
        if now < self.refuses_until:
            raise ConfigurationError("You are not authorized to perform this operation.", code="UnauthorizedOperation")
        request = launch.request
        options = MarketOptions(
            strategy="lowest-price",
            min_target=request.minimum if request.minimum > 1 else 0,
            single_instance_type=request.minimum > 1 and len({o.instance_type for o in request.offerings}) == 1,
            single_zone=request.minimum > 1 and len({o.subnet for o in request.offerings}) == 1,
            reservations_first=True,
        )
        overrides = tuple(FleetOverride(o.instance_type, o.subnet) for o in request.offerings)
        try:
            reply = self.model.create_fleet(
                FleetRequest(
                    total=request.count,
                    configs=(FleetConfig(self.templates.get(request.template.id), overrides),),
                    default_market=request.market,
                    on_demand=options,
                    spot=options,
                    client_token=launch.token if client_token is None else client_token,
                    instance_tags={TOKEN_TAG: launch.token, QUEUE_TAG: request.queue, **dict(request.job_tags.values)},
                ),
                now,
            )
        except Ec2Error as error:
            assert error.code != "IdempotentParameterMismatch", f"{launch.token} was replayed as another request"
            if error.code == "ReplyLost" and self._rng.random() < 0.1:
                self.refuses_until = now + self._rng.choice([15.0, 120.0])
            raise _translated(error) from error
        return LaunchResult(
            tuple(
                LaunchedInstance(InstanceId(i), _offering(group.pool.instance_type, group.pool.subnet, group.market))
                for group in reply.instances
                for i in group.ids
            ),
            tuple(
                LaunchError(
                    _offering(e.pool.instance_type, e.pool.subnet, e.market), e.code, e.message, kind_of(e.code)
                )
                for e in reply.errors
            ),
        )

    def instances(self, now: float) -> dict[InstanceId, Instance]:
        try:
            records = self.model.describe_instances(now)
        except Ec2Error as error:
            raise _translated(error) from error
        return {InstanceId(r.id): _instance(r) for r in records}

    def terminate(self, instances: tuple[InstanceId, ...], now: float) -> TerminateResult:
        """One call an instance, which is what the adapter's fallback comes down to."""
        accepted: set[InstanceId] = set()
        refused: list[tuple[InstanceId, str]] = []
        for instance in instances:
            try:
                self.model.terminate_instances([instance], now)
            except Ec2Error as error:
                if error.code == "InvalidInstanceID.NotFound":
                    accepted.add(instance)
                else:
                    refused.append((instance, error.code))
            else:
                accepted.add(instance)
        return TerminateResult(frozenset(accepted), tuple(refused))

    def stop(self, instance: InstanceId, now: float) -> None:
        """Somebody stops it in the console, if EC2 lets them."""
        with suppress(Ec2Error):
            self.model.stop_instances([instance], now)

    def advance(self, now: float) -> list[Ec2Event]:
        return list(self.model.advance(now))

    def end_trouble(self, now: float) -> None:
        """No fault and no throttle from now on; the read lag stays."""
        model = self.model
        model.scenario = replace(model.scenario, faults=Faults())
        model.capacity._quotas = {}
        self.refuses_until = 0.0
        model._life._scenario = model.scenario
        for name in model.scenario.request_buckets:
            model.set_bucket("request", name, None, now)
        for name in model.scenario.resource_buckets:
            model.set_bucket("resource", name, None, now)

    def live(self) -> dict[InstanceId, InstanceRecord]:
        """The truth, without lag."""
        return {InstanceId(r.id): r for r in self.model.live_instances()}


def _translated(error: Ec2Error) -> Exception:
    kind = kind_of(error.code)
    if kind is FailureKind.THROTTLED:
        return ThrottledError(str(error), code=error.code)
    if kind in RETRIED or error.code == "ReplyLost":
        return TransientError(str(error), code=error.code)
    if kind is FailureKind.CONFIGURATION:
        return ConfigurationError(str(error), code=error.code)
    return PermanentError(str(error), code=error.code)


def _offering(instance_type: str, subnet: str, market: str) -> Offering:
    return Offering(InstanceType(instance_type), SubnetId(subnet), Market(market))


def _instance(record: InstanceRecord) -> Instance:
    return Instance(
        InstanceId(record.id),
        InstanceState(record.state),
        LaunchToken(record.tags.get(TOKEN_TAG, "")),
        record.launched_at,
        InstanceType(record.instance_type),
        record.zone,
        SubnetId(record.subnet),
        record.is_spot,
        record.private_address,
        record.state_reason_code,
        QueueName(record.tags.get(QUEUE_TAG, "")),
    )

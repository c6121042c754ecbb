"""`Clustermgtd.Gangs`: jobs that keep what arrived."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from clustermgtd.decide.capacity import MINIMUM_MAX
from clustermgtd.model.gang import GangOrder, GangPolicy
from clustermgtd.settings.section import Section

_DEFAULT = GangPolicy()


class Gangs(Section):
    """Jobs of several nodes: their order, and which keep what arrived, under every `ScalingStrategy`."""

    keep_above_nodes: Annotated[int, Field(ge=0, le=MINIMUM_MAX)] = _DEFAULT.keep_above
    """Jobs with more nodes are collected over several launches in one zone (in several if none has something for all of
    their compute resources), and keep what arrived; 0 is all jobs of several nodes. Smaller ones are served as
    `ScalingStrategy` says. 1,000 is the most that EC2 launches whole."""
    hold_seconds: Annotated[float, Field(ge=0)] = _DEFAULT.hold_s
    """How long a job that came short keeps its instances, seconds since it came short. Then Slurm requeues it, and its
    instances stay until Slurm powers their idle nodes down."""
    hold_cost_max: Annotated[float, Field(ge=0)] = _DEFAULT.hold_cost_max
    """US dollars that one job's instances may cost from then on. Those of unknown price count only against the time."""
    order: Annotated[GangOrder, Field(strict=False)] = _DEFAULT.order
    """Which job is served first: `priority` (Slurm's, then smaller jobs first), `priority-largest-first`,
    `largest-first`, `smallest-first` or `arrival`. Jobs that have a part of their nodes come before all others."""

    @property
    def policy(self) -> GangPolicy:
        """As decisions see it."""
        return GangPolicy(self.keep_above_nodes, self.hold_seconds, self.hold_cost_max, self.order)

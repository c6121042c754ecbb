"""Service Quotas behind the port `QuotaSource`."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.errors import NotFoundError
from clustermgtd.model.offering import Market
from clustermgtd.model.quota import QuotaClass, QuotaKey, Quotas

DEADLINE_S = 20.0

_C = QuotaClass
QUOTA_CODES: Mapping[QuotaKey, str] = {
    **{
        QuotaKey(quota_class, Market.ON_DEMAND): code
        for quota_class, code in {
            _C.STANDARD: "L-1216C47A",  # Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances
            _C.G_VT: "L-DB2E81BA",
            _C.P: "L-417A185B",
            _C.X: "L-7295265B",
            _C.F: "L-74FC7D96",
            _C.HPC: "L-F7808C92",
            _C.INF: "L-1945791B",
            _C.TRN: "L-2C3B7624",
            _C.DL: "L-6E869C2A",
            _C.HIGH_MEMORY: "L-43DA4232",
        }.items()
    },
    **{
        QuotaKey(quota_class, Market.SPOT): code
        for quota_class, code in {
            _C.STANDARD: "L-34B43A08",  # All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests
            _C.G_VT: "L-3819A6DF",
            _C.P: "L-7212CCBC",  # in some accounts P5 is still apart, as L-C4BD4855
            _C.X: "L-E3A00192",
            _C.F: "L-88CF9481",
            _C.INF: "L-B5D1601B",
            _C.TRN: "L-6B0D517C",
            _C.DL: "L-85EED4F7",
        }.items()
    },
}
"""Service Quotas' codes of EC2's vCPU quotas. Spot knows no quota for HPC and high-memory types."""


class AwsQuotas:
    """The account's applied quotas in one Region."""

    def __init__(self, session: AwsSession) -> None:
        self._session = session

    async def quotas(self, keys: Collection[QuotaKey]) -> Quotas:
        """One GetServiceQuota call for each key."""
        found: dict[QuotaKey, float] = {}
        for key in sorted(set(keys) & QUOTA_CODES.keys()):
            parameters = {"ServiceCode": "ec2", "QuotaCode": QUOTA_CODES[key]}
            try:
                reply = await self._session.call("service-quotas", "get_service_quota", parameters, DEADLINE_S)
            except NotFoundError:
                continue
            found[key] = float(reply["Quota"]["Value"])
        return found

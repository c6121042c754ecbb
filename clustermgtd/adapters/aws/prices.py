"""The Price List API and EC2's spot price history behind the port `PriceSource`."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.errors import IncompleteObservationError, PermanentError
from clustermgtd.model.ids import InstanceType, SubnetId
from clustermgtd.ports.clock import Clock

DEADLINE_S = 20.0
PAGES_MAX = 200
SUBNETS_PER_CALL = 200
"""EC2's bound of values in one filter."""
TYPES_PER_CALL = 100
_LINUX = "Linux/UNIX"


class AwsPrices:
    """Prices of one Region."""

    def __init__(self, session: AwsSession, clock: Clock) -> None:
        self._session = session
        self._clock = clock

    async def on_demand(self, instance_types: Collection[InstanceType]) -> Mapping[InstanceType, float]:
        """One GetProducts call for each type: the list of a whole Region is hundreds of megabytes."""
        found: dict[InstanceType, float] = {}
        for name in sorted(set(instance_types)):
            prices = [price async for product in self._products(name) for price in _hourly_dollars(product)]
            if prices:
                found[name] = min(prices)
        return found

    async def spot(
        self, instance_types: Collection[InstanceType], subnets: Collection[SubnetId]
    ) -> Mapping[tuple[InstanceType, SubnetId], float]:
        """DescribeSubnets for the zones, then DescribeSpotPriceHistory, page by page."""
        zone_of = await self._zones(subnets)
        if not zone_of or not instance_types:
            return {}
        by_pool: dict[tuple[str, str], tuple[datetime, float]] = {}
        names = sorted(set(instance_types))
        for start in range(0, len(names), TYPES_PER_CALL):
            parameters = {
                "InstanceTypes": names[start : start + TYPES_PER_CALL],
                "ProductDescriptions": [_LINUX],
                # from now on: EC2 answers with the price in force
                "StartTime": datetime.fromtimestamp(self._clock.now(), UTC),
                "Filters": [{"Name": "availability-zone", "Values": sorted(set(zone_of.values()))}],
            }
            async for entry in self._pages("describe_spot_price_history", parameters, "SpotPriceHistory"):
                pool = (str(entry["InstanceType"]), str(entry["AvailabilityZone"]))
                seen = (entry["Timestamp"], float(entry["SpotPrice"]))
                by_pool[pool] = max(seen, by_pool.get(pool, seen))
        return {
            (name, subnet): by_pool[name, zone][1]
            for name in names
            for subnet, zone in sorted(zone_of.items())
            if (name, zone) in by_pool
        }

    async def _zones(self, subnets: Collection[SubnetId]) -> dict[SubnetId, str]:
        zones: dict[SubnetId, str] = {}
        ids = sorted(set(subnets))
        for start in range(0, len(ids), SUBNETS_PER_CALL):
            # a filter, because an id that does not exist would fail a call by ids
            parameters = {"Filters": [{"Name": "subnet-id", "Values": ids[start : start + SUBNETS_PER_CALL]}]}
            async for entry in self._pages("describe_subnets", parameters, "Subnets"):
                zones[SubnetId(entry["SubnetId"])] = str(entry["AvailabilityZone"])
        return zones

    async def _pages(self, operation: str, parameters: Mapping[str, Any], key: str) -> Any:
        """The entries of every page of an EC2 call.

        Raises:
            IncompleteObservationError: there are more than `PAGES_MAX` pages.
        """
        asked = dict(parameters)
        for _ in range(PAGES_MAX):
            reply = await self._session.call("ec2", operation, asked, DEADLINE_S)
            for entry in reply.get(key, ()):
                yield entry
            if not reply.get("NextToken"):
                return
            asked["NextToken"] = reply["NextToken"]
        raise IncompleteObservationError(f"{operation} did not end after {PAGES_MAX} pages")

    async def _products(self, instance_type: InstanceType) -> Any:
        """The price list's products that are one hour of the type, as parsed JSON."""
        attributes = {
            "instanceType": instance_type,
            "regionCode": self._session.region,
            "operatingSystem": "Linux",
            "tenancy": "Shared",
            "preInstalledSw": "NA",
            "capacitystatus": "Used",
        }
        parameters: dict[str, Any] = {
            "ServiceCode": "AmazonEC2",
            "Filters": [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in attributes.items()],
        }
        for _ in range(PAGES_MAX):
            reply = await self._session.call("pricing", "get_products", parameters, DEADLINE_S)
            for text in reply.get("PriceList", ()):
                try:
                    yield json.loads(text)
                except ValueError as error:
                    raise PermanentError(f"the price list's entry for {instance_type} is not JSON") from error
            if not reply.get("NextToken"):
                return
            parameters["NextToken"] = reply["NextToken"]
        raise IncompleteObservationError(f"GetProducts did not end after {PAGES_MAX} pages")


def _hourly_dollars(product: Any) -> Iterator[float]:
    """Prices of an hour on demand in one product of the price list; none where the currency is another one.

    Raises:
        PermanentError: the product is not of the form that AWS documents.
    """
    try:
        for term in product["terms"].get("OnDemand", {}).values():
            for dimension in term["priceDimensions"].values():
                dollars = float(dimension["pricePerUnit"].get("USD", 0))
                if dimension["unit"] == "Hrs" and dollars > 0:
                    yield dollars
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise PermanentError(f"the price list cannot be read: {error!r}") from error

"""Prices and quotas over the wire: the lab's EC2, and a price list as a test wrote it down."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import pytest
from aiohttp import web

from clustermgtd.adapters.aws.prices import AwsPrices
from clustermgtd.adapters.aws.quotas import QUOTA_CODES, AwsQuotas
from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.adapters.system.loop_clock import LoopClock
from clustermgtd.errors import ClustermgtdError, ConfigurationError, PermanentError, ThrottledError
from clustermgtd.lab.ec2.scenario import Scenario
from clustermgtd.model.ids import InstanceType, SubnetId
from clustermgtd.model.offering import Market
from clustermgtd.model.quota import QuotaClass, QuotaKey
from tests.contract.aws.scripted import Answer, Form, ScriptedEc2, success
from tests.contract.conftest import ServedAws

T = TypeVar("T")

A, B = SubnetId("subnet-0000000000000000a"), SubnetId("subnet-0000000000000000b")
C5, M5 = InstanceType("c5.large"), InstanceType("m5.large")


def ask(url: str, call: Callable[[AwsSession], Awaitable[T]], region: str = "us-east-1") -> T:
    async def run() -> T:
        async with AwsSession(region, endpoint_url=url) as session:
            return await call(session)

    return asyncio.run(run())


def prices(session: AwsSession) -> AwsPrices:
    return AwsPrices(session, LoopClock())


def test_spot_prices_are_those_of_the_subnets_zones(serve: Callable[[Scenario], Any]) -> None:
    pools = {(C5, "us-east-1a", "spot"): 0.031, (C5, "us-east-1b", "spot"): 0.029}
    with serve(Scenario(prices=pools)) as aws:
        found = ask(aws.endpoint_url, lambda session: prices(session).spot({C5}, {A, B}))
    assert found == {(C5, A): 0.031, (C5, B): 0.029}


def test_pools_that_do_not_exist_are_left_out(serve: Callable[[Scenario], Any]) -> None:
    missing = SubnetId("subnet-0000000000000000f")
    with serve(Scenario(not_offered=frozenset({(C5, "us-east-1a")}))) as aws:
        found = ask(aws.endpoint_url, lambda session: prices(session).spot({C5, M5}, {A, missing}))
    assert set(found) == {(M5, A)}


def test_nothing_is_asked_where_there_is_nothing_to_know(aws_endpoints: ServedAws) -> None:
    async def calls(session: AwsSession) -> int:
        assert await prices(session).spot(set(), {A}) == {}
        assert await prices(session).spot({C5}, set()) == {}
        assert await prices(session).on_demand(set()) == {}
        return session.calls["ec2:describe_spot_price_history"]

    assert ask(aws_endpoints.endpoint_url, calls) == 0


def test_spot_price_history_is_read_to_its_last_page_and_the_newest_price_counts() -> None:
    def entry(zone: str, price: str, day: int) -> str:
        return (
            f"<item><instanceType>c5.large</instanceType><availabilityZone>{zone}</availabilityZone>"
            f"<spotPrice>{price}</spotPrice><timestamp>2026-08-{day:02}T00:00:00Z</timestamp></item>"
        )

    pages = {
        "": f"<spotPriceHistorySet>{entry('z1', '0.05', 2)}{entry('z1', '0.04', 1)}</spotPriceHistorySet>"
        "<nextToken>more</nextToken>",
        "more": f"<spotPriceHistorySet>{entry('z2', '0.06', 1)}{entry('z1', '0.07', 1)}</spotPriceHistorySet>",
    }

    def answer(form: Form) -> Answer:
        if form["Action"] == "DescribeSubnets":
            zones = {A: "z1", B: "z2"}
            items = "".join(
                f"<item><subnetId>{subnet}</subnetId><availabilityZone>{zone}</availabilityZone></item>"
                for subnet, zone in zones.items()
            )
            return success("DescribeSubnets", f"<subnetSet>{items}</subnetSet>")
        return success("DescribeSpotPriceHistory", pages[form.get("NextToken", "")])

    async def run() -> Mapping[tuple[InstanceType, SubnetId], float]:
        async with ScriptedEc2(answer) as ec2, AwsSession("us-east-1", endpoint_url=ec2.url) as session:
            return await prices(session).spot({C5}, {A, B})

    assert asyncio.run(run()) == {(C5, A): 0.05, (C5, B): 0.06}


class ScriptedPriceList:
    """The Price List API with products by instance type; a type may have several pages."""

    def __init__(self, pages: Mapping[str, list[list[Any]]], *, failure: str = "") -> None:
        self._pages = pages
        self._failure = failure
        self.asked: list[dict[str, str]] = []
        self.regions: list[str] = []

    async def __aenter__(self) -> str:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.regions.append(request.headers["Authorization"].split("/")[2])
        fields = {entry["Field"]: entry["Value"] for entry in body["Filters"]}
        self.asked.append(fields)
        if self._failure:
            return web.json_response({"__type": self._failure, "message": "no"}, status=400)
        pages = self._pages.get(fields["instanceType"], [[]])
        number = int(body.get("NextToken", 0))
        reply: dict[str, Any] = {"PriceList": [p if isinstance(p, str) else json.dumps(p) for p in pages[number]]}
        if number + 1 < len(pages):
            reply["NextToken"] = str(number + 1)
        return web.json_response(reply, content_type="application/x-amz-json-1.1")


def a_product(dollars: str, unit: str = "Hrs", currency: str = "USD") -> dict[str, Any]:
    """As GetProducts gives it, without what nobody reads."""
    dimension = {"unit": unit, "pricePerUnit": {currency: dollars}}
    return {"terms": {"OnDemand": {"X.Y": {"priceDimensions": {"X.Y.Z": dimension}}}, "Reserved": {}}}


def on_demand(price_list: ScriptedPriceList, *types: InstanceType, region: str = "us-east-1") -> Any:
    async def run() -> Any:
        async with price_list as url, AwsSession(region, endpoint_url=url) as session:
            return await prices(session).on_demand(types)

    return asyncio.run(run())


def test_the_price_list_gives_the_hourly_price_of_each_type() -> None:
    price_list = ScriptedPriceList({C5: [[a_product("0.0850000000")]], M5: [[a_product("0.096")]]})
    assert on_demand(price_list, M5, C5) == {C5: 0.085, M5: 0.096}
    assert price_list.asked[0] == {
        "instanceType": "c5.large",
        "regionCode": "us-east-1",
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
    }


def test_free_entries_other_units_and_currencies_and_types_without_a_product_do_not_count() -> None:
    products = [a_product("0"), a_product("99", unit="Quantity"), a_product("1", currency="CNY"), {"terms": {}}]
    price_list = ScriptedPriceList({C5: [products, [a_product("0.085")]], M5: [products]})
    assert on_demand(price_list, C5, M5, InstanceType("c99.large")) == {C5: 0.085}


@pytest.mark.parametrize(
    ("region", "asked"),
    [
        ("us-west-2", "us-east-1"),
        ("sa-east-1", "us-east-1"),
        ("eu-north-1", "eu-central-1"),
        ("ap-southeast-2", "ap-south-1"),
        ("cn-north-1", "cn-northwest-1"),
    ],
)
def test_the_price_list_is_asked_where_it_is_served(region: str, asked: str) -> None:
    price_list = ScriptedPriceList({})
    on_demand(price_list, C5, region=region)
    assert (price_list.regions, price_list.asked[0]["regionCode"]) == ([asked], region)


@pytest.mark.parametrize("product", ["not JSON", [], {"terms": []}, {"terms": {"OnDemand": {"a": {}}}}])
def test_a_price_list_of_another_form_is_an_error_and_no_price(product: Any) -> None:
    with pytest.raises(PermanentError, match="price list"):
        on_demand(ScriptedPriceList({C5: [[product]]}), C5)


@pytest.mark.parametrize(
    ("code", "kind"), [("AccessDeniedException", ConfigurationError), ("ThrottlingException", ThrottledError)]
)
def test_a_refusal_is_the_error_that_it_is(code: str, kind: type[ClustermgtdError]) -> None:
    with pytest.raises(kind):
        on_demand(ScriptedPriceList({}, failure=code), C5)


def test_a_price_list_that_is_not_served_is_an_error_like_any_other(aws_endpoints: ServedAws) -> None:
    with pytest.raises(ClustermgtdError):
        ask(aws_endpoints.endpoint_url, lambda session: prices(session).on_demand({C5}))


STANDARD = QuotaKey(QuotaClass.STANDARD, Market.ON_DEMAND)
STANDARD_SPOT = QuotaKey(QuotaClass.STANDARD, Market.SPOT)


def test_quotas_are_read_one_by_one_and_unknown_ones_are_left_out(serve: Callable[[Scenario], Any]) -> None:
    keys = {STANDARD, STANDARD_SPOT, QuotaKey(QuotaClass.HPC, Market.SPOT)}
    with serve(Scenario(quotas={"on-demand": 640})) as aws:
        assert ask(aws.endpoint_url, lambda session: AwsQuotas(session).quotas(keys)) == {STANDARD: 640.0}


def test_every_class_has_an_on_demand_quota_and_no_code_stands_for_two() -> None:
    assert {key.quota_class for key in QUOTA_CODES if key.market is Market.ON_DEMAND} == set(QuotaClass)
    assert len(set(QUOTA_CODES.values())) == len(QUOTA_CODES)


def test_without_permission_no_quota_is_known() -> None:
    async def denied(request: web.Request) -> web.Response:
        return web.json_response({"__type": "AccessDeniedException", "Message": "no"}, status=400)

    async def run() -> None:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", denied)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            async with AwsSession("us-east-1", endpoint_url=url) as session:
                with pytest.raises(ConfigurationError):
                    await AwsQuotas(session).quotas({STANDARD})
        finally:
            await runner.cleanup()

    asyncio.run(run())

"""Service Quotas for EC2, from the model: moto knows none of EC2's quotas."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from clustermgtd.adapters.aws.quotas import QUOTA_CODES
from clustermgtd.lab.ec2.scenario import Scenario

_TARGET = "ServiceQuotasV20190624.GetServiceQuota"
_KEYS = {code: key for key, code in QUOTA_CODES.items()}


def answer(request: web.Request, body: bytes, scenario: Scenario) -> web.Response | None:
    """The reply to GetServiceQuota for EC2; None for what the model does not have.

    The model counts all instances of a market together, so every class of a market has that market's quota.
    """
    if request.headers.get("X-Amz-Target") != _TARGET:
        return None
    asked: Mapping[str, Any] = json.loads(body or b"{}")
    if asked.get("ServiceCode") != "ec2":
        return None
    code = str(asked.get("QuotaCode", ""))
    key = _KEYS.get(code)
    limit = None if key is None else scenario.quotas.get(key.market)
    if key is None or limit is None:
        return _json(400, {"__type": "NoSuchResourceException", "Message": "The specified resource does not exist."})
    quota = {
        "ServiceCode": "ec2",
        "ServiceName": "Amazon Elastic Compute Cloud (Amazon EC2)",
        "QuotaCode": code,
        "QuotaName": f"{key.quota_class} {key.market}",
        "Value": float(limit),
        "Unit": "None",
        "Adjustable": True,
        "GlobalQuota": False,
    }
    return _json(200, {"Quota": quota})


def _json(status: int, body: Mapping[str, Any]) -> web.Response:
    return web.Response(status=status, body=json.dumps(body).encode(), content_type="application/x-amz-json-1.1")

"""SQS behind the port `NoticeQueue`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from clustermgtd.adapters.aws import messages
from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.ports.notice_queue import MESSAGES_MAX, Message, Verdict

CALL_DEADLINE_S = 10.0
"""Beside the time that a receive may wait."""
AHEAD_MAX_S = 300.0
"""An event that is dated so much later than the queue took it is forged: it would keep all true news out."""


class SqsNoticeQueue:
    """One queue, in the session's Region. Stateless: safe to use from several tasks."""

    def __init__(self, session: AwsSession, url: str, visibility_s: float) -> None:
        self._session = session
        self._url = url
        self._visibility_s = int(visibility_s)

    async def receive(self, wait_s: float) -> Sequence[Message]:
        """One ReceiveMessage call; SQS waits twenty whole seconds at most."""
        parameters = {
            "MaxNumberOfMessages": MESSAGES_MAX,
            "WaitTimeSeconds": int(wait_s),
            "VisibilityTimeout": self._visibility_s,
            "MessageSystemAttributeNames": ["SentTimestamp"],
        }
        reply = await self._call("receive_message", parameters, wait_s + CALL_DEADLINE_S)
        return [self._message(item) for item in reply.get("Messages", ())]

    async def delete(self, receipts: Collection[str]) -> int:
        """One DeleteMessageBatch call for ten of them, one after the other."""
        deleted = 0
        wanted = list(receipts)
        for start in range(0, len(wanted), MESSAGES_MAX):
            batch = wanted[start : start + MESSAGES_MAX]
            entries = [{"Id": str(number), "ReceiptHandle": receipt} for number, receipt in enumerate(batch)]
            reply = await self._call("delete_message_batch", {"Entries": entries}, CALL_DEADLINE_S)
            deleted += len(reply.get("Successful", ()))
        return deleted

    async def depth(self) -> int:
        """One GetQueueAttributes call."""
        parameters = {"AttributeNames": ["ApproximateNumberOfMessages"]}
        reply = await self._call("get_queue_attributes", parameters, CALL_DEADLINE_S)
        return int(reply["Attributes"]["ApproximateNumberOfMessages"])

    def _message(self, item: Mapping[str, Any]) -> Message:
        reading = messages.read(str(item.get("Body", "")), self._session.region)
        sent_at = int(item["Attributes"]["SentTimestamp"]) / 1000
        latest = max([reading.announced_at or 0.0, *(notice.announced_at for notice in reading.notices)])
        if latest > sent_at + AHEAD_MAX_S:
            return Message(item["ReceiptHandle"], sent_at, Verdict.BAD, kind=reading.kind, problem="time: ahead")
        return Message(
            receipt=item["ReceiptHandle"],
            sent_at=sent_at,
            verdict=reading.verdict,
            notices=reading.notices,
            announced_at=reading.announced_at,
            kind=reading.kind,
            problem=reading.problem,
        )

    async def _call(self, operation: str, parameters: Mapping[str, Any], deadline_s: float) -> Any:
        return await self._session.call("sqs", operation, {"QueueUrl": self._url, **parameters}, deadline_s)

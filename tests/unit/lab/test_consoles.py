"""Console logs on their way into EC2's model."""

from __future__ import annotations

from pathlib import Path

from clustermgtd.lab.consoles import ConsoleFeed


def test_every_byte_is_carried_over_once(tmp_path: Path) -> None:
    shown: dict[str, str] = {}
    feed = ConsoleFeed(tmp_path, lambda instance, text: shown.update({instance: shown.get(instance, "") + text}))
    feed.feed(["i-1"])
    (tmp_path / "i-1").mkdir()
    console = tmp_path / "i-1" / "console.log"
    console.write_text("booting\n")
    feed.feed(["i-1", "i-2"])
    feed.feed(["i-1"])
    with console.open("a") as log:
        log.write("x" * 100_000)
    feed.feed(["i-1"])
    feed.feed(["i-1"])
    assert shown == {"i-1": "booting\n" + "x" * 100_000}

"""A file of the site's own comes from S3 with the machine's rights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clustermgtd.node.fetch import FetchError, fetch
from tests.contract.conftest import QUICK


def test_an_object_of_a_bucket(serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(QUICK) as aws:
        s3 = aws.client("s3")
        s3.create_bucket(Bucket="site")
        s3.put_object(Bucket="site", Key="slurm/extra.conf", Body=b"DebugFlags=Power\n")
        s3.close()
        monkeypatch.setenv("AWS_ENDPOINT_URL", aws.endpoint_url)
        fetch("s3://site/slurm/extra.conf", tmp_path / "extra.conf")
        assert (tmp_path / "extra.conf").read_text() == "DebugFlags=Power\n"
        with pytest.raises(FetchError, match=r"^s3://site/slurm/none.conf cannot be fetched: .*NoSuchKey"):
            fetch("s3://site/slurm/none.conf", tmp_path / "none.conf", lambda _: None)

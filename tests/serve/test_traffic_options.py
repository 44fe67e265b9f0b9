"""The traffic generator and the feed refuse what they cannot work with, before they open anything."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from feature_train_serve import traffic
from feature_train_serve.simulator import feed


@pytest.mark.parametrize(("customers", "rps", "said"), [("a\n", "0", "--rps"), ("a\n", "nan", "--rps"), ("\n", "5", "names no customer")])
def test_options_that_make_no_calls_are_wrong_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], customers: str, rps: str, said: str
) -> None:
    listing, log = tmp_path / "customers.txt", tmp_path / "traffic.jsonl"
    listing.write_text(customers)
    options = ["--url", "http://127.0.0.1:1", "--customers", str(listing), "--rps", rps, "--log", str(log)]
    monkeypatch.setattr(sys, "argv", ["traffic", *options])

    with pytest.raises(SystemExit) as end:
        traffic.main()

    assert end.value.code == 2
    assert said in capsys.readouterr().err
    assert not log.exists()


def test_a_feed_without_events_is_wrong_usage(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["feed", "--store", "nowhere.db", "--rate", "0"])

    with pytest.raises(SystemExit) as end:
        feed.main()

    assert end.value.code == 2
    assert "--rate" in capsys.readouterr().err

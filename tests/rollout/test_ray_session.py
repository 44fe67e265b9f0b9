"""What the Ray session answers before it has a cluster; the cluster itself is in tests/serve."""

from __future__ import annotations

import pytest

from mlops_obs.adapters.ray_serve_session import Session
from mlops_obs.errors import TargetError


@pytest.mark.parametrize(
    ("source", "words"), [("settings['MODEL']", "NameError"), ("def predictor_app(:", "SyntaxError"), ("", "AttributeError")]
)
def test_a_serving_module_that_cannot_be_loaded_is_named_and_not_taken_for_a_missing_cluster(tmp_path, monkeypatch, source, words):
    (tmp_path / "broken_serving_app.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "broken_serving_app", raising=False)

    with pytest.raises(TargetError, match=f"broken_serving_app:predictor_app.*{words}.*OBS-RAY-008"):
        Session("127.0.0.1:1", "credit-risk", "broken_serving_app:predictor_app", None)

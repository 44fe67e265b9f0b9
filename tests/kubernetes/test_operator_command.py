"""`obs rollout operator`: what it needs is asked for before anything begins."""

import pytest
from typer.testing import CliRunner

from mlops_obs.cli import wiring
from mlops_obs.cli.rollout import app
from mlops_obs.cli.rollout_operator import _environment, _newest, _ray_serve
from mlops_obs.errors import UsageError
from mlops_obs.testing.counters import ScriptedCounters


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--metrics", "http://p"], "OBS-KUBE-017"),
        (["--metrics", "http://p", "-n", "models", "--all-namespaces"], "OBS-KUBE-017"),
        (["-n", "models"], "OBS-KUBE-018"),
    ],
)
def test_what_is_missing_is_a_usage_error(arguments, code):
    done = CliRunner().invoke(app, ["operator", *arguments])

    assert isinstance(done.exception, UsageError)
    assert done.exception.code == code


def test_an_allowed_target_on_ray_serve_is_a_module_and_a_cluster():
    assert _ray_serve("my_app:predictor_app@10.0.0.5:6379") == ("my_app:predictor_app", "10.0.0.5:6379")
    for wrong in ("my_app:predictor_app", "my_app@10.0.0.5:6379", "@"):
        with pytest.raises(UsageError, match="OBS-KUBE-021"):
            _ray_serve(wrong)


def test_options_win_over_the_environment_file(tmp_path):
    path = tmp_path / "obs.yaml"
    path.write_text(
        "service: credit-risk\nstate: state.db\nmetrics: {prometheus: http://old}\n"
        "target: {kserve: {namespace: models, name: credit-risk}}\nlinks: {dashboards: http://d, runbooks: http://r}\n"
    )

    found = _environment(path, "http://new", "http://pager", [tmp_path], {"runbooks": "http://other"})

    assert found.metrics.prometheus == "http://new"
    assert found.notify.alertmanager == "http://pager"
    assert found.slos == (tmp_path,)
    assert (found.links.dashboards, found.links.runbooks) == ("http://d", "http://other")


def test_options_alone_are_enough(tmp_path):
    found = _environment(None, "http://prometheus", "http://pager", [], {})

    assert wiring.notifier(found.model_copy(update={"service": "credit-risk"})) is not None
    assert _newest(wiring.counter_source(found)) is not None


def test_samples_are_only_asked_for_where_a_prometheus_can_answer_for_all():
    assert _newest(ScriptedCounters()) is None

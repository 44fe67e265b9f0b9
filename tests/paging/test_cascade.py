"""One fault upstream, real counters, real Prometheus, real Alertmanager: the cause is paged, its effects are not."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from alertmanager_server import until, vendors

from mlops_obs.adapters.alertmanager import alerts_of
from mlops_obs.adapters.discovery import announce
from mlops_obs.adapters.local_prometheus import LocalMonitoring, available
from mlops_obs.paging.alertmanager import render_routing
from mlops_obs.paging.routing import Delays, one_webhook
from mlops_obs.slo.rules.prometheus_rules import render_rules
from mlops_obs.slo.spec_document import parse_slos

FEATURES = parse_slos(
    {"service": "features", "team": "data", "slos": [{"name": "freshness", "objective": "0.99", "indicator": {"type": "freshness"}}]}
)
SHOP = parse_slos(
    {
        "service": "shop",
        "team": "web",
        "slos": [
            {"name": "availability", "objective": "0.99", "indicator": {"type": "availability"}, "group_by": ["revision"]},
            {"name": "journey", "objective": "0.98", "indicator": {"type": "composite", "of": ["features/freshness", "availability"]}},
        ],
    }
)
pytestmark = pytest.mark.stack


@contextmanager
def two_services_with_half_of_everything_bad(discovery: Path) -> Iterator[None]:
    born = time.monotonic()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            count = int((time.monotonic() - born) * 100)
            body = "".join(
                f"# TYPE {name} counter\n" + "".join(f"{name}{{{labels},{key}}} {count}\n" for key in outcomes)
                for name, labels, outcomes in (
                    ("mlops_obs_feature_reads_total", 'service="features",feature_view="v"', ('freshness="fresh"', 'freshness="late"')),
                    (
                        "mlops_obs_requests_total",
                        'service="shop",stage="ingress",revision="v1"',
                        ('outcome="ok"', 'outcome="error"'),
                    ),
                )
            )
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    discovery.mkdir(parents=True)
    announce(discovery, "both", f"127.0.0.1:{server.server_address[1]}")
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_fault_in_the_features_is_one_page_about_the_features(tmp_path):
    if not available():
        pytest.skip("prometheus is missing: apt-get install prometheus prometheus-alertmanager")
    slos = [*FEATURES, *SHOP]
    rules = []
    for service in (FEATURES, SHOP):
        rules.append(tmp_path / f"{service[0].service}.yaml")
        rules[-1].write_text(render_rules(service, evaluation_interval="1s", among=slos))
    delays = Delays(group_wait="1s", downstream_group_wait="8s", ticket_group_wait="8s", group_interval="1s")
    discovery = tmp_path / "discovery"
    with two_services_with_half_of_everything_bad(discovery), vendors() as server:
        config = render_routing(slos, one_webhook(f"{server.url}/hook", delays))
        with LocalMonitoring(tmp_path / "monitoring", rules, discovery, config) as monitoring:

            def firing() -> dict[tuple[str, str], bool]:
                found = alerts_of(monitoring.alertmanager_url)
                return {
                    (one["labels"]["slo"], one["labels"]["tier"]): bool(one["status"]["inhibitedBy"])
                    for one in found
                    if one["labels"]["tier"].endswith("-quick")
                }

            everything = {(slo, tier) for slo in ("freshness", "availability", "journey") for tier in ("page-quick", "ticket-quick")}
            assert until(lambda: everything <= firing().keys(), 90), "the fault burns at every stage"
            assert until(lambda: server.bodies, 30)
            time.sleep(10)
            silenced = firing()
        told = [(body["receiver"], {one["labels"]["slo"] for one in body["alerts"]}) for _, _, body in server.bodies]
        page = server.bodies[0][2]["alerts"][0]["annotations"]

    assert {receiver for receiver, _ in told} == {"data-page"}
    assert {slo for _, names in told for slo in names} == {"freshness"}
    assert [key for key, quiet in silenced.items() if not quiet] == [("freshness", "page-quick")]
    # The budget that is left lasts so long at this rate; the whole budget would last longer, and is not what is said.
    left, burn = float(page["budget_left"].rstrip("%")) / 100, float(page["burn_rate"])
    lasts = sum(
        int(number) * {"d": 86_400, "h": 3_600, "m": 60, "s": 1}[unit]
        for number, unit in re.findall(r"(\d+)([dhms])", page["time_to_exhaustion"])
    )
    assert 0 < left < 0.96
    assert lasts == pytest.approx(left * 30 * 86_400 / burn, rel=0.02)

"""What KServe's agent sends is read as its source writes it, joined in bounded memory, and counted if it is lost."""

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_obs.collectors.drift.payload_rows import columns_of_payload, predictions_of_payload
from mlops_obs.collectors.payloads import Event, EventError, Pairing, events_of

# Headers as the agent writes them: kserve pkg/logger/worker.go with the cloudevents Go SDK in binary mode.
AGENT = {
    "ce-specversion": "1.0",
    "ce-id": "36361aae-9c17-4c4a-a1f4-7d6f3bd5f3a8",
    "ce-type": "org.kubeflow.serving.inference.request",
    "ce-source": "http://localhost:9081/",
    "ce-time": "2026-11-23T10:00:00Z",
    "ce-inferenceservicename": "credit-risk",
    "ce-namespace": "lending",
    "ce-component": "predictor",
    "ce-endpoint": "",
    "ce-metadata": "{}",
    "content-type": "application/json",
}
BODY = b'{"instances": [[1.0, 2.0]]}'


def event(identity="1", kind="request", body=BODY, service="credit-risk"):
    return Event(identity, kind, service, "lending", "predictor", "v2", body)


def test_an_event_of_the_agent_is_read():
    (found,) = events_of(AGENT, BODY, "/v2")

    assert found == Event(AGENT["ce-id"], "request", "credit-risk", "lending", "predictor", "v2", BODY)


def test_structured_and_batched_events_say_the_same_as_binary_ones():
    attributes = {name.removeprefix("ce-"): value for name, value in AGENT.items() if name.startswith("ce-")}
    as_json = {**attributes, "data": json.loads(BODY)}
    as_base64 = {**attributes, "data_base64": base64.b64encode(BODY).decode()}
    structured = {"content-type": "application/cloudevents+json; charset=utf-8"}

    (one,) = events_of(structured, json.dumps(as_json).encode(), "/v2")
    (two,) = events_of(structured, json.dumps(as_base64).encode(), "/v2")
    batch = events_of({"content-type": "application/cloudevents-batch+json"}, json.dumps([as_json, as_base64]).encode(), "/v2")

    assert [one, two] == batch
    assert two == events_of(AGENT, BODY, "/v2")[0]
    assert json.loads(one.body) == json.loads(BODY)


@pytest.mark.parametrize(
    ("path", "headers", "revision"),
    [
        ("/v2", {}, "v2"),
        ("/sink/v3/?x=1", {}, "v3"),
        ("/", {}, ""),
        ("/", {"ce-source": "credit-risk-predictor-00007-deployment-7cdb7955f8-s244d"}, "credit-risk-predictor-00007"),
        ("/", {"ce-endpoint": "canary"}, "canary"),
        ("/", {"ce-endpoint": "default"}, ""),
        ("/", {"ce-annotations": '{"mlops-obs/revision": "v4"}', "ce-endpoint": "canary"}, "v4"),
        ("/", {"ce-annotations": "{"}, ""),
        ("/%0aevil{}", {}, ""),
        ("/" + "x" * 64, {}, ""),
    ],
)
def test_the_revision_is_what_the_sinks_path_says_else_what_the_event_lets_guess(path, headers, revision):
    assert events_of({**AGENT, **headers}, BODY, path)[0].revision == revision


@pytest.mark.parametrize(
    ("headers", "body", "reason"),
    [
        ({}, BODY, "not_an_event"),
        ({"ce-type": "org.kubeflow.serving.inference.feedback", "ce-id": "1"}, BODY, "another_type"),
        ({**AGENT, "ce-id": ""}, BODY, "not_an_event"),
        ({**AGENT, "ce-id": "x" * 2000}, BODY, "not_an_event"),
        ({"content-type": "application/cloudevents+json"}, b"{", "unparsable"),
        ({"content-type": "application/cloudevents+json"}, b"[" * 100_000, "unparsable"),
        ({"content-type": "application/cloudevents+json"}, b"[]", "unparsable"),
        ({"content-type": "application/cloudevents-batch+json"}, b"{}", "unparsable"),
    ],
)
def test_what_is_no_event_has_a_reason(headers, body, reason):
    with pytest.raises(EventError) as found:
        events_of(headers, body)

    assert found.value.reason == reason


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from([*AGENT, "ce-data"]), st.text(max_size=30)), st.binary(max_size=60), st.text(max_size=20))
def test_no_request_breaks_the_reader(headers, body, path):
    try:
        found = events_of({**AGENT, **headers}, body, path)
    except EventError:
        return

    assert all(one.kind in ("request", "response") for one in found)


def pairing(**options):
    lost = []
    return Pairing(lambda one, reason: lost.append((one.id, reason)), **options), lost


def test_halves_are_joined_whichever_comes_first():
    pairs, lost = pairing()

    assert pairs.add(event("1"), 0.0) is None
    assert pairs.add(event("2", "response"), 0.0) is None
    first, second = pairs.add(event("1", "response"), 1.0), pairs.add(event("2"), 1.0)

    assert [(one.request.kind, one.response.kind, one.request.id) for one in (first, second)] == [
        ("request", "response", "1"),
        ("request", "response", "2"),
    ]
    assert (len(pairs), pairs.size, lost) == (0, 0, [])


def test_the_same_id_of_a_transformer_or_of_another_service_is_another_event():
    pairs, _ = pairing()
    pairs.add(event("1"), 0.0)

    assert pairs.add(event("1", "response", service="fraud"), 0.0) is None
    assert pairs.add(Event("1", "response", "credit-risk", "lending", "transformer", "v2", b""), 0.0) is None
    assert len(pairs) == 3


def test_a_request_that_failed_waits_a_minute_and_is_given_up():
    pairs, lost = pairing(seconds=60)
    pairs.add(event("1"), 0.0)
    pairs.add(event("2"), 30.0)

    pairs.expire(60.0)

    assert lost == [("1", "unpaired")]
    assert len(pairs) == 1


def test_of_two_requests_with_one_id_the_newer_counts():
    pairs, lost = pairing()
    pairs.add(event("1", body=b"old"), 0.0)
    pairs.add(event("1", body=b"new"), 0.0)

    assert pairs.add(event("1", "response"), 0.0).request.body == b"new"
    assert lost == [("1", "duplicate")]


@pytest.mark.parametrize("bound", [{"events": 10}, {"size": 10 * len(BODY)}], ids=["events", "bytes"])
def test_memory_is_bounded_and_the_oldest_goes_first(bound):
    pairs, lost = pairing(**bound)

    for number in range(25):
        pairs.add(event(str(number)), 0.0)

    assert len(pairs) == 10
    assert pairs.size == 10 * len(BODY)
    assert lost == [(str(number), "evicted") for number in range(15)]


@pytest.mark.parametrize(
    ("body", "predictions"),
    [
        ({"predictions": [0.1, 0.2]}, [0.1, 0.2]),
        ({"outputs": [{"name": "p", "shape": [2], "datatype": "FP64", "data": [0.1, 0.2]}]}, [0.1, 0.2]),
        ({"outputs": [{"name": "p", "shape": [2, 2], "datatype": "FP64", "data": [1, 2, 3, 4]}]}, [[1, 2], [3, 4]]),
        ({"outputs": []}, None),
        ({"error": "x"}, None),
    ],
)
def test_predictions_are_one_for_each_row(body, predictions):
    assert predictions_of_payload(body) == predictions


@pytest.mark.parametrize("shape", [[2, 3], [5, 2], [-1], "x", None])
def test_tensors_whose_data_is_not_of_their_shape_are_refused_or_read_as_they_are(shape):
    body = {"inputs": [{"name": "income", "shape": shape, "datatype": "FP64", "data": [1.0, 2.0]}]}

    if isinstance(shape, list) and len(shape) == 2:
        with pytest.raises(ValueError, match="shape"):
            columns_of_payload(body, ["income", "age"])
    else:
        assert columns_of_payload(body, ["income", "age"]) == {"income": [1.0, 2.0]}

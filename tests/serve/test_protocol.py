"""The same protocol claims for both servers: KServe's own, and Ray Serve behind the weighted ingress."""

from __future__ import annotations

import httpx
import pytest

pytestmark = pytest.mark.stack
V1, V2 = "/v1/models/credit-risk:predict", "/v2/models/credit-risk/infer"


@pytest.fixture(params=["kserve", "ray"])
def http(request):
    url = request.getfixturevalue("kserve_url") if request.param == "kserve" else request.getfixturevalue("ray_stack")[0]
    with httpx.Client(base_url=url, timeout=20) as client:
        yield client


def v1(*customers):
    return {"instances": [{"customer_id": one} for one in customers]}


def v2(*customers, **changes):
    tensor = {"name": "customer_id", "datatype": "BYTES", "shape": [len(customers)], "data": list(customers), **changes}
    return {"id": "r-1", "inputs": [tensor]}


def test_v1_answers_one_probability_per_customer_in_order(http):
    answer = http.post(V1, json=v1("c64", "c32"))

    assert answer.status_code == 200
    assert answer.json() == {"predictions": [0.5, 0.25]}


def test_v1_is_understood_without_a_content_type_of_json(http):
    answer = http.post(
        V1, content=b'{"instances": [{"customer_id": "c64"}]}', headers={"content-type": "application/x-www-form-urlencoded"}
    )

    assert (answer.status_code, answer.json()) == (200, {"predictions": [0.5]})


def test_v2_answers_an_fp32_tensor_and_repeats_the_request_id(http):
    answer = http.post(V2, json=v2("c64", "c32"))

    assert answer.status_code == 200
    body = answer.json()
    assert (body["id"], body["model_name"]) == ("r-1", "credit-risk")
    [tensor] = body["outputs"]
    assert (tensor["name"], tensor["datatype"], tensor["shape"], tensor["data"]) == ("probability_of_default", "FP32", [2], [0.5, 0.25])


def test_v2_without_an_id_gets_one(http):
    answer = http.post(V2, json={"inputs": v2("c64")["inputs"]})

    assert answer.status_code == 200, answer.text
    assert answer.json()["id"]


def test_v2_metadata_names_the_tensors(http):
    body = http.get("/v2/models/credit-risk").json()

    assert body["inputs"][0]["name"] == "customer_id"
    assert body["outputs"][0]["name"] == "probability_of_default"


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        (V1, {"content": b"{not json"}),
        (V1, {"content": b""}),
        (V1, {"json": []}),
        (V1, {"json": {}}),
        (V1, {"json": {"instances": "c1"}}),
        (V1, {"json": {"instances": []}}),
        (V1, {"json": {"instances": ["c1"]}}),
        (V1, {"json": {"instances": [{"customer": "c1"}]}}),
        (V1, {"json": v1(17)}),
        (V1, {"json": v1("")}),
        (V1, {"json": v1(*["c1"] * 300)}),
        (V1, {"content": b"\xff\xfe", "headers": {"content-type": "text/plain"}}),
        (V2, {"content": b"{not json", "headers": {"content-type": "application/json"}}),
        (V2, {"json": {}}),
        (V2, {"json": {"inputs": []}}),
        (V2, {"json": v2("c1", name="customer")}),
        (V2, {"json": v2("c1", datatype="FP32")}),
        (V2, {"json": v2("c1", "c2", shape=[3])}),
        (V2, {"json": v2(1, 2)}),
        (V2, {"json": v2("c1", shape=["x"])}),
        (V2, {"content": b"abc", "headers": {"content-type": "application/octet-stream", "inference-header-content-length": "x"}}),
        (V2, {"content": b"abc", "headers": {"content-type": "application/octet-stream", "inference-header-content-length": "2"}}),
    ],
)
def test_a_bad_request_is_a_400_with_one_line_of_json(http, path, sent):
    answer = http.post(path, **sent)

    assert answer.status_code == 400, answer.text
    assert list(answer.json()) == ["error"]
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(("path", "body"), [(V1, v1("c1", "nobody")), (V2, v2("nobody"))])
def test_an_unknown_customer_is_a_404_that_names_the_customer(http, path, body):
    answer = http.post(path, json=body)

    assert (answer.status_code, answer.json()) == (404, {"error": "no features for customer nobody"})


@pytest.mark.parametrize("path", ["/v1/models/other:predict", "/v2/models/other/infer", "/nowhere"])
def test_an_unknown_model_or_path_is_a_404_in_json(http, path):
    answer = http.post(path, json=v2("c1") if "v2" in path else v1("c1"))

    assert answer.status_code == 404
    assert list(answer.json()) == ["error"]


@pytest.mark.parametrize(("path", "body"), [(V1, v1("boom")), (V2, v2("boom"))])
def test_a_failing_model_is_a_500_with_one_line_and_no_traceback(http, path, body):
    answer = http.post(path, json=body)

    assert (answer.status_code, answer.json()) == (500, {"error": "RuntimeError: amount 120000 is out of range"})


def test_a_probability_that_is_no_number_is_a_failure_not_an_answer(http):
    answer = http.post(V1, json=v1("nan"))

    assert answer.status_code == 500
    assert answer.json()["error"].startswith("ArithmeticError")

"""Serve one model package with KServe's own server: `python -m feature_train_serve.serve.kserve_server`.

This is what the container of an InferenceService runs. KServe binds every interface and cannot be told otherwise;
on a developer's machine that is a model open to the network, so the address is set here before the server binds.
"""

from __future__ import annotations

import argparse

from kserve import ModelServer
from kserve.model_server import app

from feature_train_serve.serve.predictor import CreditRiskModel
from feature_train_serve.serve.rest import mend


class LoopbackServer(ModelServer):  # type: ignore[misc]  # KServe ships no types
    """A KServe `ModelServer` that listens on `host` only."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(http_port=port, enable_grpc=False, workers=1)
        self._host = host

    async def _serve(self) -> None:
        self._rest_server.config.host = self._host
        await super()._serve()


def main() -> None:
    """Load the package, then serve it until SIGTERM."""
    parser = argparse.ArgumentParser(prog="kserve_server", description=__doc__.splitlines()[0] if __doc__ else None, allow_abbrev=False)
    parser.add_argument("--name", default="credit-risk", help="model name in the URL, and the service in metrics")
    parser.add_argument("--package", required=True, help="folder of the model package")
    parser.add_argument("--store", required=True, help="online feature store")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 in a container")
    parser.add_argument("--port", type=int, default=8080, help="HTTP port")
    options = parser.parse_args()
    model = CreditRiskModel(options.name, options.package, options.store)
    model.load()
    mend(app)
    LoopbackServer(options.host, options.port).start([model])


if __name__ == "__main__":
    main()

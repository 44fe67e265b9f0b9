"""A small client of the Kubernetes API: JSON in, JSON out, every failure translated once.

The official client finds the cluster and proves who we are. Its calls are not used, for their objects drop nulls and
unknown fields, and its pool would send a PUT a second time when the answer was lost: whoever asked must know that the
first one may have been applied. So bodies are plain mappings, a precondition is a `resourceVersion` (PUT) or a `test` of a
JSON Patch, and nothing is ever repeated here.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from mlops_obs.errors import Conflict, TargetError

Object = dict[str, Any]  # an API object as JSON
Operations = Sequence[Mapping[str, Any]]  # of a JSON Patch (RFC 6902)
Observe = Callable[[str, str, int, float], None]

JSON, JSON_PATCH = "application/json", "application/json-patch+json"
PAGE = 500  # objects per page of a list, as kubectl asks


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of objects as it stands in the URL; the core group is the empty string."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """What stands in `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the URL's path of one object, or of all in `namespace` (empty: everywhere)."""
        base = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        place = f"/namespaces/{quote(namespace, safe='')}" if namespace and self.namespaced else ""
        return base + place + "".join(f"/{quote(part, safe='')}" for part in (self.plural, name, subresource) if part)


class ApiError(TargetError):
    """The API server refused or did not answer.

    Attributes:
        status: the HTTP status; 0 if there was no answer, and then a change may or may not have been applied.
        reason: the server's word for it, e.g. `NotFound`, `Invalid`, `Expired`.
    """

    status: int = 0
    reason: str = ""

    @property
    def not_found(self) -> bool:
        """The object, or its whole kind, is not there."""
        return self.status == 404

    @property
    def gone(self) -> bool:
        """The resourceVersion of a watch or a page is too old: list again."""
        return self.status == 410


class ApiConflict(ApiError, Conflict):
    """409, or a failed `test` of a JSON Patch: somebody else was first. `already_exists` tells a create that was done before."""

    @property
    def already_exists(self) -> bool:
        """The object to create is there."""
        return self.reason == "AlreadyExists"


_TODO = {
    401: "renew the credentials of the kubeconfig",
    403: "give the account the right to do this (platform/manifests/rollouts has the roles)",
    404: "check namespace and name, and that the resource definition is installed",
    413: "make the object smaller",
    429: "the server is busy: wait",
}


class KubernetesApi:
    """Talks to one API server. Safe to use from several threads; opens no connection before the first call.

    Args:
        kubeconfig: file with the cluster's address and credentials; without it the pod's own account, or else $KUBECONFIG.
        request_timeout: seconds for one call, connecting included.
        connections: how many calls may be under way at once without opening a connection anew.
        observe: told of each call: verb, resource, HTTP status (0: no answer) and seconds.
    """

    def __init__(
        self, kubeconfig: Path | str | None = None, *, request_timeout: float = 10.0, connections: int = 32, observe: Observe | None = None
    ) -> None:
        self._kubeconfig, self._timeout, self._connections = kubeconfig, request_timeout, connections
        self._observe = observe
        self._client: Any = None

    # --- reading ------------------------------------------------------------------------------------------------

    def get(self, resource: Resource, namespace: str, name: str, subresource: str = "") -> Object:
        """Return one object."""
        return self._json("get", "GET", resource, resource.path(namespace, name, subresource))

    def list_all(self, resource: Resource, namespace: str = "", *, selector: str = "") -> tuple[list[Object], str]:
        """Return all objects (of all namespaces if none is given), page by page, and the resourceVersion to watch from."""
        out: list[Object] = []
        token = ""
        while True:
            query = {"limit": str(PAGE), **({"labelSelector": selector} if selector else {}), **({"continue": token} if token else {})}
            page = self._json("list", "GET", resource, resource.path(namespace), query=query)
            out += page.get("items") or []
            token = page.get("metadata", {}).get("continue") or ""
            if not token:
                return out, str(page.get("metadata", {}).get("resourceVersion", ""))

    def watch(
        self, resource: Resource, namespace: str = "", *, version: str, seconds: float = 300.0, selector: str = ""
    ) -> Iterator[tuple[str, Object]]:
        """Yield (ADDED | MODIFIED | DELETED | BOOKMARK, object) after `version`, until `seconds` have passed or the server hangs up.

        Raises ApiError: `gone` if `version` is too old, status 0 if the connection broke. A silent connection counts as broken
        a little after `seconds`.
        """
        query = {"watch": "1", "allowWatchBookmarks": "true", "resourceVersion": version, "timeoutSeconds": str(max(1, int(seconds)))}
        if selector:
            query["labelSelector"] = selector
        path = resource.path(namespace)
        response = self._send("watch", "GET", resource, path, query=query, stream=True, read_timeout=seconds + self._timeout)
        try:
            for line in _lines(response):
                event = json.loads(line)
                if event.get("type") == "ERROR":
                    raise _refused(int(event["object"].get("code") or 500), event["object"], path)
                yield str(event["type"]), event["object"]
        except _transport_errors(ValueError) as error:
            raise _silent(error, path) from error
        finally:
            response.close()

    # --- writing ------------------------------------------------------------------------------------------------

    def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> Object:
        """Create an object; raises ApiConflict (`already_exists`) if its name is taken."""
        return self._json("create", "POST", resource, resource.path(namespace), body=body)

    def put(self, resource: Resource, namespace: str, name: str, body: Mapping[str, Any], subresource: str = "") -> Object:
        """Replace an object if its resourceVersion still is the one in `body`; raises ApiConflict if not."""
        return self._json("update", "PUT", resource, resource.path(namespace, name, subresource), body=body)

    def put_status(self, resource: Resource, namespace: str, name: str, body: Mapping[str, Any]) -> Object:
        """Replace an object's status under the same precondition."""
        return self.put(resource, namespace, name, body, "status")

    def patch(self, resource: Resource, namespace: str, name: str, operations: Operations, subresource: str = "") -> Object:
        """Apply a JSON Patch; raises ApiConflict if one of its `test` operations fails."""
        path = resource.path(namespace, name, subresource)
        return self._json("patch", "PATCH", resource, path, body=list(operations), content_type=JSON_PATCH)

    def delete(self, resource: Resource, namespace: str, name: str) -> None:
        """Delete an object; one that is not there is fine."""
        try:
            self._json("delete", "DELETE", resource, resource.path(namespace, name))
        except ApiError as error:
            if not error.not_found:
                raise

    def raw(self, path: str) -> bytes:
        """GET a path such as /version or /readyz."""
        return bytes(self._send("get", "GET", Resource("", "", path, ""), path).data)

    # --- transport ----------------------------------------------------------------------------------------------

    def _json(
        self,
        verb: str,
        method: str,
        resource: Resource,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
    ) -> Object:
        response = self._send(verb, method, resource, path, query=query, body=body, content_type=content_type)
        try:
            return dict(json.loads(response.data))
        except ValueError as error:
            raise _silent(error, path) from error

    def _send(
        self,
        verb: str,
        method: str,
        resource: Resource,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
        stream: bool = False,
        read_timeout: float | None = None,
    ) -> Any:
        client = self._connect()
        headers = {"Accept": JSON, "User-Agent": "mlops-obs"}
        if body is not None:
            headers["Content-Type"] = content_type
        client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        url = client.configuration.host + path + (f"?{urlencode(query)}" if query else "")
        import urllib3

        began, status = time.monotonic(), 0
        try:
            response = client.rest_client.pool_manager.request(
                method,
                url,
                body=None if body is None else json.dumps(body).encode(),
                headers=headers,
                timeout=urllib3.Timeout(connect=self._timeout, read=read_timeout or self._timeout),
                preload_content=not stream,
                retries=False,
                redirect=False,
            )
            status = int(response.status)
        except _transport_errors() as error:
            raise _silent(error, path) from error
        finally:
            if self._observe:
                self._observe(verb, resource.plural, status, time.monotonic() - began)
        if status >= 300:
            data = response.data
            response.close()
            raise _refused(status, _body(data), path)
        return response

    def _connect(self) -> Any:
        if self._client is None:
            try:
                from kubernetes import client, config
                from kubernetes.config import ConfigException
            except ImportError as error:
                what, todo = "the Kubernetes client is not installed", "pip install 'mlops-obs[k8s]'"
                raise TargetError("OBS-KUBE-001", what, todo=todo) from error
            settings = client.Configuration()
            settings.connection_pool_maxsize = self._connections
            try:
                # `load_config` would choose the same way, and say so on standard output.
                if self._kubeconfig or "KUBERNETES_SERVICE_HOST" not in os.environ:
                    config.load_kube_config(self._kubeconfig and str(self._kubeconfig), client_configuration=settings)
                else:
                    config.load_incluster_config(client_configuration=settings)
            except (ConfigException, OSError, TypeError) as error:
                todo = "give --kubeconfig, or run in the cluster"
                raise TargetError(
                    "OBS-KUBE-002", f"no cluster configuration: {error}", where=str(self._kubeconfig or ""), todo=todo
                ) from error
            self._client = client.ApiClient(settings)
        return self._client


def _lines(response: Any) -> Iterator[bytes]:
    """Split a stream at its newlines; what comes after the last one is half an event, and lost with the connection."""
    rest = b""
    for chunk in response.stream(None):
        rest += chunk
        *whole, rest = rest.split(b"\n")
        yield from (line for line in whole if line)


def _refused(status: int, said: Mapping[str, Any], path: str) -> ApiError:
    words, reason = str(said.get("message") or said.get("error") or "no reason given")[:500], str(said.get("reason") or "")
    # A failed `test` of a JSON Patch is a 422 without details; a body that the schema refuses names its causes.
    if status == 409 or (status == 422 and reason in ("", "Invalid") and not said.get("details")):
        what = "it exists already" if reason == "AlreadyExists" else "it changed meanwhile"
        error: ApiError = ApiConflict("OBS-KUBE-003", what, where=path, todo="read it again")
    else:
        error = ApiError("OBS-KUBE-004", f"HTTP {status}: {words}", where=path, todo=_TODO.get(status, "read the server's words"))
    error.status, error.reason = status, reason
    return error


def _silent(error: Exception, path: str) -> ApiError:
    todo = "try again; a change that was under way may have been applied"
    return ApiError("OBS-KUBE-005", f"the API server does not answer: {error}", where=path, todo=todo)


def _transport_errors(*more: type[Exception]) -> tuple[type[Exception], ...]:
    from urllib3.exceptions import HTTPError

    return (OSError, HTTPError, *more)


def _body(text: Any) -> Object:
    try:
        return dict(json.loads(text))
    except (TypeError, ValueError):
        return {"message": bytes(text or b"")[:300].decode("utf-8", "replace")}

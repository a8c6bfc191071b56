"""The addresses of the server, and what all requests pass through: the token, the counters, and readable errors."""

from __future__ import annotations

import hmac
import importlib.resources
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from must_tf.serving.server import encoding, metrics
from must_tf.serving.server.kserve import KServe
from must_tf.serving.server.reading import Refused
from must_tf.serving.server.service import Service
from must_tf.serving.server.tf_serving import JSON, TFServing

Endpoint = Callable[[Request], Awaitable[Response]]
Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]
LOG = logging.getLogger("must_tf.serve")
PAGE = "page.html"
# The page may only load what this server gives it. Pictures are made in the page from the answers.
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src 'self' blob: data:; media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


class Door:
    """Wraps endpoints: checks the token, counts, and answers errors as {"error": text}."""

    def __init__(self, service: Service, token: str):
        self._service, self._token = service, token

    def closed(self, route: str, endpoint: Endpoint) -> Endpoint:
        """Returns the endpoint for callers with the token, if there is one."""
        return self._counted(route, endpoint, self._token)

    def open(self, route: str, endpoint: Endpoint) -> Endpoint:
        """Returns the endpoint for all callers."""
        return self._counted(route, endpoint, "")

    def _counted(self, route: str, endpoint: Endpoint, token: str) -> Endpoint:
        async def answer(request: Request) -> Response:
            started = time.perf_counter()
            try:
                _check(request, token)
                response = await endpoint(request)
            except Refused as refused:
                response = error(refused.code, refused.message, refused.headers)
            except Exception:
                LOG.exception("%s failed", route)
                response = error(500, "internal error; the server's log has the details")
            self._service.metrics.request(route, response.status_code, time.perf_counter() - started)
            return response

        return answer


def _check(request: Request, token: str) -> None:
    given = request.headers.get("authorization", "")
    if token and not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
        raise Refused(401, "this server wants its token: Authorization: Bearer <token>", {"WWW-Authenticate": "Bearer"})


def error(code: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """Returns an error in the form of both protocols."""
    return Response(encoding.to_json({"error": message}), code, headers, JSON)


async def unknown_address(request: Request, exception: Exception) -> Response:
    """Answers requests that no address or method fits."""
    code = exception.status_code if isinstance(exception, HTTPException) else 500
    headers = dict(getattr(exception, "headers", None) or {})
    reason = "no such address. Models are at /v1/models/<name> and /v2/models/<name>" if code == 404 else "not allowed"
    return error(code, f"{request.method} {request.url.path}: {reason}", headers)


def build(service: Service, token: str = "", samples: Sequence[bytes] = ()) -> Starlette:
    """Returns the application.

    Args:
      service: its models.
      token: that callers must have, except for the page, its samples and the health checks; "" for none.
      samples: JPEG files that the page offers.
    """
    door, first, second = Door(service, token), TFServing(service), KServe(service)
    page = importlib.resources.files(__package__).joinpath(PAGE).read_text(encoding="utf-8")

    async def index(request: Request) -> Response:
        return HTMLResponse(page, headers=PAGE_HEADERS)

    async def sample(request: Request) -> Response:
        number = request.path_params["number"]
        if number >= len(samples):
            raise Refused(404, f"there are {len(samples)} samples")
        return Response(samples[number], media_type="image/jpeg")

    async def about(request: Request) -> Response:
        content = {"samples": len(samples), "models": {name: _about(service, name) for name in service.models}}
        return Response(encoding.to_json(content), media_type=JSON)

    async def counters(request: Request) -> Response:
        return Response(service.metrics_text(), media_type=metrics.CONTENT_TYPE)

    routes = [
        Route("/", door.open("page", index)),
        Route("/samples/{number:int}", door.open("samples", sample)),
        Route("/about", door.closed("about", about)),
        Route("/metrics", door.closed("metrics", counters)),
        *_tf_serving(door, first),
        *_kserve(door, second),
    ]
    handlers = {404: unknown_address, 405: unknown_address}
    return Starlette(routes=routes, exception_handlers=handlers)


def _about(service: Service, name: str) -> dict[str, object]:
    version = service.version(name)
    return {
        "version": version.number,
        "classes": version.network.about["classes"],
        "step": version.network.about["step"],
    }


def _tf_serving(door: Door, protocol: TFServing) -> list[Route]:
    routes = []
    for path in ("/v1/models/{name}", "/v1/models/{name}/versions/{version}"):
        routes += [
            Route(f"{path}:predict", door.closed("v1 predict", protocol.predict), methods=["POST"]),
            Route(f"{path}/metadata", door.closed("v1 metadata", protocol.metadata)),
            Route(path, door.closed("v1 status", protocol.status)),
        ]
    return routes


def _kserve(door: Door, protocol: KServe) -> list[Route]:
    routes = [
        Route("/v2", door.open("v2 server", protocol.server)),
        Route("/v2/health/live", door.open("v2 live", protocol.live)),
        Route("/v2/health/ready", door.open("v2 ready", protocol.ready)),
    ]
    for path in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        routes += [
            Route(path, door.closed("v2 metadata", protocol.metadata)),
            Route(f"{path}/ready", door.closed("v2 model ready", protocol.model_ready)),
            Route(f"{path}/infer", door.closed("v2 infer", protocol.infer), methods=["POST"]),
        ]
    return routes

"""A function as people deploy them, and what runs it: a Starlette app behind Mangum's handler, and an HTTP server that calls
the handler with each event that is POSTed to it, as Lambda's runtimes do. Its first line says its port."""

import asyncio
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

from mangum import Mangum
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

PNG = b"\x89PNG\r\n\x1a\n\x00\xff"


async def pet(request: Request) -> Response:
    event = request.scope["aws.event"]
    told = {
        "name": request.path_params["name"],
        "q": request.query_params.getlist("q"),
        "cookies": request.cookies,
        "many": request.headers["x-many"].replace(" ", "").split(","),
        "client": request.client.host,
        "origin": f"{request.url.scheme}://{request.url.netloc}",
        "stage": event["requestContext"]["stage"],
        "proxy": event["pathParameters"]["proxy"],
    }
    answer = JSONResponse(told)
    answer.headers.append("x-seen", "one")
    answer.headers.append("x-seen", "two")
    return answer


async def create(request: Request) -> Response:
    made = JSONResponse(await request.json(), status_code=201)
    made.set_cookie("first", "1")
    made.set_cookie("second", "2", httponly=True)
    return made


async def turned(request: Request) -> Response:
    body = await request.body()
    return Response(body[::-1], media_type="application/octet-stream")


async def image(_: Request) -> Response:
    return Response(PNG, media_type="image/png")


async def moved(_: Request) -> Response:
    return RedirectResponse("/pets/tom", status_code=303)


async def crash(_: Request) -> Response:
    raise RuntimeError("the app's own fault")


app = Starlette(
    routes=[
        Route("/pets/{name}", pet),
        Route("/pets", create, methods=["POST"]),
        Route("/turned", turned, methods=["PUT"]),
        Route("/image", image),
        Route("/moved", moved),
        Route("/crash", crash),
    ]
)
handler = Mangum(app, lifespan="off")


def invoke(event: dict) -> dict:
    if event.get("rawPath", event.get("path")) == "/unhandled":
        raise RuntimeError("the handler's own fault")
    if event.get("rawPath", event.get("path")) == "/nonsense":
        return {"statusCode": "nonsense"}
    return handler(event, SimpleNamespace(aws_request_id=event["requestContext"]["requestId"]))


class Host(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        # The adapter takes its thread's loop, as it finds one in Lambda.
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)

    def finish(self) -> None:
        self.loop.close()
        super().finish()

    def do_POST(self) -> None:
        event = json.loads(self.rfile.read(int(self.headers["content-length"])))
        failed = None
        try:
            answer = invoke(event)
        except Exception as error:
            failed, answer = "Unhandled", {"errorMessage": str(error), "errorType": type(error).__name__}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        if failed:
            self.send_header("x-amz-function-error", failed)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Host)
    print(server.server_address[1], flush=True)
    sys.exit(server.serve_forever())

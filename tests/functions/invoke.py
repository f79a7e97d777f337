"""Lambda's Invoke API as a node calls it, in front of a function's host: an invocation whose signature botocore's own signer does
not make again is refused, as Lambda does. By InvokeWithResponseStream the function `words` is one that streams: its event's path
says its words, each of which goes when the one before it was read. Arguments: where the host takes events, the id and the secret of the access key, the
region. Its first line says its port."""

import json
import re
import struct
import sys
import urllib.request
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

HOST, ACCESS_KEY_ID, SECRET_ACCESS_KEY, REGION = sys.argv[1:5]
INVOCATION = re.compile(r"/2015-03-31/functions/pets/invocations(\?Qualifier=live)?")
STREAM = "/2021-11-15/functions/words/response-streaming-invocations"
AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/\d{8}/([^/]+)/lambda/aws4_request, SignedHeaders=([^,]+), Signature=([0-9a-f]{64})"
)


class Invoke(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        event = self.rfile.read(int(self.headers["content-length"]))
        wrong = self.wrong(event)
        if wrong:
            return self.answer(403, b'{"message":"' + wrong.encode() + b'"}', {"x-amzn-errortype": "InvalidSignatureException"})
        if self.path == STREAM:
            return self.stream(json.loads(event))
        if not INVOCATION.fullmatch(self.path):
            return self.answer(404, b"{}", {"x-amzn-errortype": "ResourceNotFoundException"})
        if self.headers["x-amz-invocation-type"] == "Event":
            return self.answer(202, b"", {})
        request = urllib.request.Request(HOST, data=event, headers={"content-type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            error = answer.headers.get("x-amz-function-error")
            self.answer(200, answer.read(), {"x-amz-function-error": error} if error else {})

    def stream(self, event: dict) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/vnd.amazon.eventstream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        head = {"statusCode": 203, "headers": {"content-type": "text/plain"}, "cookies": ["a=1", "b=2"]}
        self.event("PayloadChunk", json.dumps(head).encode())
        self.event("PayloadChunk", bytes(8))
        *words, last = event["rawPath"].strip("/").split("/")
        for word in words:
            self.event("PayloadChunk", word.encode())
        if last == "fail":
            failure = {"ErrorCode": "Unhandled", "ErrorDetails": "{}", "LogResult": ""}
            self.event("InvokeComplete", json.dumps(failure).encode())
        else:
            self.event("PayloadChunk", last.encode())
            self.event("InvokeComplete", b"{}")
        self.wfile.write(b"0\r\n\r\n")

    def event(self, kind: str, payload: bytes) -> None:
        """An event of AWS's event stream, in a chunk of its own."""
        fields = b""
        for name, value in {":event-type": kind, ":content-type": "application/octet-stream", ":message-type": "event"}.items():
            fields += bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        lengths = struct.pack(">II", 16 + len(fields) + len(payload), len(fields))
        message = lengths + struct.pack(">I", zlib.crc32(lengths)) + fields + payload
        message += struct.pack(">I", zlib.crc32(message))
        self.wfile.write(b"%x\r\n%s\r\n" % (len(message), message))
        self.wfile.flush()

    def wrong(self, event: bytes) -> str | None:
        """What Lambda would say of the signature, if anything."""
        found = AUTHORIZATION.fullmatch(self.headers.get("authorization", ""))
        if not found:
            return "there is no signature"
        access_key_id, region, names, signature = found.groups()
        if (access_key_id, region) != (ACCESS_KEY_ID, REGION):
            return "the credentials are unknown"
        request = AWSRequest("POST", f"http://{self.headers['host']}{self.path}", data=event)
        for name in names.split(";"):
            request.headers[name] = self.headers.get(name, "")
        if not {"host", "x-amz-date", "x-amz-invocation-type"} <= set(names.split(";")):
            return "not all is signed"
        request.context["timestamp"] = self.headers["x-amz-date"]
        signer = SigV4Auth(Credentials(ACCESS_KEY_ID, SECRET_ACCESS_KEY), "lambda", region)
        to_sign = signer.string_to_sign(request, signer.canonical_request(request))
        return None if signer.signature(to_sign, request) == signature else "the signature is another"

    def answer(self, status: int, body: bytes, fields: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"content-length": str(len(body)), **fields}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Invoke)
    print(server.server_address[1], flush=True)
    sys.exit(server.serve_forever())

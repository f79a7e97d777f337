"""AWS's services as moto has them, with a table `pets`, a bucket `files`, a queue `jobs` and a stream `pets`, behind a check that botocore's own
signers make each request's signature again. Arguments: the id and the secret of the access key, the region. Its first line says
its port."""

import io
import re
import sys
import threading

import boto3
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

ACCESS_KEY_ID, SECRET_ACCESS_KEY, REGION = sys.argv[1:4]
CREDENTIALS = Credentials(ACCESS_KEY_ID, SECRET_ACCESS_KEY)
AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/\d{8}/([^/]+)/([a-z0-9-]+)/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})"
)


class Checked:
    """Refuses what is not signed as botocore would."""

    def __init__(self, services) -> None:
        self.services = services

    def __call__(self, environ, start_response):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        wrong = self.wrong(environ, body)
        if wrong:
            start_response("403 Forbidden", [("content-type", "text/plain")])
            return [f"the signature is wrong: {wrong}".encode()]
        return self.services(environ, start_response)

    def wrong(self, environ, body: bytes) -> str | None:
        found = AUTHORIZATION.fullmatch(environ.get("HTTP_AUTHORIZATION", ""))
        if not found:
            return "there is none"
        access_key_id, region, service, names, signature = found.groups()
        if (access_key_id, region) != (ACCESS_KEY_ID, REGION):
            return "the credentials are unknown"
        request = AWSRequest(environ["REQUEST_METHOD"], f"http://{environ['HTTP_HOST']}{environ['RAW_URI']}", data=body)
        for name in names.split(";"):
            key = name.upper().replace("-", "_")
            request.headers[name] = environ.get(key if key == "CONTENT_TYPE" else f"HTTP_{key}", "")
        request.context["timestamp"] = environ["HTTP_X_AMZ_DATE"]
        signer = (S3SigV4Auth if service == "s3" else SigV4Auth)(CREDENTIALS, service, region)
        to_sign = signer.string_to_sign(request, signer.canonical_request(request))
        return None if signer.signature(to_sign, request) == signature else "it is another"


class Silent(WSGIRequestHandler):
    def log(self, *_: object) -> None:
        pass


def client(service: str, port: int):
    return boto3.client(
        service,
        region_name=REGION,
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id=ACCESS_KEY_ID,
        aws_secret_access_key=SECRET_ACCESS_KEY,
    )


if __name__ == "__main__":
    services = Checked(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, services, threaded=True, request_handler=Silent)
    threading.Thread(target=server.serve_forever).start()
    key = {"AttributeName": "name", "KeyType": "HASH"}
    client("dynamodb", server.port).create_table(
        TableName="pets",
        KeySchema=[key],
        AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    client("s3", server.port).create_bucket(Bucket="files", CreateBucketConfiguration={"LocationConstraint": REGION})
    client("sqs", server.port).create_queue(QueueName="jobs")
    client("kinesis", server.port).create_stream(StreamName="pets", ShardCount=1)
    print(server.port, flush=True)

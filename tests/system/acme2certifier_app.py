"""Runs acme2certifier on plain HTTP of loopback, and notes what orders asked for.

For the interpreter of its own environment: ``python acme2certifier_app.py PORT ORDERS``, its settings named
by ``ACME_SRV_CONFIGFILE``. ORDERS gets a line of JSON for each new order: the payload it was signed with.
"""

import base64
import io
import json
import sys
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

from acme2certifier.share import acme2certifier_wsgi


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


def main(port, orders):
    def app(environ, start_response):
        if environ["PATH_INFO"].endswith("/neworders"):
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            payload = json.loads(body)["payload"]
            with orders.open("a") as file:
                text = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
                file.write(json.dumps(json.loads(text)) + "\n")
            environ["wsgi.input"] = io.BytesIO(body)
        return acme2certifier_wsgi.application(environ, start_response)

    with make_server("127.0.0.1", port, app, handler_class=Quiet) as server:
        server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))

"""The application of the test stand: it says which version answers, and fails as the name of its version asks."""

import http.server
import os
import signal
import sys
import threading
import time

VERSION = os.environ["VERSION"]
HOST = os.environ["PUBLIC_HOST"]

if "crashes" in VERSION:
    sys.exit(1)

closing = threading.Event()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/slow":
            time.sleep(2)
        # The kubelet asks for the pod's address, everybody else for the hospital's host.
        user = self.headers.get("Host", "").split(":")[0] == HOST
        ready = "never-ready" not in VERSION and not ("fails-its-gate" in VERSION and user)
        # Envoy names the one it asks for.
        through_gateway = "X-Forwarded-For" in self.headers
        if through_gateway and "breaks-under-users" in VERSION:
            os._exit(1)
        ready = ready and not (through_gateway and "fails-under-users" in VERSION)
        status = 200 if ready or self.path == "/started" else 503
        body = VERSION.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        if closing.is_set():
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("", 8000), Handler)
server.daemon_threads = True


def stop():
    closing.set()
    # Longer than the slowest answer.
    time.sleep(3)
    server.shutdown()


signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=stop).start())
server.serve_forever()

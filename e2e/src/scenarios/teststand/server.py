"""The application of the test stand: it says which version answers, and fails as the name of its version asks."""

import base64
import hashlib
import http.server
import os
import select
import signal
import socket
import sys
import threading
import time

VERSION = os.environ["VERSION"]
HOST = os.environ["PUBLIC_HOST"]

if "crashes" in VERSION:
    sys.exit(1)
if VERSION == "needs-too-much-memory":
    [0] * (1 << 27)

closing = threading.Event()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.headers.get("Upgrade", "").lower() == "websocket":
            return self.socket()
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

    def socket(self):
        """RFC 6455, as much as short messages need."""
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        self.close_connection = True
        while not closing.is_set():
            if not select.select([self.connection], [], [], 0.1)[0]:
                continue
            head = self.connection.recv(2, socket.MSG_WAITALL)
            if len(head) < 2 or head[0] & 15 == 8:
                return
            self.connection.recv(4 + (head[1] & 127), socket.MSG_WAITALL)
            body = VERSION.encode()
            self.connection.sendall(bytes([0x81, len(body)]) + body)
        # 1001: going away.
        self.connection.sendall(b"\x88\x02\x03\xe9")

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

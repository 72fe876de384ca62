"""BMCs that restart nothing: as much of Redfish as a restart takes, over TLS, and every misbehaviour.

One server stands for all of them; web1-bmc.bmc.localhost is the BMC of web1 (libcurl takes every
name below .localhost for the loopback). What a BMC does follows from its host's name: `busy-…` is
busy once, `broken-…` fails, `off-…` has nothing to restart, `silent-…` takes the request and closes,
`hold-…` answers after release().
"""

import base64
import json
import ssl
import subprocess
import threading
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DOMAIN = "bmc.localhost"
PATH = "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset"

Post = namedtuple("Post", "host path headers body")


def make_certificate(folder):
    """One for every BMC, signed by itself."""
    certificate, key = folder / "bmc.pem", folder / "bmc.key"
    subprocess.run(
        "openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256 -days 2".split()
        + ["-subj", "/CN=bmc", "-addext", f"subjectAltName=DNS:*.{DOMAIN}"]
        + ["-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    return certificate, key


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        bmcs = self.server.bmcs
        body = self.rfile.read(int(self.headers["Content-Length"]))
        host = self.headers["Host"].partition("-bmc.")[0]
        times = bmcs.took(Post(host, self.path, dict(self.headers), body))
        wanted = "Basic " + base64.b64encode(f"ackd:{bmcs.password}".encode()).decode()
        if self.headers["Authorization"] != wanted:
            self.answer(401, WWW_Authenticate="Basic")
        elif host.startswith("busy-") and times == 1:
            self.answer(503, Retry_After="1")
        elif host.startswith("broken-"):
            self.answer(500, b'{"error": {"message": "internal"}}')
        elif host.startswith("off-"):
            self.answer(409, b'{"error": {"message": "the system is off"}}')
        elif host.startswith("silent-"):
            self.close_connection = True
        else:
            if host.startswith("hold-"):
                bmcs.released.wait(60)
            self.answer(204)


class Bmcs:
    def __init__(self, folder):
        self.password = "hunter2"
        self.released = threading.Event()
        self._lock = threading.Lock()
        self._posts = []
        self.ca_file, key = make_certificate(folder)
        self.password_file = folder / "bmc-password"
        self.password_file.write_text(self.password + "\n")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.ca_file, key)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.bmcs = self
        # The handshake belongs to the connection's thread, not to the one that accepts.
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def took(self, post):
        """Counts it; returns how many this host has had."""
        with self._lock:
            self._posts.append(post)
            return sum(p.host == post.host for p in self._posts)

    def posts(self):
        with self._lock:
            return list(self._posts)

    def hosts(self):
        return [post.host for post in self.posts()]

    def stop(self):
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

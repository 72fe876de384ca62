"""Endpoints made of bare sockets: what they are sent is kept byte for byte, and they misbehave.

An endpoint is a port on addresses of the loopback, plain or with TLS, and a function that is given each
connection when its request was read:

    def redirect(connection, request): connection.sendall(b"HTTP/1.1 307 …")

What it returns does not matter; afterwards the connection is closed. `unread` ones are given it
unread, and without the handshake.
"""

import selectors
import socket
import ssl
import threading

ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"


def answer(connection, _request):
    connection.sendall(ANSWER)


def until_closed(connection, _request=b""):
    """Says nothing."""
    while connection.recv(65536):
        pass


def split(request):
    """(request line, [(name, value), …], body) of a request as it came, in bytes"""
    head, _, body = request.partition(b"\r\n\r\n")
    line, *headers = head.split(b"\r\n")
    return line, [tuple(header.split(b": ", 1)) for header in headers], body


class Endpoint:
    def __init__(
        self, behave=answer, addresses=("127.0.0.1",), port=0, context=None, unread=False
    ):
        self.requests = []  # whole ones, in bytes
        self.accepted = 0
        self._behave = behave
        self._context = context
        self._unread = unread
        self._lock = threading.Lock()
        self._open = set()
        self._stopped, self._stop = socket.socketpair()
        self.port = port
        self._listeners = []
        for address in addresses:
            self._listeners.append(socket.create_server((address, self.port), backlog=128))
            self.port = self._listeners[0].getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self):
        with selectors.DefaultSelector() as selector:
            for readable in (*self._listeners, self._stopped):
                selector.register(readable, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._stopped:
                        return
                    connection, _ = key.fileobj.accept()
                    with self._lock:
                        self.accepted += 1
                        self._open.add(connection)
                    threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection):
        plain = connection
        try:
            if self._unread:
                self._behave(connection, b"")
                return
            if self._context:
                connection = self._context.wrap_socket(connection, server_side=True)
                with self._lock:
                    self._open.discard(plain)
                    self._open.add(connection)
            request = self._read(connection)
            if request:
                with self._lock:
                    self.requests.append(request)
                self._behave(connection, request)
        except OSError:
            pass  # the other side has gone, or refused us
        finally:
            with self._lock:
                self._open -= {plain, connection}
            connection.close()

    @staticmethod
    def _read(connection):
        """A whole request; b"" when the other side closes before."""
        data = b""
        while True:
            head, end, body = data.partition(b"\r\n\r\n")
            if end:
                sizes = [int(v) for n, v in split(data)[1] if n.lower() == b"content-length"]
                if len(body) >= sum(sizes):
                    return data
            more = connection.recv(65536)
            if not more:
                return b""
            data += more

    def connections(self):
        """How many are open."""
        with self._lock:
            return len(self._open)

    def stop(self):
        self._stop.close()
        self._thread.join(10)
        for listener in (*self._listeners, self._stopped):
            listener.close()
        with self._lock:
            still = list(self._open)
        for connection in still:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def server_context(certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context

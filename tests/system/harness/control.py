"""A stand-in for a daemon's control socket, for answers that a real one seldom gives."""

import json
import socket
import threading


class Control:
    """Answers every request with `document`, or with `answer(request)` when it is set: a str is sent as
    it is, None closes the connection without an answer. With `silent` it keeps them waiting."""

    def __init__(self, path, document):
        self.path = path
        self.document = document
        self.answer = None
        self.silent = False
        self.requests = []
        self._kept = []
        self._socket = None
        self.start()

    def start(self):
        self.path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(self.path))
        self._socket.listen(16)
        threading.Thread(target=self._serve, args=[self._socket], daemon=True).start()

    def stop(self):
        """As a kill does: the file stays."""
        # close() alone does not wake the thread that accepts.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in self._kept:
            connection.close()
        self._kept = []

    def _serve(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            line = connection.makefile().readline()
            if self.silent:
                self._kept.append(connection)
                continue
            request = json.loads(line)
            self.requests.append(request)
            text = self.answer(request) if self.answer else json.dumps(self.document) + "\n"
            try:
                if text is not None:
                    connection.sendall(text.encode())
                connection.close()
            except OSError:
                pass  # who asked has gone

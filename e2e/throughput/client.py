"""HTTP client of the measurement: one thread, prepared requests, persistent connections.

It writes requests that are complete before the clock starts, and reads of a response only the
status, the length and what the check of the workload needs. So the servers take most of the time.
"""

import collections
import select
import socket
import time

# At least as long as the slowest answer of a server, the first page of a large listing.
TIMEOUT_SECONDS = 120
READ_SIZE = 1024 * 1024


class Failure(Exception):
    """A response that is not the expected one, or none."""


# `body` is sent after `head`. `check` gets the head of the response in lower case and the body,
# and returns whether they are right; the body is empty if `discard` is set, but its length counts.
Request = collections.namedtuple("Request", "head body length check discard")

# `requests` per `seconds`, of which `cpu_seconds` of processor time in this process.
Measured = collections.namedtuple("Measured", "requests seconds cpu_seconds")


class Connection:
    def __init__(self, address, poll):
        self.address = address
        self.poll = poll
        self.socket = None
        self.request = None

    def open(self):
        self.socket = socket.create_connection(self.address, timeout=TIMEOUT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.poll.register(self.socket, select.EPOLLIN)

    def close(self):
        if self.socket is not None:
            self.poll.unregister(self.socket)
            self.socket.close()
            self.socket = None

    def start(self, request):
        if self.socket is None:
            self.open()
        self.request = request
        self.head = None
        self.received = b""
        self.body_length = 0
        small = len(request.body) <= READ_SIZE
        self.unsent = [request.head + request.body] if small else [request.head, request.body]
        self.write()

    def write(self):
        while self.unsent:
            data = memoryview(self.unsent[0])
            try:
                sent = self.socket.send(data)
            except BlockingIOError:
                self.poll.modify(self.socket, select.EPOLLIN | select.EPOLLOUT)
                return
            if sent < len(data):
                self.unsent[0] = data[sent:]
            else:
                del self.unsent[0]
                if not self.unsent and len(self.request.body) > READ_SIZE:
                    self.poll.modify(self.socket, select.EPOLLIN)

    def read(self, buffer):
        """Returns whether the response is complete."""
        try:
            count = self.socket.recv_into(buffer)
        except BlockingIOError:
            return False
        if count == 0:
            raise Failure(f"{self.describe()}: the server closed the connection")
        if self.head is None:
            self.received += buffer[:count]
            end = self.received.find(b"\r\n\r\n")
            if end < 0:
                return False
            self.read_head(self.received[:end].lower())
            self.received = self.received[end + 4 :]
            self.body_length = len(self.received)
        else:
            self.body_length += count
            if not self.request.discard:
                self.received += buffer[:count]
        if self.body_length < self.expected:
            return False
        self.finish()
        return True

    def read_head(self, head):
        self.head = head
        if not head.startswith((b"http/1.1 200 ", b"http/1.0 200 ")):
            raise Failure(f"{self.describe()}: {self.received[:2000]!r}")
        start = head.find(b"\r\ncontent-length:")
        if start < 0:
            raise Failure(f"{self.describe()}: no Content-Length in {head!r}")
        self.expected = int(head[start + 17 :].split(b"\r\n", 1)[0])

    def finish(self):
        request = self.request
        if self.body_length != self.expected:
            raise Failure(f"{self.describe()}: {self.body_length} bytes, not {self.expected}")
        if request.length is not None and self.body_length != request.length:
            raise Failure(f"{self.describe()}: {self.body_length} bytes, not {request.length}")
        body = b"" if request.discard else self.received
        if request.check is not None and not request.check(self.head, body):
            raise Failure(f"{self.describe()}: wrong response {self.head!r} {body[:2000]!r}")
        self.request = None
        if b"\r\nconnection: close" in self.head or self.head.startswith(b"http/1.0"):
            self.close()

    def describe(self):
        return self.request.head.split(b"?", 1)[0].decode()


def send(address, requests, connections, seconds=None):
    """Sends the requests over `connections` connections, each the next one after its response.

    Starts no request after `seconds`, but waits for the responses. Returns what it took.
    """
    waiting = iter(requests)
    poll = select.epoll()
    everyone = [Connection(address, poll) for _ in range(connections)]
    buffer = memoryview(bytearray(READ_SIZE))
    by_file = {}
    done = 0
    try:
        for connection in everyone:
            connection.open()
        started, cpu_started = time.perf_counter(), time.process_time()
        deadline = started + seconds if seconds is not None else float("inf")

        def start(connection):
            request = next(waiting, None) if time.perf_counter() < deadline else None
            if request is None:
                return
            connection.start(request)
            by_file[connection.socket.fileno()] = connection

        for connection in everyone:
            start(connection)
        while by_file:
            events = poll.poll(TIMEOUT_SECONDS)
            if not events:
                raise Failure(f"no response within {TIMEOUT_SECONDS} s")
            for file, event in events:
                connection = by_file.get(file)
                if connection is None:
                    # A server may close a connection that waits for no response.
                    for idle in everyone:
                        if idle.socket is not None and idle.socket.fileno() == file:
                            idle.close()
                    continue
                if event & select.EPOLLOUT:
                    connection.write()
                if event & ~select.EPOLLOUT and connection.read(buffer):
                    done += 1
                    del by_file[file]
                    start(connection)
        elapsed = time.perf_counter() - started
        return Measured(done, elapsed, time.process_time() - cpu_started)
    finally:
        for connection in everyone:
            connection.close()
        poll.close()

"""What the Python tests share: the program under test, the simulators, a NetBox client, a counting proxy. Stdlib only.

From the environment: WEIR_BINARY and WEIR_SIM (default build/release/weir and weir-sim of this tree).
"""
import contextlib
import http.client
import http.server
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.parse
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
WEIR = Path(os.environ.get("WEIR_BINARY", TREE / "build/release/weir"))
SIM = Path(os.environ.get("WEIR_SIM", TREE / "build/release/weir-sim"))

EXIT_DONE, EXIT_PARTIAL, EXIT_GUARD, EXIT_LOCKED = 0, 3, 4, 5
EXIT_USAGE, EXIT_UNREACHABLE, EXIT_STOPPED, EXIT_CREDENTIALS, EXIT_CONFIG, EXIT_INTERRUPTED = 64, 69, 75, 77, 78, 130

COUNTS = ("seen", "created", "updated", "deleted", "unchanged", "kept", "skipped", "failed", "deferred")
WRITES = ("POST", "PATCH", "PUT", "DELETE")


# ---------------------------------------------------------------- HTTP

class Response:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


def request(method, url, body=None, headers=None, timeout=60):
    """One request on a connection of its own. A body that is not bytes is sent as JSON."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=timeout,
                                                 context=ssl._create_unverified_context())
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    headers = dict(headers or {})
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        headers.setdefault("Content-Type", "application/json")
    try:
        connection.request(method, parts.path + ("?" + parts.query if parts.query else ""), body, headers)
        answer = connection.getresponse()
        return Response(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


class NetBox:
    """Just enough of NetBox's REST API to look at it and to prepare it. Raises on anything but success."""

    def __init__(self, url, token):
        self.url, self.token = url.rstrip("/"), token
        self.headers = {"Authorization": ("Bearer " if token.startswith("nbt_") else "Token ") + token}

    def call(self, method, path, body=None):
        answer = request(method, f"{self.url}/api/{path}", body, self.headers)
        # After PostgreSQL was away each of NetBox's threads fails once, the one whose turn comes late, too: a read is asked again.
        for _ in range(40):
            if method != "GET" or b"terminating connection due to administrator command" not in answer.body:
                break
            answer = request(method, f"{self.url}/api/{path}", body, self.headers)
        if not 200 <= answer.status < 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.body[:400]!r}")
        return answer.json() if answer.body else None

    def all(self, path, **filters):
        """Every object of a list, by cursor: offset paging may skip rows where the order is not total."""
        objects, start = [], 0
        while True:
            query = urllib.parse.urlencode({**filters, "limit": 500, "start": start}, doseq=True)
            page = self.call("GET", f"{path}/?{query}")
            objects += page["results"]
            if not page["next"]:
                return objects
            start = page["results"][-1]["id"] + 1

    def count(self, path, **filters):
        return self.call("GET", f"{path}/?{urllib.parse.urlencode({**filters, 'limit': 1})}")["count"]

    def create(self, path, **fields):
        return self.call("POST", f"{path}/", fields)

    def change(self, path, number, **fields):
        return self.call("PATCH", f"{path}/{number}/", fields)


def objects_in(body):
    """How many objects a request carries: one, or as many as its list has."""
    content = json.loads(body) if body else None
    return len(content) if isinstance(content, list) else int(content is not None)


class QuietServer(http.server.ThreadingHTTPServer):
    """Says nothing of clients that went away, as killed ones do."""
    daemon_threads = True

    def handle_error(self, *_):
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(*_)


BAD_GATEWAY = (502, "Bad Gateway", [("Content-Type", "text/html")],
               b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n"
               b"<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n")


class CountingProxy:
    """A reverse proxy that counts requests, what they carry, and the most that were in flight at once. As nginx does, it answers 502 where
    the server behind it is gone. `fault(method, path)` is asked about each request: "before" answers 502 instead of
    passing it on; "after" passes it on, waits for the answer, and answers 502 all the same; "late" answers 502 and passes it
    on a second later."""

    def __init__(self, target):
        outer = self
        self.lock = threading.Lock()
        self.fault = lambda method, path: None
        self.reset()
        self.where = urllib.parse.urlsplit(target)

        class handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length) if length else None
                with outer.lock:
                    outer.in_flight += 1
                    outer.peak_in_flight = max(outer.peak_in_flight, outer.in_flight)
                    outer.window_peak = max(outer.window_peak, outer.in_flight)
                    outer.seen.append((self.command, self.path, body))
                    outer.objects += objects_in(body)
                status = 0
                try:
                    status, reason, headers, content = outer.answer(self.command, self.path, body, self.headers)
                finally:
                    # Before the answer goes out: the client may send its next request as soon as it has read this one.
                    with outer.lock:
                        outer.in_flight -= 1
                        outer.answered.append((self.command, self.path, status))
                self.send_response_only(status, reason)
                for name, value in headers:
                    if name.lower() not in ("transfer-encoding", "connection", "content-length", "keep-alive"):
                        self.send_header(name, value)
                if status not in (204, 304):
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
                self.close_connection |= outer.closed

            do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = do_OPTIONS = forward

            def log_message(self, *_):
                pass

        self.handler = handler
        self.open()

    def open(self, port=0):
        """Again, after close(), on the same port: proxy.open(proxy.port)."""
        self.closed = False
        self.server = QuietServer(("127.0.0.1", port), self.handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, method, path, body, headers):
        """(status, reason, headers, body) of the server's answer, or of the proxy's own."""
        fault = self.fault(method, path)
        if fault == "before":
            return BAD_GATEWAY
        if fault == "late":
            threading.Timer(1, self.pass_on, (method, path, body, headers)).start()
            return BAD_GATEWAY
        answer = self.pass_on(method, path, body, headers)
        return BAD_GATEWAY if fault == "after" else answer

    def pass_on(self, method, path, body, headers):
        connection = http.client.HTTPConnection(self.where.hostname, self.where.port, timeout=300)
        try:
            connection.request(method, path, body, {k: v for k, v in headers.items() if k.lower() not in ("connection", "keep-alive")})
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            return BAD_GATEWAY
        finally:
            connection.close()
        return answer.status, answer.reason, answer.getheaders(), content

    def reset(self):
        with self.lock:
            self.in_flight = self.peak_in_flight = self.window_peak = 0
            self.objects, self.seen, self.answered = 0, [], []

    def take_window(self):
        """The most that were in flight at once since the last call."""
        with self.lock:
            peak, self.window_peak = self.window_peak, self.in_flight
            return peak

    def by_method(self):
        with self.lock:
            return count_by_method(self.seen)

    def failures(self):
        """Answers that speak of a server in trouble."""
        with self.lock:
            return sum(status == 0 or status >= 500 for _, _, status in self.answered)

    def writes(self):
        return sum(n for method, n in self.by_method().items() if method in WRITES)

    def close(self):
        """Nobody listens any more; who is connected gets his answer, and no further one. May be called twice."""
        if not self.closed:
            self.closed = True
            self.server.shutdown()
            self.server.server_close()


class ScriptedServer:
    """Answers every request with the same thing: `answer(method, path) -> (status, content type, body)`."""

    def __init__(self, answer):
        outer = self
        self.seen = []

        class handler(http.server.BaseHTTPRequestHandler):
            def reply(self):
                length = int(self.headers.get("Content-Length") or 0)
                self.rfile.read(length)
                outer.seen.append((self.command, self.path))
                status, kind, body = answer(self.command, self.path)
                body = body.encode() if isinstance(body, str) else body
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = reply

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


# ---------------------------------------------------------------- simulators

class Simulator:
    """A weir-sim process: a simulated Proxmox VE or NetBox with its control paths."""

    def __init__(self, kind, *arguments):
        self.log = tempfile.TemporaryFile()
        # It ends with this process, however that ends: its standard input closes then.
        self.process = subprocess.Popen([str(SIM), kind, "--exit-with-parent-stdin", *map(str, arguments)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.log)
        line = self.process.stdout.readline()
        if not line:
            self.process.wait(10)
            raise RuntimeError(f"weir-sim {kind} {arguments} ended with {self.process.returncode}: {self.stderr()}")
        self.about = json.loads(line)
        self.url = self.about["url"].rstrip("/")
        # The certificate may be made for another name, on purpose; the server is on loopback in any case.
        parts = urllib.parse.urlsplit(self.url)
        self.control = f"{parts.scheme}://127.0.0.1:{parts.port}"

    def stderr(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def _control(self, method, path, body=None):
        answer = request(method, f"{self.control}/_sim/{path}", body)
        if answer.status >= 300:
            raise RuntimeError(f"{method} /_sim/{path}: {answer.status} {answer.body[:400]!r}")
        return answer.json() if answer.body else None

    @property
    def model(self):
        return self._control("GET", "model")

    @model.setter
    def model(self, value):
        self._control("PUT", "model", value)

    @contextlib.contextmanager
    def changed_model(self):
        """with source.changed_model() as model: model[…] = …"""
        model = self.model
        yield model
        self.model = model

    def requests(self):
        return self._control("GET", "requests")

    def faults(self, faults):
        self._control("PUT", "faults", faults)

    def options(self, **options):
        self._control("PUT", "options", options)

    def reset_counters(self):
        self._control("POST", "reset-counters")

    def stop(self):
        """May be called twice."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()
        self.process.stdin.close()
        self.log.close()


# ---------------------------------------------------------------- weir

class Outcome:
    """How a run of weir ended."""

    def __init__(self, arguments, exit_code, stdout, stderr, peak_kib, seconds):
        self.arguments, self.exit_code, self.stdout, self.stderr = arguments, exit_code, stdout, stderr
        self.peak_kib, self.seconds = peak_kib, seconds

    @property
    def json(self):
        try:
            return json.loads(self.stdout)
        except ValueError as e:
            raise AssertionError(f"stdout of {self} is no JSON ({e}):\n{self.stdout[:2000]}") from None

    def result(self, stage, source=None):
        found = [r for r in self.json["results"] if r["stage"] == stage and source in (None, r["source"])]
        if len(found) != 1:
            raise AssertionError(f"{len(found)} results of stage {stage} in {self.json['results']}")
        return found[0]

    def __str__(self):
        return f"weir {' '.join(self.arguments)} (exit code {self.exit_code})\n--- stdout\n{self.stdout[-4000:]}\n--- stderr\n{self.stderr[-6000:]}"


def peak_memory(pid):
    """The most that a process had resident so far, in KiB; 0 once it has ended. Not wait4's ru_maxrss: that one remembers
    this interpreter, too, from before the exec."""
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.M)
    except OSError:
        return 0
    return int(found[1]) if found else 0


class Running:
    """A weir that was started: what it has said so far, and how it ends."""

    def __init__(self, arguments, environment, folder, prepare=None):
        self.arguments = arguments
        self.out, self.err = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        self.began, self.ended, self.peak_kib = time.monotonic(), None, 0
        self.process = subprocess.Popen([str(WEIR), *arguments], stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.err,
                                        env=environment, cwd=folder, preexec_fn=prepare)

    @staticmethod
    def _text(file):
        # Not by seeking: the process writes where this end of the file's position stands.
        return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode(errors="replace")

    @property
    def stdout(self):
        return self._text(self.out)

    @property
    def stderr(self):
        return self._text(self.err)

    def poll(self):
        """Whether it has ended."""
        self.peak_kib = max(self.peak_kib, peak_memory(self.process.pid))
        if self.process.poll() is not None and self.ended is None:
            self.ended = time.monotonic()
        return self.ended is not None

    def wait_until(self, happened, timeout=60):
        """Asks every 10 ms, until it is so or weir has ended."""
        while not self.poll() and not happened():
            if time.monotonic() - self.began > timeout:
                self.kill()
                raise AssertionError(f"it did not happen within {timeout} s: {self._outcome()}")
            time.sleep(0.01)

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.poll()

    def wait(self, timeout=300):
        try:
            while not self.poll():
                if time.monotonic() - self.began > timeout:
                    self.kill()
                    raise AssertionError(f"weir did not end within {timeout} s: {self._outcome()}")
                time.sleep(0.01)
            return self._outcome()
        finally:
            self.out.close()
            self.err.close()

    def _outcome(self):
        return Outcome(self.arguments, self.process.returncode, self.stdout, self.stderr, self.peak_kib,
                       (self.ended or time.monotonic()) - self.began)


def to_yaml(value, indent=0):
    """Block YAML of dicts, lists and scalars; strings are quoted as JSON, which YAML reads."""
    pad = "  " * indent
    if isinstance(value, dict) and value:
        return "".join(f"{pad}{key}:{_nested(item, indent)}" for key, item in value.items())
    if isinstance(value, list) and value:
        return "".join(f"{pad}-{_nested(item, indent)}" for item in value)
    return f"{pad}{json.dumps(value)}\n"


def _nested(value, indent):
    if isinstance(value, (dict, list)) and value:
        return "\n" + to_yaml(value, indent + 1)
    return " " + json.dumps(value, ensure_ascii=False) + "\n"


class Workspace:
    """A temporary folder with a configuration, token files and a state folder."""

    def __init__(self):
        self.path = Path(tempfile.mkdtemp(prefix="weir-test-"))
        (self.path / "state").mkdir()

    def close(self):
        shutil.rmtree(self.path, ignore_errors=True)

    def file(self, name, text, mode=0o600):
        path = self.path / name
        path.write_text(text)
        path.chmod(mode)
        return path

    def config(self, netbox_url, netbox_token, sources, name="weir.yaml", **more):
        """sources: {name: {"url" or "urls", "token_id", "token", further keys}}. Further keys go to the top level;
        a key `netbox` is merged into that section. Returns the file's path."""
        netbox = {"url": netbox_url, "token_file": str(self.file("netbox.token", netbox_token + "\n"))}
        netbox.update(more.pop("netbox", {}))
        sections = {}
        for source, given in sources.items():
            given = dict(given)
            settings = {"type": "proxmox", "urls": given.pop("urls", None) or [given.pop("url")]}
            if "token" in given:
                settings["token_file"] = str(self.file(f"{source}.token", given.pop("token") + "\n"))
            settings.update(given)
            sections[source] = settings
        document = {"profile": "conservative", "netbox": netbox, "sources": sections,
                    "state_dir": str(self.path / "state"), **more}
        document = {key: value for key, value in document.items() if value is not None}
        return self.file(name, to_yaml(document), 0o644)

    def environment(self, env=None):
        """One that has nothing of the caller's."""
        environment = {
            "PATH": "/usr/bin:/bin", "HOME": str(self.path), "LANG": "C.UTF-8", "TMPDIR": str(self.path),
            # Not UTC, and not a whole hour from it: instants must not depend on where weir runs.
            "TZ": "Asia/Kolkata",
        }
        environment.update({k: v for k, v in os.environ.items() if k.startswith(("ASAN_", "UBSAN_", "TSAN_", "LSAN_"))})
        environment.update(env or {})
        return environment

    def start_weir(self, *arguments, env=None, prepare=None):
        """`prepare`: called in the process before it becomes weir, e.g. to lower a limit."""
        return Running([str(a) for a in arguments], self.environment(env), self.path, prepare)

    def weir(self, *arguments, env=None, prepare=None, timeout=300, interrupt_when=None, interrupt_with=signal.SIGINT):
        """Runs weir to its end. `interrupt_when`: called every 10 ms; the signal is sent once it returns true."""
        running = self.start_weir(*arguments, env=env, prepare=prepare)
        if interrupt_when:
            running.wait_until(interrupt_when, timeout)
            running.signal(interrupt_with)
        return running.wait(timeout)


class WeirCase(unittest.TestCase):
    """A test with a workspace, that ends everything it started."""

    maxDiff = 4000

    def setUp(self):
        for program in (WEIR, SIM):
            if not program.exists():
                self.fail(f"{program} is not there: build first, or set WEIR_BINARY and WEIR_SIM")
        self.workspace = Workspace()
        self.addCleanup(self.workspace.close)

    def simulator(self, kind, *arguments):
        simulator = Simulator(kind, *arguments)
        self.addCleanup(simulator.stop)
        return simulator

    def proxy(self, target):
        proxy = CountingProxy(target)
        self.addCleanup(proxy.close)
        return proxy

    def start_weir(self, *arguments, **options):
        running = self.workspace.start_weir(*arguments, **options)
        self.addCleanup(lambda: None if running.poll() else running.kill())
        return running

    def weir(self, *arguments, expect=EXIT_DONE, **options):
        """expect: the exit code; None: any."""
        return self.checked(self.workspace.weir(*arguments, **options), expect)

    def checked(self, outcome, expect=EXIT_DONE):
        if expect is not None:
            self.assertEqual(outcome.exit_code, expect, str(outcome))
        # A sanitizer's complaint must never drown in an expected failure.
        self.assertNotRegex(outcome.stderr, r"(AddressSanitizer|ThreadSanitizer|LeakSanitizer|runtime error:)", str(outcome))
        return outcome

    def assert_counts(self, outcome, stage, **expected):
        got = outcome.result(stage)
        self.assertEqual({k: got[k] for k in expected}, expected, f"stage {stage}: {got}\n{outcome}")


class AccessLog:
    """Requests that gunicorn wrote into the lab's access log since mark()."""

    LINE = re.compile(r'^\[[^\]]+\] (\d{3}) (\d+)ms "(\S+) (\S+) [^"]*"')

    def __init__(self, path):
        self.path = Path(path)
        self.offset = 0

    def mark(self):
        self.offset = self.settled_size()
        return self

    def settled_size(self):
        """gunicorn writes a line after the answer went out: wait for quiet."""
        size = -1
        while size != self.path.stat().st_size:
            size = self.path.stat().st_size
            time.sleep(0.3)
        return size

    def read(self):
        """[(method, path, status, milliseconds)]"""
        self.settled_size()
        with self.path.open("rb") as f:
            f.seek(self.offset)
            lines = f.read().decode(errors="replace").splitlines()
        found = []
        for line in lines:
            match = self.LINE.match(line)
            if not match:
                raise AssertionError(f"no access log line: {line}")
            found.append((match[3], match[4], int(match[1]), int(match[2])))
        return found


def count_by_method(seen):
    counts = {}
    for entry in seen:
        counts[entry[0]] = counts.get(entry[0], 0) + 1
    return counts

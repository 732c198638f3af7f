"""A test of `weir serve`: the service with its API, against both simulators."""
import http.client
import json
import re
import signal
import time
import urllib.parse
from pathlib import Path

from sync_case import SyncCase
from weir_test import EXIT_DONE, request

ENDED = ("done", "partly", "failed", "stopped", "interrupted", "resumed")


class Events:
    """A listener of /events: next() is the next (event, data)."""

    def __init__(self, url, headers=None, timeout=30):
        parts = urllib.parse.urlsplit(url)
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
        self.connection.request("GET", "/events", headers=headers or {})
        self.answer = self.connection.getresponse()
        self.comments = []

    def next(self):
        name, data = None, None
        while True:
            line = self.answer.readline().decode()
            if not line:
                return None
            line = line.rstrip("\n")
            if line.startswith(":"):
                self.comments.append(line)
            elif line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                data = json.loads(line[6:])
            elif not line and name:
                return name, data

    def wait_for(self, event, fits=lambda data: True, timeout=60):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            got = self.next()
            if got is None:
                raise AssertionError(f"the stream ended before a fitting '{event}' came")
            if got[0] == event and fits(got[1]):
                return got[1]
        raise AssertionError(f"no fitting '{event}' came within {timeout} s")

    def close(self):
        self.answer.close()
        self.connection.close()


class ServeCase(SyncCase):
    token = None

    def serve(self, *arguments, config=None, env=None):
        """Starts the service, and waits until it listens."""
        self.service = self.start_weir("serve", "--config", config or self.config, "--listen", "127.0.0.1:0", *arguments, env=env)
        self.service.wait_until(lambda: "listening on " in self.service.stdout)
        found = re.search(r"listening on (http://\S+)\n", self.service.stdout)
        self.assertTrue(found, f"it did not come to listen: {self.service.stderr}")
        self.url = found[1]
        return self.service

    def ask(self, method, path, body=None, headers=None):
        headers = dict(headers or {})
        if self.token:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        return request(method, self.url + path, body, headers)

    def get(self, path, expect=200):
        answer = self.ask("GET", path)
        self.assertEqual(answer.status, expect, f"{path}: {answer.body[:600]!r}\n{self.service.stderr[-2000:]}")
        return answer.json()

    def post(self, path, body=None, expect=202, headers=None):
        answer = self.ask("POST", path, {} if body is None else body, headers)
        self.assertEqual(answer.status, expect, f"{path}: {answer.body[:600]!r}\n{self.service.stderr[-2000:]}")
        return answer.json()

    def until(self, happened, what, timeout=90):
        """Polls until happened() is true; what it returned."""
        end = time.monotonic() + timeout
        while True:
            found = happened()
            if found:
                return found
            if self.service.poll():
                self.fail(f"the service ended while waiting for: {what}\n{self.service.stderr[-4000:]}")
            if time.monotonic() > end:
                self.fail(f"{what} did not happen within {timeout} s\n{self.service.stderr[-4000:]}")
            time.sleep(0.02)

    def ended(self, run):
        """The run's end, once it has come to it, in the API's words."""
        def look():
            found = self.get(f"/runs/{run}")
            return found if found["state"] in ENDED and self.get("/status")["run"] is None else None
        return self.until(look, f"the end of run {run}")

    def run_now(self, **body):
        return self.ended(self.post("/runs", body)["id"])

    def stop(self, expect=EXIT_DONE, with_signal=signal.SIGTERM):
        self.service.signal(with_signal)
        return self.checked(self.service.wait(60), expect)

    def slow(self, ms=300):
        """NetBox takes so long for each write from now on; 0: as ever."""
        self.server.faults([{"method": m, "path_regex": "/api/", "delay_ms": ms, "times": -1} for m in ("POST", "PATCH", "DELETE")] if ms else [])

    def writing(self):
        """Waits until the run under way is writing."""
        def look():
            run = self.get("/status")["run"]
            return run and any(j["state"] == "writing" for j in run["jobs"])
        self.until(look, "a stage that writes")

    # ---- what the process holds

    def descriptors(self):
        return len(list(Path(f"/proc/{self.service.process.pid}/fd").iterdir()))

    def threads(self):
        return len(list(Path(f"/proc/{self.service.process.pid}/task").iterdir()))

    def resident_kib(self):
        return int(re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{self.service.process.pid}/status").read_text(), re.M)[1])

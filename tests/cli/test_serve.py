#!/usr/bin/env python3
"""weir serve: its API, who may use it, one run at a time, reload, signals, systemd, events, and clients that misbehave."""
import json
import os
import re
import signal
import socket
import sys
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))

from proxmox_model import add_backup  # noqa: E402
from serve_case import Events, ServeCase  # noqa: E402
from sync_case import SMALL  # noqa: E402
from weir_test import EXIT_CONFIG, EXIT_INTERRUPTED, EXIT_UNREACHABLE, request  # noqa: E402


def exchange(url, data, timeout=30, shut=False):
    """Bytes over a connection of their own; everything that comes back until the other side closes."""
    host, port = url.removeprefix("http://").rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout) as s:
        try:
            s.sendall(data)
            if shut:
                s.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has heard enough
        out = b""
        try:
            while piece := s.recv(65536):
                out += piece
        except ConnectionError:
            pass
        return out


class Api(ServeCase):
    def test_runs_plans_and_links(self):
        self.start()
        self.serve()
        first = self.get("/status")
        self.assertEqual((first["state"], first["run"], first["gate"], first["plan"]), ("idle", None, None, None))
        self.assertEqual(first["runs"], {"started": 0, "ended": 0, "refused": 0, "by_exit_code": {}})
        self.assertEqual(self.get("/runs"), {"runs": []})
        self.get("/plan", 404)
        self.assertTrue(self.get("/livez")["ok"])
        ready = {c["name"]: c for c in self.get("/readyz")["checks"]}
        self.assertEqual(set(ready), {"configuration", "journal", "breaker", "netbox"})
        self.assertEqual(ready["netbox"]["value"], "not asked yet")

        # A plan is kept until a sync has overtaken it.
        planned = self.run_now(command="plan")
        self.assertEqual((planned["command"], planned["trigger"], planned["state"], planned["exit_code"]), ("plan", "http", "done", 0))
        plan = self.get("/plan")
        self.assertEqual(plan["run"], planned["id"])
        self.assertEqual({s["stage"] for s in plan["stages"]}, {"nodes", "virtual-machines", "backups"})
        self.assertEqual(len(plan["changes"]) + plan["more"], sum(s["create"] + s["update"] + s["delete"] for s in plan["stages"]))
        self.assertTrue(all(c["url"] is None for c in plan["changes"] if c["action"] == "create"))
        self.assertEqual(self.get("/status")["plan"]["create"], sum(s["create"] for s in plan["stages"]))
        self.assertEqual(self.server.requests()["writes"], 0)

        done = self.run_now()
        self.assertEqual((done["command"], done["state"], done["exit_code"]), ("sync", "done", 0))
        self.get("/plan", 404)
        self.assertIsNone(self.get("/status")["plan"])
        self.assertEqual(done["created"], sum(s["created"] for s in done["stages"]))
        self.assertEqual(len(done["changes"]), done["created"] + done["updated"])
        # Each link is the object's own.
        path, number = re.match(re.escape(self.server.url) + r"/(.+)/(\d+)/$", next(c["url"] for c in done["changes"] if c["kind"] == "dcim.device")).groups()
        self.assertEqual(path, "dcim/devices")
        self.assertIn(self.netbox.call("GET", f"{path}/{number}/")["name"], {c["label"] for c in done["changes"]})
        backup = next(c for c in done["changes"] if c["stage"] == "backups" and "proxbox" in c["kind"])
        self.assertIn("/plugins/proxbox/backups/", backup["url"])
        self.assert_equal_to_source()

        # Only what was asked for.
        with self.pve.changed_model() as model:
            add_backup(model)
        self.assertEqual(self.run_now(stages=["nodes"])["created"], 0)
        part = self.run_now(stages=["backups"], sources=["pve-a"])
        self.assertEqual(([s["stage"] for s in part["stages"]], part["created"]), (["backups"], 1))
        listed = self.get("/runs")["runs"]
        self.assertEqual([r["id"] for r in listed][-2:], [done["id"], planned["id"]])
        self.assertEqual(len(self.get("/runs?limit=2")["runs"]), 2)
        self.assertIn("did you mean 'nodes'?", self.post("/runs", {"stages": ["node"]}, 422)["hint"])
        self.assertIn("unknown source", self.post("/runs", {"sources": ["pve-z"]}, 422)["error"])
        self.post("/runs", {"command": "drop"}, 400)
        self.get("/runs/00000000", 404)
        self.assertEqual(self.run_now(command="resume")["reason"], "no run is unfinished")
        status = self.get("/status")
        self.assertEqual(status["netbox"], {"url": self.server.url, "version": "4.7.3"})
        self.assertEqual(status["runs"], {"started": 5, "ended": 5, "refused": 0, "by_exit_code": {"0": 5}})
        self.assertIn("weir_", self.ask("GET", "/metrics").body.decode())
        outcome = self.stop()
        self.assertIn("stopped", outcome.stderr)
        self.assertEqual(outcome.stdout.count("\n"), 1, outcome.stdout)

    def test_methods_and_headers(self):
        self.start()
        self.serve()
        head = self.ask("HEAD", "/status")
        self.assertEqual((head.status, head.body), (200, b""))
        self.assertGreater(int(head.headers["Content-Length"]), 100)
        self.assertEqual(head.headers["Cache-Control"], "no-store")
        self.assertEqual(head.headers["X-Content-Type-Options"], "nosniff")
        self.assertIn("default-src 'self'", head.headers["Content-Security-Policy"])
        options = self.ask("OPTIONS", "/runs")
        self.assertEqual((options.status, options.headers["Allow"], options.body), (204, "GET, HEAD, POST, OPTIONS", b""))
        for method, path in (("DELETE", "/runs"), ("POST", "/status"), ("PUT", "/"), ("GET", "/runs/00000000/cancel"), ("TRACE", "/status")):
            answer = self.ask(method, path)
            self.assertEqual(answer.status, 405, (method, path))
            self.assertTrue(answer.headers["Allow"])
            self.assertTrue(answer.json()["error"])
        page = self.ask("GET", "/")
        self.assertEqual((page.status, page.headers["Content-Type"]), (200, "text/html; charset=utf-8"))
        # Everything that the page names is there, and nothing of it comes from elsewhere.
        for name in set(re.findall(r'(?:src|href)="([\w.-]+)"', page.body.decode())):
            self.assertEqual(self.ask("GET", "/" + name).status, 200, name)
        self.stop()

    def test_names_and_origins(self):
        self.start()
        self.serve()
        for path in ("/status", "/", "/livez"):
            self.assertEqual(self.ask("GET", path, headers={"Host": "evil.example"}).status, 403, path)
            self.assertEqual(self.ask("GET", path, headers={"Host": "localhost"}).status, 200, path)
        for origin, status in ((self.url, 202), ("http://evil.example", 403), ("null", 403)):
            self.assertEqual(self.ask("POST", "/runs", {"command": "plan"}, {"Origin": origin}).status, status, origin)
        self.assertEqual(self.ask("POST", "/runs", b"command=sync", {"Content-Type": "application/x-www-form-urlencoded"}).status, 415)
        self.stop()

    def test_token(self):
        self.token = "s3cret-of-the-service"
        self.start(serve={"token_file": str(self.workspace.file("serve.token", self.token + "\n"))})
        self.serve("--log-level", "debug")
        self.assertEqual(self.get("/status")["state"], "idle")
        for path in ("/status", "/runs", "/gate", "/events", "/metrics", "/plan", "/nothing"):
            for headers in ({}, {"Authorization": "Bearer other"}, {"Authorization": "Basic " + self.token}):
                answer = request("GET", self.url + path, headers=headers)
                self.assertEqual(answer.status, 401, path)
                self.assertIn("Bearer", answer.headers["WWW-Authenticate"])
        self.assertEqual(request("POST", self.url + "/runs", {}).status, 401)
        for path in ("/livez", "/readyz", "/"):
            self.assertEqual(request("GET", self.url + path).status, 200, path)
        # Any name, with the token: a proxy's, for one.
        self.assertEqual(self.ask("GET", "/status", headers={"Host": "weir.example"}).status, 200)
        events = Events(self.url, {"Authorization": f"Bearer {self.token}"})
        self.assertEqual(events.next()[0], "status")
        events.close()
        # Another one after a reload.
        old = {"Authorization": f"Bearer {self.token}"}
        self.workspace.file("serve.token", "another-one\n")
        self.service.signal(signal.SIGHUP)
        self.until(lambda: request("GET", self.url + "/status", headers=old).status == 401, "the new token")
        self.token = "another-one"
        self.assertEqual(self.get("/status")["config"]["error"], None)
        outcome = self.stop()
        for secret in ("s3cret-of-the-service", "another-one"):
            self.assertNotIn(secret, outcome.stdout + outcome.stderr)

    def test_what_it_does_not_start_with(self):
        self.start()
        cases = [
            ({"listen": "0.0.0.0:0"}, EXIT_CONFIG, "token"),
            ({"listen": "weir.example:80"}, EXIT_CONFIG, "serve.listen"),
            ({"schedules": {"a": {"cron": "61 * * * *"}}}, EXIT_CONFIG, "minute"),
            ({"schedules": {"a": {"cron": "0 0 31 2 *"}}}, EXIT_CONFIG, "never comes"),
            ({"schedules": {"a": {"every": "1h", "stages": ["node"]}}}, EXIT_CONFIG, "did you mean 'nodes'?"),
            ({"schedules": {"a": {"every": "1h", "sources": ["pve-z"]}}}, EXIT_CONFIG, "pve-z"),
        ]
        for serve, code, message in cases:
            outcome = self.weir("serve", "--config", self.configuration(serve=serve), expect=code)
            self.assertIn(message, outcome.stderr, serve)
            self.assertEqual(outcome.stdout, "")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            outcome = self.weir("serve", "--config", self.configuration(), "--listen", f"127.0.0.1:{taken.getsockname()[1]}", expect=EXIT_UNREACHABLE)
        self.assertIn("in use", outcome.stderr)
        self.assertIn("--listen", outcome.stderr)

    def test_readiness_follows_netbox(self):
        proxy_port = None
        self.start()
        proxy = self.proxy(self.server.url)
        self.serve(config=self.configuration(netbox={"url": proxy.url}))
        self.assertEqual(self.run_now()["state"], "done")
        self.assertTrue(self.get("/readyz")["ok"])
        proxy_port = proxy.port
        proxy.close()
        gone = self.run_now(stages=["nodes"])
        self.assertEqual((gone["state"], gone["exit_code"]), ("failed", EXIT_UNREACHABLE))
        not_ready = self.get("/readyz", 503)
        self.assertEqual([c["name"] for c in not_ready["checks"] if not c["ok"]], ["netbox"])
        self.assertTrue(self.get("/livez")["ok"], "its being away is no fault of this process")
        self.assertTrue(self.get("/status")["errors"])
        proxy.open(proxy_port)
        self.assertEqual(self.run_now()["state"], "done")
        self.assertTrue(self.get("/readyz")["ok"])
        self.stop()


class OneAtATime(ServeCase):
    def test_overlap_cancel_and_resume(self):
        self.start(profile_text=SMALL, serve={"schedules": {"often": {"every": "1s"}}})
        self.slow(150)
        self.serve()
        run = self.until(lambda: self.get("/status")["run"], "the schedule's first run")
        self.assertEqual(run["trigger"], "schedule often")
        busy = self.post("/runs", {}, 409)
        self.assertEqual(busy["run"], run["id"])
        self.writing()
        schedule = self.until(lambda: next((s for s in self.get("/status")["schedules"] if s["refused"]), None), "a start that is refused")
        self.assertEqual((schedule["name"], schedule["every_s"], schedule["cron"]), ("often", 1, None))
        self.assertGreaterEqual(self.get("/status")["runs"]["refused"], 2)
        gate = self.get("/status")["gate"]
        self.assertEqual((gate["ceiling"], gate["breaker"], gate["control"]), (1, "closed", "adaptive"))
        # Now without the schedule, so that what is left stays left.
        self.config = self.configuration()
        self.service.signal(signal.SIGHUP)
        self.until(lambda: not self.get("/status")["schedules"], "the schedule's end")
        self.assertEqual(self.post(f"/runs/{run['id']}/cancel")["id"], run["id"])
        ended = self.ended(run["id"])
        self.assertEqual((ended["state"], ended["exit_code"]), ("stopped", EXIT_INTERRUPTED))
        self.assertEqual(ended["trigger"], "schedule often")
        self.post(f"/runs/{run['id']}/cancel", expect=409)
        self.post("/runs/00000000/cancel", expect=404)
        self.slow(0)
        resumed = self.run_now(command="resume", run=run["id"])
        self.assertEqual((resumed["command"], resumed["state"]), ("resume", "done"))
        self.assertEqual(self.get(f"/runs/{run['id']}")["state"], "resumed")
        self.assert_equal_to_source()
        self.stop()

    def test_another_weir_holds_the_lock(self):
        self.start(profile_text=SMALL)
        self.slow(300)
        other = self.start_weir("sync", "--config", self.config)
        other.wait_until(lambda: self.server.requests()["writes"] > 0)
        self.serve()
        refused = self.run_now()
        self.assertEqual((refused["state"], refused["exit_code"]), ("failed", 5))
        self.assertIn(str(other.process.pid), refused["reason"])
        self.assertEqual({r["state"] for r in self.get("/runs")["runs"]}, {"running", "failed"}, "the other's, and the one that came to nothing")
        other.signal(signal.SIGINT)
        self.checked(other.wait(60), EXIT_INTERRUPTED)
        self.stop()


class Signals(ServeCase):
    def test_reload(self):
        self.start(serve={"schedules": {"nightly": {"cron": "0 3 * * *", "jitter": "5m"}}})
        self.serve()
        status = self.get("/status")
        self.assertEqual([s["name"] for s in status["schedules"]], ["nightly"])
        good = Path(self.config).read_text()
        Path(self.config).write_text(good.replace("profile:", "profle:"))
        self.service.signal(signal.SIGHUP)
        error = self.until(lambda: self.get("/status")["config"]["error"], "the complaint")
        self.assertIn("profle", error["message"])
        self.assertIn("weir.yaml:", error["message"])
        self.assertIn("did you mean", error["message"])
        self.assertEqual(self.get("/status")["config"]["loaded"], status["config"]["loaded"])
        self.assertTrue(self.get("/readyz")["ok"], "the one before it holds")
        self.assertEqual(self.run_now()["state"], "done")
        Path(self.config).write_text(good.replace("nightly", "weekly").replace("0 3 * * *", "0 3 * * sun"))
        self.service.signal(signal.SIGHUP)
        self.until(lambda: [s["name"] for s in self.get("/status")["schedules"]] == ["weekly"], "the new schedule")
        self.assertIsNone(self.get("/status")["config"]["error"])
        outcome = self.stop()
        self.assertIn("was not reloaded", outcome.stderr)
        self.assertIn("configuration reloaded", outcome.stderr)

    def test_terminated_in_the_middle(self):
        self.start(profile_text=SMALL)
        self.slow(200)
        self.serve()
        run = self.post("/runs")["id"]
        self.writing()
        self.stop()
        self.assertEqual(self.states(), ["stopped"])
        self.assertEqual(self.history()["runs"][0]["run"], run)
        self.slow(0)
        # The next one simply syncs again.
        self.serve()
        self.assertEqual(self.get(f"/runs/{run}")["state"], "stopped")
        self.assertEqual(self.run_now()["state"], "done")
        self.stop(with_signal=signal.SIGINT)
        self.assert_nothing_left()

    def test_twice_means_at_once(self):
        self.start(profile_text=SMALL)
        self.slow(20_000)
        # Who ends at once joins no threads, which a thread sanitizer calls a leak.
        self.serve(env={"TSAN_OPTIONS": os.environ.get("TSAN_OPTIONS", "") + ":report_thread_leaks=0"})
        self.post("/runs")
        self.until(lambda: self.server.requests()["peak_in_flight"] and self.get("/status")["run"]["jobs"][0]["state"] == "writing", "a write under way")
        self.service.signal(signal.SIGTERM)
        self.until(lambda: self.get("/status")["state"] == "stopping", "the first signal's effect")
        self.assertEqual(self.post("/runs", expect=503)["error"], "the service is stopping")
        self.service.signal(signal.SIGTERM)
        self.checked(self.service.wait(60), EXIT_INTERRUPTED)

    def test_asked_for_progress(self):
        self.start(profile_text=SMALL)
        self.slow(200)
        self.serve()
        self.service.signal(signal.SIGUSR1)
        self.until(lambda: "idle" in self.service.stderr, "progress while idle")
        run = self.post("/runs")["id"]
        self.writing()
        self.service.signal(signal.SIGUSR1)
        self.until(lambda: re.search(r"writing \d+/\d+, batch \d+ of \d+", self.service.stderr), "progress while writing")
        self.post(f"/runs/{run}/cancel")
        self.ended(run)
        self.stop()


class Systemd(ServeCase):
    def listen(self, path):
        """A socket as systemd's, and all that it hears."""
        self.heard = []
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listener.bind("\0" + path[1:] if path.startswith("@") else path)
        self.addCleanup(listener.close)

        def hear():
            while True:
                try:
                    self.heard.append(listener.recv(4096).decode())
                except OSError:
                    return
        threading.Thread(target=hear, daemon=True).start()

    def test_ready_status_watchdog_reload_stop(self):
        self.start(profile_text=SMALL)
        self.slow(150)
        path = str(self.workspace.path / "notify")
        self.listen(path)
        self.serve(env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "300000"})
        self.until(lambda: "READY=1" in self.heard, "READY")
        self.until(lambda: self.heard.count("WATCHDOG=1") >= 3, "the watchdog's food")
        self.until(lambda: "STATUS=idle" in self.heard, "STATUS while idle")
        self.post("/runs")
        self.until(lambda: any(re.match(r"STATUS=sync \w{8}: pve-a [\w-]+ (collecting|comparing|writing)", h) for h in self.heard), "STATUS of a run")
        before = len(self.heard)
        self.service.signal(signal.SIGHUP)
        self.until(lambda: "READY=1" in self.heard[before:], "READY after the reload")
        reloading = next(h for h in self.heard[before:] if h.startswith("RELOADING=1"))
        self.assertRegex(reloading, r"^RELOADING=1\nMONOTONIC_USEC=\d+$")
        self.stop()
        self.assertIn("STOPPING=1", self.heard)
        self.assertGreater(self.heard.count("WATCHDOG=1"), 3)

    def test_abstract_socket(self):
        self.start()
        path = f"@weir-test-serve-{os.getpid()}"
        self.listen(path)
        self.serve(env={"NOTIFY_SOCKET": path})
        self.until(lambda: "READY=1" in self.heard, "READY")
        self.stop()
        self.assertNotIn("WATCHDOG=1", self.heard, "nobody asked for it")


class Streams(ServeCase):
    def test_events_of_a_run(self):
        self.start()
        self.serve()
        events = Events(self.url)
        self.addCleanup(events.close)
        self.assertEqual(events.answer.headers["Content-Type"], "text/event-stream")
        name, status = events.next()
        self.assertEqual((name, status["state"]), ("status", "idle"))
        sample = events.wait_for("gate")
        self.assertEqual(len(sample), len(self.get("/gate")["columns"]))
        run = self.post("/runs")["id"]
        begun = events.wait_for("run", lambda d: d["id"] == run)
        ended = begun if begun["exit_code"] is not None else events.wait_for("run", lambda d: d["id"] == run and d["exit_code"] is not None)
        self.assertEqual((ended["state"], ended["exit_code"]), ("done", 0))
        events.wait_for("status", lambda d: d["state"] == "idle" and d["runs"]["ended"] == 1)
        # The service's end is the stream's.
        self.service.signal(signal.SIGTERM)
        while events.next():
            pass
        self.checked(self.service.wait(60))

    def test_so_many_and_no_more(self):
        self.start()
        self.serve()
        all_of_them = [Events(self.url) for _ in range(33)]
        for e in all_of_them:
            self.addCleanup(e.close)
        self.assertEqual([e.answer.status for e in all_of_them].count(200), 32)
        self.assertEqual([e.answer.status for e in all_of_them].count(503), 1)
        self.assertEqual(self.get("/status")["state"], "idle")
        for e in all_of_them:
            e.close()
        # Those that went make room.
        def again():
            e = Events(self.url)
            status = e.answer.status
            e.close()
            return status == 200
        self.until(again, "room for another listener")
        self.stop()


class BadClients(ServeCase):
    def test_garbage(self):
        self.start()
        self.serve()
        host = b"Host: 127.0.0.1\r\n"
        garbage = [
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), b"400"),  # TLS
            (b"GET / HTTP/9.9\r\n\r\n", b"400"),
            (b"hello\r\n\r\n", b"400"),
            (b"GET /status HTTP/1.1\r\nHost 127.0.0.1\r\n\r\n", b"400"),
            (b"POST /runs HTTP/1.1\r\n" + host + b"Content-Length: -1\r\n\r\n", b"400"),
            (b"POST /runs HTTP/1.1\r\n" + host + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", b"400"),
            (b"POST /runs HTTP/1.1\r\n" + host + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
            (b"GET /status HTTP/1.1\r\n" + host + b"X: " + b"x" * 40_000 + b"\r\n\r\n", b"431"),
            (b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\n" + host + b"\r\n", b"431"),
            (b"POST /runs HTTP/1.1\r\n" + host + b"Content-Type: application/json\r\nContent-Length: 10000000\r\n\r\n" + b" " * 200_000, b"413"),
            (b"POST /runs HTTP/1.1\r\n" + host + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
             + (b"8000\r\n" + b" " * 0x8000 + b"\r\n") * 4, b"413"),
            (b"GET /status HTTP/1.0\r\n\r\n", b"403"),  # no name
            (b"GET /../../etc/passwd HTTP/1.1\r\n" + host + b"Connection: close\r\n\r\n", b"404"),
            (b"GET http://127.0.0.1/status HTTP/1.1\r\n" + host + b"Connection: close\r\n\r\n", b"404"),
        ]
        for data, status in garbage:
            answer = exchange(self.url, data)
            self.assertEqual(answer[:12], b"HTTP/1.1 " + status, (data[:80], answer[:300]))
        for data in (b"", b"GET /status HT", b"POST /runs HTTP/1.1\r\n" + host + b"Content-Length: 100\r\n\r\n{"):
            self.assertEqual(exchange(self.url, data, shut=True)[:0], b"")
        # Several in one go, each answered in turn.
        answers = exchange(self.url, (b"GET /livez HTTP/1.1\r\n" + host + b"\r\n") * 3 + b"GET /livez HTTP/1.1\r\n" + host + b"Connection: close\r\n\r\n")
        self.assertEqual(answers.count(b"HTTP/1.1 200 OK"), 4)
        with_more = exchange(self.url, b"POST /runs HTTP/1.1\r\n" + host + b"Content-Type: application/json\r\nExpect: 100-continue\r\n"
                             b"Content-Length: 18\r\nConnection: close\r\n\r\n{\"command\":\"plan\"}")
        self.assertIn(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202", with_more)
        self.assertEqual(self.get("/runs")["runs"][0]["command"], "plan")
        outcome = self.stop()
        self.assertNotIn("fault", outcome.stderr)

    def test_connections_that_only_wait(self):
        self.start()
        self.serve()
        host, port = self.url.removeprefix("http://").rsplit(":", 1)
        idle = [socket.create_connection((host, int(port)), 10) for _ in range(120)]
        for s in idle:
            self.addCleanup(s.close)
        self.assertEqual(self.get("/status")["state"], "idle", "there is room beside them")
        more = [socket.create_connection((host, int(port)), 10) for _ in range(20)]
        for s in more:
            self.addCleanup(s.close)
        full = more[-1].recv(100)
        self.assertTrue(full.startswith(b"HTTP/1.1 503"), full)
        # They are shown out by and by, and there is room again.
        def room():
            try:
                return self.ask("GET", "/livez").status == 200
            except OSError:
                return False
        self.until(room, "room for another connection")
        self.stop()


if __name__ == "__main__":
    unittest.main(verbosity=2)

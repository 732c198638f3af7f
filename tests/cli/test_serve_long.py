#!/usr/bin/env python3
"""weir serve for a while on a compressed schedule, with faults: every run is accounted for alike wherever one looks, and nothing grows.

WEIR_SERVE_SECONDS: how long (default 20)."""
import collections
import os
import re
import signal
import sys
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))

from proxmox_model import add_backup  # noqa: E402
from serve_case import Events, ServeCase  # noqa: E402
from sync_case import SMALL  # noqa: E402

SECONDS = float(os.environ.get("WEIR_SERVE_SECONDS", 20))
# From time to time: what the servers do to the runs. Less than opens the breaker, which would stay so for 30 s.
# (name, faults of NetBox, the source is away)
FAULTS = [
    ("nothing", [], False),
    ("429", [{"path_regex": "/api/", "status": 429, "headers": {"Retry-After": "0"}, "times": 3}], False),
    ("nothing", [], False),
    ("502", [{"method": "POST", "path_regex": "/api/", "status": 502, "times": 3}], False),
    ("502 after the commit", [{"method": "POST", "path_regex": "/api/", "status": 502, "after_commit": True, "times": 3}], False),
    ("nothing", [], False),
    ("outage", [{"path_regex": "/api/", "cut": True, "times": 4}], False),
    ("nothing", [], False),
    ("refuses objects", [{"method": "POST", "path_regex": "backups", "status": 400, "times": 2}], False),
    ("source away", [], True),
    ("nothing", [], False),
    ("the token is refused", [{"path_regex": "/api/", "status": 403, "times": 1}], False),
]


class AWhile(ServeCase):
    def test_every_run_is_accounted_for(self):
        self.start(nodes=2, guests=6, backups=20, profile_text=SMALL.replace("cap_ms: 200", "cap_ms: 100") + "  max_attempts: 3\n",
                   serve={"schedules": {
                       "backups": {"every": "1s", "jitter": "200ms", "stages": ["nodes", "virtual-machines", "backups"]},
                       "all": {"every": "3s"},
                       "look": {"every": "7s", "command": "plan"}}})
        self.serve("--log-level", "warn")
        listener = Events(self.url)
        self.addCleanup(listener.close)
        seen = []  # runs' ends, as the events have them

        def follow():
            try:
                while got := listener.next():
                    if got[0] == "run" and got[1]["exit_code"] is not None:
                        seen.append(got[1])
            except (OSError, ValueError, AttributeError):
                pass
        reader = threading.Thread(target=follow, daemon=True)
        reader.start()

        model = self.pve.model
        warm = None
        http_started = http_refused = 0
        began, turn = time.monotonic(), 0
        while time.monotonic() - began < SECONDS or turn < len(FAULTS) + 4:
            name, faults, away = FAULTS[turn % len(FAULTS)]
            turn += 1
            self.server.faults(faults)
            self.pve.faults([{"path_regex": "/api2/", "cut": True, "times": 8}] if away else [])
            add_backup(model, index=turn)
            self.pve.model = model
            answer = self.ask("POST", "/runs", {"command": "sync" if turn % 3 else "resume"})
            self.assertIn(answer.status, (202, 409), answer.body)
            http_started += answer.status == 202
            http_refused += answer.status == 409
            for path in ("/status", "/gate", "/runs", "/metrics", "/readyz"):
                self.assertIn(self.ask("GET", path).status, (200, 503), path)
            started = self.get("/status")["runs"]["started"]
            self.until(lambda: self.get("/status")["runs"]["started"] > started or time.monotonic() - began > 4 * SECONDS, f"a further run ({name})")
            if turn == len(FAULTS):
                warm = (self.resident_kib(), self.descriptors(), self.threads())

        # Quiet: no schedules, no faults, nothing under way.
        self.server.faults([])
        self.pve.faults([])
        self.config = self.configuration()
        self.service.signal(signal.SIGHUP)
        status = self.until(lambda: (s := self.get("/status")) and not s["schedules"] and s["run"] is None and s, "rest")
        final = self.run_now()
        self.assertEqual(final["state"], "done", final)
        self.assert_equal_to_source()

        # The same runs everywhere.
        status = self.get("/status")
        runs = status["runs"]
        self.assertEqual(runs["started"], runs["ended"])
        self.assertEqual(runs["ended"], sum(runs["by_exit_code"].values()))
        self.assertGreaterEqual(runs["started"], len(FAULTS) + 4)
        listed = self.get("/runs?limit=1000")["runs"]
        self.assertEqual(len(listed), min(runs["ended"], 200 + len([r for r in listed if r["trigger"] == ""])), "each run is listed once")
        self.assertEqual(len({r["id"] for r in listed}), len(listed))
        by_code = collections.Counter(str(r["exit_code"]) for r in listed)
        self.assertEqual(dict(by_code), runs["by_exit_code"], "/runs and /status agree")
        journal = {run: (code, state) for run, code, state in self.ask_journal("SELECT id, exit_code, state FROM runs")}
        for r in listed:
            if r["id"] in journal:
                self.assertEqual(journal[r["id"]][0], r["exit_code"], r)
            else:
                # Plans, and those that never came to NetBox: nothing was written, so there is nothing to journal.
                self.assertTrue(r["command"] == "plan" or r["exit_code"] in (69, 75, 77, 130) or r["reason"] == "no run is unfinished", r)
        self.assertLessEqual(set(journal), {r["id"] for r in listed})
        self.assertGreater(len(set(r["exit_code"] for r in listed)), 1, "the faults were felt")
        self.until(lambda: {r["id"] for r in seen} == {r["id"] for r in listed}, "the events of all runs", 20)
        self.assertEqual({(r["id"], r["exit_code"], r["state"]) for r in seen if r["id"] not in journal},
                         {(r["id"], r["exit_code"], r["state"]) for r in listed if r["id"] not in journal})
        metrics = self.ask("GET", "/metrics").body.decode()
        counted = collections.Counter()
        for labels, value in re.findall(r"^weir_runs_total\{([^}]*)\} (\S+)$", metrics, re.M):
            if float(value):
                counted[tuple(re.search(f'{name}="([^"]*)"', labels)[1] for name in ("command", "result"))] += int(float(value))
        results = {0: "ok", 3: "partly", 69: "unreachable", 75: "stopped", 77: "credentials", 130: "interrupted"}
        expected = collections.Counter((r["command"], results.get(r["exit_code"], "failed")) for r in listed if r["reason"] != "no run is unfinished")
        self.assertEqual(counted, expected, "/metrics agrees")
        self.assertGreaterEqual(runs["refused"], http_refused)

        # Nothing grows: at rest, forty runs later, there are as many threads and descriptors, and no more memory than allocators keep.
        def at_rest():
            # The least of some: a socket that the test has just closed may not be closed there yet.
            samples = []
            for _ in range(20):
                samples.append((self.resident_kib(), self.descriptors(), self.threads()))
                time.sleep(0.05)
            return tuple(map(min, zip(*samples)))

        before = at_rest()
        for _ in range(40):
            self.assertEqual(self.run_now()["exit_code"], 0)
        after = at_rest()
        print(f"\n{runs['ended']} runs {runs['by_exit_code']}, {runs['refused']} starts refused, {http_started} by http; at rest, and forty runs "
              f"later: resident {before[0]} -> {after[0]} KiB, descriptors {before[1]} -> {after[1]}, threads {before[2]} -> {after[2]}", file=sys.stderr)
        self.assertLessEqual(after[0], max(warm[0], before[0]) + 8_000)
        self.assertEqual(after[1:], before[1:])
        listener.close()
        outcome = self.stop()
        self.assertNotIn("has a fault", outcome.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)

#!/usr/bin/env python3
"""NetBox goes away in the middle of a sync: what is waited out, what is deferred, how often weir knocks; and what
observe mode and the adaptive throttle do with a slow one."""
import re
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
from mapping import Held
from sync_case import QUICK, SMALL, SOURCE, SyncCase
from weir_test import EXIT_DONE, EXIT_STOPPED

BACKUPS = "plugins/proxbox/backups"
AWAY = SMALL + "  max_outage_s: 1\n"
PATIENT = SMALL + "  max_outage_s: 120\n"
DATABASE_GONE = {"error": "connection failed: connection to server at \"127.0.0.1\", port 5432 failed: FATAL:  the database system is "
                          "shutting down", "exception": "OperationalError", "netbox_version": "4.7.3", "python_version": "3.13.0"}


class outage(SyncCase):
    def begin(self, profile_text, guests=6, backups=60):
        super().start(guests=guests, backups=backups, profile_text=profile_text)

    def goes_away(self, **more):
        """From the third list of backups on, all of NetBox."""
        self.server.reset_counters()
        self.server.faults([{"path_regex": f"^/api/{BACKUPS}/", "method": "POST", "skip": 2, "delay_ms": 500, "times": 1}])
        running = self.start_weir("sync", "--config", self.config, "--output", "json")
        running.wait_until(lambda: self.sent(BACKUPS) >= 3)
        self.server.options(db_down=True)
        self.server.faults([])
        self.server.reset_counters()
        return running

    def assert_left_to_resume(self, outcome):
        """All that is not there is deferred, and counted."""
        result = outcome.result("backups")
        held = len(Held(self.netbox, SOURCE).backups)
        self.assertEqual((result["status"], result["failed"]), ("stopped", 0), str(outcome))
        self.assertEqual(result["created"], held)
        self.assertEqual(result["created"] + result["deferred"] + result["skipped"], result["seen"], result)
        self.assertGreater(result["deferred"], 0)
        run = outcome.json["run"]
        self.assertEqual(self.history("show", run)["totals"]["deferred"], result["deferred"])
        self.assertEqual(self.ask_journal("SELECT count(*) FROM batches WHERE state IN ('pending', 'sent')"), [(0,)])
        finished = self.run_weir("resume")
        self.assertEqual((finished.json["resumes"], finished.result("backups")["created"]), (run, result["deferred"]))
        self.assertEqual(self.states(), ["resumed", "done"])
        self.assert_nothing_left()

    def test_longer_than_the_profile_waits(self):
        self.begin(AWAY)
        running = self.goes_away()
        outcome = self.checked(running.wait(120), EXIT_STOPPED)
        self.assertLessEqual(self.server.requests()["total"], 12, "nobody hammers at a closed door")
        self.assertTrue(outcome.json["throttle"]["gave_up"])
        self.assertIn("what is left is deferred", outcome.stderr)
        self.assertIn("weir resume", outcome.stdout + outcome.stderr)
        self.server.options(db_down=False)
        self.assert_left_to_resume(outcome)

    def test_nobody_listens(self):
        """Connections are refused."""
        self.begin(AWAY)
        proxy = self.proxy(self.server.url)
        self.config = self.configuration(proxy)
        running = self.start_weir("sync", "--config", self.config, "--output", "json")
        running.wait_until(lambda: self.sent(BACKUPS) >= 3)
        proxy.close()
        outcome = self.checked(running.wait(120), EXIT_STOPPED)
        self.assertIn("unreachable", outcome.stderr)
        self.assertIn(str(proxy.port), outcome.json["error"]["message"])
        proxy.open(proxy.port)
        self.assert_left_to_resume(outcome)

    def test_a_short_one_is_only_in_the_log(self):
        self.begin(PATIENT)
        self.server.faults([{"path_regex": f"^/api/{BACKUPS}/", "method": "POST", "skip": 2, "status": 500, "times": 2, "body": DATABASE_GONE}])
        outcome = self.run_weir("sync")
        self.assertRegex(outcome.stderr, r"(?m)warn.* will be tried again in .*overload.*shutting down")
        self.assertEqual(outcome.json["notices"] + outcome.json["failures"],
                         [n for n in outcome.json["notices"] if n["level"] == "info"], "nothing to worry about in the result")
        self.assertEqual((outcome.json["retried"], outcome.json["throttle"]["breaker_opened"]), (2, 0))
        self.assert_nothing_left()

    def test_the_breaker(self):
        """Five failures: nothing is sent for a while, then a probe, and all goes on."""
        self.begin(PATIENT)
        running = self.goes_away()
        running.wait_until(lambda: "nothing is sent for" in running.stderr)
        failed = self.server.requests()["total"]
        self.assertLessEqual(failed, 6)
        self.server.options(db_down=False)
        outcome = self.checked(running.wait(120))
        self.assertRegex(outcome.stderr, r"(?s)netbox: it does not answer; nothing is sent for \d+\.\d s, then a probe.*netbox: it answers again")
        self.assertEqual((outcome.json["throttle"]["breaker_opened"], outcome.json["throttle"]["probes"]), (1, 1))
        self.assertEqual(self.deferred(outcome), 0)
        self.assert_nothing_left()

    def test_at_the_start(self):
        """Nobody home at all: said at once, no run, nothing to resume."""
        self.begin(PATIENT)
        self.server.options(db_down=True)
        outcome = self.run_weir("sync", expect=None, timeout=60)
        self.assertNotEqual(outcome.exit_code, EXIT_DONE)
        self.assertLessEqual(self.server.requests()["total"], 6)
        self.server.options(db_down=False)
        self.assertIn("nothing to resume", self.run_weir("resume").stderr)


class a_busy_netbox(SyncCase):
    """Four in flight are allowed. Once all is well with that, NetBox's database has no connection for one request.

    There is far more to write than the test waits for, however late a busy machine lets weir come to four."""

    FOUR = QUICK.replace("delay_ms: 0", "delay_ms: 0\n  size: 100\n  objects_per_request: 5") + "max_in_flight: 4\n"
    SLOW = {"path_regex": f"^/api/{BACKUPS}/", "method": "POST", "delay_ms": 150, "times": -1}
    REFUSED = {**SLOW, "times": 1, "status": 500, "body": {**DATABASE_GONE, "error": "connection failed: FATAL:  sorry, too many clients already"}}

    def peak_after_a_refusal(self, mode):
        """The most in flight in the twenty lists after the refusal was heard of; and how the run ended."""
        self.start(guests=4, backups=4000, profile_text=self.FOUR, throttle={"mode": mode})
        self.server.faults([self.SLOW])
        running = self.start_weir("sync", "--config", self.config, "--output", "json", "--log-level", "debug")
        running.wait_until(lambda: self.server.requests()["peak_in_flight"] == 4)
        self.server.faults([self.REFUSED, self.SLOW])
        running.wait_until(lambda: "overload" in running.stderr)
        running.wait_until(lambda: self.server.requests()["in_flight"] <= 2)  # the answers to what was under way
        self.server.reset_counters()
        running.wait_until(lambda: self.sent(BACKUPS) >= 20)
        self.assertFalse(running.poll(), "it ended before the refusal showed anything:\n" + running.stderr[-4000:])
        peak = self.server.requests()["peak_in_flight"]
        self.server.faults([])
        outcome = self.checked(running.wait(120))
        self.assertEqual(outcome.json["peak_in_flight"], 4)
        self.assert_nothing_left()
        return peak, outcome

    def test_adaptive(self):
        peak, outcome = self.peak_after_a_refusal("adaptive")
        self.assertLessEqual(peak, 2, "half of the four that were too many")
        self.assertNotIn("observed only", outcome.stderr)
        self.assertRegex(outcome.stderr, r"netbox: at most 2 in flight")

    def test_observed_only(self):
        peak, outcome = self.peak_after_a_refusal("observe")
        self.assertGreater(peak, 2, "the profile's ceilings alone hold")
        decided = re.findall(r"netbox: \(observed only\) at most (\d+) in flight", outcome.stderr)
        self.assertTrue(decided, "what it would have done is said")
        self.assertEqual(len(re.findall(r"at most \d+ in flight, ", outcome.stderr)), len(decided), "each decision is marked")


if __name__ == "__main__":
    unittest.main(verbosity=2)

#!/usr/bin/env python3
"""Runs that stop early, by their time, a signal or a kill, and `weir resume`, which finishes them and doubles nothing."""
import json
import os
import signal
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
import proxmox_model as change
from mapping import Expected, Held
from sync_case import SMALL, SOURCE, SyncCase
from weir_test import EXIT_DONE, EXIT_INTERRUPTED, EXIT_STOPPED, EXIT_USAGE

BACKUPS, MACHINES = "plugins/proxbox/backups", "virtualization/virtual-machines"


class resume(SyncCase):
    def start(self, guests=6, backups=60, **config):
        super().start(guests=guests, backups=backups, profile_text=SMALL, **config)

    def slow(self, ms, **more):
        """Each list of new backups takes NetBox so long."""
        self.server.faults([{"path_regex": f"^/api/{BACKUPS}/", "method": "POST", "delay_ms": ms, "times": -1, **more}])

    def start_sync(self, *arguments):
        self.server.reset_counters()
        # Who ends at once joins no threads, which a thread sanitizer calls a leak.
        sanitized = {"TSAN_OPTIONS": os.environ.get("TSAN_OPTIONS", "") + ":report_thread_leaks=0"}
        return self.start_weir("sync", "--config", self.config, "--output", "json", *arguments, env=sanitized)

    def in_the_middle(self):
        return self.sent(BACKUPS) >= 3

    def interrupt(self, running, times=1):
        running.wait_until(self.in_the_middle)
        for i in range(times):
            running.wait_until(lambda: running.stderr.count("stopping: ") >= i)
            running.signal(signal.SIGINT)

    def stopped_run(self):
        """One that Ctrl-C has stopped in the middle of its backups; its id."""
        self.slow(100)
        running = self.start_sync()
        self.interrupt(running)
        outcome = self.checked(running.wait(60), EXIT_INTERRUPTED)
        self.server.faults([])
        return outcome.json["run"]

    def open_batches(self, run):
        return self.ask_journal("SELECT b.number, b.state FROM batches b JOIN runs r ON r.number = b.run WHERE r.id = ?"
                                " AND b.state IN ('pending', 'sent', 'unknown')", run)

    # ---- single guests

    def guest_with_backups(self):
        of_a_guest = {b["vmid"] for b in self.pve.model["backups"]}
        return next(g["vmid"] for g in self.pve.model["guests"] if g["vmid"] in of_a_guest)

    def test_a_run_of_one_guest_is_resumed_as_one(self):
        self.start()
        vmid = self.guest_with_backups()
        self.server.faults([{"path_regex": f"^/api/{MACHINES}/", "method": "POST", "delay_ms": 1000, "times": -1}])
        running = self.start_sync("--guest", str(vmid))
        running.wait_until(lambda: self.sent(MACHINES) == 1)
        running.signal(signal.SIGINT)
        run = self.checked(running.wait(60), EXIT_INTERRUPTED).json["run"]
        self.server.faults([])
        self.assertEqual(self.history("show", run)["summary"]["guests"], [vmid])
        self.assertRegex(self.weir("history", "show", run, "--config", self.config).stdout, rf"guests +\[{vmid}\]")
        finished = self.run_weir("resume")
        self.assertEqual(finished.json["resumes"], run)
        self.assertIn(f"--guest {vmid}", str(finished.json["notices"]))
        held, expected = Held(self.netbox, SOURCE), Expected(self.reader, SOURCE)
        self.assertEqual(list(held.machines), [vmid], "that guest alone")
        theirs = [b for b in expected.backups.values() if b["vmid"] == vmid]
        self.assertEqual(len(held.backups), len(theirs))
        self.assertEqual(self.states(), ["resumed", "done"])
        self.assertEqual(self.history("show", finished.json["run"])["summary"]["guests"], [vmid])

    def test_a_killed_run_of_one_guest_is_resumed_as_one(self):
        self.start()
        vmid = self.guest_with_backups()
        self.server.faults([{"path_regex": f"^/api/{MACHINES}/", "method": "POST", "delay_ms": 1000, "times": -1}])
        running = self.start_sync("--guest", str(vmid), "--allow-deletes", "3")
        running.wait_until(lambda: self.sent(MACHINES) == 1)
        running.signal(signal.SIGKILL)
        running.wait(60)
        self.server.faults([])
        finished = self.run_weir("resume", timeout=120)
        self.assertEqual(list(Held(self.netbox, SOURCE).machines), [vmid], "that guest alone")
        summary = self.history("show", finished.json["run"])["summary"]
        self.assertEqual((summary["guests"], summary["allow_deletes"]), ([vmid], 3))
        self.assertEqual(self.states(), ["resumed", "done"])

    def test_a_run_of_one_guest_does_not_finish_another_one(self):
        self.start()
        vmid = self.guest_with_backups()
        stopped = self.stopped_run()
        self.run_weir("sync", "--guest", str(vmid))
        self.assertEqual(self.states(), ["stopped", "done"])
        finished = self.run_weir("resume")
        self.assertEqual(finished.json["resumes"], stopped)
        self.assertEqual(self.states(), ["resumed", "done", "done"])
        self.assert_nothing_left()

    # ---- the time is over

    def test_max_duration(self):
        self.start(guests=3, backups=90)
        self.slow(300)
        stopped = self.run_weir("sync", "--max-duration", "2s", expect=EXIT_STOPPED, timeout=60)
        run, statuses = stopped.json["run"], {r["stage"]: r["status"] for r in stopped.json["results"]}
        self.assertEqual(statuses["backups"], "stopped", str(stopped))
        self.assertIn("--max-duration (2 s)", stopped.json["error"]["message"])
        self.assertIn("weir resume", stopped.json["error"]["hint"])
        self.assertEqual(stopped.json["exit_code"], EXIT_STOPPED)
        left = stopped.result("backups")["deferred"]
        self.assertGreater(left, 0)

        shown = self.history("show", run)
        self.assertEqual((shown["state"], shown["exit_code"], shown["can_be_resumed"]), ("stopped", EXIT_STOPPED, True))
        self.assertEqual(shown["totals"]["deferred"], self.deferred(stopped))
        self.assertIn(f"weir resume {run}", shown["next"])
        self.assertEqual({s["stage"]: s["state"] for s in shown["stages"]},
                         {stage: "done" if s == "ok" else s for stage, s in statuses.items()})

        self.server.faults([])
        finished = self.run_weir("resume")
        self.assertEqual((finished.json["command"], finished.json["resumes"]), ("resume", run))
        self.assertEqual({r["stage"] for r in finished.json["results"]}, {stage for stage, s in statuses.items() if s != "ok"},
                         "only what was not done")
        self.assert_counts(finished, "backups", created=left, deferred=0, failed=0)
        self.assertEqual(self.states(), ["resumed", "done"])
        self.assertEqual(self.history("show", run)["resumed_by"], finished.json["run"])
        self.assert_nothing_left()

    def test_max_duration_in_words(self):
        self.start(guests=3, backups=90)
        self.slow(300)
        stopped = self.weir("sync", "--config", self.config, "--max-duration", "1500ms", expect=EXIT_STOPPED, timeout=60)
        run = self.history()["runs"][0]["run"]
        self.assertRegex(stopped.stdout, rf"\d+ deferred \(weir resume {run}\)")
        self.assertIn("--max-duration", stopped.stdout)
        listed = self.weir("history", "--config", self.config).stdout
        self.assertRegex(listed, rf"(?m)^{run} .* stopped +75 ")
        self.assertIn(f"To finish run {run}:  weir resume {run}", listed)

    def test_a_sync_finishes_it_too(self):
        self.start()
        self.stopped_run()
        self.run_weir("sync")
        self.assertEqual(self.states(), ["resumed", "done"])
        self.assert_nothing_left()

    # ---- which run

    def test_by_the_beginning_of_its_id(self):
        self.start()
        run = self.stopped_run()
        finished = self.run_weir("resume", run[:4])
        self.assertEqual(finished.json["resumes"], run)
        self.assert_equal_to_source()

    def test_an_unknown_run(self):
        self.start()
        run = self.stopped_run()
        outcome = self.run_weir("resume", "0" * 8 if not run.startswith("0") else "f" * 8, expect=EXIT_USAGE)
        self.assertIn(run, outcome.stderr, "the ones there are would help")
        self.assertEqual(outcome.stdout, "")
        self.assertEqual(self.server.requests()["total"], 0)

    def test_a_finished_run(self):
        self.start()
        run = self.run_weir("sync").json["run"]
        outcome = self.run_weir("resume", run)
        self.assertRegex(outcome.stderr, rf"nothing to resume: run {run} is done")
        self.assertEqual((outcome.json["command"], outcome.json["exit_code"], outcome.json["resumes"]), ("resume", EXIT_DONE, None))
        in_words = self.weir("resume", run, "--config", self.config)
        self.assertEqual(in_words.stdout, "")
        self.assertIn("nothing to resume", in_words.stderr)
        self.assertEqual(self.server.requests()["total"], 0)
        self.assertEqual(self.states(), ["done"])

    def test_nothing_ever_run(self):
        self.start()
        outcome = self.run_weir("resume")
        self.assertIn("nothing to resume: no run is unfinished", outcome.stderr)
        self.assertEqual(outcome.json["resumes"], None)
        unknown = self.run_weir("resume", "abcd", expect=EXIT_USAGE)
        self.assertIn("abcd", unknown.stderr)
        self.assertEqual(self.server.requests()["total"], 0)
        self.assertEqual(self.states(), [])

    def test_a_run_of_another_netbox(self):
        self.start()
        run = self.stopped_run()
        other = self.simulator("netbox")
        elsewhere = self.configuration(other, name="other.yaml")
        outcome = self.weir("resume", run, "--config", elsewhere, expect=EXIT_USAGE)
        for url in (self.server.url, other.url, run):
            self.assertIn(url, outcome.stderr)
        outcome = self.weir("resume", "--config", elsewhere)
        self.assertIn("nothing to resume", outcome.stderr)
        self.assertEqual(other.requests()["total"], 0)
        self.assertEqual(self.states(), ["stopped"])
        self.run_weir("resume")
        self.assert_nothing_left()

    def test_resuming_what_was_resumed(self):
        """A resume that stops is resumed itself, and both runs are finished by it."""
        self.start(backups=90)
        first = self.stopped_run()
        self.slow(100)
        again = self.run_weir("resume", expect=EXIT_INTERRUPTED, interrupt_when=self.in_the_middle)
        self.assertEqual(again.json["resumes"], first)
        self.server.faults([])
        self.run_weir("resume")
        self.assertEqual(self.states(), ["resumed", "resumed", "done"])
        self.assert_nothing_left()

    # ---- signals

    def test_once(self):
        """Ctrl-C: what is in flight is waited for, and nothing further is sent."""
        self.start()
        self.slow(400)
        running = self.start_sync()
        self.interrupt(running)
        outcome = self.checked(running.wait(60), EXIT_INTERRUPTED)
        self.assertIn("what is in flight is waited for", outcome.stderr)
        counted = self.server.requests()
        self.assertEqual(counted["in_flight"], 0)
        self.assertLessEqual(self.sent(BACKUPS), 4, "nothing goes out after the signal but what was at the door")
        result = outcome.result("backups")
        self.assertEqual(result["created"], len(Held(self.netbox, SOURCE).backups), "what was in flight is counted")
        self.assertEqual(result["status"], "stopped")
        self.assertGreater(result["deferred"], 0)
        run = outcome.json["run"]
        self.assertEqual(self.open_batches(run), [])
        self.assertEqual(self.states(), ["stopped"])
        self.server.faults([])
        finished = self.run_weir("resume", run)
        self.assertEqual(finished.result("backups")["created"], result["deferred"])
        self.assertEqual(finished.json["looked_up"], 0)
        self.assert_nothing_left()

    def ends_at_once(self, end, wait_for_netbox):
        """`end(running)` ends it at once with a list on the wire, which NetBox goes on with."""
        self.start()
        self.slow(1000, skip=2)
        running = self.start_sync()
        end(running)
        outcome = running.wait(60)
        self.assertEqual(outcome.stdout, "")
        if wait_for_netbox:
            while self.server.requests()["in_flight"]:
                pass
        run = self.history()["runs"][0]
        self.assertEqual((run["state"], run["can_be_resumed"], run["exit_code"]), ("interrupted", True, None))
        sent = [state for _, state in self.open_batches(run["run"]) if state != "pending"]
        self.assertIn(sent, (["sent"], ["sent"] * 2), "two at most are on the wire")
        lists = self.sent(BACKUPS)  # NetBox has them, or is at work on them
        self.server.faults([])
        finished = self.run_weir("resume")
        self.assertEqual(finished.json["resumes"], run["run"])
        self.assertGreaterEqual(finished.json["looked_up"], len(sent))
        self.assertIn("taken over", finished.stderr, "the dead run's lock")
        self.assertEqual({r["stage"] for r in finished.json["results"]}, {"backups"}, "only what was not done")
        # What was on the wire is done, and known to be.
        self.assertEqual(self.open_batches(run["run"]), [])
        self.assert_counts(finished, "backups", created=60 - self.foreign() - 5 * lists, unchanged=5 * lists)
        self.assertEqual(self.states(), ["resumed", "done"])
        self.assert_nothing_left()
        return outcome

    def foreign(self):
        """Backups that have nothing in NetBox to belong to."""
        return 60 - len(Held(self.netbox, SOURCE).backups)

    def test_twice(self):
        """Ctrl-C twice ends it at once; NetBox is still at work on its last request when it is resumed."""
        outcome = self.ends_at_once(lambda running: self.interrupt(running, times=2), wait_for_netbox=False)
        self.assertEqual(outcome.exit_code, EXIT_INTERRUPTED)

    def kill(self, running):
        running.wait_until(self.in_the_middle)
        running.signal(signal.SIGKILL)

    def test_killed(self):
        outcome = self.ends_at_once(self.kill, wait_for_netbox=True)
        self.assertEqual(outcome.exit_code, -signal.SIGKILL)

    def test_killed_before_anything_was_written(self):
        self.start()
        self.server.faults([{"path_regex": "^/api/dcim/", "method": "GET", "delay_ms": 3000}])
        running = self.start_sync()
        running.wait_until(lambda: self.journal.exists() and self.server.requests()["in_flight"] > 0
                           and self.server.requests()["total"] >= 2)
        running.signal(signal.SIGKILL)
        running.wait(60)
        self.server.faults([])
        self.run_weir("resume")
        self.assertEqual(self.states()[-1], "done")
        self.assert_nothing_left()

    def test_in_the_middle_of_an_outage(self):
        """Nobody waits for the outage's end."""
        self.start()
        self.slow(100)
        running = self.start_sync()
        running.wait_until(self.in_the_middle)
        self.server.stop()
        running.wait_until(lambda: "nothing is sent for" in running.stderr)
        running.signal(signal.SIGINT)
        # The profile would wait for five minutes.
        outcome = self.checked(running.wait(120), EXIT_INTERRUPTED)
        self.assertGreater(outcome.result("backups")["deferred"], 0)
        self.assertEqual(self.states(), ["stopped"])
        self.assertEqual([state for _, state in self.open_batches(outcome.json["run"]) if state == "pending"], [])

    def test_terminated(self):
        """SIGTERM, as systemd sends it, is Ctrl-C."""
        self.start()
        self.slow(100)
        outcome = self.run_weir("sync", expect=EXIT_INTERRUPTED, interrupt_when=self.in_the_middle, interrupt_with=signal.SIGTERM)
        self.assertEqual(json.loads(outcome.stdout)["exit_code"], EXIT_INTERRUPTED)
        self.server.faults([])
        self.run_weir("resume")
        self.assert_nothing_left()

    def test_stages_chosen_on_the_command_line(self):
        """What is not done of the run, and of that only what is asked for: the rest stays to be resumed."""
        self.start()
        run = self.stopped_run()
        outcome = self.run_weir("resume", "--stage", "nodes")
        self.assertEqual(outcome.json["results"], [])
        self.assertEqual({r["run"]: r["state"] for r in self.history()["runs"]}[run], "stopped")
        self.run_weir("resume", run)
        self.assert_nothing_left()


if __name__ == "__main__":
    unittest.main(verbosity=2)

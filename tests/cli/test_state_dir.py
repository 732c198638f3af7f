#!/usr/bin/env python3
"""The state directory: one run at a time on a NetBox, and a journal that cannot be made, read or written."""
import os
import re
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
import proxmox_model as change
from mapping import Held
from sync_case import SMALL, SOURCE, SyncCase
from weir_test import EXIT_DONE, EXIT_INTERRUPTED, EXIT_LOCKED, EXIT_STOPPED, EXIT_USAGE

BACKUPS = "plugins/proxbox/backups"


class the_lock(SyncCase):
    def at_work(self, backups=120):
        """A sync in the middle of its backups, which stays there."""
        self.start(guests=6, backups=backups, profile_text=SMALL)
        self.server.faults([{"path_regex": f"^/api/{BACKUPS}/", "method": "POST", "delay_ms": 300, "times": -1}])
        running = self.start_weir("sync", "--config", self.config)
        running.wait_until(lambda: self.sent(BACKUPS) >= 2)
        return running

    def end(self, running):
        running.signal(signal.SIGINT)
        self.checked(running.wait(60), EXIT_INTERRUPTED)
        self.server.faults([])

    def test_a_second_run(self):
        running = self.at_work()
        run = self.history()["runs"][0]["run"]
        for command in ("sync", "resume"):
            refused = self.weir(command, "--config", self.config, "--output", "json", expect=EXIT_LOCKED)
            self.assertRegex(refused.stderr, rf"error: another run holds the lock for {re.escape(self.server.url)}: weir sync, run {run}, "
                                             rf"pid {running.process.pid} on {re.escape(socket.gethostname())}, "
                                             r"since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n")
            self.assertIn(f"kill -INT {running.process.pid}", refused.stderr)
            self.assertEqual(refused.stdout, "")
        self.assertEqual(len(self.history()["runs"]), 1, "who was refused is no run")
        self.end(running)
        self.run_weir("resume")
        self.assert_nothing_left()

    def test_whom_it_does_not_lock_out(self):
        running = self.at_work()
        run = self.history()["runs"][0]
        self.assertEqual((run["state"], run["pid"]), ("running", running.process.pid))
        self.weir("plan", "--config", self.config)
        self.weir("history", "--config", self.config, "show", run["run"])
        self.weir("validate", "--config", self.config)
        other = self.simulator("netbox")
        self.weir("sync", "--config", self.configuration(other, name="other.yaml"))
        self.assertGreater(other.requests()["objects_written"], 0)
        self.assertFalse(running.poll(), "it was at work all the time")
        self.end(running)
        self.run_weir("resume")
        self.assert_nothing_left()

    def test_another_spelling_of_the_same_netbox(self):
        running = self.at_work()
        path = self.configuration(name="spelling.yaml", netbox={"url": self.server.url.replace("http://", "HTTP://") + "/"})
        self.weir("sync", "--config", path, expect=EXIT_LOCKED)
        self.end(running)

    def test_a_killed_holder(self):
        running = self.at_work()
        run = self.history()["runs"][0]["run"]
        running.signal(signal.SIGKILL)
        running.wait(60)
        self.server.faults([])
        outcome = self.run_weir("sync")
        self.assertIn(f"run {run} (pid {running.process.pid}) ended without giving back its lock; taken over", outcome.stderr)
        self.assertNotIn("taken over", self.run_weir("sync").stderr)
        self.assert_nothing_left()


class the_journal(SyncCase):
    def start(self, guests=6, backups=60, **config):
        super().start(guests=guests, backups=backups, profile_text=SMALL, **config)

    def refused(self, *says, config=None, **options):
        """It ends before anything is sent, and every pattern of `says` is in stderr."""
        self.server.reset_counters()
        for command in ("sync", "resume"):
            outcome = self.weir(command, "--config", config or self.config, "--output", "json", expect=None, timeout=60, **options)
            self.assertNotIn(outcome.exit_code, (EXIT_DONE, EXIT_STOPPED), str(outcome))
            self.assertGreater(outcome.exit_code, 0, str(outcome))
            for pattern in (r"(?m)^error: ", r"(?m)^  hint: ", *says):
                self.assertRegex(outcome.stderr, pattern, str(outcome))
            self.assertEqual(outcome.stdout, "")
        self.assertEqual(self.server.requests()["writes"], 0)
        # A plan needs no journal.
        self.weir("plan", "--config", config or self.config)
        return outcome

    def test_a_file_in_the_folders_place(self):
        self.start()
        path = self.workspace.file("state-file", "not a folder\n")
        config = self.configuration(name="file.yaml", state_dir=str(path))
        self.refused(r"state-file", r"is a file", r"state_dir", config=config)
        config = self.configuration(name="below.yaml", state_dir=str(path / "state"))
        self.refused(r"state-file", r"state_dir", config=config)

    def test_garbage(self):
        self.start()
        for name, content in (("text", b"# no journal\n" * 500), ("empty", b""), ("zeros", bytes(8192))):
            with self.subTest(content=name):
                self.journal.write_bytes(content)
                self.refused(re.escape(str(self.journal)), r"move it aside")
                self.assertEqual(self.journal.read_bytes(), content, "it is left as it is, for whoever wants to look")
                self.assertRegex(self.weir("history", "--config", self.config, expect=1).stderr, re.escape(str(self.journal)))

    def test_damaged_in_the_middle(self):
        self.start()
        self.run_weir("sync")
        size = self.journal.stat().st_size
        with self.journal.open("r+b") as f:
            f.seek(4096)
            f.write(b"\xa5" * (size - 4096))
        self.refused(re.escape(str(self.journal)), r"move it aside")

    def test_from_a_newer_weir(self):
        self.start()
        self.run_weir("sync")
        connection = sqlite3.connect(self.journal)
        connection.execute("PRAGMA user_version = 99")
        connection.close()
        before = self.journal.read_bytes()
        self.refused(re.escape(str(self.journal)), r"newer", r"99")
        self.assertEqual(self.journal.read_bytes(), before)

    def test_of_another_program(self):
        self.start()
        connection = sqlite3.connect(self.journal)
        connection.executescript("CREATE TABLE runs (id TEXT); PRAGMA application_id = 4711; PRAGMA user_version = 1;")
        connection.close()
        self.refused(re.escape(str(self.journal)))

    def test_locked_by_another_program(self):
        self.start()
        self.run_weir("sync")
        with self.pve.changed_model() as model:
            change.add_backup(model)
        connection = sqlite3.connect(self.journal, isolation_level=None)
        self.addCleanup(connection.close)
        connection.execute("BEGIN IMMEDIATE")
        outcome = self.run_weir("sync", expect=None, timeout=120)
        self.assertGreater(outcome.exit_code, 0, str(outcome))
        self.assertRegex(outcome.stderr + outcome.stdout, r"locked")
        self.assertEqual(self.server.requests()["writes"], 0)
        connection.execute("ROLLBACK")
        self.run_weir("sync")
        self.assert_nothing_left()

    @unittest.skipUnless(os.geteuid() != 0, "root may write everywhere: nothing is read-only for it")
    def test_a_folder_that_may_not_be_written(self):
        self.start()
        folder = self.workspace.path / "read-only"
        folder.mkdir(mode=0o500)
        self.refused(r"read-only", r"writable", config=self.configuration(name="ro.yaml", state_dir=str(folder)))

    def test_a_plan_leaves_no_trace(self):
        self.start()
        folder = self.workspace.path / "never-made"
        config = self.configuration(name="nowhere.yaml", state_dir=str(folder))
        self.weir("plan", "--config", config)
        self.assertFalse(folder.exists())
        self.weir("sync", "--config", config)
        self.assertEqual(folder.stat().st_mode & 0o777, 0o700)
        self.assertEqual((folder / "journal.db").stat().st_mode & 0o777, 0o600)

    # ---- no room

    def assert_stopped_without_loss(self, outcome, words):
        """Either nothing was begun, or what was not written is deferred and said; whatever NetBox has, the journal
        has known of before."""
        self.assertGreater(outcome.exit_code, 0, str(outcome))
        self.assertRegex(outcome.stderr + outcome.stdout, words)
        self.assertRegex(outcome.stderr + outcome.stdout, r"journal")
        if outcome.stdout:
            backups = outcome.result("backups")
            self.assertEqual(backups["failed"], 0, str(outcome))
            self.assertGreater(backups["deferred"] + (backups["status"] != "ok"), 0, str(outcome))
            self.assertEqual(outcome.exit_code, EXIT_STOPPED)
        return outcome

    def journalled(self):
        """Objects in the batches of the last run."""
        return self.ask_journal("SELECT count(*) FROM objects WHERE run = (SELECT max(number) FROM runs)")[0][0]

    def written(self):
        return self.server.requests()["objects_written"]

    def test_a_limit_on_the_size_of_files(self):
        """In the middle of a run, the journal may not grow any more."""
        self.start(guests=20, backups=300)
        in_the_middle = False
        for kib in (8, 96, 200, 400):
            with self.subTest(kib=kib):
                limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (kib * 1024, kib * 1024))
                outcome = self.run_weir("sync", expect=None, prepare=limit, timeout=120)
                if outcome.exit_code == EXIT_DONE:  # enough for what was left
                    self.assertGreater(kib, 96)
                    continue
                self.assert_stopped_without_loss(outcome, r"full|File too large|EFBIG|quota")
                if self.written():
                    self.assertGreaterEqual(self.journalled(), self.written(), "written before its row was")
                    in_the_middle = True
        self.assertTrue(in_the_middle, "none of the limits was reached while writing")
        self.run_weir("sync")
        self.assert_nothing_left()

    def test_a_full_disk(self):
        if os.geteuid() != 0:
            self.skipTest("only root may mount a small tmpfs")
        folder = self.workspace.path / "small"
        folder.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1200k", "tmpfs", str(folder)], capture_output=True, check=False)
        if mounted.returncode:
            self.skipTest(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
        self.addCleanup(lambda: subprocess.run(["umount", "-l", str(folder)], check=True))
        self.start(guests=20, backups=600, state_dir=str(folder / "state"))
        outcome = self.assert_stopped_without_loss(self.run_weir("sync", expect=EXIT_STOPPED, timeout=120), r"full")
        held = len(Held(self.netbox, SOURCE).backups)
        self.assertGreater(held, 0, "the disk was to be full in the middle")
        self.assertEqual(outcome.result("backups")["created"], held)
        subprocess.run(["mount", "-o", "remount,size=20m", str(folder)], check=True)
        finished = self.run_weir("resume")
        self.assertEqual(finished.json["resumes"], outcome.json["run"])
        self.assert_nothing_left()


if __name__ == "__main__":
    unittest.main(verbosity=2)

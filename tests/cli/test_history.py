#!/usr/bin/env python3
"""`weir history`: the runs that a journal holds, one of them in full, and what there is to say when there is none."""
import os
import re
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
from weir_test import EXIT_CONFIG, EXIT_DONE, EXIT_USAGE, WeirCase

MAKE_JOURNAL = Path(os.environ.get("WEIR_TEST_MAKE_JOURNAL", "make_journal"))
NETBOX = "https://netbox.example"


class history(WeirCase):
    def setUp(self):
        super().setUp()
        self.state = self.workspace.path / "state"
        self.journal = self.state / "journal.db"
        # Neither secrets nor plugins nor a NetBox are needed to look back.
        self.config = self.workspace.file("weir.yaml", f"""
netbox: {{url: "{NETBOX}", token_env: WEIR_TEST_NO_SUCH_VARIABLE}}
sources:
  pve-a: {{type: proxmox, urls: ["https://pve.example:8006"], token_id: "sync@pve!weir", token_env: WEIR_TEST_NO_SUCH_VARIABLE}}
plugin_path: ["{self.workspace.path}/nowhere"]
state_dir: "{self.state}"
""", 0o644)

    def fill(self):
        gone = subprocess.Popen(["true"])
        gone.wait()
        made = subprocess.run([str(MAKE_JOURNAL), str(self.state), str(os.getpid()), str(gone.pid)], stderr=subprocess.PIPE)
        self.assertEqual(made.returncode, 0, made.stderr.decode())

    def history(self, *arguments, expect=EXIT_DONE):
        outcome = self.workspace.weir("history", "--config", self.config, *arguments, timeout=60)
        self.assertEqual(outcome.exit_code, expect, str(outcome))
        (self.assertEqual if expect == EXIT_DONE else self.assertNotEqual)(outcome.stderr, "", str(outcome))
        if expect != EXIT_DONE:
            self.assertEqual(outcome.stdout, "", "a message for people belongs to stderr")
        return outcome

    # ---- nothing there

    def test_no_journal_yet(self):
        outcome = self.history()
        self.assertEqual(outcome.stdout, f"no runs yet ({self.journal} does not exist)\n")
        self.assertEqual(self.history("--output", "json").json["runs"], [])
        refused = self.history("show", "aaaa", expect=EXIT_USAGE)
        self.assertIn(str(self.journal), refused.stderr)
        self.assertEqual(list(self.state.iterdir()), [], "looking creates nothing")

    def test_no_configuration(self):
        outcome = self.workspace.weir("history", "--config", self.workspace.path / "nowhere.yaml", timeout=60)
        self.assertEqual(outcome.exit_code, EXIT_CONFIG, str(outcome))
        self.assertIn("nowhere.yaml", outcome.stderr)

    def test_damaged_journal(self):
        self.journal.write_bytes(b"# no journal\n" * 500)
        outcome = self.history(expect=1)
        self.assertIn(str(self.journal), outcome.stderr)
        self.assertIn("move it aside", outcome.stderr)
        self.assertEqual(self.journal.read_bytes(), b"# no journal\n" * 500)

    # ---- the list

    def test_list(self):
        self.fill()
        lines = self.history().stdout.splitlines()
        self.assertRegex(lines[0], r"^run +started \(UTC\) +took +command +profile +state +exit +created +updated +deleted +failed"
                                   r" +deferred +NetBox$")
        runs = [line.split()[0] for line in lines[1:7]]
        self.assertEqual(runs, ["cccc0006", "cccc0005", "bbbb0004", "bbbb0003", "aaaa0002", "aaaa0001"])
        self.assertRegex(lines[6], r"^aaaa0001  2026-11-22 12:00:00 +1 min 04 s  sync +conservative  done +0 +1003 +2 +1 +0 +0"
                                   r"  https://netbox\.example$")
        self.assertRegex(lines[5], r" stopped +75 +1 +0 +0 +2 +430 ")
        self.assertRegex(lines[4], r" - +sync +conservative  interrupted +- ", "its process is gone")
        self.assertRegex(lines[3], r" interrupted ", "its process is another one today")
        self.assertRegex(lines[2], r" running .* https://other\.example$", "another host's processes are not ours to judge")
        self.assertRegex(lines[1], r" resume +conservative  running ")
        for column in ("started (UTC)", "profile", "NetBox"):
            at = lines[0].index(column)
            for line in lines[1:7]:
                self.assertEqual(line[at - 2:at], "  ", f"{column} is not aligned in {line!r}")
        self.assertEqual(lines[7], "To finish run bbbb0004:  weir resume bbbb0004")
        self.assertEqual(len(lines), 8)

    def test_limit(self):
        self.fill()
        lines = self.history("--limit", "2").stdout.splitlines()
        self.assertEqual([line.split()[0] for line in lines[1:3]], ["cccc0006", "cccc0005"])
        self.assertRegex(lines[3], r"--limit 10")
        listed = self.history("--limit", "1", "--output", "json").json
        self.assertEqual(([r["run"] for r in listed["runs"]], listed["more"]), (["cccc0006"], True))
        self.history("--limit", "0", expect=EXIT_USAGE)

    def test_list_as_json(self):
        self.fill()
        listed = self.history("--output", "json").json
        self.assertEqual((listed["journal"], listed["more"], len(listed["runs"])), (str(self.journal), False, 6))
        first = listed["runs"][5]
        self.assertGreater(first.pop("pid"), 0)
        self.assertNotEqual(first.pop("host"), "")
        self.assertEqual(first, {
            "run": "aaaa0001", "netbox_url": NETBOX, "command": "sync", "profile": "conservative",
            "config_file": "/etc/weir/config.yaml", "resumes": None, "undoes": None, "started": "2026-11-22T12:00:00Z",
            "ended": "2026-11-22T12:01:04.250000Z", "seconds": 64.25, "state": "done", "can_be_resumed": False, "exit_code": 0,
            "reason": None, "totals": {"created": 1003, "updated": 2, "deleted": 1, "failed": 0, "deferred": 0},
            "summary": {"requests": {"POST": 20}, "peak_in_flight": 1}})
        states = {r["run"]: (r["state"], r["can_be_resumed"], r["ended"] is None, r["seconds"] is None) for r in listed["runs"]}
        self.assertEqual(states["bbbb0003"], ("interrupted", True, True, True))
        self.assertEqual(states["aaaa0002"], ("stopped", True, False, False))
        self.assertEqual(states["cccc0006"], ("running", False, True, False))

    def test_state_dir_needs_no_configuration(self):
        self.fill()
        outcome = self.workspace.weir("history", "--state-dir", self.state, "show", "aaaa0001", timeout=60)
        self.assertEqual(outcome.exit_code, EXIT_DONE, str(outcome))

    # ---- one run

    def test_show(self):
        self.fill()
        text = self.history("show", "aaaa0002").stdout
        for line in (r"run +aaaa0002  stopped \(exit code 75\)", r"reason +NetBox did not answer for 300 s",
                     r"started +2026-11-22 12:01:40 UTC, took 6 min 40 s",
                     r"command +sync, profile conservative, /etc/weir/config\.yaml", r"NetBox +https://netbox\.example",
                     r"pve-a +virtual-machines +failed +1 +0 +0 +2 +430  NetBox is away",
                     r"batches: 1 done \(3 objects\), 1 deferred \(400 objects\), 1 unknown \(30 objects\)",
                     r"  create virtualization\.virtualmachine vm-0-größer \(batch 1\): name: This field may not be blank\. Really\.",
                     r"  create virtualization\.virtualmachine vm-2 \(batch 1\): name: .*",
                     r"  batch 2: POST 30 objects of virtualization\.virtualmachine \(pve-a virtual-machines\), unknown, sent 1 time, "
                     r"last at 12:01:43: 502 Bad Gateway",
                     r"  batch 3: POST 400 objects of virtualization\.virtualmachine \(pve-a virtual-machines\), deferred",
                     r"To finish it:  weir resume aaaa0002"):
            self.assertRegex(text, re.compile("^" + line + "$", re.M))
        # What NetBox has, where to find it; and nothing that it does not have.
        self.assertIn(f"\nWritten\n  +  virtualization.virtualmachine  vm-1  {NETBOX}/virtualization/virtual-machines/17/\n"
                      f"In NetBox's change log: {NETBOX}/core/changelog/?q=weir%20run%20aaaa0002\n", text)
        self.assertEqual(text.count("vm-1"), 1)

    def test_show_others(self):
        self.fill()
        self.assertRegex(self.history("show", "bbbb0003").stdout, r"run +bbbb0003  interrupted\n")
        self.assertRegex(self.history("show", "cccc0006").stdout, r"finishes +run aaaa0002\n(.*\n)*\nIt is at work: pid \d+ on ")
        self.assertNotIn("weir resume", self.history("show", "aaaa0001").stdout)
        self.assertRegex(self.history("show", "aaaa0001").stdout, r"\nrequests +POST 20\npeak_in_flight +1\n")
        self.assertRegex(self.history("show", "cccc0005").stdout, r"\nNetBox +https://other\.example\n")
        several = self.history("show", "aaaa", expect=EXIT_USAGE)
        self.assertRegex(several.stderr, r"aaaa0002.*aaaa0001")

    def test_show_an_unknown_run(self):
        self.fill()
        outcome = self.history("show", "ffff", expect=EXIT_USAGE)
        for known in ("ffff", "aaaa0001", "cccc0006"):
            self.assertIn(known, outcome.stderr)

    def test_show_as_json(self):
        self.fill()
        shown = self.history("show", "aaaa0002", "--output", "json").json
        self.assertEqual((shown["run"], shown["state"], shown["exit_code"]), ("aaaa0002", "stopped", 75))
        self.assertEqual(shown["resumed_by"], "cccc0006")
        self.assertEqual(shown["stages"], [{"source": "pve-a", "stage": "virtual-machines", "state": "failed", "created": 1,
                                            "updated": 0, "deleted": 0, "failed": 2, "deferred": 430, "reason": "NetBox is away"}])
        self.assertEqual(shown["batches"], {"total": 3, "by_state": {"done": {"batches": 1, "objects": 3},
                                                                     "deferred": {"batches": 1, "objects": 400},
                                                                     "unknown": {"batches": 1, "objects": 30}}})
        self.assertEqual([f["label"] for f in shown["failures"]], ["vm-0-größer", "vm-2"])
        self.assertEqual(shown["failures"][1], {
            "batch": 1, "source": "pve-a", "stage": "virtual-machines", "kind": "virtualization.virtualmachine", "action": "create",
            "label": "vm-2", "key": {"name": "vm-2"}, "netbox_id": None, "reason": "name: This field may not be blank.\nReally."})
        self.assertEqual([(b["number"], b["state"], b["attempts"], b["reason"]) for b in shown["open_batches"]],
                         [(2, "unknown", 1, "502 Bad Gateway"), (3, "deferred", 0, None)])
        self.assertEqual(shown["next"], "To finish it:  weir resume aaaa0002")

    def test_looking_changes_nothing(self):
        self.fill()
        before = self.journal.read_bytes()
        self.history()
        self.history("show", "bbbb0003")
        self.assertEqual(self.journal.read_bytes(), before)


if __name__ == "__main__":
    unittest.main(verbosity=2)

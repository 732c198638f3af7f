#!/usr/bin/env python3
"""`weir adopt`: what the proxbox service made is taken over, without a duplicate and without a rewrite."""
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
from adopt_case import GUESTS, AdoptChecks, state_of
from sync_case import SyncCase


class adopt(AdoptChecks, SyncCase):
    def setUp(self):
        super().setUp()
        self.start(guests=20, backups=60)

    def test_by_records(self):
        self.check_taken_over(legacy=False, sidecars=True)

    def test_by_custom_fields(self):
        self.check_taken_over(legacy=True, sidecars=False)

    def test_by_both(self):
        self.check_taken_over(legacy=True, sidecars=True)

    def test_by_names_alone(self):
        self.check_taken_over(legacy=False, sidecars=False)

    def test_records_that_lie(self):
        self.check_records()

    def test_a_sync_alone_makes_no_duplicate(self):
        made = self.proxbox()
        number = made.guests[min(made.guests)]["id"]
        self.netbox.change(GUESTS, number, name="named-by-a-person")
        before = state_of(self.netbox)
        self.run_weir("sync")
        self.assertEqual(set(state_of(self.netbox)[GUESTS]), set(before[GUESTS]))
        self.assertEqual(self.held_vmid(number), min(made.guests))
        # Once all is weir's, nobody asks for the records any more.
        self.run_weir("sync")
        self.assertEqual([e for e in self.server.requests()["by_endpoint"] if "sync-state" in e], [])

    def test_an_empty_netbox(self):
        self.run_weir("adopt", "--apply")
        self.assertEqual((self.netbox.count(GUESTS), self.netbox.count("dcim/devices"), self.netbox.count("dcim/sites")), (0, 0, 0))
        self.run_weir("sync")
        self.assert_nothing_left()

    def test_a_stored_plan(self):
        self.proxbox()
        file = self.workspace.path / "adopt.json"
        self.run_weir("adopt", "--out", file)
        self.run_weir("apply", file)
        self.assertEqual(self.planned(self.run_weir("adopt")), [])


if __name__ == "__main__":
    unittest.main()

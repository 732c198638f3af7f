#!/usr/bin/env python3
"""`weir undo` against a real NetBox: a run of more than 300 changes is taken back, field by field."""
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
from netbox_case import NetBoxCase
from undo_case import assert_same, everything, numbers, three_hundred_changes

GUESTS = "virtualization/virtual-machines"


class undo(NetBoxCase):
    def last_run(self):
        return self.weir("history", "--config", self.config, "--output", "json").json["runs"][0]["run"]

    def test_three_hundred_changes(self):
        self.start(profile="aggressive")
        self.run_weir("sync")
        first, first_numbers = everything(self.netbox), numbers(self.netbox)
        with self.pve.changed_model() as model:
            three_hundred_changes(model)
        self.run_weir("sync")
        run, second = self.last_run(), everything(self.netbox)
        objects = self.weir("history", "show", run, "--config", self.config, "--output", "json").json["objects"]
        self.assertGreaterEqual(len(objects), 300)

        self.log.mark()
        self.run_weir("undo", run)
        self.assertEqual(self.writes(self.log.read()), [], "a plan wrote")
        assert_same(self, everything(self.netbox), second)
        self.run_weir("undo", run, "--apply")
        assert_same(self, everything(self.netbox), first)
        self.assertEqual(numbers(self.netbox)[GUESTS], first_numbers[GUESTS], "they are the same objects")
        self.log.mark()
        self.run_weir("undo", run, "--apply")
        self.assertEqual(self.writes(self.log.read()), [], "there was nothing left to take back")

    def test_a_first_sync_leaves_no_trace(self):
        """Custom fields and tags included."""
        self.start(nodes=2, guests=20, backups=60)
        empty = everything(self.netbox)
        self.run_weir("sync")
        self.run_weir("undo", self.last_run(), "--apply")
        assert_same(self, everything(self.netbox), empty)

    def test_a_guest_that_a_person_worked_on_stays(self):
        self.start(nodes=1, guests=6, backups=10)
        self.run_weir("sync")
        guests = self.netbox.all(GUESTS)
        self.netbox.create("virtualization/interfaces", virtual_machine=guests[0]["id"], name="by-hand")
        self.netbox.change(GUESTS, guests[1]["id"], memory=77)
        self.run_weir("undo", self.last_run(), "--apply")
        self.assertEqual(sorted(g["name"] for g in self.netbox.all(GUESTS)), sorted(g["name"] for g in guests[:2]))
        self.assertEqual(self.netbox.count("virtualization/interfaces"), 1)


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
"""`weir adopt`: what the proxbox service made is taken over, without a duplicate and without a rewrite."""
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
import proxmox_model as change
from adopt_case import CLUSTERS, DEVICES, GUESTS, TAKEN_OVER, AdoptChecks, state_of
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

    def check_one_guest(self, **how):
        """Renamed in Proxmox since the service made it; then `--guest` comes before anything has been adopted."""
        made = self.proxbox(**how)
        with self.pve.changed_model() as model:
            guest, _ = change.two_plain_guests(model)
            change.set_name(guest, "renamed-since")
        vmid = guest["vmid"]
        number = made.guests[vmid]["id"]
        if how["sidecars"]:  # only they know what a person has renamed
            self.netbox.change(DEVICES, made.devices[guest["node"]]["id"], name="host-of-a-person")
            self.netbox.change(CLUSTERS, made.cluster["id"], name="Cluster of a person")
        before = {path: set(objects) for path, objects in state_of(self.netbox).items()}
        planned = self.planned(self.run_weir("plan", "--guest", str(vmid)))
        self.assertEqual([c["label"] for c in planned if c["action"] == "create" and c["kind"] in TAKEN_OVER.values()], [])
        self.run_weir("sync", "--guest", str(vmid))
        counted = self.server.requests()
        after = state_of(self.netbox)
        for path in TAKEN_OVER:
            self.assertEqual(set(after[path]), before[path], path)
        self.assertEqual(self.held_vmid(number), vmid)
        self.assertEqual({g["id"] for g in self.netbox.all(GUESTS) if g["custom_fields"].get("proxmox_source")}, {number}, "that guest alone")
        self.assertLessEqual(counted["total"], 60, counted["by_endpoint"])
        self.assertLessEqual(self.sent("plugins/proxbox/sync-state/virtual-machines", "GET"), 1)
        # It is weir's now: the service's records are not asked for any more.
        text = self.weir("plan", "--config", self.config, "--guest", str(vmid)).stdout
        self.assertIn("No changes.", text)
        self.run_weir("sync", "--guest", str(vmid))
        self.assertEqual(self.server.requests()["writes"], 0)
        self.assertEqual([e for e in self.server.requests()["by_endpoint"] if "sync-state" in e], [])
        self.run_weir("sync")
        after = state_of(self.netbox)
        for path in TAKEN_OVER:
            self.assertEqual(set(after[path]), before[path], path)

    def test_one_guest_by_its_record(self):
        self.check_one_guest(legacy=False, sidecars=True)

    def test_one_guest_by_its_custom_fields(self):
        self.check_one_guest(legacy=True, sidecars=False)

    def test_several_guests_by_their_records(self):
        made = self.proxbox(legacy=False, sidecars=True)
        with self.pve.changed_model() as model:
            guests = change.two_plain_guests(model)
            for n, guest in enumerate(guests):
                change.set_name(guest, f"renamed-since-{n}")
        before = set(state_of(self.netbox)[GUESTS])
        options = [o for guest in guests for o in ("--guest", str(guest["vmid"]))]
        self.run_weir("sync", *options)
        self.assertEqual(set(state_of(self.netbox)[GUESTS]), before)
        for guest in guests:
            self.assertEqual(self.held_vmid(made.guests[guest["vmid"]]["id"]), guest["vmid"])

    def test_nothing_to_adopt(self):
        """Neither the custom fields nor the tag that a taking-over needs are worth a plan of their own."""
        self.assertEqual(self.planned(self.run_weir("adopt")), [])
        text = self.weir("adopt", "--config", self.config).stdout
        self.assertIn("No changes. Nothing is left to be taken over", text)
        self.run_weir("adopt", "--apply")
        self.assertEqual(self.server.requests()["writes"], 0)

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

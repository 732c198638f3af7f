#!/usr/bin/env python3
"""A part of a source: what is outside is neither written nor taken for gone, and a single guest costs little."""
import json
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
import proxmox_model as change
from mapping import Held
from sync_case import SOURCE, SyncCase
from weir_test import EXIT_DONE

MACHINES, BACKUPS = "virtualization/virtual-machines", "plugins/proxbox/backups"


def nobodys(machine):
    """Its custom fields without what says whose it is."""
    return {name: None for name in machine["custom_fields"] if name.startswith("proxmox_")}


class scope(SyncCase):
    def narrow(self, **parts):
        """The same configuration, with a scope of the source."""
        self.config = self.workspace.config(self.server.url, change.NETBOX_TOKEN, {SOURCE: {**change.settings(self.pve), "scope": parts}},
                                            profile=self.profile)

    def plain(self):
        """vmids of guests that are no templates, in order."""
        return sorted(g["vmid"] for g in change._plain(self.pve.model))

    def objects(self):
        """What NetBox holds, without the times at which it was touched."""
        found = {}
        for part in (MACHINES, BACKUPS, "dcim/devices", "virtualization/clusters"):
            for one in self.netbox.all(part):
                found[part, one["id"]] = {k: v for k, v in one.items() if k != "last_updated"}
        return found

    def vmids(self):
        return sorted(Held(self.netbox, SOURCE).machines)

    def test_only_what_is_inside_is_made(self):
        self.start(nodes=2, guests=12, backups=60)
        inside = self.plain()[:4]
        self.narrow(include={"vmids": [str(n) for n in inside]})
        self.run_weir()
        self.assertEqual(self.vmids(), inside)
        held = {b["vmid"] for b in self.netbox.all(BACKUPS)}
        self.assertTrue(held)
        self.assertLessEqual(held, set(inside))
        self.run_weir()
        self.assertEqual(self.server.requests()["writes"], 0)

    def test_what_leaves_the_scope_stays_as_it_is(self):
        self.start(nodes=2, guests=12, backups=60)
        self.run_weir()
        before = self.objects()
        node = self.pve.model["nodes"][1]["node"]
        with self.pve.changed_model() as model:
            for g in model["guests"]:
                g["config"]["description"] = "changed by the test"
        self.narrow(exclude={"nodes": [node]})
        outcome = self.run_weir()
        self.assert_counts(outcome, "virtual-machines", created=0, deleted=0)
        self.assert_counts(outcome, "backups", created=0, updated=0, deleted=0)
        after = self.objects()
        self.assertEqual(set(after), set(before))
        changed = {after[at]["custom_fields"]["proxmox_vm_id"] for at in after if after[at] != before[at]}
        here = {g["vmid"] for g in self.pve.model["guests"] if g["node"] != node}
        self.assertEqual(changed, here)
        self.run_weir()
        self.assertEqual(self.server.requests()["writes"], 0)

    def test_everything_outside_loses_nothing(self):
        self.start(nodes=1, guests=6, backups=20)
        self.run_weir()
        before = self.objects()
        for parts in ({"include": {"names": ["nobody-is-called-so"]}}, {"exclude": {"storages": ["*"]}},
                      {"include": {"states": ["paused"], "templates": True}}, {"exclude": {"nodes": ["*"]}}):
            with self.subTest(str(parts)):
                self.narrow(**parts)
                self.run_weir()
                self.assertEqual(self.server.requests()["writes"], 0)
                self.assertEqual(self.objects(), before)

    # ---- one guest

    def test_a_single_guest_of_an_empty_netbox(self):
        self.start(nodes=3, guests=12, backups=60)
        one = self.plain()[3]
        planned = self.run_weir("plan", "--guest", str(one))
        self.assertEqual(self.server.requests()["writes"], 0)
        self.assertTrue(planned.json["changes"])
        self.run_weir("sync", "--guest", str(one))
        self.assertEqual(self.vmids(), [one])
        self.assertEqual(len(self.netbox.all("dcim/devices")), 1, "its node alone")
        mine = [b for b in self.pve.model["backups"] if b["vmid"] == one]
        self.assertEqual(len(self.netbox.all(BACKUPS)), len({b["volid"] for b in mine}))
        self.run_weir("sync", "--guest", str(one))
        self.assertEqual(self.server.requests()["writes"], 0)
        self.run_weir()
        self.assert_nothing_left()

    def test_a_single_guest_of_many_costs_little(self):
        self.start(nodes=2, guests=60, backups=1500)
        self.run_weir()
        one = self.plain()[7]
        with self.pve.changed_model() as model:
            for g in model["guests"]:
                g["config"]["description"] = "changed by the test"
            model["backups"] = [b for b in model["backups"] if b["vmid"] != one][5:]
        before = self.objects()
        outcome = self.run_weir("sync", "--guest", str(one))
        counted = self.server.requests()
        self.assert_counts(outcome, "virtual-machines", seen=1, updated=1, created=0, deleted=0)
        self.assert_counts(outcome, "backups", created=0, updated=0, deleted=0)
        self.assert_counts(outcome, "nodes", updated=0, created=0)
        after = self.objects()
        changed = [after[at]["custom_fields"].get("proxmox_vm_id") for at in after if after[at] != before[at]]
        self.assertEqual(changed, [one])
        self.assertEqual(set(after), set(before), "its backups that are gone stay: nothing is taken for gone")
        self.assertLessEqual(counted["total"], 25, json.dumps(counted["by_endpoint"]))
        self.assertLessEqual(counted["by_endpoint"].get(f"GET /api/{MACHINES}/", 0), 4)
        self.assertLessEqual(self.pve.requests()["total"], 3000)

    def test_a_renamed_guest_is_found_by_its_number(self):
        self.start(nodes=1, guests=8, backups=10)
        self.run_weir()
        one = self.plain()[2]
        number = Held(self.netbox, SOURCE).machines[one]["id"]
        with self.pve.changed_model() as model:
            change._set_name(change._guest(model, one), "renamed-by-the-test")
        self.run_weir("sync", "--guest", str(one))
        held = Held(self.netbox, SOURCE).machines[one]
        self.assertEqual((held["id"], held["name"]), (number, "renamed-by-the-test"))

    def test_a_single_guest_is_adopted_by_its_name(self):
        self.start(nodes=1, guests=8, backups=10)
        self.run_weir()
        one = self.plain()[2]
        held = Held(self.netbox, SOURCE).machines[one]
        for b in self.netbox.all(BACKUPS):
            if b["vmid"] == one:
                self.netbox.call("DELETE", f"{BACKUPS}/{b['id']}/")
        self.netbox.change(MACHINES, held["id"], custom_fields=nobodys(held))
        (self.workspace.path / "state" / "journal.db").unlink()  # nobody remembers it
        self.run_weir("sync", "--guest", str(one))
        again = Held(self.netbox, SOURCE).machines[one]
        self.assertEqual(again["id"], held["id"])

    def test_a_guest_that_is_not_there_or_outside(self):
        self.start(nodes=1, guests=6, backups=10)
        missing = self.run_weir("sync", "--guest", "99999", expect=EXIT_DONE)
        self.assertIn("this cluster has no guest 99999", str(missing.json["notices"]))
        self.assertEqual(self.vmids(), [])
        one = self.plain()[0]
        self.narrow(exclude={"vmids": [str(one)]})
        outside = self.run_weir("sync", "--guest", str(one), expect=EXIT_DONE)
        self.assertIn(f"outside of the source's scope, and left as they are: {one}", str(outside.json["notices"]))
        self.assertEqual(self.vmids(), [])


class rules(SyncCase):
    def rule(self, **of_guests):
        self.config = self.configuration(rules={"virtualization.virtualmachine": of_guests})

    def edit(self, **fields):
        """A person changes a guest; its vmid and NetBox's number."""
        vmid, held = next((n, m) for n, m in sorted(Held(self.netbox, SOURCE).machines.items()) if m.get("memory"))
        self.netbox.change(MACHINES, held["id"], **fields)
        return vmid, held["id"]

    def read(self, number):
        return self.netbox.call("GET", f"{MACHINES}/{number}/")

    def test_fields(self):
        self.start(nodes=1, guests=6, backups=6)
        self.rule(fields={"memory": "on-create", "vcpus": "never", "name": "always"})
        self.run_weir()
        vmid, number = self.edit(memory=77, vcpus=3, name="typed-by-a-person")
        self.run_weir()
        held = self.read(number)
        self.assertEqual((held["memory"], float(held["vcpus"])), (77, 3.0))
        self.assertNotEqual(held["name"], "typed-by-a-person")
        self.rule(fields={"memory": "always", "name": "unless-edited"})
        self.run_weir()
        self.assertNotEqual(self.read(number)["memory"], 77)

    def test_never_is_not_in_a_new_object_either(self):
        self.start(nodes=1, guests=6, backups=6)
        self.rule(fields={"vcpus": "never", "custom_fields.proxmox_vm_type": "never"})
        self.run_weir()
        for machine in Held(self.netbox, SOURCE).machines.values():
            self.assertIsNone(machine["vcpus"])
            self.assertIsNone(machine["custom_fields"].get("proxmox_vm_type"))
        self.run_weir()
        self.assertEqual(self.server.requests()["writes"], 0)

    def test_orphans_of_backups_may_be_kept(self):
        self.start(nodes=1, guests=6, backups=30)
        self.run_weir()
        with self.pve.changed_model() as model:
            change.remove_backups(model, 3)
        self.config = self.configuration(rules={"netbox_proxbox.vmbackup": {"orphans": "keep"}})
        self.assert_counts(self.run_weir(), "backups", deleted=0)
        self.config = self.configuration()
        self.assert_counts(self.run_weir(), "backups", deleted=3)

    def test_a_kinds_own_limit(self):
        self.start(nodes=1, guests=6, backups=30)
        self.run_weir()
        with self.pve.changed_model() as model:
            change.remove_backups(model, 3)
        self.config = self.configuration(rules={"netbox_proxbox.vmbackup": {"max_deletes": 2}})
        self.assert_counts(self.run_weir(expect=4), "backups", deleted=0)
        self.config = self.configuration(rules={"netbox_proxbox.vmbackup": {"max_deletes": 3}}, max_deletes=0)
        self.assert_counts(self.run_weir(), "backups", deleted=3)

    def test_nobody_is_adopted(self):
        self.start(nodes=1, guests=6, backups=6)
        self.run_weir()
        vmid, number = self.edit()
        self.netbox.change(MACHINES, number, custom_fields=nobodys(self.read(number)))
        (self.workspace.path / "state" / "journal.db").unlink()
        self.config = self.configuration(adopt="never")
        outcome = self.run_weir(expect=3)
        self.assertIn(f"#{number}", str(outcome.json["failures"]))
        self.config = self.configuration(adopt="never", rules={"virtualization.virtualmachine": {"adopt": "matching"}})
        self.run_weir()
        self.assertEqual(self.read(number)["custom_fields"]["proxmox_vm_id"], vmid)


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
"""What is gone from Proxmox VE: marked, deleted, kept; and what is not believed to be gone."""
import datetime
import json
import sqlite3
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
import proxmox_model as change
from sync_case import SyncCase
from undo_case import assert_same, everything
from weir_test import EXIT_GUARD

MACHINES, BACKUPS, DEVICES = "virtualization/virtual-machines", "plugins/proxbox/backups", "dcim/devices"
MACHINE, BACKUP, DEVICE = "virtualization.virtualmachine", "netbox_proxbox.vmbackup", "dcim.device"


class orphans(SyncCase):
    def prepare(self, *given, **settings):
        self.start(*given, **settings)
        self.run_weir()

    def writes(self):
        return self.server.requests()["writes"]

    def machine(self, vmid):
        return next(m for m in self.netbox.all(MACHINES) if m["custom_fields"]["proxmox_vm_id"] == vmid)

    def lose(self, count, of="guests"):
        """The first so many are gone from the source; what was lost is returned."""
        with self.pve.changed_model() as model:
            if of == "guests":
                lost = list(change._plain(model))[:count]
                model["guests"] = [g for g in model["guests"] if g not in lost]
            else:
                lost, model[of] = model[of][-count:], model[of][:-count]
        return lost

    def marked(self, path=MACHINES):
        return sorted(o["name"] for o in self.netbox.all(path) if "weir-gone" in [t["slug"] for t in o["tags"]])

    def planned(self, outcome, kind):
        """[{...}]: the changes of a kind in a plan's JSON."""
        return [c for c in outcome.json["changes"] if c["kind"] == kind]

    def notices(self, outcome, level="error"):
        return [n for n in outcome.json["notices"] if n["level"] == level]

    def extras(self):
        return ({t["slug"] for t in self.netbox.all("extras/tags")}, {f["name"] for f in self.netbox.all("extras/custom-fields")})

    def test_marked_once_and_as_before_when_it_returns(self):
        self.prepare(nodes=2, guests=12, backups=20)
        tags, fields = self.extras()
        self.assertNotIn("weir-gone", tags)
        self.assertNotIn("proxmox_gone_since", fields)
        with self.pve.changed_model() as model:
            vmid = next(change._plain(model))["vmid"]
        was = self.machine(vmid)
        lost = self.lose(1)[0]

        dry = self.run_weir("plan")
        self.assertEqual(self.writes(), 0)
        self.assertEqual([(c["action"], c["why"]) for c in self.planned(dry, MACHINE)], [("update", "gone")], str(dry))
        done = self.run_weir()
        now = self.machine(vmid)
        self.assertEqual(now["status"]["value"], "decommissioning")
        self.assertEqual(now["custom_fields"]["proxmox_gone_since"], datetime.datetime.now(datetime.timezone.utc).date().isoformat())
        self.assertEqual({t["slug"] for t in now["tags"]}, {t["slug"] for t in was["tags"]} | {"weir-gone"})
        tags, fields = self.extras()
        self.assertIn("weir-gone", tags)
        self.assertIn("proxmox_gone_since", fields)
        field = next(f for f in self.netbox.all("extras/custom-fields") if f["name"] == "proxmox_gone_since")
        self.assertEqual(field["object_types"], [MACHINE], "of the kinds that have been marked")

        self.run_weir()
        self.assertEqual(self.writes(), 0, "marked once, then left alone")

        with self.pve.changed_model() as model:
            model["guests"].append(lost)
        back = self.run_weir("plan")
        self.assertEqual([c["why"] for c in self.planned(back, MACHINE)], ["returned"], str(back))
        self.run_weir()
        now = self.machine(vmid)
        for member in ("name", "status", "vcpus", "memory", "disk", "comments", "description"):
            self.assertEqual(now[member], was[member], member)
        self.assertEqual([t["slug"] for t in now["tags"]], [t["slug"] for t in was["tags"]])
        self.assertIsNone(now["custom_fields"]["proxmox_gone_since"])
        self.assertEqual(now["id"], was["id"])
        self.assert_nothing_left()

    def test_a_node_that_was_taken_out(self):
        self.prepare(nodes=3, guests=8, backups=0)
        with self.pve.changed_model() as model:
            last = model["nodes"][-1]["node"]
            for g in model["guests"]:
                if g["node"] == last:
                    g["node"] = model["nodes"][0]["node"]
        self.run_weir()
        held = self.lose(1, "nodes")[0]
        self.run_weir()
        self.assertEqual(self.marked(DEVICES), [last])
        self.assertEqual([d["status"]["value"] for d in self.netbox.all(DEVICES) if d["name"] == last], ["decommissioning"])
        self.run_weir()
        self.assertEqual(self.writes(), 0)
        with self.pve.changed_model() as model:
            model["nodes"].append(held)
        self.run_weir()
        self.assertEqual(self.marked(DEVICES), [])

    def test_a_guest_that_returns_while_its_node_is_down(self):
        self.prepare(nodes=2, guests=12, backups=0)
        with self.pve.changed_model() as model:
            lost = next(g for g in change._plain(model) if g["status"] == "running" and g["node"] == model["nodes"][-1]["node"])
            model["guests"].remove(lost)
        was = self.machine(lost["vmid"])
        self.run_weir()
        self.assertEqual(self.machine(lost["vmid"])["status"]["value"], "decommissioning")
        with self.pve.changed_model() as model:
            model["guests"].append(lost)
            model["nodes"][-1]["online"] = False
        self.run_weir()
        now = self.machine(lost["vmid"])
        self.assertEqual(now["status"], was["status"], "whether it runs is not known: as it was")
        self.assertEqual((now["tags"], now["custom_fields"]), (was["tags"], was["custom_fields"] | {"proxmox_gone_since": None}))
        self.run_weir()
        self.assertEqual(self.writes(), 0)
        with self.pve.changed_model() as model:
            model["nodes"][-1]["online"] = True
            next(g for g in model["guests"] if g["vmid"] == lost["vmid"])["status"] = "stopped"
        self.run_weir()
        self.assertEqual(self.machine(lost["vmid"])["status"]["value"], "offline")

    def test_half_of_the_guests_lost(self):
        self.prepare(nodes=2, guests=40, backups=30)
        lost = self.lose(20)
        machines = self.netbox.all(MACHINES)
        for command in ("plan", "sync"):
            outcome = self.run_weir(command, expect=EXIT_GUARD)
            self.assertEqual(self.writes(), 0, command)
            said = self.notices(outcome)
            self.assertEqual(len(said), 1, str(outcome))
            self.assertIn("20 virtual machines of", said[0]["message"])
            self.assertIn("--allow-deletes 20", said[0]["hint"])
        self.assertEqual(self.netbox.all(MACHINES), machines)
        text = self.weir("plan", "--config", self.config, expect=EXIT_GUARD)
        self.assertIn("--allow-deletes 20", text.stdout + text.stderr)

        # One too few is not enough; the number that was said is, once.
        self.run_weir("sync", "--allow-deletes", "19", expect=EXIT_GUARD)
        self.assertEqual(self.marked(), [])
        self.run_weir("sync", "--allow-deletes", "20")
        self.assertEqual(len(self.marked()), 20)
        self.run_weir()
        self.assertEqual(self.writes(), 0)
        # They all come back.
        with self.pve.changed_model() as model:
            model["guests"].extend(lost)
        self.run_weir()
        self.assertEqual(self.marked(), [])

    def test_other_changes_arrive_though_deletions_are_refused(self):
        self.prepare(nodes=2, guests=30, backups=0, max_deletes={"count": 1, "percent": 1})
        self.lose(2)
        with self.pve.changed_model() as model:
            other = next(change._plain(model))
            other["config"]["memory"] = 12288
        self.run_weir(expect=EXIT_GUARD)
        self.assertEqual(self.machine(other["vmid"])["memory"], 12288)
        self.assertEqual(self.marked(), [])

    def test_no_guest_at_all_is_not_believed(self):
        self.prepare(nodes=2, guests=3, backups=0)
        with self.pve.changed_model() as model:
            model["guests"] = []
        held = self.netbox.all(MACHINES)
        outcome = self.run_weir(expect=EXIT_GUARD)
        self.assertEqual(self.netbox.all(MACHINES), held)
        self.assertIn("an empty answer is not believed", self.notices(outcome)[0]["message"])
        self.run_weir("sync", "--allow-deletes", str(len(held)))
        self.assertEqual(len(self.marked()), len(held))

    def test_an_empty_storage_keeps_its_backups(self):
        self.prepare(nodes=2, guests=12, backups=60)
        storages = change.backup_storages(self.pve.model)
        emptied, other = storages[0], storages[1]
        with self.pve.changed_model() as model:
            model["backups"] = [b for b in model["backups"] if b["storage"] != emptied]
            pruned = next(b for b in model["backups"] if b["storage"] == other and change._of_mapped_guest(model, b))["volid"]
            model["backups"] = [b for b in model["backups"] if b["volid"] != pruned]
        before = {b["volume_id"]: b for b in self.netbox.all(BACKUPS)}
        outcome = self.run_weir(expect=EXIT_GUARD)
        after = {b["volume_id"] for b in self.netbox.all(BACKUPS)}
        self.assertEqual(set(before) - after, {pruned}, "the other storage's is gone, the empty one's stay")
        of_emptied = [v for v, b in before.items() if b["storage"] == emptied]
        self.assertTrue(of_emptied)
        self.assertIn(f"--allow-deletes {len(of_emptied)}", self.notices(outcome)[0]["hint"])
        self.run_weir("sync", "--allow-deletes", str(len(of_emptied)))
        self.assertEqual({b["volume_id"] for b in self.netbox.all(BACKUPS)}, after - set(of_emptied))
        self.assert_nothing_left()

    def test_a_period_of_grace(self):
        self.prepare(nodes=2, guests=12, backups=0, rules={MACHINE: {"grace": "7d"}})
        lost = self.lose(1)[0]
        outcome = self.run_weir()
        self.assertEqual(self.writes(), 0)
        from_then = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=7)).date().isoformat()
        text = self.weir("plan", "--config", self.config).stdout
        self.assertIn(f"from {from_then} on", text, str(outcome))
        # Eight days later, as the journal sees it.
        self.age(8)
        self.run_weir()
        now = self.machine(lost["vmid"])
        self.assertEqual(now["status"]["value"], "decommissioning")
        since = (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=8)).date().isoformat()
        self.assertEqual(now["custom_fields"]["proxmox_gone_since"], since)

    def test_back_within_the_grace(self):
        self.prepare(nodes=2, guests=12, backups=0, rules={MACHINE: {"grace": "7d"}})
        lost = self.lose(1)[0]
        self.run_weir()
        self.age(6)
        with self.pve.changed_model() as model:
            model["guests"].append(lost)
        self.run_weir()
        self.assertEqual(self.writes(), 0)
        self.assertEqual(self.ask_journal("SELECT count(*) FROM known WHERE gone IS NOT NULL"), [(0,)])
        self.lose(1)
        self.run_weir()
        self.age(6)
        self.run_weir()
        self.assertEqual((self.writes(), self.marked()), (0, []), "the period begins anew")

    def age(self, days):
        """What the journal knows to be gone has been gone for so many more days."""
        connection = sqlite3.connect(self.journal)
        try:
            with connection:
                changed = connection.execute("UPDATE known SET gone = gone - ? WHERE gone IS NOT NULL", (days * 86400000,)).rowcount
        finally:
            connection.close()
        self.assertGreater(changed, 0)

    def destroyed(self, backups_too=True):
        """orphans: delete, and a guest with backups that is no longer there: (its entry in the model, its backups there, its and its
        backups' numbers in NetBox)."""
        self.prepare(nodes=2, guests=12, backups=60, rules={MACHINE: {"orphans": "delete"}})
        owners = {b["vmid"] for b in self.pve.model["backups"]}
        with self.pve.changed_model() as model:
            guest = next(g for g in change._plain(model) if g["vmid"] in owners)
            held = [b for b in model["backups"] if b["vmid"] == guest["vmid"]]
            model["guests"].remove(guest)
            if backups_too:
                model["backups"] = [b for b in model["backups"] if b["vmid"] != guest["vmid"]]
        machine = self.machine(guest["vmid"])["id"]
        numbers = {b["id"] for b in self.netbox.all(BACKUPS) if b["virtual_machine"]["id"] == machine}
        self.assertGreater(len(numbers), 1)
        return guest, held, machine, numbers

    def deleted(self, outcome):
        """By kind."""
        out = {}
        for result in outcome.json["results"]:
            for kind, counts in result["kinds"].items():
                self.assertEqual(counts["failed"], 0, str(outcome))
                out[kind] = out.get(kind, 0) + counts["deleted"]
        return out

    def assert_gone(self, machine, numbers):
        self.assertNotIn(machine, [m["id"] for m in self.netbox.all(MACHINES)])
        self.assertEqual({b["id"] for b in self.netbox.all(BACKUPS)} & numbers, set())

    def test_deleted_where_a_rule_says_so_and_the_backups_with_it(self):
        guest, held, machine, numbers = self.destroyed()
        was = everything(self.netbox)
        dry = self.run_weir("plan")
        planned = [(c["action"], c["why"]) for c in self.planned(dry, MACHINE) + self.planned(dry, BACKUP)]
        self.assertEqual(planned, [("delete", "gone")] * (1 + len(numbers)), str(dry))
        done = self.run_weir()
        self.assertEqual({k: n for k, n in self.deleted(done).items() if n}, {MACHINE: 1, BACKUP: len(numbers)}, "as the plan said")
        self.assert_gone(machine, numbers)
        # Each in a request of weir's own, the backups first; what they were is in the journal, whole.
        rows = self.ask_journal("SELECT b.kind, o.held FROM objects o JOIN batches b ON b.run = o.run AND b.number = o.batch "
                                "WHERE o.action = 'delete' ORDER BY b.number, o.position")
        self.assertEqual([kind for kind, _ in rows], [BACKUP] * len(numbers) + [MACHINE])
        self.assertTrue(all("last_updated" in json.loads(before) for _, before in rows), rows)
        self.assert_nothing_left()

        undone = self.run_weir("undo", self.history()["runs"][1]["run"], "--apply")
        self.assertEqual(sum(r["created"] for r in undone.json["results"]), 1 + len(numbers), str(undone))
        assert_same(self, everything(self.netbox), was)
        with self.pve.changed_model() as model:
            model["guests"].append(guest)
            model["backups"].extend(held)
        self.assertEqual(self.run_weir("plan", "--detailed-exitcode").json["changes"], [])
        self.assert_nothing_left()

    def test_the_same_by_a_stored_plan(self):
        _, _, machine, numbers = self.destroyed()
        plan = self.workspace.path / "plan.json"
        self.run_weir("plan", "--out", str(plan))
        done = self.weir("apply", str(plan), "--config", self.config, "--output", "json")
        self.assertEqual({k: n for k, n in self.deleted(done).items() if n}, {MACHINE: 1, BACKUP: len(numbers)})
        self.assert_gone(machine, numbers)
        self.assert_nothing_left()

    def test_a_stored_plan_takes_no_backup_along_that_it_does_not_know(self):
        _, _, machine, numbers = self.destroyed()
        plan = self.workspace.path / "plan.json"
        self.run_weir("plan", "--out", str(plan))
        known = next(b for b in self.netbox.all(BACKUPS) if b["id"] in numbers)
        new = {n: known[n] for n in ("storage", "size", "creation_time")} | {"virtual_machine": machine, "volume_id": "by-hand", "subtype": "qemu", "format": "raw"}
        new["id"] = self.netbox.create(BACKUPS, **new)["id"]
        self.server.reset_counters()
        refused = self.weir("apply", str(plan), "--config", self.config, expect=EXIT_GUARD)
        self.assertRegex(refused.stderr, r"backup by-hand goes with its virtual machine .*, and the plan does not know of it")
        self.assertEqual(self.writes(), 0)
        # One that was deleted since is nothing to be refused.
        self.run_weir("plan", "--out", str(plan))
        self.netbox.call("DELETE", f"{BACKUPS}/{known['id']}/")
        done = self.weir("apply", str(plan), "--config", self.config, "--output", "json")
        self.assertEqual(self.deleted(done)[BACKUP], len(numbers))
        self.assert_gone(machine, numbers | {new["id"]})

    def test_a_destroyed_guest_whose_backups_are_still_there(self):
        """NetBox cannot hold them without it: they are shown to go with it, and nothing fails over them."""
        _, _, machine, numbers = self.destroyed(backups_too=False)
        dry = self.run_weir("plan")
        self.assertEqual(len(self.planned(dry, BACKUP)), len(numbers), str(dry))
        self.assertEqual(self.deleted(self.run_weir())[BACKUP], len(numbers))
        self.assert_gone(machine, numbers)
        self.assert_nothing_left()

    def test_kept_where_a_rule_says_so(self):
        self.prepare(nodes=2, guests=12, backups=0, rules={MACHINE: {"orphans": "keep"}})
        self.lose(3)
        outcome = self.run_weir()
        self.assertEqual((self.writes(), self.marked()), (0, []))
        self.assertEqual(sum(r["kept"] for r in outcome.json["results"]), 3)


if __name__ == "__main__":
    unittest.main(verbosity=2)

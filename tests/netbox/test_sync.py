#!/usr/bin/env python3
"""The main job against a real NetBox: a simulated Proxmox VE of 3 nodes, 60 guests and 600 backups.

Wants the lab (tests/netbox/netbox-lab) up; brings it up itself, and down again, where it is not. Each test begins with the
pristine database. At the end the figures are printed: requests by method, wall time, peak memory.
"""
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
import proxmox_model as change
from mapping import Expected, Held
from netbox_case import SOURCE, NetBoxCase
from weir_test import EXIT_DONE, EXIT_PARTIAL, count_by_method

NODES, GUESTS, BACKUPS = 3, 60, 600


class real_netbox(NetBoxCase):
    COLUMNS = ("run", "seconds", "MiB", "GET", "POST", "PATCH", "DELETE", "requests")

    def run_weir(self, command, name, *arguments, expect=EXIT_DONE):
        """Runs it, and returns how it ended with what gunicorn's access log says about it."""
        self.log.mark()
        outcome = super().run_weir(command, *arguments, expect=expect)
        seen = self.log.read()
        methods = count_by_method(seen)
        self.figures.add(f"{name} ({command})", outcome.seconds, outcome.peak_kib / 1024,
                         *(methods.get(m, 0) for m in self.COLUMNS[3:7]), len(seen))
        self.assert_counted_by(outcome, seen)
        return outcome, seen

    def assert_no_error(self, seen):
        self.assertEqual([entry for entry in seen if entry[2] >= 400], [])

    def test_first_and_second_run(self):
        self.start(NODES, GUESTS, BACKUPS)
        planned, seen = self.run_weir("plan", "first")
        self.assertEqual(self.writes(seen), [], "plan wrote")
        first, seen = self.run_weir("sync", "first", "--profile", "conservative")
        self.assert_no_error(seen)
        expected, held = self.assert_equal_to_source()
        self.assertEqual((len(held.nodes), len(held.guests), len(held.backups)), (NODES, GUESTS, BACKUPS))
        self.assert_counts(first, "virtual-machines", failed=0, deferred=0, deleted=0)
        self.assert_counts(first, "backups", created=len(expected.backups), failed=0, deferred=0, deleted=0, updated=0)
        for stage in ("nodes", "virtual-machines", "backups"):
            self.assertEqual(planned.result(stage)["created"], first.result(stage)["created"], "the plan was not honest")
        objects = sum(k[n] for r in first.json["results"] for k in r["kinds"].values() for n in ("created", "updated", "deleted"))
        self.assertGreaterEqual(objects, NODES + len(held.guests) + len(held.backups))
        self.assertLessEqual(len(seen), objects // 50 + 60)
        self.assertEqual(first.json["peak_in_flight"], 1)
        # The relations that hold the objects together.
        for device in held.devices.values():
            self.assertEqual(device["device_type"]["manufacturer"]["slug"], "proxmox")
            self.assertTrue(device["role"] and device["site"])
        self.assertEqual(held.clusters[0]["status"]["value"], "active")
        self.assertIn("weir", [t["slug"] for t in held.clusters[0]["tags"]])
        roles = {kind: {m["role"]["slug"] for m in held.machines.values() if m["custom_fields"]["proxmox_vm_type"] == kind}
                 for kind in ("qemu", "lxc")}
        self.assertEqual({kind: len(slugs) for kind, slugs in roles.items()}, {"qemu": 1, "lxc": 1})
        self.assertNotEqual(roles["qemu"], roles["lxc"])

        second, seen = self.run_weir("sync", "second")
        self.assertEqual(self.writes(seen), [], "the second run wrote")
        self.assertLessEqual(len(seen), 30)
        self.assert_no_error(seen)
        for result in second.json["results"]:
            self.assertEqual({k: result[k] for k in ("created", "updated", "deleted", "failed", "deferred")},
                             {"created": 0, "updated": 0, "deleted": 0, "failed": 0, "deferred": 0}, result)

    def test_changes(self):
        self.start(NODES, GUESTS, BACKUPS)
        self.run_weir("sync", "before the changes")
        before = Held(self.netbox, SOURCE)
        with self.pve.changed_model() as model:
            done = change.some_of_everything(model)
        planned, seen = self.run_weir("plan", "changes")
        self.assertEqual(self.writes(seen), [], "plan wrote")
        self.assertEqual(Held(self.netbox, SOURCE).guests, before.guests)
        stated = sorted((c["action"], c["kind"].split(".")[1], change.identity(c)) for c in planned.json["changes"])
        wanted = ({("update", "virtualmachine", str(n)) for n in done.guests}
                  | {("create", "tag", slug) for slug in done.new_tags}
                  | {("delete", "vmbackup", v) for v in done.backups_removed} | {("create", "vmbackup", v) for v in done.backups_added})
        self.assertEqual(stated, sorted(wanted))
        changes = {change.identity(c): c for c in planned.json["changes"] if c["action"] == "update"}
        self.assertEqual(changes[str(done.renamed)]["fields"]["name"], [before.guests[done.renamed]["name"], done.new_name])
        self.assertIn("device", changes[str(done.migrated)]["fields"])

        synced, seen = self.run_weir("sync", "changes")
        self.assert_no_error(seen)
        self.assert_counts(synced, "virtual-machines", created=0, updated=len(done.guests), deleted=0, failed=0)
        self.assert_counts(synced, "backups", created=3, updated=0, deleted=7, failed=0)
        _, after = self.assert_equal_to_source()
        # The renamed and the migrated guest are the same objects as before, and nothing else was touched.
        for n in (done.renamed, done.migrated):
            self.assertEqual(after.machines[n]["id"], before.machines[n]["id"])
        untouched = [n for n in before.machines if n not in done.guests]
        self.assertEqual([n for n in untouched if after.machines[n]["last_updated"] != before.machines[n]["last_updated"]], [])

    def test_what_is_merely_down_loses_nothing(self):
        self.start(guests=20, backups=60)
        self.run_weir("sync", "small")
        before = Held(self.netbox, SOURCE)
        with self.pve.changed_model() as model:
            stopped = change.stop_guest(model)
            node = change.node_offline(model)
        silent = change.agent_guest(self.pve.model)
        self.pve.faults([{"path_regex": f"/qemu/{silent}/agent/", "status": 500, "times": -1,
                          "reason": "QEMU guest agent is not running", "body": {"data": None}}])
        outcome = self.weir("sync", "--config", self.config, "--output", "json", expect=None)
        self.assertIn(outcome.exit_code, (EXIT_DONE, EXIT_PARTIAL), str(outcome))
        after = Held(self.netbox, SOURCE)
        self.assertEqual(after.guests.keys(), before.guests.keys())
        self.assertEqual(after.backups.keys(), before.backups.keys())
        self.assertEqual(after.guests[stopped], {**before.guests[stopped], "status": "offline"})
        self.assertEqual(after.guests[silent], before.guests[silent])
        self.assertEqual(after.nodes[node]["status"], "offline")
        on_node = [n for n, g in before.guests.items() if g["device"] == node]
        self.assertTrue(on_node, "the test needs a guest on the node that goes down")
        for n in on_node:
            for field in ("name", "cluster", "device", "memory", "disk", "vcpus", "description", "tags", "proxmox_tags"):
                self.assertEqual(after.guests[n][field], before.guests[n][field], f"guest {n}: {field}")

    def test_one_bad_object_in_fifty(self):
        self.start(guests=5, backups=49)
        with self.pve.changed_model() as model:
            bad = change.add_refused_backup(model)
        outcome, seen = self.run_weir("sync", "one bad of fifty", expect=EXIT_PARTIAL)
        expected, held = Expected(self.reader, SOURCE), Held(self.netbox, SOURCE)
        self.assertIn(bad, expected.backups)
        self.assertEqual(set(held.backups), set(expected.backups) - {bad})
        self.assertEqual(len(held.backups), len(expected.backups) - 1)
        self.assert_counts(outcome, "backups", created=len(expected.backups) - 1, failed=1)
        failures = outcome.json["failures"]
        self.assertEqual(len(failures), 1, failures)
        self.assertIn(bad, failures[0]["key"])
        self.assertIn("255", failures[0]["error"])
        posts = [entry for entry in seen if entry[0] == "POST" and entry[1].startswith("/api/plugins/proxbox/backups/")]
        self.assertLessEqual(len(posts), 4, "one refused object costs a few requests, not one for each of its neighbours")


if __name__ == "__main__":
    unittest.main(verbosity=2)

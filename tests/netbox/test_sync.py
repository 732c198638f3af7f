#!/usr/bin/env python3
"""The main job against a real NetBox: a simulated Proxmox VE of 3 nodes, 60 guests and 600 backups.

Wants the lab (tests/netbox/netbox-lab) up; brings it up itself, and down again, where it is not. Each test begins with the
pristine database. At the end the figures are printed: requests by method, wall time, peak memory.
"""
import os
import re
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
import proxmox_model as change
from mapping import Expected, Held, Proxmox, differences
from weir_test import (EXIT_DONE, EXIT_PARTIAL, TREE, WEIR, WRITES, AccessLog, NetBox, WeirCase, count_by_method)

LAB = TREE / "tests/netbox/netbox-lab"
SOURCE = "pve-a"
NODES, GUESTS, BACKUPS = 3, 60, 600
SEED = 3
FIGURES = []


def lab(*arguments):
    done = subprocess.run([str(LAB), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=1800)
    if done.returncode:
        raise RuntimeError(f"netbox-lab {' '.join(arguments)}: {done.stderr[-2000:]}")
    return done.stdout


def lab_environment():
    return dict(re.findall(r"^export (\w+)=(.*)$", lab("env"), re.M))


def setUpModule():
    if "gunicorn stopped" in lab("status"):
        lab("up", *os.environ.get("WEIR_LAB_UP", "--workers 3 --fast").split())
        unittest.addModuleCleanup(lab, "down")


def tearDownModule():
    print("\nfigures", file=sys.stderr)
    for name, outcome, methods, note in FIGURES:
        print(f"  {name:34} {outcome.seconds:6.1f} s  {outcome.peak_kib / 1024:6.1f} MiB  "
              + "  ".join(f"{m} {methods[m]}" for m in sorted(methods)) + f"  = {sum(methods.values())}{note}", file=sys.stderr)
    print(f"  {WEIR.name} is {WEIR.stat().st_size / 1e6:.1f} MB", file=sys.stderr)


class real_netbox(WeirCase):
    def setUp(self):
        super().setUp()
        lab("reset")
        env = lab_environment()
        self.netbox = NetBox(env["NETBOX_URL"], env["NETBOX_TOKEN"])
        self.token = env["NETBOX_TOKEN"]
        self.log = AccessLog(Path(env["NETBOX_LAB_DIR"]) / "access.log")
        self.log.mark()

    def start(self, nodes=NODES, guests=GUESTS, backups=BACKUPS, **config):
        self.pve = self.simulator("proxmox", *change.arguments(nodes=nodes, guests=guests, backups=backups))
        self.config = self.workspace.config(self.netbox.url, self.token, {SOURCE: change.settings(self.pve)}, **config)
        self.reader = Proxmox(self.pve.url, change.TOKEN_ID, change.TOKEN)

    def run_weir(self, command, name, *arguments, expect=EXIT_DONE):
        """Runs it, and returns how it ended with what gunicorn's access log says about it."""
        self.log.mark()
        outcome = self.weir(command, "--config", self.config, "--output", "json", *arguments, expect=expect)
        seen = self.log.read()
        FIGURES.append((f"{name} ({command})", outcome, count_by_method(seen), ""))
        self.assertEqual({m: n for m, n in outcome.json["requests"].items() if m != "total" and n}, count_by_method(seen),
                         f"weir's own count of requests is not NetBox's\n{outcome}")
        self.assertEqual(outcome.json["exit_code"], outcome.exit_code)
        return outcome, seen

    def assert_equal_to_source(self):
        expected, held = Expected(self.reader, SOURCE), Held(self.netbox, SOURCE)
        self.assertEqual([c["name"] for c in held.clusters], [expected.cluster])
        for what in ("nodes", "guests", "backups"):
            found = differences(getattr(expected, what), getattr(held, what))
            self.assertEqual(found, [], f"{what}:\n" + "\n".join(found[:40]))
        self.assertEqual(held.doubled, [])
        return expected, held

    def assert_no_error(self, seen):
        self.assertEqual([entry for entry in seen if entry[2] >= 400], [])

    @staticmethod
    def writes(seen):
        return [entry for entry in seen if entry[0] in WRITES]

    def test_first_and_second_run(self):
        self.start()
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
        self.start()
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

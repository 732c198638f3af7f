#!/usr/bin/env python3
"""The main job in small, against the simulators: what is written, what is not, the profiles' ceilings, an interruption."""
import json
import re
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
import proxmox_model as change
from mapping import Expected, Held, Proxmox, differences
from sync_case import QUICK, SOURCE, SyncCase
from weir_test import COUNTS, EXIT_DONE, EXIT_INTERRUPTED, EXIT_PARTIAL, EXIT_UNREACHABLE

# DESIGN's table.
PROFILES = {
    "ultra-conservative": {"batch": {"size": 3, "delay_ms": 500, "objects_per_request": 10}, "max_in_flight": 1, "requests_per_second": 2},
    "conservative": {"batch": {"size": 5, "delay_ms": 200, "objects_per_request": 50}, "max_in_flight": 1, "requests_per_second": 10},
    "aggressive": {"batch": {"size": 10, "delay_ms": 50, "objects_per_request": 100}, "max_in_flight": 4, "requests_per_second": 50},
}

class sim_sync(SyncCase):
    def test_first_second_and_changed_run(self):
        self.start()
        planned = self.run_weir("plan")
        self.assertEqual(self.server.requests()["writes"], 0, "plan wrote")
        first = self.run_weir()
        counted = self.server.requests()
        expected, held = self.assert_equal_to_source()
        self.assertEqual(first.json["requests"]["total"], counted["total"])
        self.assertEqual({m: n for m, n in first.json["requests"].items() if m != "total" and n}, counted["by_method"])
        for result, foreseen in zip(first.json["results"], planned.json["results"]):
            self.assertEqual((result["stage"], result["created"]), (foreseen["stage"], foreseen["created"]))
            self.assertEqual(set(COUNTS) - set(result), set())
        self.assert_counts(first, "backups", created=len(expected.backups), skipped=0)

        self.run_weir()
        counted = self.server.requests()
        self.assertEqual(counted["writes"], 0, "the second run wrote")
        self.assertLessEqual(counted["total"], 30)

        with self.pve.changed_model() as model:
            done = change.some_of_everything(model)
        planned = self.run_weir("plan")
        self.assertEqual(self.server.requests()["writes"], 0)
        self.assertEqual(len(planned.json["changes"]), len(done.guests) + len(done.new_tags) + 7 + 3)
        synced = self.run_weir()
        self.assert_counts(synced, "virtual-machines", updated=len(done.guests), created=0, deleted=0)
        self.assert_counts(synced, "backups", created=3, deleted=7, updated=0)
        _, after = self.assert_equal_to_source()
        for n in (done.renamed, done.migrated):
            self.assertEqual(after.machines[n]["id"], held.machines[n]["id"])

    def test_text_output_and_logs(self):
        self.start()
        outcome = self.weir("sync", "--config", self.config)
        for stage in change.STAGES:
            self.assertRegex(outcome.stdout, rf"(?m)^\W*{stage}\b", str(outcome))
        self.assertNotIn("\x1b", outcome.stdout + outcome.stderr, "no colour without a terminal")
        self.assertNotRegex(outcome.stdout, r"(?m)^(ts=|\d{4}-\d\d-\d\dT)", "logs belong to stderr")
        logged = self.weir("sync", "--config", self.config, "--log-format", "json", "--log-level", "debug").stderr
        lines = [json.loads(line) for line in logged.splitlines()]
        self.assertTrue(lines)
        for line in lines:
            self.assertLessEqual({"ts", "level", "msg"}, set(line))
        for secret in (change.NETBOX_TOKEN, change.TOKEN):
            self.assertNotIn(secret, logged + outcome.stdout + outcome.stderr)

    def test_progress_lines_name_the_batches(self):
        self.start(guests=6, backups=120, profile=str(self.workspace.file("single.yaml", QUICK + "  size: 2\n  objects_per_request: 1\n")))
        outcome = self.run_weir()
        found = [(int(a), int(b)) for a, b in re.findall(r"batch\D{0,3}(\d+)\s*(?:/|of)\s*(\d+)", outcome.stderr)]
        self.assertTrue(found, outcome.stderr[-3000:])
        total = max(b for _, b in found)
        self.assertGreaterEqual(total, 55)
        at = sorted(a for a, b in found if b == total)
        self.assertLessEqual(max(y - x for x, y in zip([0, *at], at)), 10, f"a line at least every 10 batches: {at}")

    # ---- profiles

    def test_profiles_are_printed(self):
        outcome = self.weir("profiles", "--output", "json")
        shown = {p["name"]: p for p in outcome.json}
        for name, ceilings in PROFILES.items():
            self.assertEqual({k: shown[name][k] for k in ceilings}, ceilings, name)
        text = self.weir("profiles").stdout
        for name in PROFILES:
            self.assertIn(name, text)

    def ceilings(self, name, guests, backups):
        self.start(guests=guests, backups=backups, profile=name)
        self.server.options(base_us=30000)
        outcome = self.run_weir("sync")
        counted = self.server.requests()
        self.assertLessEqual(counted["peak_in_flight"], PROFILES[name]["max_in_flight"])
        # weir counts from sending to the answer, NetBox while it works: never less, and never above the promise.
        self.assertGreaterEqual(outcome.json["peak_in_flight"], counted["peak_in_flight"])
        self.assertLessEqual(outcome.json["peak_in_flight"], PROFILES[name]["max_in_flight"])
        self.assertLessEqual(max(self.bodies()), PROFILES[name]["batch"]["objects_per_request"])
        self.assertEqual(outcome.json["profile"]["name"], name)
        return counted

    def test_ultra_conservative(self):
        self.ceilings("ultra-conservative", guests=12, backups=24)
        self.assertIn(10, self.bodies(), "the ceiling is also used")

    def test_conservative(self):
        self.ceilings("conservative", guests=10, backups=160)
        self.assertIn(50, self.bodies(), "the ceiling is also used")

    def test_aggressive(self):
        counted = self.ceilings("aggressive", guests=10, backups=700)
        self.assertIn(100, self.bodies(), "the ceiling is also used")
        self.assertGreater(counted["peak_in_flight"], 1, "four are allowed, and there is work for them")

    def test_profile_on_the_command_line_wins(self):
        self.start(guests=4, backups=8, profile="aggressive")
        self.assertEqual(self.run_weir("plan", "--profile", "conservative").json["profile"]["name"], "conservative")

    def test_variables_of_the_former_tool(self):
        self.start(guests=6, backups=12, profile="aggressive")
        outcome = self.run_weir("sync", env={"PROXBOX_BACKUP_BATCH_SIZE": "5", "PROXBOX_BACKUP_BATCH_DELAY_MS": "200",
                                             "PROXBOX_NETBOX_MAX_CONCURRENT": "2"})
        used = outcome.json["profile"]
        self.assertEqual((used["batch"]["size"], used["batch"]["delay_ms"], used["max_in_flight"]), (5, 200, 2))
        self.assertLessEqual(self.server.requests()["peak_in_flight"], 2)
        bad = self.run_weir("sync", env={"PROXBOX_BACKUP_BATCH_SIZE": "many"}, expect=78)
        self.assertIn("PROXBOX_BACKUP_BATCH_SIZE", bad.stderr)

    # ---- choosing

    def test_one_stage_of_three(self):
        self.start()
        self.run_weir("sync", "--stage", "nodes")
        held = Held(self.netbox, SOURCE)
        self.assertEqual((len(held.nodes), len(held.guests), len(held.backups)), (2, 0, 0))

    def test_without_templates(self):
        """Their backups have nothing in NetBox to belong to: counted, and said."""
        self.start(stages={"nodes": {}, "virtual-machines": {"include_templates": False}, "backups": {}})
        self.assertTrue([g for g in self.pve.model["guests"] if g["config"].get("template")], "the test needs a template")
        outcome = self.run_weir()
        expected, _ = self.assert_equal_to_source(templates=False)
        self.assertGreater(len(expected.foreign_backups), 0)
        self.assert_counts(outcome, "backups", created=len(expected.backups), skipped=len(expected.foreign_backups), failed=0)
        self.assertTrue([n for n in outcome.json["notices"] if str(len(expected.foreign_backups)) in n["message"]], outcome.json["notices"])

    def test_two_sources_one_of_them_down(self):
        """An unreachable source fails its own stages; the other one is done; both keep to their own objects."""
        self.start(guests=5, backups=10)
        other = self.simulator("proxmox", *change.arguments(nodes=1, guests=4, backups=8, seed=11, cluster="pve-b"))
        config = self.workspace.config(self.server.url, change.NETBOX_TOKEN,
                                       {SOURCE: change.settings(self.pve), "pve-b": change.settings(other)},
                                       profile=str(self.workspace.path / "quick.yaml"))
        self.weir("sync", "--config", config)
        expected = Expected(Proxmox(other.url, change.TOKEN_ID, change.TOKEN), "pve-b")
        self.assertEqual(differences(expected.guests, Held(self.netbox, "pve-b").guests), [])
        self.assert_equal_to_source()
        other.stop()
        with self.pve.changed_model() as model:
            change.add_backup(model)
        outcome = self.weir("sync", "--config", config, "--output", "json", expect=None)
        self.assertIn(outcome.exit_code, (EXIT_PARTIAL, EXIT_UNREACHABLE), str(outcome))
        self.assertEqual({r["status"] for r in outcome.json["results"] if r["source"] == SOURCE}, {"ok"})
        self.assertNotIn("ok", {r["status"] for r in outcome.json["results"] if r["source"] == "pve-b"})
        self.assert_equal_to_source()
        self.assertEqual(differences(expected.backups, Held(self.netbox, "pve-b").backups), [])

    def test_nothing_of_others_is_touched(self):
        """Objects without weir's mark stay, although nothing in the source is like them."""
        self.start()
        self.run_weir()
        held = Held(self.netbox, SOURCE)
        machine = next(iter(held.machines.values()))
        by_hand = self.netbox.create("plugins/proxbox/backups", virtual_machine=machine["id"], storage="nfs", subtype="qemu",
                                     format="zst", volume_id="nfs:backup/by-hand", vmid=1)
        self.netbox.change("virtualization/virtual-machines", machine["id"], comments="mind the gap")
        self.run_weir()
        self.assertEqual(self.server.requests()["writes"], 0)
        self.assertEqual(self.netbox.call("GET", f"plugins/proxbox/backups/{by_hand['id']}/")["volume_id"], "nfs:backup/by-hand")

    # ---- when things go wrong

    def test_one_bad_object_in_fifty(self):
        self.start(guests=5, backups=49)
        with self.pve.changed_model() as model:
            bad = change.add_refused_backup(model)
        outcome = self.run_weir("sync", expect=EXIT_PARTIAL)
        expected, held = Expected(self.reader, SOURCE), Held(self.netbox, SOURCE)
        self.assertEqual(set(held.backups), set(expected.backups) - {bad})
        self.assertEqual([bad in f["key"] for f in outcome.json["failures"]], [True], outcome.json["failures"])

    def test_an_answer_that_never_came(self):
        """NetBox does it, and its answer is lost: looked up, not done twice."""
        self.start()
        self.server.faults([{"path_regex": "^/api/plugins/proxbox/backups/", "method": "POST", "status": 502, "after_commit": True,
                             "body": "<html><h1>502 Bad Gateway</h1></html>"}])
        outcome = self.run_weir("sync", timeout=120)
        self.assert_equal_to_source()
        self.assertEqual(outcome.result("backups")["failed"], 0)

    def test_database_connections_gone_for_a_moment(self):
        self.start()
        self.server.faults([{"path_regex": "^/api/virtualization/virtual-machines/", "method": "POST", "status": 500, "times": 2, "body": {
            "error": "connection failed: FATAL:  remaining connection slots are reserved for non-replication superuser connections",
            "exception": "OperationalError", "netbox_version": "4.7.3", "python_version": "3.13.0"}}])
        self.run_weir("sync", timeout=120)
        self.assert_equal_to_source()

    def test_netbox_without_the_plugin(self):
        self.start()
        self.server.options(plugin=False)
        outcome = self.run_weir("sync", expect=None)
        self.assertEqual(outcome.result("backups")["status"], "skipped", str(outcome))
        self.assertEqual(outcome.exit_code, EXIT_DONE, str(outcome))
        said = [n for n in outcome.json["notices"] if "netbox_proxbox" in n["message"] or "netbox-proxbox" in n["message"]]
        self.assertEqual(len(said), 1, outcome.json["notices"])
        self.assertEqual(outcome.result("virtual-machines")["status"], "ok")

    def test_interrupted(self):
        """Ctrl-C: exit code 130, and the next run finishes the work without doubling anything."""
        self.start(guests=20, backups=400, profile="ultra-conservative")
        outcome = self.run_weir("sync", expect=EXIT_INTERRUPTED, interrupt_when=lambda: self.server.requests()["writes"] >= 3, timeout=120)
        self.assertLess(outcome.seconds, 100)
        time.sleep(0.3)
        after = self.server.requests()
        self.assertEqual(after["in_flight"], 0)
        self.assertLess(len(Held(self.netbox, SOURCE).backups), 400, "it was meant to be interrupted in the middle")
        self.run_weir("sync", "--profile", str(self.workspace.file("quick.yaml", QUICK)))
        self.assert_equal_to_source()

    # ---- the other commands

    def test_demo(self):
        outcome = self.weir("demo", timeout=90)
        self.assertTrue(outcome.stdout.strip())

    def test_stages(self):
        outcome = self.weir("stages")
        for stage in change.STAGES:
            self.assertIn(stage, outcome.stdout)

    def test_version(self):
        self.assertRegex(self.weir("version").stdout, r"\bweir \d+\.\d+\.\d+")

    def test_validate(self):
        self.start()
        self.weir("validate", "--config", self.config)
        self.assertEqual(self.server.requests()["writes"], 0)
        self.pve.stop()
        self.weir("validate", "--config", self.config, "--no-network")
        self.weir("validate", "--config", self.config, expect=EXIT_UNREACHABLE)


if __name__ == "__main__":
    unittest.main(verbosity=2)

#!/usr/bin/env python3
"""Somebody else's stage, built outside of the tree against an installed SDK (abi.out_of_tree), in an installed weir."""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
import proxmox_model as change
import weir_test
from weir_test import EXIT_CONFIG, NetBox, WeirCase

BUILD = Path(os.environ["WEIR_BUILD"])
TEMPLATE = BUILD / "out-of-tree/my-stage.so"


class third_party(WeirCase):
    @classmethod
    def setUpClass(cls):
        cls.prefix = Path(tempfile.mkdtemp(prefix="weir-prefix-"))
        cls.addClassCleanup(shutil.rmtree, cls.prefix)
        subprocess.run(["cmake", "--install", str(BUILD), "--prefix", str(cls.prefix)], check=True, stdout=subprocess.DEVNULL)
        # The program under test is the installed one: it must find its plugins and profiles in its prefix.
        before = weir_test.WEIR
        weir_test.WEIR = cls.prefix / "bin/weir"
        cls.addClassCleanup(setattr, weir_test, "WEIR", before)

    def start(self, **config):
        self.server = self.simulator("netbox")
        self.pve = self.simulator("proxmox", *change.arguments(nodes=2, guests=6, backups=6))
        self.config = self.workspace.config(self.server.url, change.NETBOX_TOKEN, {"pve-a": change.settings(self.pve)}, **config)
        self.server.reset_counters()

    def test_an_installed_weir_finds_its_own(self):
        stages = {s["id"]: s for s in self.weir("stages", "--output", "json").json}
        self.assertEqual(set(stages), {"nodes", "virtual-machines", "backups"})
        for stage in stages.values():
            self.assertTrue(stage["file"].startswith(str(self.prefix)), stage)
        profiles = self.weir("profiles", "--output", "json").json
        self.assertEqual([p["name"] for p in profiles], ["ultra-conservative", "conservative", "aggressive"])

    def test_it_is_loaded_and_run(self):
        self.start(plugin_path=[str(TEMPLATE)], stages={"my-stage": {"prefix": "pve-pool-"}})
        outcome = self.weir("sync", "--config", self.config, "--output", "json")
        self.assertEqual([r["stage"] for r in outcome.json["results"]], ["my-stage"])
        pools = {p["poolid"] for p in self.pve.model["pools"]}
        self.assertTrue(pools)
        tags = {t["slug"] for t in NetBox(self.server.url, change.NETBOX_TOKEN).all("extras/tags")}
        self.assertEqual(tags, {f"pve-pool-{pool}" for pool in pools})
        again = self.weir("sync", "--config", self.config, "--output", "json").json
        self.assertEqual(again["requests"]["total"], again["requests"]["GET"], "the second run wrote")

    def test_it_runs_beside_the_shipped_ones(self):
        stages = next(p for p in self.prefix.glob("lib/**/weir/stages"))
        self.start(plugin_path=[str(stages), str(TEMPLATE)])
        outcome = self.weir("sync", "--config", self.config, "--output", "json")
        self.assertEqual({r["stage"] for r in outcome.json["results"]}, {"nodes", "virtual-machines", "backups", "my-stage"})
        self.assertEqual({r["status"] for r in outcome.json["results"]}, {"ok"})

    def test_a_stage_writes_through_the_shared_client(self):
        """In a plan nothing is sent; in a run the write passes weir's gate and is counted as weir's."""
        self.start(plugin_path=[os.environ["WEIR_TEST_DIRECT"]])
        netbox = NetBox(self.server.url, change.NETBOX_TOKEN)
        planned = self.weir("plan", "--config", self.config, "--output", "json").json
        self.assertEqual(self.server.requests()["writes"], 0, "plan wrote")
        self.assertIn("would send POST /api/extras/tags/", [n["message"] for n in planned["notices"]])
        done = self.weir("sync", "--config", self.config, "--output", "json").json
        self.assertEqual([t["slug"] for t in netbox.all("extras/tags")], ["direct"])
        self.assertEqual(done["requests"]["POST"], 1)
        self.assertIn("POST answered 201", [n["message"] for n in done["notices"]])
        again = self.weir("sync", "--config", self.config, "--output", "json").json
        self.assertEqual(again["requests"]["POST"], 0)

    def test_its_options_are_checked_against_its_schema(self):
        self.start(plugin_path=[str(TEMPLATE)], stages={"my-stage": {"prefx": "x"}})
        outcome = self.weir("sync", "--config", self.config, expect=EXIT_CONFIG)
        self.assertIn("prefx", outcome.stderr)
        self.assertIn("prefix", outcome.stderr)
        self.assertEqual(self.server.requests()["total"], 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)

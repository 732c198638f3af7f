#!/usr/bin/env python3
"""The SDK's examples (built by abi.examples) in a real run: from the simulated sources to the simulated NetBox."""
import os
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
import proxmox_model as change
from weir_test import NetBox, WeirCase

EXAMPLES = Path(os.environ["WEIR_EXAMPLES"])


class examples(WeirCase):
    def start(self, name, sources, **stage):
        plugin = EXAMPLES / f"{name}.so"
        if not plugin.exists():
            self.skipTest(f"{plugin} was not built (no rustc?)")
        self.server = self.simulator("netbox")
        self.netbox = NetBox(self.server.url, change.NETBOX_TOKEN)
        self.config = self.workspace.config(self.server.url, change.NETBOX_TOKEN, sources, plugin_path=[str(plugin)],
                                            stages={name: stage})

    def sync_twice(self, name):
        self.weir("plan", "--config", self.config)
        self.assertEqual(self.server.requests()["writes"], 0, "plan wrote")
        done = self.weir("sync", "--config", self.config, "--output", "json")
        self.assertEqual([(r["stage"], r["status"]) for r in done.json["results"]], [(name, "ok")])
        self.server.reset_counters()
        again = self.weir("sync", "--config", self.config, "--output", "json")
        self.assertEqual(self.server.requests()["writes"], 0, str(again))
        return done

    def proxmox(self, nodes=3):
        self.pve = self.simulator("proxmox", *change.arguments(nodes=nodes, guests=8, backups=4))
        return {"pve-a": change.settings(self.pve)}

    def tags(self):
        return {t["slug"]: t for t in self.netbox.all("extras/tags")}

    def test_c_tags(self):
        self.start("c-tags", self.proxmox())
        self.sync_twice("c-tags")
        nodes = {n["node"] for n in self.pve.model["nodes"]}
        self.assertEqual(len(nodes), 3)
        self.assertEqual(set(self.tags()), {f"node-{n}" for n in nodes})

    def test_pools_to_tags(self):
        self.start("pools-to-tags", self.proxmox(), prefix="p-", color="4caf50", skip=["left-out"], members=False)
        with self.pve.changed_model() as model:
            model["pools"] += [{"poolid": "left-out"}, {"poolid": "Data_Bases", "comment": "mind the gap"}]
        self.sync_twice("pools-to-tags")
        tags = self.tags()
        self.assertEqual(set(tags), {"p-prod", "p-data_bases"})
        self.assertEqual((tags["p-data_bases"]["name"], tags["p-data_bases"]["description"], tags["p-data_bases"]["color"]),
                         ("p-Data_Bases", "mind the gap", "4caf50"))

    def test_rust_tags(self):
        self.start("rust-tags", self.proxmox())
        self.sync_twice("rust-tags")
        tags = self.tags()
        self.assertTrue(tags)
        self.assertTrue(all(slug.startswith("storage-") for slug in tags), tags)
        self.assertIn("storage-local", tags)

    def test_inventory_devices(self):
        inventory = self.simulator("inventory", "--devices", 40, "--token", "inventory-token-1")
        source = {"type": "rest", "urls": [f"{inventory.url}/api"], "token": "inventory-token-1", "check": "/health",
                  "paging": {"style": "link", "size_parameter": "per_page", "size": 20}}
        self.start("inventory-devices", {"cmdb": source}, path="/link/devices")
        self.sync_twice("inventory-devices")
        held = {d["name"]: d for d in self.netbox.all("dcim/devices")}
        wanted = {d["name"]: d for d in inventory.model}
        self.assertEqual(set(held), set(wanted))
        for name, device in wanted.items():
            got = held[name]
            self.assertEqual((got["serial"], got["site"]["name"], got["device_type"]["model"], got["role"]["name"]),
                             (device["serial"], device["site"], device["model"], device["role"]), name)
            self.assertEqual(got["device_type"]["manufacturer"]["name"], device["manufacturer"])
            self.assertEqual(got["custom_fields"]["proxmox_source"], "cmdb")


if __name__ == "__main__":
    unittest.main(verbosity=2)

#!/usr/bin/env python3
"""Who is who: guests that are renamed, move, get another number or are built anew; nodes that a person renames."""
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
from sync_case import SyncCase

MACHINES, DEVICES = "virtualization/virtual-machines", "dcim/devices"
MACHINE, DEVICE = "virtualization.virtualmachine", "dcim.device"


def facts(letter):
    """What Proxmox VE gives a machine for life."""
    return {"smbios1": f"uuid={letter * 8}-0000-4000-a000-000000000000", "meta": "creation-qemu=9.0.2,ctime=1735689600",
            "vmgenid": f"{letter * 8}-0000-4000-b000-000000000000", "net0": f"virtio=BC:24:11:00:00:{letter.upper() * 2},bridge=vmbr0"}


def guest(vmid, name, node, letter):
    return {"vmid": vmid, "type": "qemu", "node": node, "status": "running",
            "config": {"name": name, "memory": 2048, "cores": 2, "scsi0": f"local-lvm:vm-{vmid}-disk-0,size=32G", **facts(letter)}}


class identity(SyncCase):
    def prepare(self, *guests):
        self.start(nodes=2, guests=0, backups=0)
        self.nodes = [n["node"] for n in self.pve.model["nodes"]]
        self.have(*guests)
        self.run_weir()

    def have(self, *guests, node=0):
        """(vmid, name, letter of its facts): all the guests there are."""
        with self.pve.changed_model() as model:
            model["guests"] = [guest(vmid, name, self.nodes[node], letter) for vmid, name, letter in guests]

    def machines(self):
        """{name: (id, vmid)}"""
        return {m["name"]: (m["id"], m["custom_fields"]["proxmox_vm_id"]) for m in self.netbox.all(MACHINES)}

    def sync(self, why=None, kind=MACHINE, **options):
        """Plan and sync; `why` is what the plan says about the kind's changes. The next run writes nothing."""
        plan = self.run_weir("plan")
        said = sorted((c["label"], c["action"], c.get("why", "differs")) for c in plan.json["changes"] if c["kind"] == kind)
        if why is not None:
            self.assertEqual(said, sorted(why), str(plan))
        self.run_weir(**options)
        self.run_weir(**options)
        self.assertEqual(self.server.requests()["writes"], 0)

    def test_renamed_and_moved(self):
        self.prepare((101, "web", "a"))
        before = self.machines()["web"]
        self.have((101, "shop", "a"), node=1)
        self.sync([("shop", "update", "differs")])
        self.assertEqual(self.machines(), {"shop": before})
        self.assertEqual(self.netbox.all(MACHINES)[0]["device"]["name"], self.nodes[1])

    def test_a_number_used_again(self):
        self.prepare((101, "web", "a"), (102, "db", "b"))
        old = self.machines()["web"][0]
        self.have((101, "mail", "c"), (102, "db", "b"))
        self.sync([("mail", "create", "differs"), ("web", "update", "released")])
        now = self.machines()
        self.assertEqual(now["web"], (old, None))
        self.assertEqual(now["mail"][1], 101)
        web = next(m for m in self.netbox.all(MACHINES) if m["id"] == old)
        self.assertEqual(web["status"]["value"], "decommissioning")

    def test_built_anew(self):
        self.prepare((101, "web", "a"), (102, "db", "b"))
        before = self.machines()
        self.have((101, "web", "c"), (109, "db", "d"))
        self.sync([("web", "update", "recreated"), ("db", "update", "recreated")])
        self.assertEqual(self.machines(), {"web": before["web"], "db": (before["db"][0], 109)})

    def test_numbers_in_a_chain(self):
        self.prepare((101, "web", "a"), (102, "db", "b"))
        before = self.machines()
        self.have((101, "db", "b"), (105, "web", "a"))
        self.sync([("web", "update", "renumbered"), ("db", "update", "renumbered")])
        self.assertEqual(self.machines(), {"web": (before["web"][0], 105), "db": (before["db"][0], 101)})

    def test_names_in_a_chain_and_in_a_round(self):
        self.prepare((101, "a1", "a"), (102, "b1", "b"), (103, "x", "c"), (104, "y", "d"))
        before = {vmid: number for number, vmid in self.machines().values()}
        self.have((101, "b1", "a"), (102, "c1", "b"), (103, "y", "c"), (104, "x", "d"))
        self.sync()
        self.assertEqual(self.machines(), {"b1": (before[101], 101), "c1": (before[102], 102), "y": (before[103], 103), "x": (before[104], 104)})

    def test_a_copy_made_in_netbox(self):
        self.prepare((101, "web", "a"), (102, "db", "b"))
        web = next(m for m in self.netbox.all(MACHINES) if m["name"] == "web")
        copy = self.netbox.create(MACHINES, name="web copy", cluster=web["cluster"]["id"], status="active",
                                  custom_fields={k: v for k, v in web["custom_fields"].items() if v is not None})
        outcome = self.run_weir(expect=None)
        self.assertNotEqual(outcome.exit_code, 0)
        failure = next(f for f in outcome.json["failures"] if f["kind"] == MACHINE)
        for part in (f"web #{web['id']}", f"web copy #{copy['id']}"):
            self.assertIn(part, failure["error"])
        self.assertEqual(self.server.requests()["writes"], 0)

    def test_a_node_that_a_person_renamed(self):
        self.prepare((101, "web", "a"))
        device = next(d for d in self.netbox.all(DEVICES) if d["name"] == self.nodes[0])
        self.netbox.change(DEVICES, device["id"], name="rack 7, left")
        self.sync([], kind=DEVICE)
        self.assertEqual(len(self.netbox.all(DEVICES)), 2)
        web = self.netbox.all(MACHINES)[0]
        self.assertEqual(web["device"]["id"], device["id"])
        # And where the nodes' stage does not run.
        self.have((101, "web", "a"), node=1)
        self.run_weir("sync", "--stage", "virtual-machines")
        self.have((101, "web", "a"), node=0)
        self.run_weir("sync", "--stage", "virtual-machines")
        self.assertEqual(self.netbox.all(MACHINES)[0]["device"]["id"], device["id"])


if __name__ == "__main__":
    unittest.main()

"""Fills a NetBox as the proxbox service does: its tag, its bootstrap objects, its custom fields (or not), sync-state rows, names made
unique by " (2)", backups with naive local times, and formats that it does not know."""
import datetime
import re

from mapping import MIB, disk_mib, slug

GUESTS, BACKUPS = "virtualization/virtual-machines", "plugins/proxbox/backups"
STATE = "plugins/proxbox/sync-state"
TAG = "proxbox"
# Its backend's clock, in the tests' world: what it calls a backup's time is off by this much.
OFFSET = datetime.timedelta(hours=2)
# Its map of formats; everything else is `undefined` where the volume id does not tell (PBS).
FORMATS = {"zst": "tzst", "vma.zst": "tzst", "vma.zstd": "tzst", **{f: f for f in ("pbs-ct", "pbs-vm", "qcow2", "raw", "tgz", "tbz", "tar", "iso", "tzst")}}
STATUS = {"running": "active", "online": "active", "stopped": "offline", "paused": "offline"}
# Those of its 43 custom fields that it really writes for guests, and types.
CUSTOM_FIELDS = {"proxmox_vm_id": "integer", "proxmox_vm_type": "text", "proxmox_start_at_boot": "boolean", "proxmox_node": "text",
                 "proxmox_cluster": "text", "proxmox_status": "text", "proxmox_link": "url", "proxmox_last_updated": "datetime"}


def backup_format(volume):
    known = FORMATS.get(volume.get("format", ""))
    if known:
        return known
    return "pbs-ct" if "/ct/" in volume["volid"] else "pbs-vm" if "/vm/" in volume["volid"] else "undefined"


def backup_subtype(volume):
    kind = volume.get("subtype", "")
    if kind in ("ct", "lxc"):
        return "lxc"
    if kind in ("vm", "qemu"):
        return "qemu"
    return "lxc" if "/ct/" in volume["volid"] else "qemu" if "/vm/" in volume["volid"] else "undefined"


class Proxbox:
    """One run of the service over one cluster. `legacy`: with custom fields; `sidecars`: with sync-state rows."""

    def __init__(self, netbox, proxmox, expected, legacy=False, sidecars=True):
        self.netbox, self.proxmox, self.expected = netbox, proxmox, expected
        self.legacy, self.sidecars = legacy, sidecars
        self.guests, self.devices, self.backups = {}, {}, {}  # vmid, node, volume id ► NetBox's object

    def one(self, path, key, **fields):
        held = [o for o in self.netbox.all(path) if o[key] == fields[key]]
        return held[0] if held else self.netbox.create(path, **fields)

    def fill(self):
        tag = self.one("extras/tags", "slug", name="Proxbox", slug=TAG, color="ff5722")
        self.tags = [{"slug": tag["slug"]}]
        if self.legacy:
            for name, kind in CUSTOM_FIELDS.items():
                self.one("extras/custom-fields", "name", name=name, type=kind, object_types=["virtualization.virtualmachine"],
                         label=name, ui_visible="hidden", group_name="Proxmox")
        self.make_cluster()
        self.make_devices()
        self.make_guests()
        self.make_backups()
        return self

    def make_cluster(self):
        name = self.expected.cluster
        kind = self.one("virtualization/cluster-types", "slug", name="Cluster", slug="cluster", description="Proxmox cluster mode", tags=self.tags)
        self.site = self.one("dcim/sites", "slug", name=f"Proxmox Default Site - {name}", slug=f"proxmox-default-site-{slug(name)}",
                             status="active", tags=self.tags)
        self.cluster = self.one("virtualization/clusters", "name", name=name, type=kind["id"], description="Proxmox cluster cluster.",
                                scope_type="dcim.site", scope_id=self.site["id"], tags=self.tags)
        if self.sidecars:
            self.netbox.create(f"{STATE}/clusters", cluster={"id": self.cluster["id"]}, proxmox_cluster_name=name)

    def make_devices(self):
        maker = self.one("dcim/manufacturers", "slug", name="Proxmox", slug="proxmox", tags=self.tags)
        model = self.one("dcim/device-types", "slug", model="Proxmox Generic Device", slug="proxmox-generic-device", manufacturer=maker["id"],
                         tags=self.tags)
        role = self.one("dcim/device-roles", "slug", name="Proxmox Node", slug="proxmox-node", color="00bcd4", tags=self.tags)
        for name in self.expected.nodes:
            # Always active, whatever the cluster says.
            device = self.netbox.create("dcim/devices", name=name, status="active", cluster=self.cluster["id"], device_type=model["id"],
                                        role=role["id"], site=self.site["id"], description=f"Proxmox Node {name}", tags=self.tags)
            self.devices[name] = device
            if self.sidecars:
                self.netbox.create(f"{STATE}/devices", device={"id": device["id"]}, proxmox_node_name=name,
                                   proxmox_cluster_name=self.expected.cluster)

    def make_guests(self):
        roles = {kind: self.one("dcim/device-roles", "slug", name=name, slug=slug(name), color=color, vm_role=True, tags=self.tags)
                 for kind, name, color in (("qemu", "Virtual Machine (QEMU)", "00ffff"), ("lxc", "Container (LXC)", "7fffd4"))}
        taken = set()
        for row in sorted(self.proxmox.get("/cluster/resources"), key=lambda r: r.get("vmid", 0)):
            if row["type"] not in roles:
                continue
            vmid, plain = int(row["vmid"]), row.get("name") or f"vm-{row['vmid']}"
            name, number = plain, 2
            while name.lower() in taken:
                name, number = f"{plain} ({number})", number + 1
            taken.add(name.lower())
            config = self.proxmox.get(f"/nodes/{row['node']}/{row['type']}/{vmid}/config") if row["node"] in self.expected.nodes else {}
            own = sorted({slug(t) for t in re.split(r"[;, ]", row.get("tags") or "") if t.strip()})
            for t in own:
                self.one("extras/tags", "slug", name=t, slug=t, description="Synced by Proxbox")
            fields = {"name": name, "status": STATUS.get(row["status"], "active"), "cluster": self.cluster["id"],
                      "device": self.devices[row["node"]]["id"], "site": self.site["id"], "role": roles[row["type"]]["id"],
                      "vcpus": int(row["maxcpu"]) or None, "memory": row["maxmem"] // MIB, "disk": disk_mib(config, row),
                      "description": f"Synced from Proxmox node {row['node']}", "tags": self.tags + [{"slug": t} for t in own]}
            if self.legacy:
                fields["custom_fields"] = {"proxmox_vm_id": vmid, "proxmox_vm_type": row["type"], "proxmox_node": row["node"],
                                           "proxmox_cluster": self.expected.cluster, "proxmox_status": row["status"]}
            guest = self.netbox.create(GUESTS, **fields)
            self.guests[vmid] = guest
            if self.sidecars:
                self.record(guest["id"], vmid, row["type"], plain)

    def record(self, guest, vmid, kind, name, cluster=None):
        return self.netbox.create(f"{STATE}/virtual-machines", virtual_machine={"id": guest}, proxmox_vm_id=vmid, proxmox_vm_type=kind,
                                  proxmox_vm_name=name, proxmox_cluster_name=cluster or self.expected.cluster, proxmox_endpoint_raw_id=1)

    def make_backups(self):
        rows = []
        for volume, storage in self.expected.volumes(self.proxmox, self.proxmox.get("/cluster/resources"),
                                                     {n: d["status"] == "active" for n, d in self.expected.nodes.items()}):
            guest = self.guests.get(int(volume.get("vmid", 0)))
            if not guest:
                continue  # dropped without a word
            naive = datetime.datetime.fromtimestamp(volume["ctime"], datetime.timezone.utc) + OFFSET
            verification = volume.get("verification") or {}
            rows.append({"virtual_machine": guest["id"], "storage": storage, "volume_id": volume["volid"], "vmid": int(volume["vmid"]),
                         "subtype": backup_subtype(volume), "format": backup_format(volume),
                         "creation_time": naive.replace(tzinfo=None).isoformat(), "size": volume.get("size"), "used": volume.get("used"),
                         "notes": volume.get("notes"), "encrypted": str(volume.get("encrypted") or ""),
                         "verification_state": verification.get("state"), "verification_upid": verification.get("upid"), "tags": []})
        for first in range(0, len(rows), 50):
            for made in self.netbox.call("POST", f"{BACKUPS}/", rows[first:first + 50]):
                self.backups[made["volume_id"]] = made

"""What NetBox has to hold, worked out from Proxmox VE's own answers: the tests' own mapping, which knows nothing of the plugins.

Proxmox's side is read over its API; NetBox's side is read back over its API; both become the same plain dictionaries.
"""
import collections
import datetime
import json
import re
import ssl
import urllib.request

MIB = 1048576
UNITS = {"": 1, "K": 1024, "M": MIB, "G": 1024 * MIB, "T": 1024 * 1024 * MIB}
DISK_KEY = re.compile(r"^(scsi|virtio|ide|sata|mp|efidisk|tpmstate)\d+$|^rootfs$")
STATUS = {"running": "active", "stopped": "offline", "paused": "paused"}


class Proxmox:
    def __init__(self, url, token_id, token):
        self.url, self.header = url.rstrip("/"), f"PVEAPIToken={token_id}={token}"

    def get(self, path):
        request = urllib.request.Request(f"{self.url}/api2/json{path}", headers={"Authorization": self.header})
        with urllib.request.urlopen(request, timeout=60, context=ssl._create_unverified_context()) as answer:
            return json.loads(answer.read())["data"]


def slug(text):
    return re.sub(r"[^a-z0-9_-]+", "-", text.strip().lower()).strip("-")


def disk_mib(config, resource):
    """Sum of the configured disks; no CD-ROM, no cloud-init drive, nothing unused; else what the cluster reports."""
    total, found = 0, False
    for key, value in config.items():
        if not DISK_KEY.match(key):
            continue
        value = str(value)
        if value.startswith("none") or "media=cdrom" in value or "cloudinit" in value:
            continue
        size = re.search(r"(?:^|,)size=(\d+(?:\.\d+)?)([KMGT]?)", value)
        if size:
            found = True
            total += float(size[1]) * UNITS[size[2]]
    # A guest without disks has none in NetBox, rather than one of 0.
    return int((total if found else resource.get("maxdisk", 0)) // MIB) or None


def first_line(text):
    """NetBox's descriptions are one line of up to 200 characters; Proxmox VE's are pages of Markdown."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")[:200]


def backup_format(volume):
    """NetBox's choice for a backup's compression and kind."""
    if volume.get("format", "").startswith("pbs-"):
        return volume["format"]
    name = volume["volid"]
    for ending, choice in ((".vma.zst", "zst"), (".tar.zst", "tzst"), (".tar.gz", "tgz"), (".tgz", "tgz"), (".tar.bz2", "tbz"),
                           (".tar", "tar")):
        if name.endswith(ending):
            return choice
    return "undefined"


def backup_subtype(volume):
    if volume.get("subtype"):
        return volume["subtype"]
    name = volume["volid"]
    if "vzdump-lxc-" in name or "/ct/" in name:
        return "lxc"
    return "qemu" if "vzdump-qemu-" in name or "/vm/" in name else "undefined"


def instant(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)


class Expected:
    """cluster: name; nodes: {name: …}; guests: {vmid: …}; backups: {volume id: …}. foreign_backups: of no guest among them."""

    def __init__(self, proxmox, source, templates=True):
        status = proxmox.get("/cluster/status")
        resources = proxmox.get("/cluster/resources")
        named = [row["name"] for row in status if row["type"] == "cluster"]
        nodes = {row["name"]: bool(row["online"]) for row in status if row["type"] == "node"}
        self.cluster = named[0] if named else next(iter(nodes))
        self.nodes = {name: {"status": "active" if online else "offline", "cluster": self.cluster, "source": source,
                             "tags": ["weir"]} for name, online in nodes.items()}
        self.guests = {}
        for row in resources:
            if row["type"] not in ("qemu", "lxc"):
                continue
            if row.get("template") and not templates:
                continue
            self.guests[int(row["vmid"])] = self.guest(proxmox, source, row, nodes)
        self.backups, self.foreign_backups = {}, set()
        for volume, storage in self.volumes(proxmox, resources, nodes):
            if int(volume.get("vmid", 0)) in self.guests:
                self.backups[volume["volid"]] = self.backup(volume, storage, source)
            else:
                self.foreign_backups.add(volume["volid"])

    def guest(self, proxmox, source, row, nodes):
        config = proxmox.get(f"/nodes/{row['node']}/{row['type']}/{row['vmid']}/config") if nodes[row["node"]] else {}
        own = sorted({slug(t) for t in re.split(r"[;, ]", row.get("tags") or config.get("tags") or "") if t.strip()})
        vcpus = row.get("maxcpu")
        return {
            "name": row.get("name") or config.get("name") or config.get("hostname") or f"vm-{row['vmid']}",
            "status": STATUS.get(row.get("status")), "cluster": self.cluster, "device": row["node"],
            "vcpus": float(vcpus) if vcpus else None, "memory": row.get("maxmem", 0) // MIB or None, "disk": disk_mib(config, row),
            "description": first_line(config.get("description", "")), "tags": sorted({"weir", *own}), "source": source,
            "vmid": int(row["vmid"]), "type": row["type"], "proxmox_tags": ";".join(own),
        }

    @staticmethod
    def volumes(proxmox, resources, nodes):
        seen = set()
        for row in resources:
            if row["type"] != "storage" or "backup" not in row.get("content", "").split(",") or not nodes[row["node"]]:
                continue
            key = (row["storage"],) if row.get("shared") else (row["storage"], row["node"])
            if key in seen:
                continue
            seen.add(key)
            for volume in proxmox.get(f"/nodes/{row['node']}/storage/{row['storage']}/content?content=backup"):
                yield volume, row["storage"]

    @staticmethod
    def backup(volume, storage, source):
        verification = volume.get("verification") or {}
        return {
            "vmid": int(volume["vmid"]), "guest": int(volume["vmid"]), "storage": storage, "subtype": backup_subtype(volume),
            "format": backup_format(volume), "creation_time": instant(volume["ctime"]), "size": volume.get("size"),
            "notes": volume.get("notes") or "", "encrypted": str(volume.get("encrypted") or ""),
            "verification_state": verification.get("state") or "", "verification_upid": verification.get("upid") or "",
            "source": source,
        }


def _name(reference, attribute="name"):
    return reference[attribute] if reference else None


def _value(choice):
    return choice["value"] if isinstance(choice, dict) else choice


class Held:
    """What NetBox holds of one source, in the same form. The scope is checked here and not left to NetBox's filters."""

    def __init__(self, netbox, source):
        of_source = lambda o: (o["custom_fields"] or {}).get("proxmox_source") == source
        self.clusters = [c for c in netbox.all("virtualization/clusters") if of_source(c)]
        devices = [d for d in netbox.all("dcim/devices") if of_source(d)]
        machines = [m for m in netbox.all("virtualization/virtual-machines") if of_source(m)]
        self.devices = {d["name"]: d for d in devices}
        self.machines = {m["custom_fields"]["proxmox_vm_id"]: m for m in machines}
        self.nodes = {d["name"]: {"status": _value(d["status"]), "cluster": _name(d["cluster"]),
                                  "source": d["custom_fields"]["proxmox_source"], "tags": sorted(t["slug"] for t in d["tags"])}
                      for d in self.devices.values()}
        self.guests = {n: self.guest(m) for n, m in self.machines.items()}
        by_id = {m["id"]: n for n, m in self.machines.items()}
        rows = [b for b in netbox.all("plugins/proxbox/backups") if of_source(b)]
        self.backups = {b["volume_id"]: self.backup(b, by_id) for b in rows}
        times = collections.Counter([("device", d["name"]) for d in devices] + [("backup", b["volume_id"]) for b in rows]
                                    + [("guest", m["custom_fields"]["proxmox_vm_id"]) for m in machines])
        self.doubled = [key for key, n in times.items() if n > 1]

    @staticmethod
    def guest(m):
        fields = m["custom_fields"]
        return {
            "name": m["name"], "status": _value(m["status"]), "cluster": _name(m["cluster"]), "device": _name(m["device"]),
            "vcpus": float(m["vcpus"]) if m["vcpus"] is not None else None, "memory": m["memory"], "disk": m["disk"],
            "description": m["description"], "tags": sorted(t["slug"] for t in m["tags"]), "source": fields["proxmox_source"],
            "vmid": fields["proxmox_vm_id"], "type": fields["proxmox_vm_type"], "proxmox_tags": fields["proxmox_tags"] or "",
        }

    @staticmethod
    def backup(b, by_id):
        when = b["creation_time"]
        return {
            "vmid": b["vmid"], "guest": by_id.get(b["virtual_machine"]["id"]), "storage": b["storage"],
            "subtype": _value(b["subtype"]), "format": _value(b["format"]),
            "creation_time": datetime.datetime.fromisoformat(when.replace("Z", "+00:00")) if when else None, "size": b["size"],
            "notes": b["notes"] or "", "encrypted": b["encrypted"] or "", "verification_state": b["verification_state"] or "",
            "verification_upid": b["verification_upid"] or "", "source": b["custom_fields"]["proxmox_source"],
        }


def differences(expected, held):
    """Lines that say where two {key: {field: value}} differ; empty if nowhere."""
    lines = [f"missing: {key!r}" for key in expected if key not in held]
    lines += [f"not expected: {key!r}" for key in held if key not in expected]
    for key in expected:
        for field, value in expected[key].items():
            if key in held and held[key][field] != value:
                lines.append(f"{key!r}.{field}: the source says {value!r}, NetBox holds {held[key][field]!r}")
    return lines

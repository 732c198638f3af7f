"""The simulators, as the tests start them, and the simulated Proxmox VE's model, as they change it: only this file knows its shape."""
from types import SimpleNamespace

STAGES = ("nodes", "virtual-machines", "backups")


# ---------------------------------------------------------------- starting it

TOKEN_ID, TOKEN = "sync@pve!weir", "12345678-aaaa-bbbb-cccc-1234567890ab"
NETBOX_TOKEN = "nbt_simulated001.notasecretNOTASECRETnotasecretNOTASECRET"  # the simulated NetBox's first one


def arguments(nodes=3, guests=60, backups=600, seed=7, **more):
    """Of `weir-sim proxmox`."""
    given = {"nodes": nodes, "guests": guests, "backups": backups, "seed": seed, "token_id": TOKEN_ID, "token_secret": TOKEN, **more}
    return [a for key, value in given.items() for a in (f"--{key.replace('_', '-')}", str(value))]


def tls(host, certificate_file):
    """Arguments for a server with a certificate made for `host`, which is written to the file."""
    return ["--tls-self-signed", host, "--write-cert", certificate_file]


def settings(simulator):
    """A source of a configuration."""
    return {"url": simulator.url, "token_id": TOKEN_ID, "token": TOKEN}


# ---------------------------------------------------------------- changing it

def _guest(model, vmid):
    return next(g for g in model["guests"] if g["vmid"] == vmid)


def _plain(model, used=()):
    """Guests, no templates, that have a name of their own and a disk, and are not in `used`."""
    for g in model["guests"]:
        config = g["config"]
        if not config.get("template") and g["vmid"] not in used and ("name" in config or "hostname" in config):
            yield g


def _set_name(guest, name):
    guest["config"]["name" if guest["type"] == "qemu" else "hostname"] = name


def set_name(guest, name):
    _set_name(guest, name)


def two_plain_guests(model):
    return list(_plain(model))[:2]


def _of_mapped_guest(model, backup):
    return any(g["vmid"] == backup["vmid"] for g in _plain(model))


def backup_storages(model):
    """Ids of the storages that hold backups."""
    return sorted({b["storage"] for b in model["backups"]})


def add_backup(model, storage="nfs", index=0, **more):
    """One more backup of the first guest that is mapped; its volume id is returned."""
    guest = next(_plain(model))
    kind, vmid = guest["type"], guest["vmid"]
    pbs = storage == "pbs"
    if pbs:
        volume = f"pbs:backup/{'vm' if kind == 'qemu' else 'ct'}/{vmid}/2026-11-05T04:00:{index:02}Z"
        form = "pbs-vm" if kind == "qemu" else "pbs-ct"
    else:
        form = "vma.zst" if kind == "qemu" else "tar.zst"
        volume = f"{storage}:backup/vzdump-{kind}-{vmid}-2026_11_05-04_00_{index:02}.{form}"
    model["backups"].append({"storage": storage, "node": guest["node"] if storage == "local" else None, "volid": volume,
                             "vmid": vmid, "ctime": 1793851200 + index, "size": 123456789 + index, "format": form,
                             "content": "backup", "subtype": kind, "notes": "added by the test", **more})
    return volume


def add_refused_backup(model):
    """NetBox takes 255 characters of a verification's task id, and nothing before NetBox checks that."""
    return add_backup(model, verification={"state": "ok", "upid": "UPID:" + "x" * 300})


def remove_backups(model, count):
    gone = [b for b in model["backups"] if _of_mapped_guest(model, b)][5:5 + count]
    volumes = {b["volid"] for b in gone}
    model["backups"] = [b for b in model["backups"] if b["volid"] not in volumes]
    return volumes


def some_of_everything(model):
    """Five guests changed, one renamed, one migrated (each another one), 7 backups removed, 3 added."""
    plain = [g for g in _plain(model) if g["config"].get("memory") and not g["config"].get("vcpus")]
    changed, renamed, migrated = plain[1:6], plain[7], plain[9]
    changed[0]["config"]["memory"] = 3072 if int(changed[0]["config"]["memory"]) != 3072 else 6144
    changed[1]["config"]["cores"] = int(changed[1]["config"].get("cores", 1)) + 3
    changed[2]["config"]["description"] = "changed by the test"
    changed[3]["config"]["tags"] = "changed;by-the-test"
    changed[4]["status"] = "stopped" if changed[4]["status"] != "stopped" else "running"
    _set_name(renamed, "renamed-by-the-test")
    target = next(n["node"] for n in model["nodes"] if n["node"] != migrated["node"])
    source, migrated["node"] = migrated["node"], target
    # Backups on a node's own storage stay behind; nothing else of them changes.
    removed = remove_backups(model, 7)
    added = {add_backup(model, storage=s, index=i) for i, s in enumerate(("nfs", "pbs", "local"))}
    return SimpleNamespace(guests=[g["vmid"] for g in (*changed, renamed, migrated)], renamed=renamed["vmid"],
                           new_name="renamed-by-the-test", migrated=migrated["vmid"], came_from=source, went_to=target, new_tags=["by-the-test", "changed"],
                           backups_removed=removed, backups_added=added)


def stop_guest(model):
    guest = next(g for g in _plain(model) if g["status"] == "running" and g["node"] == model["nodes"][0]["node"])
    guest["status"] = "stopped"
    return guest["vmid"]


def agent_guest(model):
    """A running guest with the agent switched on, on a node that stays up."""
    return next(g["vmid"] for g in list(_plain(model))[::-1]
                if g["status"] == "running" and g["node"] == model["nodes"][0]["node"] and g["type"] == "qemu")


def node_offline(model):
    """The last node that has guests goes down; its name is returned. Never the first: it is the one that is asked."""
    name = [n["node"] for n in model["nodes"][1:] if any(g["node"] == n["node"] for g in _plain(model))][-1]
    next(n for n in model["nodes"] if n["node"] == name)["online"] = False
    return name


def hide_backups(simulator):
    """Takes from the token what it needs to see volumes; it may still ask."""
    with simulator.changed_model() as model:
        model["access"]["permissions"]["/storage"] = {"Datastore.Audit": 1}


# ---------------------------------------------------------------- reading a plan

def identity(planned):
    """What a planned change is about: a guest's number or a backup's volume id, as text."""
    if planned["kind"] == "virtualization.virtualmachine" and "key" in planned:
        return str(planned["key"]["custom_fields.proxmox_vm_id"])
    return planned["label"]

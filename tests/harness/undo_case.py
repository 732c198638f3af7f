"""What the tests of `weir undo` share: all that a NetBox holds, whatever its numbers and dates, and 300 changes."""
import collections
import json

import proxmox_model as change

# Everything that weir writes to, in an order that a reader likes.
LISTS = ("extras/custom-fields", "extras/tags", "dcim/manufacturers", "dcim/device-types", "dcim/device-roles", "dcim/sites",
         "virtualization/cluster-types", "virtualization/clusters", "dcim/devices", "virtualization/virtual-machines", "plugins/proxbox/backups")
# NetBox's own, and new for an object that is made anew. Counters are NetBox's, too, but say what others refer to it: they must be equal.
NOT_COMPARED = {"id", "url", "display_url", "created", "last_updated", "config_context"}


def plain(value):
    if isinstance(value, list):
        return sorted((plain(v) for v in value), key=json.dumps)
    if not isinstance(value, dict):
        return value
    if "id" in value and "url" in value and "display" in value:
        return value["display"]
    if set(value) == {"value", "label"}:
        return value["value"]
    return {name: plain(held) for name, held in value.items() if name not in NOT_COMPARED}


def everything(netbox):
    """Path ► how often each object is there, whole, as text."""
    return {path: collections.Counter(json.dumps({n: plain(v) for n, v in o.items() if n not in NOT_COMPARED}, sort_keys=True)
                                      for o in netbox.all(path)) for path in LISTS}


def numbers(netbox):
    return {path: {o["id"] for o in netbox.all(path)} for path in LISTS}


def assert_same(test, found, wanted):
    for path in LISTS:
        extra, missing = found[path] - wanted[path], wanted[path] - found[path]
        test.assertEqual((list(extra)[:3], list(missing)[:3]), ([], []), f"{path}: {sum(extra.values())} too many, {sum(missing.values())} missing")


def three_hundred_changes(model):
    """Every third guest gets more memory, every sixth other tags, one another name; backups come and go."""
    guests = [g for g in model["guests"] if g["config"].get("memory") and not g["config"].get("template")]
    for i, g in enumerate(guests):
        if i % 3 == 0:
            g["config"]["memory"] = int(g["config"]["memory"]) + 512
        if i % 6 == 1:
            g["config"]["tags"] = "undone;by-the-test"
        if i % 9 == 2:
            g["config"]["description"] = f"changed by the test {i}"
    done = change.some_of_everything(model)
    gone = change.remove_backups(model, 100)
    for i in range(160):
        # Sixty seconds to a minute: the index is part of the volume's time.
        change.add_backup(model, storage=("nfs", "pbs", "local")[i // 60], index=i % 60)
    return done, gone

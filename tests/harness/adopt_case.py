"""What the tests of `weir adopt` share, on the simulated NetBox and on a real one: a NetBox that the proxbox service has filled."""
import proxmox_model as change
from mapping import Expected, Held, differences
from proxbox_fixture import BACKUPS, GUESTS, STATE, TAG, Proxbox
from undo_case import LISTS, numbers, plain

SOURCE = "pve-a"
DEVICES, CLUSTERS = "dcim/devices", "virtualization/clusters"
TAKEN_OVER = {CLUSTERS: "virtualization.cluster", DEVICES: "dcim.device", GUESTS: "virtualization.virtualmachine", BACKUPS: "netbox_proxbox.vmbackup"}
CLAIMS = {"tags", "custom_fields.proxmox_source", "custom_fields.proxmox_vm_id", "custom_fields.proxmox_identity"}
# What a sync adds to an adopted guest or corrects of it.
CORRECTED = {GUESTS: {"status", "tags", "description", "name", "disk", "custom_fields.proxmox_vm_type", "custom_fields.proxmox_tags"},
             BACKUPS: {"creation_time", "format", "subtype", "verification_state", "verification_upid", "notes"},
             DEVICES: {"status"}, CLUSTERS: set()}


def leaves(o):
    """Field ► value, custom fields one by one; nothing that NetBox itself counts or dates."""
    out = {n: plain(v) for n, v in o.items() if n not in ("custom_fields", "id", "url", "display_url", "display", "created", "last_updated",
                                                          "config_context") and not n.endswith("_count")}
    for name, value in (o.get("custom_fields") or {}).items():
        out[f"custom_fields.{name}"] = plain(value)
    return out


def state_of(netbox):
    return {path: {o["id"]: leaves(o) for o in netbox.all(path)} for path in LISTS}


def changed(before, after):
    """Path ► {id: fields that differ}; a custom field that an object did not have is nothing."""
    out = {}
    for path in LISTS:
        for number, held in before[path].items():
            now = after[path].get(number, {})
            fields = {f for f in set(held) | set(now) if held.get(f) != now.get(f)}
            if fields:
                out.setdefault(path, {})[number] = fields
    return out


class AdoptChecks:
    """Mixed into a case that has weir, self.netbox, self.reader, self.pve and self.run_weir()."""

    def proxbox(self, **how):
        return Proxbox(self.netbox, self.reader, Expected(self.reader, SOURCE), **how).fill()

    def planned(self, outcome):
        return outcome.json["changes"]

    def by_object(self, changes, path):
        return {c["id"]: c for c in changes if c["kind"] == TAKEN_OVER[path]}

    def check_taken_over(self, legacy, sidecars):
        """Everything that the service made is taken over, nothing but claims changes; a sync then corrects, lists what, and adds nothing."""
        known = legacy or sidecars  # else by their names alone, and a name that was made unique says nothing
        with self.pve.changed_model() as model:
            one, other = change.two_plain_guests(model)
            if known:  # two guests with one name
                change.set_name(other, one["config"].get("name") or one["config"]["hostname"])
        made = self.proxbox(legacy=legacy, sidecars=sidecars)
        if known:
            self.assertTrue(made.guests[other["vmid"]]["name"].endswith(" (2)"), made.guests[other["vmid"]]["name"])
        renamed = next(v for v in made.guests if v not in (one["vmid"], other["vmid"]))
        node = next(iter(made.devices))
        if known:
            self.netbox.change(GUESTS, made.guests[renamed]["id"], name="named-by-a-person")
        if sidecars:
            self.netbox.change(DEVICES, made.devices[node]["id"], name="host-of-a-person")
            self.netbox.change(CLUSTERS, made.cluster["id"], name="Cluster of a person")
        before = state_of(self.netbox)

        # The plan writes nothing and holds nothing but claims.
        changes = self.planned(self.run_weir("adopt"))
        self.assertEqual(state_of(self.netbox), before)
        self.assertEqual({c["action"] for c in changes if c["kind"] in TAKEN_OVER.values()}, {"update"})
        for path, kind in TAKEN_OVER.items():
            mine = self.by_object(changes, path)
            self.assertEqual(set(mine), set(before[path]), f"{path}: not all of them are taken over")
            for c in mine.values():
                self.assertEqual(c["why"], "adopted")
                self.assertLessEqual(set(c["fields"]), CLAIMS, c)
        new = [c for c in changes if c["action"] == "create"]
        self.assertEqual({(c["kind"], c["label"]) for c in new},
                         {("extras.tag", "weir"), ("extras.customfield", "proxmox_source"), ("extras.customfield", "proxmox_identity")}
                         | (set() if legacy else {("extras.customfield", "proxmox_vm_id")}))

        self.run_weir("adopt", "--apply")
        adopted = state_of(self.netbox)
        for path, objects in changed(before, adopted).items():
            for number, fields in objects.items():
                if path in TAKEN_OVER:
                    self.assertLessEqual(fields, CLAIMS, (path, before[path][number]))
                    self.assertLessEqual(set(before[path][number]["tags"]), set(adopted[path][number]["tags"]), "somebody's tag was taken away")
                else:
                    self.assertEqual((path, fields), ("extras/custom-fields", {"object_types"}))
        self.assertEqual({p: len(n) for p, n in numbers(self.netbox).items() if p in TAKEN_OVER}, {p: len(before[p]) for p in TAKEN_OVER})
        self.assertEqual(self.planned(self.run_weir("adopt")), [], "adopted twice")

        # The sync corrects what is wrong, as its plan lists it, and makes no object a second time.
        listed = self.planned(self.run_weir("plan"))
        self.assertEqual([c for c in listed if c["kind"] in TAKEN_OVER.values() and c["action"] != "update"], [])
        self.run_weir("sync")
        after = state_of(self.netbox)
        for path in TAKEN_OVER:
            self.assertEqual(set(after[path]), set(before[path]), path)
            shown = {n: set(c["fields"]) for n, c in self.by_object(listed, path).items()}
            really = changed(adopted, after).get(path, {})
            self.assertEqual(really, shown, f"{path}: what changed is not what the plan listed")
            for number, fields in really.items():
                self.assertLessEqual(fields, CORRECTED[path], (path, number, {f: (adopted[path][number].get(f), after[path][number].get(f)) for f in fields}))
        if known:
            self.assertEqual(after[GUESTS][made.guests[renamed]["id"]]["name"], "named-by-a-person")
        for vmid, guest in made.guests.items():
            if guest["name"].endswith(")"):
                self.assertEqual(after[GUESTS][guest["id"]]["name"], guest["name"], "a name that was made unique is kept")
        if sidecars:
            self.assertEqual(after[DEVICES][made.devices[node]["id"]]["name"], "host-of-a-person")
            self.assertEqual(after[CLUSTERS][made.cluster["id"]]["name"], "Cluster of a person")

        # Backups are as Proxmox says, guests too, but for what stays a person's, or the service's where nobody can tell.
        expected, held = Expected(self.reader, SOURCE), Held(self.netbox, SOURCE)
        self.assertEqual(held.doubled, [])
        self.assertEqual(differences(expected.backups, held.backups), [])
        self.assertEqual(set(held.guests), set(expected.guests))
        for vmid, wanted in expected.guests.items():
            for field in ("status", "vcpus", "memory", "disk", "source", "vmid", "type", "proxmox_tags"):
                self.assertEqual(held.guests[vmid][field], wanted[field], (vmid, field))
            self.assertLessEqual(set(wanted["tags"]) | {TAG}, set(held.guests[vmid]["tags"]))
        self.assert_quiet()
        return made

    def assert_quiet(self):
        before = state_of(self.netbox)
        self.assertEqual(self.planned(self.run_weir("plan")), [], "the next plan is not empty")
        self.run_weir("sync")
        self.assertEqual(state_of(self.netbox), before)

    def held_vmid(self, number):
        return next(g for g in self.netbox.all(GUESTS) if g["id"] == number)["custom_fields"].get("proxmox_vm_id")

    def check_records(self):
        """Records that contradict each other, of another cluster, and of nothing."""
        made = self.proxbox()
        a, b, c, d = list(made.guests)[:4]
        # Two guests, one name that each has now: the records say which is which.
        first, second = made.guests[a], made.guests[b]
        self.netbox.change(GUESTS, first["id"], name="for-a-moment")
        self.netbox.change(GUESTS, second["id"], name=first["name"])
        self.netbox.change(GUESTS, first["id"], name=second["name"])
        # Another cluster's guest with the number of ours, whose own record is gone and that a person has renamed.
        records = {r["virtual_machine"]["id"]: r for r in self.netbox.all(f"{STATE}/virtual-machines")}
        other = self.netbox.create(CLUSTERS, name="another", type=made.cluster["type"]["id"], tags=made.tags)
        stranger = self.netbox.create(GUESTS, name="stranger", cluster=other["id"], tags=made.tags)
        self.netbox.call("DELETE", f"{STATE}/virtual-machines/{records[made.guests[c]['id']]['id']}/")
        self.netbox.change(GUESTS, made.guests[c]["id"], name="lost")
        made.record(stranger["id"], c, "qemu", "stranger", cluster="another")
        # Two objects that say they are the same guest.
        twin = self.netbox.create(GUESTS, name="twin", cluster=made.cluster["id"], tags=made.tags)
        kind = next(g["type"] for g in self.pve.model["guests"] if g["vmid"] == d)
        made.record(twin["id"], d, kind, "twin")

        outcome = self.run_weir("adopt", "--apply", expect=None)
        self.assertEqual(outcome.exit_code, 3, str(outcome))
        self.assertEqual((self.held_vmid(first["id"]), self.held_vmid(second["id"])), (a, b))
        self.assertIsNone(self.held_vmid(stranger["id"]))
        failures = [f for f in outcome.json["failures"] if f["kind"] == "virtualization.virtualmachine"]
        self.assertEqual(len(failures), 1, failures)
        for number in (made.guests[d]["id"], twin["id"]):
            self.assertIn(f"#{number}", failures[0]["error"])
        self.assertIsNone(self.held_vmid(twin["id"]))
        # What nobody can tell is new to weir: never another cluster's.
        self.run_weir("sync", expect=3)
        self.assertIsNone(self.held_vmid(stranger["id"]))
        found = [g for g in self.netbox.all(GUESTS) if g["custom_fields"]["proxmox_vm_id"] == c]
        self.assertEqual([g["cluster"]["id"] for g in found], [made.cluster["id"]])
        self.assertNotIn(found[0]["id"], (stranger["id"], made.guests[c]["id"]))

#!/usr/bin/env python3
"""The matrix of situations on a real NetBox: who decides what a field says, whose an object is, which one it is, what becomes of what is gone.

Each group's plans, and what NetBox says before and after, stand in matrix/GROUP.txt. WEIR_UPDATE_GOLDEN=1 rewrites them;
WEIR_MATRIX=simulated runs against a simulated NetBox.
"""
import datetime
import re
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
from matrix import (BACKUP, CLUSTER, DEVICE, VM, Expected, Group, MatrixCase, State, create, delete, equal, guest, mac, nothing, refused, situation,
                    tags, update)
from weir_test import EXIT_DONE, EXIT_GUARD, EXIT_PARTIAL

GONE = "decommissioning"


# ---------------------------------------------------------------- fields

class Field_rules(Group):
    """Who decides what a field says, where nothing is configured."""

    @situation()
    def fact_is_put_back(g):
        """A person changes the memory, a fact of Proxmox VE."""
        g.edit(memory=123)
        yield update(edited="memory")
        equal(g.vm["memory"], 2048)

    @situation()
    def status_is_put_back(g):
        """A person says that a running guest is being staged."""
        g.edit(status="staged")
        yield update(edited="status")
        equal(g.vm["status"], "active")

    @situation()
    def person_was_right(g):
        """A person writes the new memory into NetBox before Proxmox VE has it."""
        g.edit(memory=4096)
        g.config["memory"] = 4096
        yield nothing()
        equal(g.vm["memory"], 4096)
        g.config["memory"] = 8192
        yield update()
        equal(g.vm["memory"], 8192)

    @situation()
    def both_changed_a_fact(g):
        """A person and Proxmox VE change the memory, to different values."""
        g.edit(memory=123)
        g.config["memory"] = 4096
        yield update(edited="memory")
        equal(g.vm["memory"], 4096)

    @situation()
    def role_is_kept(g):
        """A person gives the guest another role: written on create only."""
        g.edit(role=g.role("mail-server"))
        yield nothing(kept="role")
        equal(g.vm["role"], "mail-server")

    @situation()
    def tenant_and_platform_stay(g):
        """A person sets what weir never writes: tenant and platform."""
        tenant = g.netbox.create("tenancy/tenants", name="Sales", slug="sales")["id"]
        platform = g.netbox.create("dcim/platforms", name="Debian", slug="debian")["id"]
        g.edit(tenant=tenant, platform=platform)
        yield nothing()
        equal((g.vm["tenant"], g.vm["platform"]), ("sales", "debian"))

    @situation(description="as Proxmox VE has it")
    def description_is_kept(g):
        """A person rewrites the description, then Proxmox VE's note changes, too."""
        g.edit(description="as the person has it")
        yield nothing(kept="description")
        g.config["description"] = "as Proxmox VE has it now"
        yield nothing(kept="description")
        equal(g.vm["description"], "as the person has it")

    @situation(description="the first note")
    def description_follows(g):
        """Nobody edited the description: a new note arrives."""
        g.config["description"] = "the second note"
        yield update()
        equal(g.vm["description"], "the second note")

    @situation(description="# Head\n\nowner: ops\n")
    def comments_are_written_once(g):
        """A person writes above and below the note in the comments; then the note changes: on create only."""
        assert "owner: ops" in g.vm["comments"], g.vm
        g.edit(comments="Above.\n\n" + g.vm["comments"] + "\n\nBelow.\n")
        g.config["description"] = "# Head\n\nowner: web team\n"
        yield nothing(kept="comments")
        assert g.vm["comments"].startswith("Above.") and "owner: ops" in g.vm["comments"], g.vm

    @situation()
    def name_by_a_person_is_kept(g):
        """A person renames the guest in NetBox."""
        g.edit(name="known-to-us-as-oscar")
        yield nothing(kept="name")
        equal(g.vm["name"], "known-to-us-as-oscar")

    @situation(tags="prod;web")
    def tag_of_a_person_stays(g):
        """A person adds a tag; then Proxmox VE takes one of its own away."""
        g.edit(tags=[{"slug": t} for t in ("weir", "prod", "web")] + [g.tag("audited")])
        yield nothing()
        equal(tags(g.vm), {"weir", "prod", "web", "audited"})
        g.config["tags"] = "prod"
        yield update()
        equal(tags(g.vm), {"weir", "prod", "audited"})

    @situation(tags="prod")
    def tag_of_weir_is_put_back(g):
        """A person takes away weir's tag and one of Proxmox VE's."""
        g.edit(tags=[])
        yield update(edited="tags")
        equal(tags(g.vm), {"weir", "prod"})

    @situation(tags="prod")
    def tag_that_both_have(g):
        """A person adds a tag that Proxmox VE gets, too, and loses again: it was the person's first, and stays."""
        g.edit(tags=[{"slug": "weir"}, {"slug": "prod"}, g.tag("both")])
        yield nothing()
        g.config["tags"] = "prod;both"
        yield update()
        equal(tags(g.vm), {"weir", "prod", "both"})
        g.config["tags"] = "prod"
        yield update()
        equal(tags(g.vm), {"weir", "prod", "both"})

    @situation()
    def custom_field_of_others(g):
        """A person fills in a custom field that is not weir's."""
        g.netbox.create("extras/custom-fields", name="cost_centre", type="text", object_types=["virtualization.virtualmachine"])
        g.edit(custom_fields={"cost_centre": "4711"})
        yield nothing()
        equal(g.vm["custom_fields.cost_centre"], "4711")

    @situation()
    def custom_field_of_weir(g):
        """A script writes into a custom field of weir's."""
        g.edit(custom_fields={"proxmox_vm_type": "lxc"})
        yield update(edited="custom_fields.proxmox_vm_type")
        equal(g.vm["custom_fields.proxmox_vm_type"], "qemu")

    @situation()
    def node_as_people_know_it(g):
        """People say better than Proxmox VE which machine a node is, who runs it and what is written on it."""
        device = g.find(DEVICE, name="pve-a-n2")
        maker = g.netbox.create("dcim/manufacturers", name="Supermicro", slug="supermicro")["id"]
        kind = g.netbox.create("dcim/device-types", manufacturer=maker, model="AS-1114S", slug="as-1114s")["id"]
        g.netbox.change("dcim/devices", device, device_type=kind, role=g.role("hypervisor"), serial="S1234", asset_tag="A77", description="rack 3")
        yield nothing("pve-a-n2", kept=("device_type", "role"))
        row = g.read(DEVICE, name="pve-a-n2")[0]
        equal((row["serial"], row["asset_tag"], row["role"], row["description"]), ("S1234", "A77", "hypervisor", "rack 3"))


class Configured_rules(Group):
    """The same with rules of the configuration's own."""

    CONFIG = {"rules": {"virtualization.virtualmachine": {"fields": {
        "memory": "on-create", "description": "always", "vcpus": "never", "role": "always", "status": "unless-edited",
        "comments": "merge"}}}}

    @situation(description="# Head\n\nowner: ops\n")
    def comments_around_the_block(g):
        """comments: merge. A person writes above and below weir's block of the comments; then the note changes."""
        assert "owner: ops" in g.vm["comments"], g.vm
        g.edit(comments="Above.\n\n" + g.vm["comments"] + "\n\nBelow.\n")
        g.config["description"] = "# Head\n\nowner: web team\n"
        yield update()
        comments = g.vm["comments"]
        assert comments.startswith("Above.") and comments.rstrip().endswith("Below.") and "owner: web team" in comments, comments
        assert "owner: ops" not in comments, comments

    @situation()
    def on_create_is_not_followed(g):
        """memory: on-create. Proxmox VE gives the guest more."""
        g.config["memory"] = 4096
        yield nothing()
        equal(g.vm["memory"], 2048)

    @situation(description="as Proxmox VE has it")
    def always_is_put_back(g):
        """description: always. A person rewrites it."""
        g.edit(description="as the person has it")
        yield update(edited="description")
        equal(g.vm["description"], "as Proxmox VE has it")

    @situation()
    def never_is_not_written(g):
        """vcpus: never. Neither on create, nor where Proxmox VE changes them, nor where a person fills them in."""
        equal(g.vm.get("vcpus"), None)
        g.config["cores"] = 8
        yield nothing()
        g.edit(vcpus=3)
        yield nothing()
        equal(float(g.vm["vcpus"]), 3.0)

    @situation()
    def role_follows_here(g):
        """role: always. A person gives the guest another one."""
        g.edit(role=g.role("mail-server"))
        yield update(edited="role")
        equal(g.vm["role"], "virtual-machine-qemu")

    @situation()
    def unless_edited_follows(g):
        """status: unless-edited. Nobody touched it, the guest is stopped."""
        g.guest["status"] = "stopped"
        yield update()
        equal(g.vm["status"], "offline")

    @situation()
    def unless_edited_is_kept(g):
        """status: unless-edited. A person says that the guest is being staged; then it is stopped."""
        g.edit(status="staged")
        g.guest["status"] = "stopped"
        yield nothing(kept="status")
        equal(g.vm["status"], "staged")


class Journal_lost(Group):
    """The journal is gone, and with it what weir wrote last: the careful way."""

    def also(self, number):
        if number == 1:
            for file in (self.case.workspace.path / "state").glob("*.db*"):
                file.unlink()
        return Expected()

    @situation()
    def fact_all_the_same(g):
        """A person changed the memory: a fact is put back; nobody knows that it was an edit."""
        g.edit(memory=123)
        yield update()
        equal(g.vm["memory"], 2048)

    @situation(description="as Proxmox VE has it")
    def text_that_differs(g):
        """A person rewrote the description: nobody knows who did, so it is kept."""
        g.edit(description="as the person has it")
        yield nothing(kept="description")
        equal(g.vm["description"], "as the person has it")

    @situation(description="the first note")
    def text_that_is_old(g):
        """The note changed in Proxmox VE while nobody knew what weir wrote: kept, too, and shown."""
        g.config["description"] = "the second note"
        yield nothing(kept="description")
        equal(g.vm["description"], "the first note")

    @situation()
    def text_that_was_empty(g):
        """The guest gets its first note: an empty description is nobody's."""
        g.config["description"] = "the first note"
        yield update()
        equal(g.vm["description"], "the first note")

    @situation(tags="prod;web")
    def tags_all_the_same(g):
        """A person added a tag, Proxmox VE took one away: the custom field knows which were weir's."""
        g.edit(tags=[{"slug": t} for t in ("weir", "prod", "web")] + [g.tag("audited")])
        g.config["tags"] = "prod"
        yield update()
        equal(tags(g.vm), {"weir", "prod", "audited"})

    @situation()
    def untouched_is_untouched(g):
        """Nothing differs: nothing is written, and from now on it is known."""
        when = g.raw()["last_updated"]
        yield nothing()
        equal(g.raw()["last_updated"], when)
        g.edit(description="a person's")
        g.config["description"] = "Proxmox VE's"
        yield nothing(kept="description")


class Twenty_edits(Group):
    """A person edits twenty fields between two runs: exactly those that the rules protect survive, all are shown."""

    @situation(description="Proxmox VE's note\n\nof two lines", tags="prod")
    def a_guest(g):
        """Fourteen fields of a guest."""
        other = g.netbox.create(PATH_OF_TYPES, name="Other", slug="other")["id"]
        lonely = g.netbox.create("virtualization/clusters", name="elsewhere", type=other)["id"]
        g.edit(name="edited-guest", status="planned", role=g.role("edited"), cluster=lonely, device=None, vcpus=7, memory=77, disk=777,
               description="edited", comments="edited", tags=[], custom_fields={"proxmox_vm_type": "lxc", "proxmox_tags": "edited", "proxmox_identity": "edited"})
        yield update(kept=("name", "role", "description", "comments"),
                     edited=("status", "cluster", "device", "vcpus", "memory", "disk", "tags", "custom_fields.proxmox_vm_type",
                             "custom_fields.proxmox_tags", "custom_fields.proxmox_identity"))
        equal((g.vm["name"], g.vm["role"], g.vm["description"], g.vm["comments"]), ("edited-guest", "edited", "edited", "edited"))
        equal((g.vm["status"], g.vm["cluster"], g.vm["device"], float(g.vm["vcpus"]), g.vm["memory"]), ("active", "pve-a", "pve-a-n1", 2.0, 2048))
        equal(tags(g.vm), {"weir", "prod"})

    @situation(guest=False)
    def a_node(g):
        """Six fields of a node."""
        device = g.find(DEVICE, name="pve-a-n2")
        maker = g.netbox.create("dcim/manufacturers", name="Edited", slug="edited")["id"]
        kind = g.netbox.create("dcim/device-types", manufacturer=maker, model="Edited", slug="edited")["id"]
        role = g.netbox.create("dcim/device-roles", name="Edited node", slug="edited-node")["id"]
        g.netbox.change("dcim/devices", device, name="edited-node", status="planned", device_type=kind, role=role, cluster=None, tags=[])
        yield update("pve-a-n2", DEVICE, kept=("name", "device_type", "role"), edited=("status", "cluster", "tags"))
        row = g.read(DEVICE, name="edited-node")[0]
        equal((row["status"], row["cluster"], row["device_type"], row["role"]), ("active", "pve-a", "edited", "edited-node"))


PATH_OF_TYPES = "virtualization/cluster-types"


# ---------------------------------------------------------------- whose an object is

def made_by_hand(group, name="pve-a", node="pve-a-n1"):
    """What a person prepared before weir came: a site, a cluster, a node."""
    n = group.netbox
    group.hand = {"site": n.create("dcim/sites", name="Berlin", slug="berlin")["id"],
                  "type": n.create(PATH_OF_TYPES, name="Proxmox", slug="proxmox")["id"]}
    group.hand["cluster"] = n.create("virtualization/clusters", name=name, type=group.hand["type"], description="by hand",
                                     scope_type="dcim.site", scope_id=group.hand["site"])["id"]
    maker = n.create("dcim/manufacturers", name="Dell", slug="dell")["id"]
    kind = n.create("dcim/device-types", manufacturer=maker, model="R650", slug="r650")["id"]
    role = n.create("dcim/device-roles", name="Hypervisor", slug="hypervisor")["id"]
    group.hand["device"] = n.create("dcim/devices", name=node, device_type=kind, role=role, site=group.hand["site"], status="active",
                                    cluster=group.hand["cluster"], serial="S1")["id"]


def first_objects(more=None):
    """What a first sync makes beside nodes and guests; the roles of guests come with netbox-proxbox."""
    # Each stage widens the custom field that they share.
    made = update("proxmox_source", "customfield") + update("proxmox_source", "customfield")
    for kind, labels in (("customfield", ("proxmox_source", "proxmox_vm_id", "proxmox_vm_type", "proxmox_tags", "proxmox_identity")),
                         ("tag", ("weir",)), ("clustertype", ("Proxmox VE",)), ("manufacturer", ("Proxmox",)), ("devicetype", ("Proxmox VE node",)),
                         ("devicerole", ("Proxmox node",))):
        for label in labels:
            made = made + create(label, kind)
    return made + (more or Expected())


NODES_ADOPTED = update("pve-a", CLUSTER, "adopted") + update("pve-a-n1", DEVICE, "adopted") + create("pve-a-n2", DEVICE)


# NetBox wants a node in the site of its cluster.
IN_BERLIN = {"nodes": {"site": "Berlin"}, "virtual-machines": {}, "backups": {}}


class Adopt_matching(Group):
    """Made by hand before weir came, and the same by what NetBox holds unique: taken over, and shown as such."""

    FIRST = False
    CONFIG = {"stages": IN_BERLIN}

    def prepare(self):
        made_by_hand(self)

    def also(self, number):
        return first_objects() if number == 1 else Expected()

    @situation(guest=False)
    def cluster_and_node(g):
        """The cluster by its name, a node by its name and cluster; the other node is new."""
        yield NODES_ADOPTED
        equal(g.find(CLUSTER, name="pve-a"), g.group.hand["cluster"])
        equal(g.find(DEVICE, name="pve-a-n1"), g.group.hand["device"])
        row = g.read(DEVICE, name="pve-a-n1")[0]
        equal((row["serial"], row["device_type"], row["role"], row["site"]), ("S1", "r650", "hypervisor", "berlin"))
        equal([g.read(CLUSTER, name="pve-a")[0][f] for f in ("description", "type")], ["by hand", "proxmox"])

    @situation()
    def by_name_in_the_cluster(g):
        """A guest by its name, upper and lower case alike; its role, comments and tags stay."""
        old = g.netbox.create("virtualization/virtual-machines", name="By-Name-In-The-Cluster", cluster=g.group.hand["cluster"], role=g.role("mail"),
                              comments="ask Anna", tags=[g.tag("important")], memory=1)["id"]
        yield update(why="adopted", kept="name")
        equal(g.id, old)
        equal((g.vm["role"], g.vm["comments"], g.vm["memory"]), ("mail", "ask Anna", 2048))
        equal(tags(g.vm), {"weir", "important"})

    @situation()
    def same_name_elsewhere(g):
        """A guest of this name in another cluster is another one."""
        elsewhere = g.netbox.create("virtualization/clusters", name="elsewhere", type=g.group.hand["type"])["id"]
        other = g.netbox.create("virtualization/virtual-machines", name=g.name, cluster=elsewhere)["id"]
        yield create()
        assert g.id != other
        equal(g.group.now.rows[VM][other].get("custom_fields.proxmox_source"), None)

    @situation(tags="Existing")
    def tag_of_that_name(g):
        """A tag of this slug is there already: used, not made again, and its colour stays."""
        g.netbox.create("extras/tags", name="Existing", slug="existing", color="123456")
        yield create()
        equal([t["color"] for t in g.netbox.all("extras/tags") if t["slug"] == "existing"], ["123456"])
        equal(tags(g.vm), {"weir", "existing"})


class Adopt_cluster_elsewhere(Group):
    """A cluster by hand in a site that nobody told weir: NetBox takes only nodes of that site into it, so they go there."""

    FIRST = False
    SITE = "pve-a"

    def prepare(self):
        made_by_hand(self)

    def also(self, number):
        return first_objects(create(self.SITE, "site")) if number == 1 else Expected()

    @situation(guest=False)
    def follows_the_cluster(g):
        """The cluster stays where it is, with the type that a person gave it; the new node and its guest get its site."""
        yield NODES_ADOPTED
        row = g.read(CLUSTER, name="pve-a")[0]
        equal((row["scope"], row["type"]), ("berlin", "proxmox"))
        equal([r["site"] for r in g.read(DEVICE)], ["berlin", "berlin"])

    @situation(node=1)
    def on_the_new_node(g):
        """A guest of the new node."""
        yield create()
        equal((g.vm["device"], g.vm["site"]), ("pve-a-n2", "berlin"))


class Site_against_cluster(Adopt_cluster_elsewhere):
    """The configuration names another site than the cluster by hand has: refused beforehand, for the nodes that it is about."""

    SITE = "Munich"
    CONFIG = {"stages": {"nodes": {"site": "Munich"}, "virtual-machines": {}, "backups": {}}}
    EXIT = (EXIT_PARTIAL,)

    @situation(guest=False)
    def refused_beforehand(g):
        """The new node is refused; the one by hand stays where it is, and is adopted."""
        yield update("pve-a", CLUSTER, "adopted") + update("pve-a-n1", DEVICE, "adopted") + refused(("Munich", "Berlin", "cluster pve-a"), "pve-a-n2")
        equal([(r["name"], r["site"]) for r in g.read(DEVICE)], [("pve-a-n1", "berlin")])

    @situation()
    def on_the_node_by_hand(g):
        """A guest of the node that is in NetBox goes on."""
        yield create()
        equal((g.vm["device"], g.vm["site"]), ("pve-a-n1", "berlin"))


class Adopt_tagged(Group):
    """adopt: tagged. Only what bears weir's tag, or the proxbox service's."""

    FIRST = False
    CONFIG = {"adopt": "tagged", "stages": IN_BERLIN}
    EXIT = (EXIT_PARTIAL,)

    def prepare(self):
        made_by_hand(self)
        tag = [self.netbox.create("extras/tags", name="weir", slug="weir")["id"]]
        self.netbox.change("virtualization/clusters", self.hand["cluster"], tags=tag)
        self.netbox.change("dcim/devices", self.hand["device"], tags=tag)

    def also(self, number):
        if number > 1:
            return Expected()
        made = first_objects(NODES_ADOPTED)
        made.changes.remove(("create", "tag", "weir", "differs"))  # it is there already
        return made

    def by_hand(self, name, *slugs):
        tag = self.handles[0].tag
        return self.netbox.create("virtualization/virtual-machines", name=name, cluster=self.hand["cluster"], tags=[tag(s) for s in slugs])["id"]

    @situation()
    def tagged_weir(g):
        """It bears weir's tag."""
        old = g.group.by_hand(g.name, "weir")
        yield update(why="adopted")
        equal(g.id, old)

    @situation()
    def tagged_proxbox(g):
        """It bears the proxbox service's tag."""
        old = g.group.by_hand(g.name, "proxbox")
        yield update(why="adopted")
        equal(g.id, old)
        equal(tags(g.vm), {"weir", "proxbox"})

    @situation()
    def not_tagged(g):
        """It bears none: refused, its holder is named, and nothing is doubled."""
        old = g.group.by_hand(g.name, "other")
        yield refused(("not-tagged", "tagged"))
        equal(g.group.now.rows[VM][old].get("custom_fields.proxmox_source"), None)
        equal(len(g.read(VM, name=g.name)), 1)


class Adopt_never(Group):
    """adopt: never for guests. What stands in the way is a conflict."""

    FIRST = False
    CONFIG = {"rules": {"virtualization.virtualmachine": {"adopt": "never"}}, "stages": IN_BERLIN}
    EXIT = (EXIT_PARTIAL, EXIT_DONE)

    def prepare(self):
        made_by_hand(self)

    also = Adopt_tagged.also

    @situation()
    def by_hand_and_weirs_tag(g):
        """Not even with weir's tag. A person then gives it up by deleting it."""
        old = g.netbox.create("virtualization/virtual-machines", name=g.name, cluster=g.group.hand["cluster"],
                              tags=[g.netbox.create("extras/tags", name="weir", slug="weir")["id"]])["id"]
        yield refused(("by-hand-and-weirs-tag", "never"))
        g.netbox.call("DELETE", f"virtualization/virtual-machines/{old}/")
        yield create()


class Claimed_by_another(Group):
    """What bears another source's mark is nobody's to take. Where it holds a name that NetBox gives once, this source's guest is refused."""

    SOURCES = ({"source": "pve-a"}, {"source": "pve-b"})
    EXIT = (EXIT_DONE, EXIT_PARTIAL, EXIT_DONE)

    def also(self, number):
        if number == 2:
            # A person moves them; what the other source says of its cluster would be put back in the same run, so that source is not asked.
            self.PLAN = ("--source", "pve-a")
            pve_a, = (i for i, r in self.now.rows[CLUSTER].items() if r["name"] == "pve-a")
            self.theirs = {r["name"]: i for i, r in self.now.rows[VM].items() if r["name"] in ("wanderer", "stray")}
            for one in self.theirs.values():
                self.netbox.change("virtualization/virtual-machines", one, cluster=pve_a, device=None, site=None)
        return Expected()

    @situation()
    def name_of_another_source(g):
        """A person moved another source's guest into this cluster, and this source gets one of its name: NetBox would refuse the second, so
        the plan does, and names the first. Then the person renames it."""
        g.group.clusters[1].add(700, "wanderer")
        yield create("wanderer")
        g.pve.add(701, "wanderer")
        yield refused(("wanderer #", "the source pve-b", "rename one of the two"), "wanderer")
        row = g.group.theirs["wanderer"]
        equal(g.group.now.rows[VM][row], g.group.previous.rows[VM][row])
        equal(len(g.read(VM, name="wanderer")), 1)
        g.netbox.change("virtualization/virtual-machines", row, name="wanderer-of-b")
        yield create("wanderer")
        equal(g.group.now.rows[VM][row]["custom_fields.proxmox_source"], "pve-b")

    @situation()
    def renamed_to_it(g):
        """A guest is renamed to such a name: it stays as it is, until the person deletes the other one."""
        g.group.clusters[1].add(702, "stray")
        yield create("stray")
        g.rename("stray")
        g.config["memory"] = 4096
        yield refused(("stray #", "the source pve-b"), "stray")
        equal(g.vm, g.before)
        g.netbox.call("DELETE", f"virtualization/virtual-machines/{g.group.theirs['stray']}/")
        yield update("stray")
        equal((g.vm["name"], g.vm["memory"]), ("stray", 4096))

    @situation()
    def goes_on_beside_them(g):
        """A neighbour is updated all the same."""
        yield nothing()
        g.config["memory"] = 4096
        yield update()
        equal(g.vm["memory"], 4096)


# ---------------------------------------------------------------- which one it is

def another_machine(config, number):
    """The facts of a machine of its own, made a year later."""
    fresh = guest(number, "", "")["config"]
    config.update({k: fresh[k] for k in ("smbios1", "vmgenid", "net0")}, meta=f"creation-qemu=9.0.2,ctime={1767225600 + number}")


class Identity(Group):
    """What happens to a guest in Proxmox VE, and what it means."""

    VERBOSE = True
    MARKS = True

    @situation()
    def renamed_in_proxmox(g):
        """Renamed: the same object."""
        g.rename("now-called-riga")
        yield update("now-called-riga")
        equal(g.vm["name"], "now-called-riga")

    @situation()
    def migrated(g):
        """Moved to the other node: the same object."""
        g.guest["node"] = g.pve.nodes[1]
        yield update()
        equal(g.vm["device"], "pve-a-n2")

    @situation(status="stopped")
    def made_a_template(g):
        """Converted to a template: the same object."""
        g.config["template"] = 1
        yield nothing()
        equal(g.vm["custom_fields.proxmox_vm_id"], g.vmid)

    @situation()
    def rolled_back(g):
        """A snapshot is rolled back, which gives the guest another vmgenid: the same machine, and nothing to say."""
        g.config["vmgenid"] = "99999999-0000-4000-b000-000000000000"
        yield update()
        equal(g.vm["custom_fields.proxmox_vm_id"], g.vmid)

    @situation()
    def network_card_replaced(g):
        """Another MAC address, the same uuid: the same machine."""
        g.config["net0"] = f"virtio={mac(9001)},bridge=vmbr0"
        yield update()

    @situation()
    def vmid_reused(g):
        """Destroyed, and its number given to another guest: the old object gives the number up and is marked, the new one is made."""
        g.edit(comments="what people wrote of the old one")
        config = g.config
        g.rename("newcomer")
        another_machine(config, 9002)
        yield update(why="released") + create("newcomer")
        equal((g.vm["status"], g.vm.get("custom_fields.proxmox_vm_id")), (GONE, None))
        assert "weir-gone" in tags(g.vm) and "people" in g.vm["comments"], g.vm
        new = g.read(VM, name="newcomer")
        equal([r["custom_fields.proxmox_vm_id"] for r in new], [g.vmid])

    @situation()
    def made_anew(g):
        """Destroyed and made anew under its name and number: one object, and the plan says that it is another machine."""
        another_machine(g.config, 9003)
        yield update(why="recreated")
        equal((g.vm["custom_fields.proxmox_vm_id"], g.vm["status"]), (g.vmid, "active"))

    @situation()
    def made_anew_as_container(g):
        """A container takes the virtual machine's name and number: the type alone says that it is another machine."""
        g.remove()
        g.pve.add(g.vmid, g.name, type="lxc")
        yield update(why="recreated")
        equal(g.vm["custom_fields.proxmox_vm_type"], "lxc")

    @situation()
    def restored_elsewhere(g):
        """Restored from a backup under another number, the old one destroyed: the same machine under a new number."""
        g.guest["vmid"] = 801
        yield update(why="renumbered")
        equal(g.vm["custom_fields.proxmox_vm_id"], 801)

    @situation(tags="twins")
    def Twin(g):
        """A second guest of the same name, in lower case: NetBox has one of each name in a cluster, so its number is added."""
        g.pve.add(802, "twin")
        yield create("twin (802)")
        equal([r["custom_fields.proxmox_vm_id"] for r in g.read(VM, name="twin (802)")], [802])
        equal(g.vm["name"], "Twin")

    @situation()
    def swap_left(g):
        """Two guests swap their names: one of them is called something else in between."""
        other = next(h for h in g.group.handles if h.name == "swap-right")
        g.rename("swap-right")
        other.rename("swap-left")
        yield update("swap-right") + update("swap-left") + update("swap-left")
        equal((g.vm["name"], other.vm["name"]), ("swap-right", "swap-left"))

    @situation()
    def swap_right(g):
        """The other one."""
        yield nothing()

    @situation()
    def chain_a(g):
        """One guest takes the name that the next one gives up."""
        other = next(h for h in g.group.handles if h.name == "chain-b")
        g.rename("chain-b")
        other.rename("chain-c")
        yield update("chain-b") + update("chain-c")
        equal((g.vm["name"], other.vm["name"]), ("chain-b", "chain-c"))

    @situation()
    def chain_b(g):
        """The next one."""
        yield nothing()


class Name_of_the_dead(Group):
    """A guest is destroyed, and another one, of another number, gets its name at once."""

    @situation()
    def heir(g):
        """NetBox has one of each name in a cluster: the object is kept, under the new number, and the plan says that it is another machine."""
        old = g.remove()
        another = g.pve.add(803, old["config"]["name"])
        another_machine(another["config"], 9004)
        yield update(why="recreated")
        equal((g.vm["name"], g.vm["custom_fields.proxmox_vm_id"], g.vm["status"]), ("heir", 803, "active"))


class Name_of_the_gone(Group):
    """A guest is renamed to what an object is called that is gone and marked: that one gives its name up first."""

    MARKS = True

    @situation()
    def buried(g):
        """Marked as gone a run earlier. It makes way; and gets its name back when it returns."""
        old = g.remove()
        yield update(why="gone")
        yield update(why="gone")
        equal((g.vm["name"], g.vm["status"]), (f"buried (gone #{g.id})", GONE))
        g.pve.model["guests"].append(old)
        yield update(why="returned")
        equal((g.vm["name"], g.vm["status"]), ("buried", "active"))

    @situation()
    def heir_of_the_buried(g):
        """Gets its name when it is free. Of two guests of one name the second has its number added."""
        yield nothing()
        g.rename("buried")
        yield update("buried")
        equal(g.vm["name"], "buried")
        yield update(f"buried ({g.vmid})")

    @situation()
    def dies_now(g):
        """Destroyed between two runs, and another guest is renamed to its name between the same two."""
        g.remove()
        yield update(why="gone")
        equal((g.vm["name"], g.vm["status"]), (f"dies-now (gone #{g.id})", GONE))

    @situation()
    def heir_of_the_dying(g):
        """The other guest."""
        g.rename("dies-now")
        yield update("dies-now")
        equal(g.vm["name"], "dies-now")


class Ambiguous(Group):
    """Nobody can tell which of two it is: refused for that object, with both named; the others go on."""

    EXIT = (EXIT_PARTIAL, EXIT_DONE)

    @situation()
    def cloned_in_netbox(g):
        """A person copied the object, custom fields and all. Then the person empties the copy's."""
        copy = g.netbox.create("virtualization/virtual-machines", name="a-copy", cluster=g.find(CLUSTER, name="pve-a"),
                               custom_fields={k.split(".")[1]: v for k, v in g.vm.items() if k.startswith("custom_fields.")})["id"]
        yield refused((f"cloned-in-netbox #{g.id}", f"a-copy #{copy}"))
        equal(g.group.now.rows[VM][copy], g.group.previous.rows[VM][copy])
        g.netbox.change("virtualization/virtual-machines", copy, custom_fields={"proxmox_source": None, "proxmox_vm_id": None})
        yield nothing()

    @situation()
    def goes_on(g):
        """A neighbour is updated all the same."""
        g.config["memory"] = 4096
        yield update()
        equal(g.vm["memory"], 4096)


class Two_clusters(Group):
    """Two clusters with guests of the same names and numbers: never mixed up."""

    SOURCES = ({"source": "pve-a"}, {"source": "pve-b"})

    def prepare(self):
        self.clusters[1].add(101, "same-everywhere")

    @situation()
    def same_everywhere(g):
        """Another memory in one cluster, another name in the other."""
        g.config["memory"] = 4096
        g.group.clusters[1].guest(101)["config"]["name"] = "not-any-more"
        yield update() + update("not-any-more")
        equal((g.vm["name"], g.vm["cluster"], g.vm["memory"]), ("same-everywhere", "pve-a", 4096))
        equal([(r["cluster"], r["memory"]) for r in g.read(VM, name="not-any-more")], [("pve-b", 2048)])


class Names_by_people(Group):
    """A person renames a node and the cluster in NetBox, whose names are what weir knows them by."""

    @situation()
    def on_renamed_things(g):
        """Its node and its cluster stay the same objects under their new names; a change of it arrives."""
        device, cluster = g.find(DEVICE, name="pve-a-n1"), g.find(CLUSTER, name="pve-a")
        g.netbox.change("dcim/devices", device, name="rack-3-left")
        g.netbox.change("virtualization/clusters", cluster, name="Production Berlin")
        g.config["memory"] = 4096
        yield update() + nothing("pve-a-n1", kept="name") + nothing("pve-a", kept="name")
        equal((g.vm["device"], g.vm["cluster"], g.vm["memory"]), ("rack-3-left", "Production Berlin", 4096))
        equal((len(g.read(DEVICE)), len(g.read(CLUSTER))), (2, 1))


# ---------------------------------------------------------------- what is gone

class Gone(Group):
    """Gone from the source: virtual machines and nodes are marked, backups are deleted; what returns is as before."""

    MARKS = True

    SOURCES = ({"source": "pve-a", "nodes": 3},)

    def also(self, number):
        # The second stage that marks something widens the custom field.
        return update("proxmox_gone_since", "customfield") if number == 1 else Expected()

    def prepare(self):
        numbers = {h.name: h.vmid for h in self.handles}
        self.volumes = [self.clusters[0].add_backup(numbers["backup-is-gone"], day=d) for d in (1, 2, 3)]

    @situation()
    def guest_is_gone(g):
        """Marked once; then left alone; it returns, and is as it was."""
        held = g.remove()
        was = g.vm
        yield update(why="gone")
        equal((g.vm["status"], g.vm["custom_fields.proxmox_gone_since"]), (GONE, datetime.date.today().isoformat()))
        assert "weir-gone" in tags(g.vm) and "weir" in tags(g.vm), g.vm
        when = g.raw()["last_updated"]
        yield nothing()
        equal(g.raw()["last_updated"], when)
        g.pve.model["guests"].append(held)
        yield update(why="returned")
        equal(g.vm, was)

    @situation()
    def gone_and_edited(g):
        """Once it is marked, a person has the last word on it."""
        g.remove()
        yield update(why="gone")
        g.edit(status="failed", comments="disk kept until May")
        yield nothing()
        equal((g.vm["status"], g.vm["comments"]), ("failed", "disk kept until May"))

    @situation()
    def gone_and_deleted_by_hand(g):
        """A person deletes the marked object; the guest returns, and is new."""
        held = g.remove()
        yield update(why="gone")
        g.netbox.call("DELETE", f"virtualization/virtual-machines/{g.id}/")
        yield nothing()
        g.pve.model["guests"].append(held)
        g.id = None
        yield create()

    @situation(guest=False)
    def node_is_gone(g):
        """A node was taken out of the cluster; it comes back."""
        held = g.pve.model["nodes"].pop()
        was = g.read(DEVICE, name="pve-a-n3")[0]
        yield update("pve-a-n3", DEVICE, "gone")
        row = g.read(DEVICE, name="pve-a-n3")[0]
        equal(row["status"], GONE)
        yield nothing()
        g.pve.model["nodes"].append(held)
        yield update("pve-a-n3", DEVICE, "returned")
        equal(g.read(DEVICE, name="pve-a-n3")[0], was)

    @situation()
    def backup_is_gone(g):
        """One of three backups was pruned."""
        first = g.group.volumes[0]
        g.pve.model["backups"] = [b for b in g.pve.model["backups"] if b["volid"] != first]
        yield delete(first, BACKUP)
        equal({r["volume_id"] for r in g.read(BACKUP)}, set(g.group.volumes[1:]))


class Gone_kept(Group):
    """orphans: keep."""

    CONFIG = {"rules": {"virtualization.virtualmachine": {"orphans": "keep"}}}

    @situation()
    def kept_though_gone(g):
        """Nothing is done about it; the plan names it."""
        was = g.vm
        g.remove()
        yield nothing()
        equal(g.vm, was)

    @situation()
    def still_there(g):
        """The neighbour."""
        yield nothing()


class Gone_grace(Group):
    """A period of grace: nothing is done about what has not been gone for so long."""

    CONFIG = {"rules": {"virtualization.virtualmachine": {"grace": "7d"}}}

    @situation()
    def within_the_grace(g):
        """Kept, with the date from which on it will be marked; it returns, and nothing has happened."""
        was = g.vm
        held = g.remove()
        yield nothing()
        equal(g.vm, was)
        g.pve.model["guests"].append(held)
        yield nothing()
        equal(g.vm, was)

    @situation()
    def still_there(g):
        """The neighbour."""
        yield nothing()


class Gone_deleted(Group):
    """orphans: delete. A guest takes its backups with it; what NetBox protects is explained."""

    SOURCES = ({"source": "pve-a", "nodes": 3},)
    CONFIG = {"rules": {"virtualization.virtualmachine": {"orphans": "delete"}, "dcim.device": {"orphans": "delete"}}}
    EXIT = (EXIT_DONE, EXIT_PARTIAL)
    SETTLED = False  # what NetBox refuses is planned again

    def prepare(self):
        number = {h.name: h.vmid for h in self.handles}
        self.volumes = {n: [self.clusters[0].add_backup(number[n], day=d) for d in (1, 2)] for n in ("deleted-with-backups", "backups-still-there")}

    @situation()
    def deleted_with_backups(g):
        """The guest and its backups are gone from Proxmox VE: the backups are deleted before it."""
        volumes = g.group.volumes[g.name]
        g.remove()
        g.pve.model["backups"] = [b for b in g.pve.model["backups"] if b["volid"] not in volumes]
        yield delete() + delete(volumes[0], BACKUP) + delete(volumes[1], BACKUP)
        equal((g.vm, g.read(BACKUP)), (None, []))

    @situation(guest=False)
    def protected_node(g):
        """A node that a person's virtual machine is placed on: NetBox refuses, and the failure says why and what to do."""
        yield nothing()
        device, cluster = g.find(DEVICE, name="pve-a-n3"), g.find(CLUSTER, name="pve-a")
        g.netbox.create("virtualization/virtual-machines", name="by-hand", cluster=cluster, device=device)
        g.pve.model["nodes"].pop()
        yield delete("pve-a-n3", DEVICE)
        equal(len(g.read(DEVICE, name="pve-a-n3")), 1)

    @situation()
    def still_there(g):
        """The neighbour."""
        yield nothing()

    @situation()
    def backups_still_there(g):
        """The guest is destroyed, its backups still lie on their storage: NetBox cannot hold them without it, and nothing fails over them."""
        g.remove()
        yield delete() + delete(g.group.volumes[g.name][0], BACKUP) + delete(g.group.volumes[g.name][1], BACKUP)
        equal((g.vm, g.read(BACKUP)), (None, []))


class Half_lost(Group):
    """An answer that loses half of the guests: nothing is marked, exit code 4, and what to do if it is really so."""

    EXIT = (EXIT_GUARD,)

    def prepare(self):
        for n in range(29):
            self.clusters[0].add(200 + n, f"guest-{n:02}")

    @situation()
    def half_of_the_guests(g):
        """15 of 30 are missing. A change of another one arrives all the same."""
        for n in range(15):
            g.pve.remove(200 + n)
        g.config["memory"] = 4096
        yield update()
        equal({r["status"] for r in g.read(VM)}, {"active"})
        equal(len(g.read(VM)), 30)


class Half_lost_allowed(Half_lost):
    """The same, and it is really so: --allow-deletes 15."""

    EXIT = (EXIT_DONE,)
    PLAN = ("--allow-deletes", "15")
    MARKS = True

    @situation()
    def half_of_the_guests(g):
        """15 of 30 were destroyed: they are marked."""
        changes = Expected()
        for n in range(15):
            changes = changes + update(g.pve.remove(200 + n)["config"]["name"], why="gone")
        yield changes
        equal(len(g.read(VM, status=GONE)), 15)


class Max_deletes_of_a_kind(Group):
    """max_deletes of a kind: two guests."""

    CONFIG = {"rules": {"virtualization.virtualmachine": {"max_deletes": {"count": 2, "percent": 0}}}}
    EXIT = (EXIT_DONE, EXIT_GUARD)
    MARKS = True

    def prepare(self):
        for n in range(5):
            self.clusters[0].add(200 + n, f"guest-{n:02}")

    @situation()
    def within_and_above(g):
        """Two of six are allowed; three more, later, are not."""
        changes = Expected()
        for n in range(2):
            changes = changes + update(g.pve.remove(200 + n)["config"]["name"], why="gone")
        yield changes
        equal(len(g.read(VM, status=GONE)), 2)
        for n in range(2, 5):
            g.pve.remove(200 + n)
        yield nothing()
        equal(len(g.read(VM, status=GONE)), 2)


class Empty_answer(Group):
    """No guest at all: never believed, however few there were."""

    EXIT = (EXIT_GUARD,)

    @situation()
    def the_only_guest(g):
        """The cluster says that it has no guest."""
        g.remove()
        yield nothing()
        equal(g.vm["status"], "active")

    @situation()
    def the_other_one(g):
        """Neither this one."""
        g.remove()
        yield nothing()
        equal(g.vm["status"], "active")


class Not_gone(Group):
    """Not seen is not gone: an unreachable node, a storage that cannot be read, rights that are missing, a cluster without quorum."""

    EXIT = (EXIT_DONE, EXIT_DONE, EXIT_PARTIAL, EXIT_DONE)

    def prepare(self):
        self.volumes = [self.clusters[0].add_backup(102, storage="local", node=self.clusters[0].nodes[1]), self.clusters[0].add_backup(103, day=2),
                        self.clusters[0].add_backup(103, day=3, storage="pbs")]

    def nothing_lost(self):
        equal({r["name"] for r in self.now.of(VM)}, {h.name for h in self.handles})
        equal({r["volume_id"] for r in self.now.of(BACKUP)}, set(self.volumes))
        equal([r["name"] for r in self.now.of(VM) if r["status"] == GONE], [])

    @situation()
    def rights_are_missing(g):
        """The token may see one guest only (VM.Audit on /vms is gone); then it may again."""
        rights = g.pve.permissions()
        held = rights.pop("/vms")
        rights[f"/vms/{g.vmid}"] = held
        yield nothing()
        g.group.nothing_lost()
        rights.pop(f"/vms/{g.vmid}")
        rights["/vms"] = held

    @situation(node=1)
    def node_is_unreachable(g):
        """A node goes down: its guest and the backups on it stay, the node is offline."""
        yield nothing()
        g.pve.node(1)["online"] = False
        yield update("pve-a-n2", DEVICE)
        g.group.nothing_lost()
        g.pve.node(1)["online"] = True
        yield update("pve-a-n2", DEVICE)

    @situation()
    def storage_is_away(g):
        """A storage is not mounted anywhere, so it shows no backup."""
        yield nothing()
        yield nothing()
        nfs = next(s for s in g.pve.model["storages"] if s["storage"] == "nfs")
        nfs["active"] = False
        yield nothing()
        g.group.nothing_lost()
        nfs["active"] = True

    @situation()
    def storage_rights_are_missing(g):
        """The token may not see volumes: lists of backups come back empty, with 200."""
        yield nothing()
        yield nothing()
        yield nothing()
        rights = g.pve.permissions()
        held, rights["/storage"] = rights["/storage"], {"Datastore.Audit": 1}
        yield nothing()
        g.group.nothing_lost()
        rights["/storage"] = held

    @situation()
    def without_quorum(g):
        """The cluster has no quorum, and this node's list lacks a guest."""
        for _ in range(4):
            yield nothing()
        held = g.remove()
        g.pve.model["cluster"]["quorate"] = 0
        yield nothing()
        g.group.nothing_lost()
        g.pve.model["cluster"]["quorate"] = 1
        g.pve.model["guests"].append(held)
        yield nothing()


# ---------------------------------------------------------------- how much of it

class Scope(Group):
    """A scope is set later: what it leaves out stays in NetBox as it is, changed or not; nothing of it is gone."""

    MARKS = True

    SCOPE = {"include": {"vmids": ["100-199"]},
             "exclude": {"nodes": ["*-n2"], "pools": ["lab"], "tags": ["no-sync"], "names": ["TMP-*"], "states": ["paused"], "templates": True,
                         "storages": ["pbs"]}}

    def prepare(self):
        self.volumes = [self.clusters[0].add_backup(101, day=1), self.clusters[0].add_backup(101, day=2, storage="pbs")]
        self.clusters[0].add(201, "by-number")
        self.clusters[0].add(120, "tmp-by-name")

    def also(self, number):
        if number == 1:
            self.settings[0]["scope"] = self.SCOPE
            self.case.configure(self)
        return Expected()

    @situation()
    def in_scope(g):
        """Nothing leaves it out: followed. Its new backup on a storage in scope arrives, that on the other does not."""
        g.config["memory"] = 4096
        new = g.pve.add_backup(101, day=3)
        g.pve.add_backup(101, day=4, storage="pbs")
        yield update() + create(new, BACKUP)
        equal({r["volume_id"] for r in g.read(BACKUP)}, {*g.group.volumes, new})

    @situation(node=1)
    def by_node(g):
        """On a node that is left out."""
        yield from left_out(g)

    @situation(pool="lab")
    def by_pool(g):
        """In a pool that is left out."""
        yield from left_out(g)

    @situation(tags="no-sync;prod")
    def by_tag(g):
        """It bears a tag that is left out."""
        yield from left_out(g)

    @situation(status="paused")
    def by_state(g):
        """Paused guests are left out."""
        yield from left_out(g)

    @situation(status="stopped", template=1)
    def by_being_a_template(g):
        """Templates are left out."""
        yield from left_out(g)

    @situation(guest=False)
    def by_number_and_name(g):
        """A number outside the range, a name (upper and lower case alike); a new guest that is left out is not made."""
        for vmid in (201, 120):
            g.pve.guest(vmid)["config"]["memory"] = 4096
        g.pve.add(202, "new-outside")
        yield nothing()
        equal({r["memory"] for r in g.read(VM) if r["name"] in ("by-number", "tmp-by-name")}, {2048})
        equal(g.read(VM, name="new-outside"), [])

    @situation()
    def gone_in_scope(g):
        """In scope, and gone: marked."""
        g.remove()
        yield update(why="gone")


def left_out(g):
    was = g.vm
    g.config["memory"] = 4096
    yield nothing()
    equal(g.vm, was)


class One_guest(Group):
    """--guest 101: that guest, and no other."""

    PLAN = ("--guest", "101")

    @situation()
    def this_one(g):
        """Changed: followed."""
        g.config["memory"] = 4096
        yield update()
        equal(g.vm["memory"], 4096)

    @situation()
    def not_this_one(g):
        """Changed, too: left as it is."""
        yield from left_out(g)

    @situation()
    def nor_this_one(g):
        """Gone: not looked at, so not marked."""
        was = g.vm
        g.remove()
        yield nothing()
        equal(g.vm, was)


# ---------------------------------------------------------------- a plan that is stored, a run that is undone

class Stored_plan(Group):
    """A plan is stored, shown, and carried out; or refused, because something has changed since in a way that matters."""

    @situation(description="the first note")
    def in_the_plan(g):
        """It is what the plan is about."""

    @situation()
    def not_in_the_plan(g):
        """It is not."""


class Undone(Group):
    """A run is undone."""

    def prepare(self):
        self.volumes = [self.clusters[0].add_backup(101, day=d) for d in (1, 2)]

    @situation(description="the first note")
    def changed(g):
        """Changed by the run."""

    @situation()
    def changed_by_both(g):
        """Changed by the run, and by a person since."""

    @situation()
    def marked_as_gone(g):
        """Marked by the run."""


class situations(MatrixCase):
    def say(self, *lines):
        self.golden += lines

    def step(self, says, command, *arguments, expect=EXIT_DONE):
        """One command, in the golden with what it said."""
        done = self.run_weir(command, *arguments, expect=expect)
        said = done.stdout[max(0, done.stdout.find("Written\n")):] if command == "history" else done.stdout
        said += "".join(line for line in done.stderr.splitlines(True) if not re.match(r"\d\d:\d\d:\d\d ", line))
        called = self.settled_text(f"$ weir {command} " + " ".join(map(str, arguments)))
        self.say("", f"--- {says}", "", f"{called}   (exit code {done.exit_code})", "", self.settled_text(said).rstrip())
        return done

    def begin(self, group):
        self.start(group)
        self.golden = [f"{group.__class__.__name__}: {group.__doc__}"]
        return group.clusters[0], {h.name: h for h in group.handles}

    def end(self):
        self.assert_golden(self.group.__class__.__name__.lower().replace("_", "-"), "\n".join(self.golden) + "\n")

    def refresh(self):
        self.group.previous, self.group.now = self.group.now, State(self.netbox)

    def wrote_nothing(self, before):
        self.assertEqual(self.last_change(), before, "it wrote")

    def test_stored_plan(self):
        pve, guests = self.begin(Stored_plan())
        one, other = guests["in-the-plan"], guests["not-in-the-plan"]
        file = self.workspace.path / "approved.json"
        one.config["memory"] = 4096
        pve.put()
        planned = self.step("A plan that has changes ends with 2 if it is asked to; it is stored.", "plan", "--detailed-exitcode", "--out", file, expect=2)
        shown = self.weir("show", str(file))
        self.assertEqual(changes_in(planned.stdout), changes_in(shown.stdout), "show says otherwise than plan")

        before = self.last_change()
        other.edit(comments="a person's")
        one.edit(comments="a person's, too")
        before = self.last_change()
        one.edit(memory=1)
        before = self.last_change()
        self.step("A person has changed what the plan changes.", "apply", file, expect=EXIT_GUARD)
        self.wrote_nothing(before)
        one.edit(memory=2048)

        self.configure(self.group, rules={"virtualization.virtualmachine": {"fields": {"memory": "never"}}})
        before = self.last_change()
        self.step("The rules have changed.", "apply", file, expect=EXIT_GUARD)
        self.wrote_nothing(before)

        # Another pace, and Proxmox VE has moved on: the plan is what was approved.
        self.configure(self.group, profile="aggressive")
        one.config["memory"] = 8192
        pve.put()
        self.step("Only the profile is another one, and what people wrote elsewhere is none of the plan's business; Proxmox VE's newest change is "
                  "not in the plan.", "apply", file)
        self.refresh()
        equal((one.vm["memory"], one.vm["comments"], other.vm["comments"]), (4096, "a person's, too", "a person's"))
        before = self.last_change()
        self.step("Once more: it has been carried out, and nothing is left to do.", "apply", file)
        self.wrote_nothing(before)
        self.configure(self.group)
        self.run_weir("sync")
        self.step("Without changes.", "plan", "--detailed-exitcode")
        file.write_text(file.read_text()[:-40])
        self.step("A damaged file.", "apply", file, expect=None)
        self.end()

    def test_undone(self):
        pve, guests = self.begin(Undone())
        changed, both, gone = guests["changed"], guests["changed-by-both"], guests["marked-as-gone"]
        was = self.group.now
        changed.config.update(memory=4096, description="the second note", tags="prod")
        changed.rename("renamed")
        both.config["memory"] = 4096
        gone.remove()
        pve.add(301, "made-by-the-run")
        pve.model["backups"].pop()
        pve.put()
        synced = self.run_weir("sync", "--output", "json").json
        run = synced["run"]
        self.refresh()
        equal(self.group.now.of(VM, name="made-by-the-run")[0]["status"], "active")

        # NetBox's side: every entry of the run bears its id.
        written = sum(k[n] for r in synced["results"] for k in r["kinds"].values() for n in ("created", "updated", "deleted"))
        entries = [e for e in self.netbox.all("core/object-changes") if run in (e.get("message") or "")]
        self.assertGreaterEqual(len(entries), written)
        self.assertLessEqual({e["changed_object_type"] for e in entries} - {None},
                             {"virtualization.virtualmachine", "netbox_proxbox.vmbackup", "extras.tag", "extras.customfield"})
        self.step("What the run did, with links into NetBox.", "history", "show", run)

        both.edit(memory=1234)
        before = self.last_change()
        planned = self.step("A plan, and nothing but a plan.", "undo", run)
        self.wrote_nothing(before)
        self.assertIn("changed-by-both", planned.stdout)
        self.step("Carried out.", "undo", run, "--apply")
        self.refresh()
        self.say("", "--- What is not as it was before the run:", "",
                 *(self.settled_text("  " + line) for line in self.group.now.changes_since(was)))
        for h in (changed, gone):
            equal(h.vm, was.rows[VM][h.id])
        equal(both.vm["memory"], 1234)
        equal({r["volume_id"] for r in self.group.now.of(BACKUP)}, set(self.group.volumes))
        equal(self.group.now.of(VM, name="made-by-the-run"), [])
        self.step("The next plan is what the source says, as ever.", "plan", expect=None)
        self.end()


def changes_in(text):
    return [line for line in text.splitlines() if re.match(r"  [-+~] ", line)]


def run(group):
    def test(self):
        self.run_group(group())
    test.__doc__ = group.__doc__
    return test


for found in [g for g in list(globals().values()) if isinstance(g, type) and issubclass(g, Group) and g not in (Group, Stored_plan, Undone)]:
    setattr(situations, f"test_{found.__name__.lower()}", run(found))


if __name__ == "__main__":
    unittest.main(verbosity=2)

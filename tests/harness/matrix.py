"""The matrix: situations of a NetBox that weir shares with people, each with the state before, the plan, the state after, and the next plan.

A situation is a generator function. It changes Proxmox VE's side or NetBox's, and says by `yield` what the plan must hold of it; what
stands behind the `yield` looks at NetBox after the sync. A further `yield` is a further plan and sync. Situations that do not touch are
planned together, as a group; a group's golden holds the plans' text and what NetBox says before and after.
"""
import collections
import datetime
import json
import os
import re
from pathlib import Path
from types import SimpleNamespace

import proxmox_model as change
from netbox_lab import Lab
from weir_test import EXIT_DONE, NetBox, WeirCase, to_yaml

UPDATE = os.environ.get("WEIR_UPDATE_GOLDEN") == "1"
SIMULATED = os.environ.get("WEIR_MATRIX") == "simulated"  # a simulated NetBox, for who writes situations
QUICK = {"extends": "conservative", "requests_per_second": 500, "batch": {"delay_ms": 0}}
STAGE_OF = {"virtualmachine": "virtual-machines", "device": "nodes", "cluster": "nodes", "vmbackup": "backups"}
VM, DEVICE, CLUSTER, BACKUP = "virtualmachine", "device", "cluster", "vmbackup"
PATHS = {VM: "virtualization/virtual-machines", DEVICE: "dcim/devices", CLUSTER: "virtualization/clusters", BACKUP: "plugins/proxbox/backups",
         "tag": "extras/tags", "role": "dcim/device-roles"}
TITLES = {VM: "virtual machine", DEVICE: "node", CLUSTER: "cluster", BACKUP: "backup", "tag": "tag"}


# ---------------------------------------------------------------- what a plan must hold

class Expected:
    """Of one situation: changes [(action, kind, label, why)], edits that are kept and ones that are overwritten [(label, field)], refused
    objects {label: what the message must say}."""

    def __init__(self, changes=(), kept=(), edited=(), refused=None):
        self.changes, self.kept, self.edited, self.refused = list(changes), list(kept), list(edited), dict(refused or {})

    def __add__(self, other):
        return Expected(self.changes + other.changes, self.kept + other.kept, self.edited + other.edited, {**self.refused, **other.refused})

    def named(self, name):
        """`None` stands for the situation's own guest."""
        own = lambda label: name if label is None else label
        return Expected([(a, k, own(l), w) for a, k, l, w in self.changes], [(own(l), f) for l, f in self.kept],
                        [(own(l), f) for l, f in self.edited], {own(l): m for l, m in self.refused.items()})


def _fields(fields, label):
    return [(label, f) for f in ([fields] if isinstance(fields, str) else fields)]


def update(label=None, kind=VM, why="differs", kept=(), edited=()):
    return Expected([("update", kind, label, why)], _fields(kept, label), _fields(edited, label))


def create(label=None, kind=VM, why="differs"):
    return Expected([("create", kind, label, why)])


def delete(label=None, kind=VM, why="gone"):
    return Expected([("delete", kind, label, why)])


def nothing(label=None, kept=()):
    """No change of it; its edits that are kept are named."""
    return Expected((), _fields(kept, label))


def refused(says, label=None):
    return Expected((), (), (), {label: says})


# ---------------------------------------------------------------- Proxmox VE's side

def guest(vmid, name, node, type="qemu", status="running", pool=None, **config):
    """A guest as the model has it, with facts of its own that follow from its number."""
    facts = {"memory": 2048, "cores": 2, "digest": f"{vmid:040x}"}
    if type == "qemu":
        facts |= {"name": name, "scsi0": f"local-lvm:vm-{vmid}-disk-0,size=32G", "net0": f"virtio={mac(vmid)},bridge=vmbr0",
                  "smbios1": f"uuid={vmid:08x}-0000-4000-a000-000000000000", "vmgenid": f"{vmid:08x}-0000-4000-b000-000000000000",
                  "meta": f"creation-qemu=9.0.2,ctime={1735689600 + vmid}"}
    else:
        facts |= {"hostname": name, "rootfs": f"local-lvm:vm-{vmid}-disk-0,size=32G",
                  "net0": f"name=eth0,bridge=vmbr0,hwaddr={mac(vmid)},ip=dhcp,type=veth"}
    return {"vmid": vmid, "type": type, "node": node, "status": status, "config": facts | config, **({"pool": pool} if pool else {})}


def mac(number):
    return "BC:24:11:" + ":".join(f"{(number >> s) & 255:02X}" for s in (16, 8, 0))


def backup(vmid, day=1, storage="nfs", node=None, type="qemu", **more):
    form = "vma.zst" if type == "qemu" else "tar.zst"
    return {"storage": storage, "node": node, "volid": f"{storage}:backup/vzdump-{type}-{vmid}-2026_11_{day:02}-04_00_00.{form}", "vmid": vmid,
            "ctime": 1793505600 + (day - 1) * 86400, "size": 123456789 + day, "format": form, "content": "backup", "subtype": type, **more}


class Cluster:
    """A simulated Proxmox VE under a name of weir's configuration. `model` is what it holds; `put()` after a change of it."""

    def __init__(self, case, source, name=None, nodes=2):
        self.source, self.name = source, name or source
        self.simulator = case.simulator("proxmox", *change.arguments(nodes=nodes, guests=0, backups=0, cluster=self.name))
        self.model = self.simulator.model
        self.nodes = [n["node"] for n in self.model["nodes"]]

    def put(self):
        self.simulator.model = self.model

    def add(self, vmid, name, node=0, **more):
        made = guest(vmid, name, self.nodes[node], **more)
        self.model["guests"].append(made)
        return made

    def add_backup(self, vmid, **more):
        made = backup(vmid, **more)
        self.model["backups"].append(made)
        return made["volid"]

    def guest(self, vmid):
        return next(g for g in self.model["guests"] if g["vmid"] == vmid)

    def remove(self, vmid):
        """The guest is destroyed; its backups stay where they lie."""
        gone = self.guest(vmid)
        self.model["guests"].remove(gone)
        return gone

    def node(self, number):
        return self.model["nodes"][number]

    def permissions(self):
        return self.model["access"]["permissions"]


# ---------------------------------------------------------------- NetBox's side

def plain(value):
    if isinstance(value, dict):
        if "slug" in value:
            return value["slug"]
        return value["value"] if "value" in value else value.get("name", value.get("display"))
    if isinstance(value, list):
        return ",".join(sorted(str(plain(v)) for v in value)) or None
    return value if value not in ("", {}) else None


NOT_SHOWN = {"id", "url", "display", "display_url", "created", "last_updated", "owner", "natural_name", "tagged_items"}


def flat(row):
    """An object's fields in one spelling: choices and references by their plain names, custom fields one by one; what is empty is None."""
    out = {}
    for field, value in row.items():
        if field in NOT_SHOWN or field.endswith("_count") or field.startswith("allocated_"):
            continue
        if field == "custom_fields":
            out |= {f"custom_fields.{name}": plain(v) for name, v in value.items()}
        elif field in ("local_context_data", "config_context"):
            continue
        else:
            out[field] = plain(value)
    return {f: v for f, v in out.items() if v is not None}


class State:
    """What NetBox holds now."""

    def __init__(self, netbox):
        # Rendering configuration contexts costs NetBox a second a list.
        self.rows = {kind: {o["id"]: flat(o) for o in netbox.all(path, omit="config_context")} for kind, path in PATHS.items() if kind != "role"}

    def of(self, kind, **fields):
        return [r for r in self.rows[kind].values() if all(r.get(f) == v for f, v in fields.items())]

    def changes_since(self, before):
        """Lines for people. Ordered by name: sources are read side by side, so that ids differ from one run to the next."""
        lines = []
        for kind, rows in self.rows.items():
            known, found = before.rows[kind], []
            for i in {*rows, *known}:
                old, new = known.get(i), rows.get(i)
                if old == new:
                    continue
                name = (old or new).get("name") or (old or new).get("volume_id")
                if old is None or new is None:
                    facts = ", ".join(f"{f.removeprefix('custom_fields.')} {v}" for f, v in (old or new).items()
                                      if f in ("status", "cluster", "tags", "custom_fields.proxmox_vm_id", "virtual_machine"))
                    line = f"{'+' if old is None else '-'} {TITLES[kind]} {name}" + (f"  ({facts})" if facts else "")
                else:
                    line = f"~ {TITLES[kind]} {name}  " + " · ".join(f"{f.removeprefix('custom_fields.')} {old.get(f, '–')} → {new.get(f, '–')}"
                                                                     for f in sorted({*old, *new}) if old.get(f) != new.get(f))
                found.append((str(name), line.replace("\r\n", "⏎").replace("\n", "⏎")))
            lines += [line for _, line in sorted(found)]
        return lines


class Handle:
    """A situation's own guest, on both sides, and whatever else it needs."""

    def __init__(self, group, row):
        self.group, self.row, self.name, self.netbox = group, row, row.name, group.netbox
        self.vmid = None
        self.id = None
        self.last = Expected()

    @property
    def pve(self):
        return self.group.clusters[0]

    @property
    def guest(self):
        """The guest in Proxmox VE's model; what is changed in it holds before the next plan."""
        return self.pve.guest(self.vmid)

    @property
    def config(self):
        return self.guest["config"]

    def rename(self, name):
        self.config["name" if self.guest["type"] == "qemu" else "hostname"] = name

    def remove(self):
        return self.pve.remove(self.vmid)

    @property
    def vm(self):
        """What NetBox holds of it, flat; None: no longer there."""
        return self.group.now.rows[VM].get(self.id)

    @property
    def before(self):
        """The same before the plan at hand."""
        return self.group.previous.rows[VM].get(self.id)

    def edit(self, **fields):
        """A person changes it in NetBox."""
        return self.netbox.change(PATHS[VM], self.id, **fields)

    def raw(self, kind=VM, number=None):
        return self.netbox.call("GET", f"{PATHS[kind]}/{number or self.id}/")

    def find(self, kind, **fields):
        """The id of the one object that is so."""
        found = [i for i, r in self.group.now.rows[kind].items() if all(r.get(f) == v for f, v in fields.items())]
        assert len(found) == 1, f"{len(found)} {kind} with {fields}: {found}"
        return found[0]

    def read(self, kind, **fields):
        return self.group.now.of(kind, **fields)

    def role(self, slug):
        return self.netbox.create(PATHS["role"], name=slug.title(), slug=slug, color="ff0000", vm_role=True)["id"]

    def tag(self, slug):
        known = self.netbox.call("GET", f"extras/tags/?slug={slug}")["results"]
        return known[0]["id"] if known else self.netbox.create("extras/tags", name=slug.title(), slug=slug)["id"]


class Row:
    def __init__(self, function, guest=True, node=0, **config):
        self.function, self.name = function, function.__name__.replace("_", "-")
        self.says = " ".join((function.__doc__ or "").split())
        self.guest, self.node, self.config = guest, node, config
        assert self.says, f"{self.name} does not say what it is about"


def situation(**options):
    """guest=False: none of its own; else what the guest is like: node, type, status, pool, and its configuration."""
    def made(function):
        function.situation = options
        return function
    return made


class Group:
    """Situations that are planned together. Subclasses: functions with @situation, in order; and what differs from the plain case:"""

    SOURCES = ({"source": "pve-a"},)
    CONFIG = {}
    PLAN, SYNC = (), ()   # arguments beside
    FIRST = True          # synced before anything is done
    EXIT = (EXIT_DONE,)   # of the sync, by round; the last one holds for all further rounds
    SETTLED = True        # the plan after the sync is empty
    VERBOSE = False       # the plan's text lists every change
    MARKS = False         # the first plan marks something, for which a tag and a custom field are made

    def also(self, number):
        """Changes that belong to no situation alone."""
        return Expected()

    def prepare(self):
        """Before the first sync."""

    @classmethod
    def rows(cls):
        return [Row(f, **f.situation) for f in vars(cls).values() if hasattr(f, "situation")]


# ---------------------------------------------------------------- doing it

class MatrixCase(WeirCase):
    GOLDENS = Path(__file__).resolve().parents[1] / "netbox" / "matrix"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if SIMULATED:
            return
        cls.lab = Lab()
        if not cls.lab.running():
            cls.addClassCleanup(cls.lab, "down")
            cls.lab("up", *os.environ.get("WEIR_LAB_UP", "--workers 3 --fast").split())

    def setUp(self):
        super().setUp()
        if SIMULATED:
            self.netbox = NetBox(self.simulator("netbox").url, change.NETBOX_TOKEN)
        else:
            self.lab("reset")
            self.netbox = self.lab.netbox()
        self.profile = str(self.workspace.file("quick.yaml", to_yaml(QUICK)))
        self.today = datetime.date.today()

    # ---- weir

    def configure(self, group, **more):
        sources = {c.source: {**change.settings(c.simulator), **given} for c, given in zip(group.clusters, group.settings)}
        self.config = self.workspace.config(self.netbox.url, self.netbox.token, sources, **{"profile": self.profile, **group.CONFIG, **more})
        return self.config

    def run_weir(self, command, *arguments, expect=EXIT_DONE):
        return self.weir(command, "--config", self.config, *arguments, expect=expect)

    def plan(self, *arguments, expect=None):
        """(its text, what it says, its file)"""
        file = self.workspace.path / "plan.json"
        file.unlink(missing_ok=True)
        wrote = self.last_change()
        made = self.run_weir("plan", "--out", str(file), *arguments, expect=expect)
        self.assertEqual(self.last_change(), wrote, "the plan wrote")
        self.assertTrue(file.exists(), str(made))
        if self.group.VERBOSE:
            return self.weir("show", str(file), "--verbose", expect=None).stdout, Plan(json.loads(file.read_text())), file
        return made.stdout, Plan(json.loads(file.read_text())), file

    def last_change(self):
        """The number of NetBox's newest change log entry."""
        found = self.netbox.call("GET", "core/object-changes/?limit=1&ordering=-id")["results"]
        return found[0]["id"] if found else 0

    # ---- goldens

    def settled_text(self, text):
        """Without what differs from one run to the next."""
        for cluster in self.group.clusters:
            text = text.replace(cluster.simulator.url, f"https://{cluster.source}.example:8006")
        text = text.replace(self.netbox.url, "https://netbox.example").replace(str(self.workspace.path), "…")
        text = re.sub(r"weir \d+\.\d+\.\d+\S*", "weir VERSION", text)
        text = re.sub(r"(?<=\brun )[0-9a-f-]{8,}|(?<=\bundo )[0-9a-f-]{8,}|(?<=\bshow )[0-9a-f-]{8,}", "RUN", text)
        text = re.sub(r"\b\d+\.\d s\b", "N s", text)
        text = re.sub(r"^Throttle: .*\n", "", text, flags=re.M)  # how quick NetBox was that day
        text = re.sub(r"(?<=NetBox )\d+\.\d+\.\d+", "VERSION", text)
        text = re.sub(r"\bids? (\d+)", "id N", text)
        text = re.sub(r"#\d+\b", "#N", text)
        text = re.sub(r"(?<=/)\d+/(?=\s|$)", "N/", text, flags=re.M)
        text = re.sub(r"(?<=%20)[0-9a-f]{8}$", "RUN", text, flags=re.M)
        text = re.sub(r"\bmade \S+ \S+ UTC|\bmade \S+T\S+Z", "made WHEN", text)
        for days in range(-8, 9):
            day = (self.today + datetime.timedelta(days)).isoformat()
            text = text.replace(day, "TODAY" if days == 0 else f"TODAY{days:+}")
        text = re.sub(r"(TODAY[+\-\d]*)T[\d:.]+Z?", r"\1", text)
        return text

    def assert_golden(self, name, text):
        path = self.GOLDENS / f"{name}.txt"
        if UPDATE:
            path.write_text(text)
        self.assertTrue(path.exists(), f"{path} is not there; WEIR_UPDATE_GOLDEN=1 writes it. It would be:\n{text}")
        self.assertEqual(text, path.read_text(), f"{path} says otherwise; WEIR_UPDATE_GOLDEN=1 rewrites it")

    # ---- one group

    def start(self, group):
        self.group = group
        group.case, group.netbox = self, self.netbox
        group.clusters, group.settings = [], []
        for given in group.SOURCES:
            given = dict(given)
            settings = {k: given.pop(k) for k in list(given) if k not in ("source", "name", "nodes")}
            group.clusters.append(Cluster(self, **given))
            group.settings.append(settings)
        group.handles = []
        for number, row in enumerate(group.rows()):
            h = Handle(group, row)
            if row.guest:
                h.vmid = 101 + number
                group.clusters[0].add(h.vmid, row.name, row.node, **row.config)
            group.handles.append(h)
        group.now = group.previous = State(self.netbox)
        group.prepare()
        self.put(group)
        self.configure(group)
        if group.FIRST:
            self.run_weir("sync")
        group.now = State(self.netbox)
        self.learn_ids(group)

    @staticmethod
    def put(group):
        for cluster in group.clusters:
            cluster.put()

    @staticmethod
    def learn_ids(group):
        source = group.clusters[0].source
        for h in group.handles:
            if h.vmid and h.id is None:
                found = [i for i, r in group.now.rows[VM].items()
                         if r.get("custom_fields.proxmox_vm_id") == h.vmid and r.get("custom_fields.proxmox_source") == source]
                h.id = found[0] if found else None

    def run_group(self, group):
        self.start(group)
        rows = group.handles
        golden = [f"{group.__class__.__name__}: {' '.join((group.__doc__ or '').split())}", ""]
        for h in rows:
            golden.append(f"  {h.name}: {h.row.says}")
        going = [(h, h.row.function(h)) for h in rows]
        number, settled = 0, Expected()
        while True:
            before = group.now
            number += 1
            expected, still = group.also(number), []
            if group.MARKS and number == 1:
                expected = expected + create("weir-gone", "tag") + create("proxmox_gone_since", "customfield")
            for h, steps in going:
                with self.subTest(h.name):
                    step = next(steps, None)
                    if step is not None:
                        h.last = step.named(h.name)
                        expected = expected + h.last
                        still.append((h, steps))
                        continue
                # It is over; what it left is shown again and again.
                settled = settled + Expected((), h.last.kept, (), h.last.refused)
            going = still
            if not going:
                break
            expected = expected + settled
            self.put(group)
            expect = group.EXIT[min(number, len(group.EXIT)) - 1]
            golden += ["", f"=== {number}", ""]
            edited = State(self.netbox)
            people = edited.changes_since(before)
            golden += ["In NetBox, by people:", *(f"  {line}" for line in people or ["nothing"]), ""]
            text, plan, _ = self.plan(*group.PLAN)
            golden += ["$ weir plan" + "".join(f" {a}" for a in group.PLAN), "", self.settled_text(text).rstrip(), ""]
            self.assert_planned(expected, plan, text)
            group.previous = edited
            synced = self.run_weir("sync", "--output", "json", *group.SYNC, *group.PLAN, expect=expect)
            self.assert_carried_out(plan, synced)
            group.now = State(self.netbox)
            self.learn_ids(group)
            done = group.now.changes_since(edited)
            golden += [f"$ weir sync   (exit code {synced.exit_code})", "",
                       *(self.settled_text(f"Failed: {f['kind']} {f['key']}: {f['error']}\n") for f in synced.json["failures"]), "In NetBox, by weir:",
                       *(f"  {self.settled_text(line)}" for line in done or ["nothing"]), ""]
            again, next_plan, _ = self.plan(*group.PLAN)
            golden += ["$ weir plan   (once more)", "", self.settled_text(again).rstrip()]
            if group.SETTLED:
                self.assertEqual(next_plan.changes, [], f"the next plan is not empty:\n{again}")
        self.assert_golden(group.__class__.__name__.lower().replace("_", "-"), "\n".join(golden) + "\n")

    def assert_planned(self, expected, plan, text):
        found = sorted((c.action, c.kind, c.label, c.why) for c in plan.changes)
        self.assertEqual(found, sorted(expected.changes), text)
        self.assertEqual(sorted(plan.edits_kept), sorted(expected.kept), f"edits that are kept\n{text}")
        self.assertEqual(sorted((c.label, f) for c in plan.changes for f in c.edited), sorted(expected.edited), f"edits that are overwritten\n{text}")
        self.assertEqual(sorted(plan.failures), sorted(expected.refused), text)
        for label, says in expected.refused.items():
            for part in [says] if isinstance(says, str) else says:
                self.assertIn(part, plan.failures[label])

    def assert_carried_out(self, plan, synced):
        """The run did what the plan said."""
        planned = collections.Counter((c.source, c.stage, c.kind, c.action) for c in plan.changes)
        done = collections.Counter()
        failed = 0
        for r in synced.json["results"]:
            for kind, counts in r["kinds"].items():
                failed += counts["failed"]
                for action, member in (("create", "created"), ("update", "updated"), ("delete", "deleted")):
                    done[r["source"], r["stage"], kind.split(".")[1], action] += counts[member]
        if failed == len(plan.failures):  # else NetBox refused something, which the situation looks at
            self.assertEqual(+done, +planned, f"sync did otherwise than the plan said\n{synced}")


class Plan:
    """A plan's file, read. changes: source, stage, action, kind, label, why, edited (fields); failures: {label: message}."""

    def __init__(self, stored):
        self.stored, self.changes, self.edits_kept = stored, [], []
        for job in stored["jobs"]:
            for plan in job["plans"]:
                kind = plan["kind"].split(".")[1]
                for action in ("update", "create", "delete"):
                    self.changes += [SimpleNamespace(source=job["source"], stage=job["stage"], action=action, kind=kind, label=c["label"], why=c["why"],
                                                     edited=[f["field"] for f in c["fields"] if f.get("edited")]) for c in plan[action]]
                self.edits_kept += [(e["label"], e["field"]) for e in plan.get("edits_kept", [])]
        self.failures = {f["label"]: f["error"] for f in stored["failures"]}


def equal(got, wanted):
    assert got == wanted, f"it is {got!r}, and should be {wanted!r}"


def tags(row):
    return set((row.get("tags") or "").split(",")) - {""}

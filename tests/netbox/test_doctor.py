#!/usr/bin/env python3
"""weir doctor against a real NetBox: what a token may do is told without writing, and the pool that is short is named.

Wants the lab (tests/netbox/netbox-lab) up; brings it up itself, and down again, where it is not.
"""
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
from netbox_case import SOURCE, NetBoxCase
from proxmox_model import settings
from weir_test import EXIT_CREDENTIALS, EXIT_DONE, count_by_method

MOST_REQUESTS = 42
PARTIAL = "a" * 40
# What README asks for, but for two permissions; those on backups come from a group.
MAKE_USER = """
from core.models import ObjectType
from users.models import Group, ObjectPermission, Token, User
user = User.objects.create_user(username='weir-sync', password='Doctor-12345678')
Token(user=user, version=1, token='{token}', write_enabled=True).save()
def allow(holder, actions, *kinds):
    permission = ObjectPermission(name=' '.join(kinds)[:90], actions=actions)
    permission.save()
    (permission.groups if isinstance(holder, Group) else permission.users).add(holder)
    permission.object_types.set([ObjectType.objects.get(app_label=k.split('.')[0], model=k.split('.')[1]) for k in kinds])
allow(user, ['view', 'add', 'change'], 'extras.tag', 'extras.customfield', 'dcim.manufacturer', 'dcim.devicetype', 'dcim.devicerole',
      'dcim.device', 'virtualization.clustertype', 'virtualization.cluster')
allow(user, ['view', 'change'], 'virtualization.virtualmachine')
allow(user, ['view'], 'dcim.site')
group = Group(name='backups')
group.save()
user.groups.add(group)
allow(group, ['view', 'add', 'change', 'delete'], 'netbox_proxbox.vmbackup')
{more}
"""


class real_netbox(NetBoxCase):
    COLUMNS = ("doctor", "exit code", "seconds", "requests", "OPTIONS")

    def examine(self, name, *arguments, expect=EXIT_DONE, token=None):
        self.log.mark()
        config = self.workspace.config(self.netbox.url, token or self.token, {SOURCE: settings(self.pve)}, name=f"{name.replace(' ', '-')}.yaml",
                                       profile="aggressive")
        outcome = self.weir("doctor", "--config", config, "--output", "json", *arguments, expect=expect)
        seen = self.log.read()
        methods = count_by_method(seen)
        self.figures.add(name, outcome.exit_code, outcome.seconds, len(seen), methods.get("OPTIONS", 0))
        self.assertEqual(self.writes(seen), [])
        self.assertLessEqual(len(seen), MOST_REQUESTS)
        self.assertEqual(outcome.json["netbox"]["requests"], len(seen))
        self.assertEqual(outcome.json["netbox"]["peak_in_flight"], 1)
        return outcome.json

    def found(self, said, level, symptom=None):
        return [f"{f['title']}: {f['seen']}" for f in said["findings"] if f["level"] == level and symptom in (None, f["symptom"])]

    def make_user(self, more=""):
        self.lab("manage", "shell", "-c", MAKE_USER.format(token=PARTIAL, more=more))

    def permissions(self, said):
        return {p["kind"]: p for p in said["netbox"]["permissions"]}

    def test_a_superusers_token(self):
        self.start()
        said = self.examine("empty, superuser")
        self.assertEqual(self.found(said, "problem") + self.found(said, "warning"), [])
        self.assertEqual(said["netbox"]["page_size"], 1000)
        self.assertTrue(all(p["view"] and p["add"] and p["change"] for p in said["netbox"]["permissions"]))
        self.run_weir("sync", "--profile", "aggressive")
        said = self.examine("after a sync")
        self.assertEqual(self.found(said, "problem") + self.found(said, "warning"), [])
        self.assertEqual([l["objects"] for l in said["netbox"]["latencies"]][:3], [1, 50, 250])
        print(self.weir("doctor", "--config", self.config).stdout, file=sys.stderr)

    def test_a_v1_and_a_read_only_token(self):
        self.start(nodes=1, guests=4, backups=4)
        tokens = self.lab.env()
        self.assertEqual(self.found(self.examine("v1", token=tokens["NETBOX_TOKEN_V1"]), "problem"), [])
        said = self.examine("read-only", token=tokens["NETBOX_TOKEN_READONLY"], expect=EXIT_CREDENTIALS)
        self.assertEqual(len(self.found(said, "problem", "credentials-netbox")), 1)
        self.assertRegex(self.found(said, "problem")[0], "read-only")
        said = self.examine("nothing allowed", token=tokens["NETBOX_TOKEN_NOPERM"], expect=EXIT_CREDENTIALS)
        self.assertIn("virtualization.view_virtualmachine", self.found(said, "problem")[0])

    def test_a_token_with_only_some_permissions(self):
        self.start(nodes=1, guests=4, backups=4)
        self.make_user()
        said = self.examine("some permissions", token=PARTIAL, expect=EXIT_CREDENTIALS)
        [missing] = self.found(said, "problem")
        self.assertEqual(set(missing.removeprefix("permissions: missing: ").split(", ")),
                         {"virtualization.add_virtualmachine", "dcim.add_site", "dcim.change_site"})
        held = self.permissions(said)
        self.assertEqual([held["netbox_proxbox.vmbackup"][verb] for verb in ("view", "add", "change", "delete")], [True, True, True, None])
        [unknown] = [n for n in self.found(said, "note") if n.startswith("permissions: ")]
        self.assertEqual(unknown, "permissions: could not be determined without writing: netbox_proxbox.delete_vmbackup")

    def test_what_a_group_may_is_seen_where_groups_may_be_seen(self):
        self.start(nodes=1, guests=4, backups=4)
        self.make_user("allow(user, ['view'], 'users.group')\nallow(user, ['view', 'add', 'change'], 'dcim.site')\n"
                       "allow(user, ['add'], 'virtualization.virtualmachine')")
        said = self.examine("all permissions", token=PARTIAL)
        self.assertEqual(self.found(said, "problem"), [])
        self.assertTrue(self.permissions(said)["netbox_proxbox.vmbackup"]["delete"])


if __name__ == "__main__":
    unittest.main()

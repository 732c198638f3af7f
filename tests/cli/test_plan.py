#!/usr/bin/env python3
"""Plans as data, against the simulators: stored, shown, carried out exactly, and refused where they no longer fit."""
import json
import os
import stat
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
import proxmox_model as change
from sync_case import QUICK, SOURCE, SyncCase
from weir_test import EXIT_DONE, EXIT_GUARD, EXIT_USAGE

EXIT_CHANGES, EXIT_FAILED = 2, 1


class plans(SyncCase):
    def setUp(self):
        super().setUp()
        self.start()
        self.file = self.workspace.path / "change.plan"

    def store(self, *arguments, expect=EXIT_DONE):
        made = self.run_weir("plan", "--out", str(self.file), *arguments, expect=expect)
        self.assertEqual(self.server.requests()["writes"], 0, "plan wrote")
        return made

    def apply(self, *arguments, expect=EXIT_DONE, file=None):
        self.server.reset_counters()
        return self.weir("apply", str(file or self.file), "--config", self.config, "--output", "json", *arguments, expect=expect)

    def writes(self):
        return self.server.requests()["writes"]

    def changed(self):
        """A synced NetBox, and a source that has moved on."""
        self.run_weir()
        with self.pve.changed_model() as model:
            return change.some_of_everything(model)

    def test_a_plan_is_carried_out_exactly(self):
        made = self.store()
        self.assertEqual(made.json["plan"], "1.0")
        self.assertEqual(stat.S_IMODE(os.stat(self.file).st_mode), 0o600)
        shown = self.weir("show", str(self.file), "--output", "json").json
        self.assertEqual(shown["changes"], made.json["changes"])
        text = self.weir("plan", "--config", self.config, "--out", str(self.file)).stdout
        self.assertTrue(text.endswith(f"To apply exactly this:  weir apply {self.file}\n"), text)
        without = lambda t: [line for line in t.splitlines() if not line.startswith(("weir ", "Plan made"))]
        self.assertEqual(without(self.weir("show", str(self.file)).stdout), without(text))
        self.weir("show", str(self.file), "--detailed-exitcode", expect=EXIT_CHANGES)
        # What comes into the source after the plan is not in it.
        with self.pve.changed_model() as model:
            change.some_of_everything(model)
        done = self.apply()
        self.assertEqual(done.json["command"], "apply")
        created = sum(k["created"] for r in done.json["results"] for k in r["kinds"].values())
        self.assertEqual(created, len([c for c in made.json["changes"] if c["action"] == "create"]))
        self.assertGreater(len(self.run_weir("plan").json["changes"]), 0, "the source has moved on since")

    def test_updates_and_deletes_and_what_is_remembered(self):
        self.changed()
        self.store()
        self.apply()
        self.assert_nothing_left()
        self.assertEqual(self.history()["runs"][1]["command"], "apply")

    def test_what_is_done_already_is_no_difference(self):
        self.changed()
        self.store()
        self.apply()
        again = self.apply()
        self.assertEqual(self.writes(), 0)
        self.assertEqual(sum(r["updated"] + r["created"] + r["deleted"] for r in again.json["results"]), 0)

    def test_a_first_sync_that_is_done_already_is_no_difference(self):
        """Each stage adds its kinds to the custom field of all of them: what is there comes last in the plan."""
        self.store()
        self.apply()
        self.apply()
        self.assertEqual(self.writes(), 0)
        # A type that is none of the plan's is a difference.
        field = next(f for f in self.netbox.all("extras/custom-fields") if f["name"] == "proxmox_source")
        self.netbox.change("extras/custom-fields", field["id"], object_types=[*field["object_types"], "dcim.site"])
        refused = self.apply(expect=EXIT_GUARD).json["error"]["message"].splitlines()
        self.assertEqual(refused[1:], [f"  custom field proxmox_source is in NetBox by now (#{field['id']})"])

    def test_a_changed_netbox_is_refused_and_every_difference_named(self):
        self.changed()
        self.store()
        updates = [c for c in json.loads(self.file.read_text())["jobs"][1]["plans"][-1]["update"] if "memory" in c["body"]]
        self.assertTrue(updates)
        one = updates[0]
        self.netbox.call("PATCH", f"virtualization/virtual-machines/{one['id']}/", {"memory": 77})
        refused = self.apply(expect=EXIT_GUARD)
        self.assertEqual(self.writes(), 0)
        said = refused.json["error"]["message"]
        self.assertIn(f"virtual machine {one['label']} memory is 77, was {one['before']['memory']} when the plan was made", said)
        # Other fields are nobody's business.
        self.netbox.call("PATCH", f"virtualization/virtual-machines/{one['id']}/", {"memory": one["before"]["memory"], "comments": "mine"})
        self.apply()

    def test_an_object_made_meanwhile_is_refused(self):
        self.store()
        plans = [p for j in json.loads(self.file.read_text())["jobs"] for p in j["plans"]]
        wanted = next(p for p in plans if p["kind"] == "dcim.manufacturer")["create"][0]
        made = self.netbox.create("dcim/manufacturers", **{**wanted["body"], "name": "Somebody else's"})
        refused = self.apply(expect=EXIT_GUARD)
        self.assertEqual(self.writes(), 0)
        self.assertIn(f"manufacturer {wanted['label']} is in NetBox by now (#{made['id']})", refused.json["error"]["message"])
        # Just what was going to be made is as good.
        self.netbox.call("PATCH", f"dcim/manufacturers/{made['id']}/", wanted["body"])
        self.apply()
        self.assert_nothing_left()

    def test_another_configuration_is_refused(self):
        self.store()
        self.config = self.configuration(max_deletes=3)
        refused = self.apply(expect=EXIT_GUARD)
        self.assertIn("the configuration has changed: max_deletes\n", refused.stderr)
        self.assertEqual(self.server.requests()["total"], 0, "not even asked")
        # The profile is only speed.
        self.config = self.configuration(profile=str(self.workspace.file("other.yaml", QUICK + "  objects_per_request: 7\n")))
        self.apply()

    def with_settings(self, urls, **config):
        source = {**change.settings(self.pve), "urls": urls}
        del source["url"]
        self.config = self.workspace.config(self.server.url, change.NETBOX_TOKEN, {SOURCE: {**source, **config.pop("source", {})}},
                                            profile=self.profile, **config)

    def test_what_an_apply_has_nothing_to_do_with_may_change(self):
        by_name = self.pve.url.replace("127.0.0.1", "localhost")
        self.assertNotEqual(by_name, self.pve.url)
        machines, devices = ("virtualization.virtualmachine", {"fields": {"role": "always"}}), ("dcim.device", {"adopt": "tagged"})
        tags = ["b", "a"]
        self.with_settings([self.pve.url, by_name], source={"scope": {"exclude": {"tags": tags}}}, rules=dict([machines, devices]))
        self.store()
        harmless = {
            "addresses in another order": {"urls": [by_name + "/", self.pve.url]},
            "how it is asked": {"source": {"timeout": "12s", "max_in_flight": 1, "scope": {"exclude": {"tags": tags}}}},
            "a list in another order": {"source": {"scope": {"exclude": {"tags": tags[::-1]}}}},
            "rules in another order": {"rules": dict([devices, machines])},
            "the log": {"log": {"level": "debug", "format": "json"}},
            "metrics and service": {"metrics": {"textfile": str(self.workspace.path / "weir.prom")}, "serve": {"listen": "127.0.0.1:9799"}},
        }
        usual = {"urls": [self.pve.url, by_name], "source": {"scope": {"exclude": {"tags": tags}}}, "rules": dict([machines, devices])}
        for what, changed in harmless.items():
            with self.subTest(what):
                self.with_settings(**{**usual, **changed})
                self.apply()
        decisive = {
            f"sources.{SOURCE}": {"urls": [self.pve.url]},
            f"sources.{SOURCE}.scope": {"source": {"scope": {"exclude": {"tags": ["b"]}}}},
            "rules.dcim.device": {"rules": dict([machines, ("dcim.device", {"adopt": "never"})])},
            "rules.dcim.site is new": {"rules": dict([machines, devices, ("dcim.site", {"fields": {"name": "on-create"}})])},
        }
        for part, changed in decisive.items():
            with self.subTest(part):
                self.with_settings(**{**usual, **changed})
                refused = self.apply(expect=EXIT_GUARD)
                self.assertIn(f"\n  the configuration has changed: {part}\n", refused.stderr)
                self.assertEqual(self.server.requests()["total"], 0, "not even asked")

    def test_files_that_are_no_plans(self):
        self.store()
        text = self.file.read_text()
        for name, content in {"empty": "", "half": text[: len(text) // 2], "other": "{}", "edited": text.replace('"update"', '"updatf"', 1),
                              "newer": text.replace('"plan": "1.0"', '"plan": "2.0"')}.items():
            with self.subTest(name):
                bad = self.workspace.file(f"{name}.plan", content)
                refused = self.apply(file=bad, expect=EXIT_FAILED)
                self.assertIn(str(bad), refused.stderr)
                self.weir("show", str(bad), expect=EXIT_FAILED)
        self.apply(file="/nonexistent.plan", expect=EXIT_FAILED)
        self.assertEqual(self.writes(), 0)
        wrong = self.run_weir("plan", "--out", "/nonexistent/a.plan", expect=EXIT_FAILED)
        self.assertIn("/nonexistent/a.plan", wrong.stderr)

    def test_without_changes(self):
        self.run_weir()
        made = self.store("--detailed-exitcode")
        self.assertEqual(made.json["changes"], [])
        self.assertIn("No changes.", self.weir("show", str(self.file)).stdout)
        self.apply()
        self.assertEqual(self.writes(), 0)

    def test_out_and_apply_are_two_things(self):
        self.run_weir()
        run = self.history()["runs"][0]["run"]
        self.weir("undo", run, "--config", self.config, "--out", str(self.file), "--apply", expect=EXIT_USAGE)


if __name__ == "__main__":
    unittest.main()

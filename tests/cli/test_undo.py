#!/usr/bin/env python3
"""`weir undo`: NetBox is as it was before a run, field by field, but for what people have changed since."""
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
from sync_case import SyncCase
from undo_case import assert_same, everything, numbers, three_hundred_changes
from weir_test import EXIT_GUARD, EXIT_USAGE

GUESTS = "virtualization/virtual-machines"


class undo(SyncCase):
    def writes(self):
        return self.server.requests()["writes"]

    def undo(self, run, *arguments, **options):
        return self.run_weir("undo", run, *arguments, **options)

    def last_run(self):
        return self.history()["runs"][0]["run"]

    def test_three_hundred_changes(self):
        self.start(nodes=3, guests=60, backups=600)
        self.run_weir()
        first, first_numbers = everything(self.netbox), numbers(self.netbox)
        with self.pve.changed_model() as model:
            three_hundred_changes(model)
        self.run_weir()
        run = self.last_run()
        shown = self.history("show", run)
        self.assertGreaterEqual(len(shown["objects"]), 300)
        self.assertEqual({o["action"] for o in shown["objects"]}, {"create", "update", "delete"})
        second = everything(self.netbox)

        # The plan writes nothing, and is what will be done.
        planned = self.undo(run)
        self.assertEqual(self.writes(), 0)
        assert_same(self, everything(self.netbox), second)
        self.assertEqual(len(self.history()["runs"]), 2, "a plan is no run")
        done = self.undo(run, "--apply")
        for a, b in zip(planned.json["results"], done.json["results"]):
            for what in ("created", "updated", "deleted", "kept", "failed"):
                self.assertEqual(a[what], b[what], (a["stage"], what))
        assert_same(self, everything(self.netbox), first)
        # Objects that were there all the time are the same ones.
        now = numbers(self.netbox)
        self.assertEqual({p: len(n) for p, n in now.items()}, {p: len(n) for p, n in first_numbers.items()})
        self.assertEqual(now[GUESTS], first_numbers[GUESTS])
        self.assertEqual(self.history()["runs"][0]["command"], "undo")

        # Once more there is nothing left to do.
        self.undo(run, "--apply")
        self.assertEqual(self.writes(), 0)
        # The source still says what it said: the next sync does all of it again, and no edits are seen that nobody made.
        again = self.run_weir()
        self.assertEqual(sum(r["updated"] for r in again.json["results"]), sum(1 for o in shown["objects"] if o["action"] == "update" and not o["kind"].startswith("extras.")))
        assert_same(self, everything(self.netbox), second)

    def test_a_first_sync(self):
        self.start()
        empty = everything(self.netbox)
        self.run_weir()
        self.undo(self.last_run(), "--apply")
        assert_same(self, everything(self.netbox), empty)
        self.run_weir()
        self.assert_nothing_left()

    def test_undo_of_an_undo(self):
        self.start()
        self.run_weir()
        before = everything(self.netbox)
        with self.pve.changed_model() as model:
            three_hundred_changes(model)
        self.run_weir("sync", "--allow-deletes", "1000")
        after = everything(self.netbox)
        self.undo(self.last_run(), "--apply")
        assert_same(self, everything(self.netbox), before)
        self.undo(self.last_run(), "--apply")
        assert_same(self, everything(self.netbox), after)

    def test_what_people_changed_since_stays(self):
        self.start()
        self.run_weir()
        former = {g["id"]: g for g in self.netbox.all(GUESTS)}
        with self.pve.changed_model() as model:
            guests = [g for g in model["guests"] if g["type"] == "qemu" and not g["config"].get("template") and "name" in g["config"]][:3]
            for g in guests:
                g["config"]["memory"] = int(g["config"].get("memory", 512)) + 512
                g["config"]["cores"] = int(g["config"].get("cores", 1)) + 1
                g["config"].pop("vcpus", None)
        self.run_weir()
        run = self.last_run()
        held = {g["custom_fields"]["proxmox_vm_id"]: g for g in self.netbox.all(GUESTS)}
        edited, other, third = (held[g["vmid"]] for g in guests)
        self.netbox.change(GUESTS, edited["id"], memory=77)
        self.netbox.change(GUESTS, other["id"], comments="mine")
        outcome = self.undo(run, "--apply")
        now = {g["id"]: g for g in self.netbox.all(GUESTS)}
        self.assertEqual(now[edited["id"]]["memory"], 77)
        self.assertNotEqual(former[edited["id"]]["vcpus"], edited["vcpus"])
        self.assertEqual(now[edited["id"]]["vcpus"], former[edited["id"]]["vcpus"])
        self.assertEqual((now[other["id"]]["memory"], now[other["id"]]["comments"]), (former[other["id"]]["memory"], "mine"))
        self.assertEqual(now[third["id"]]["memory"], former[third["id"]]["memory"])
        self.assertIn(edited["name"], str(outcome.json), "what is kept is named")

    def test_what_people_changed_of_new_objects_stays(self):
        self.start()
        self.run_weir()
        guest = next(g for g in self.netbox.all(GUESTS) if g["custom_fields"]["proxmox_vm_id"])
        self.netbox.change(GUESTS, guest["id"], memory=77)
        self.undo(self.last_run(), "--apply")
        left = self.netbox.all(GUESTS)
        self.assertEqual([g["name"] for g in left], [guest["name"]])
        self.assertEqual(left[0]["tags"], guest["tags"])
        self.assertEqual(left[0]["custom_fields"], guest["custom_fields"])
        self.assertEqual(self.netbox.count("virtualization/clusters"), 1, "what it refers to stays, too")
        self.assertEqual(self.netbox.count("plugins/proxbox/backups"), 0)

    def test_an_interrupted_undo_is_finished_by_another(self):
        self.start()
        empty = everything(self.netbox)
        self.run_weir()
        run = self.last_run()
        self.undo(run, "--apply", "--max-duration", "0.001s", expect=None)
        self.undo(run, "--apply")
        assert_same(self, everything(self.netbox), empty)

    def test_the_journal_names_the_run_that_was_undone(self):
        self.start()
        self.run_weir()
        first = self.last_run()
        self.assertEqual(self.undo(first[:4]).json["undoes"], first)
        back = self.workspace.path / "back.plan"
        self.undo(first, "--out", str(back))
        done = self.weir("apply", str(back), "--config", self.config, "--output", "json", "--max-duration", "0.001s", expect=None)
        self.assertEqual(done.json["undoes"], first, "from a file, too")
        self.assertEqual(self.undo(first, "--apply").json["undoes"], first)
        runs = self.history()["runs"]
        self.assertEqual([(r["command"], r["undoes"]) for r in runs], [("undo", first), ("apply", first), ("sync", None)])
        self.assertEqual(self.history("show", runs[0]["run"])["undoes"], first)
        self.assertRegex(self.weir("history", "--config", self.config, "show", runs[0]["run"]).stdout, rf"(?m)^undoes +run {first}$")
        listed = self.weir("history", "--config", self.config).stdout
        self.assertIn(f"undo (undoes {first})", listed)
        self.assertIn(f"apply (undoes {first})", listed)

    def test_a_guest_stays_with_backups_of_later_runs(self):
        """NetBox would delete them with it."""
        self.start(nodes=2, guests=12, backups=40)
        with self.pve.changed_model() as model:
            backups, model["backups"] = model["backups"], []
        self.run_weir()
        first = self.last_run()
        with self.pve.changed_model() as model:
            model["backups"] = backups
        self.run_weir()
        held = self.netbox.all("plugins/proxbox/backups")
        self.assertGreater(len(held), 10)
        self.undo(first, "--apply")
        self.assertEqual(self.netbox.all("plugins/proxbox/backups"), held)
        self.assertEqual({g["id"] for g in self.netbox.all(GUESTS)}, {b["virtual_machine"]["id"] for b in held})

    def test_which_run(self):
        self.start()
        self.assertIn("journal", self.undo("abcd", expect=None).stderr)
        self.run_weir()
        first = self.last_run()
        self.assertIn("'nope'", self.undo("nope", expect=EXIT_USAGE).stderr)
        self.run_weir()
        nothing = self.undo(self.last_run(), expect=EXIT_GUARD)
        self.assertIn("nothing that could be undone", str(nothing))
        self.assertEqual(self.undo(first[:4]).exit_code, 0)

    def test_links_into_netbox(self):
        self.start()
        self.run_weir()
        with self.pve.changed_model() as model:
            guest = next(g for g in model["guests"] if g["config"].get("memory") and not g["config"].get("template"))
            before = int(guest["config"]["memory"])
            guest["config"]["memory"] = before + 512
        self.run_weir()
        run = self.last_run()
        shown = self.history("show", run)
        self.assertEqual(len(shown["objects"]), 1)
        written = shown["objects"][0]
        held = next(g for g in self.netbox.all(GUESTS) if g["custom_fields"]["proxmox_vm_id"] == guest["vmid"])
        self.assertEqual((written["netbox_id"], written["url"]), (held["id"], f"{self.netbox.url}/{GUESTS}/{held['id']}/"))
        self.assertEqual(written["fields"], [{"field": "memory", "before": before, "after": before + 512}])
        self.assertEqual(shown["changelog_url"], f"{self.netbox.url}/core/changelog/?q=weir%20run%20{run}")
        text = self.weir("history", "show", run, "--config", self.config).stdout
        self.assertRegex(text, rf"~  virtualization\.virtualmachine  {held['name']}  {held['display_url'] if 'display_url' in held else written['url']}"
                               rf"  memory {before} → {before + 512}\n")
        self.assertIn(shown["changelog_url"], text)
        # The change log has it by that search.
        found = self.netbox.all("core/object-changes", q=f"weir run {run}")
        self.assertEqual([c["changed_object_id"] for c in found], [held["id"]])


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
"""What weir keeps and shows for a stage: weir.state/1, weir.metrics/1 and weir.log/1, in process and isolated."""
import json
import os
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
import proxmox_model as change
from sync_case import SyncCase
from weir_test import EXIT_DONE, EXIT_PARTIAL

NOTES = os.environ["WEIR_TEST_NOTES"]


class extensions(SyncCase):
    isolation = "none"

    def begin(self, **options):
        self.start(guests=2, backups=0, plugin_path=[NOTES], stages={"notes": {"isolation": self.isolation, **options}})

    def seen_before(self, outcome):
        return [n["message"] for n in outcome.json["notices"] if n["message"].startswith("runs before")]

    def test_state_is_kept_between_runs(self):
        self.begin()
        for n in range(3):
            self.assertEqual(self.seen_before(self.run_weir()), [f"runs before: {n}"])
        self.assertEqual(self.ask_journal("SELECT source, stage, key, CAST(value AS TEXT) FROM plugin_state"),
                         [("pve-a", "notes", "runs", "3")])

    def test_a_plan_reads_and_keeps_nothing(self):
        self.begin()
        self.assertEqual(self.seen_before(self.run_weir("plan")), ["runs before: 0"])
        self.run_weir()
        for _ in range(2):
            self.assertEqual(self.seen_before(self.run_weir("plan")), ["runs before: 1"])
        self.assertEqual(self.seen_before(self.run_weir()), ["runs before: 1"])

    def test_what_did_not_land_is_not_noted(self):
        """A stage that notes how far it has read must read it again where NetBox refused what it emitted."""
        self.begin(slug="no slug!")
        outcome = self.run_weir(expect=EXIT_PARTIAL)
        self.assertEqual(outcome.result("notes")["kinds"]["extras.tag"]["failed"], 1, str(outcome))
        self.assertEqual(self.seen_before(self.run_weir(expect=EXIT_PARTIAL)), ["runs before: 0"])

    def test_it_reads_the_sources_that_it_shall(self):
        self.begin()
        pve = change.settings(self.pve)
        stages = {"notes": {"isolation": self.isolation, "sources": ["pve-b"]}}
        config = self.workspace.config(self.server.url, change.NETBOX_TOKEN, {"pve-a": pve, "pve-b": pve}, profile=self.profile,
                                       plugin_path=[NOTES], stages=stages)
        outcome = self.weir("sync", "--config", config, "--output", "json")
        self.assertEqual([(r["source"], r["stage"]) for r in outcome.json["results"]], [("pve-b", "notes")])

    def test_metrics_are_in_the_result(self):
        self.begin()
        outcome = self.run_weir()
        self.assertEqual(outcome.result("notes")["metrics"],
                         {"last_seconds": {"type": "gauge", "value": 1.5}, "looked_total": {"type": "counter", "value": 3.0}})
        text = self.weir("sync", "--config", self.config, "--verbose", expect=EXIT_DONE).stdout
        self.assertIn("notes: looked_total 3", text)

    def test_fields_are_in_the_log(self):
        self.begin()
        lines = [json.loads(line) for line in self.run_weir("sync", "--log-format", "json").stderr.splitlines()]
        noted = [line for line in lines if line["msg"] == "noted"]
        self.assertEqual([(n["stage"], n["source"], n["vmid"]) for n in noted], [("notes", "pve-a", "101")])


class isolated(extensions):
    isolation = "process"


if __name__ == "__main__":
    unittest.main(verbosity=2)

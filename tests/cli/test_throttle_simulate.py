#!/usr/bin/env python3
"""weir throttle simulate: every shipped scenario keeps what it promises, with several seeds; what is wrong is said."""
import os
import re
import sys
import unittest
import xml.etree.ElementTree as xml
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
from weir_test import EXIT_CONFIG, EXIT_DONE, EXIT_PARTIAL, EXIT_USAGE, TREE, WeirCase

PROFILES = ["ultra-conservative", "conservative", "aggressive"]
SCENARIOS = sorted(p.stem for p in (TREE / "configs/scenarios").glob("*.yaml"))
FIGURES = {"seconds", "requests", "done", "deferred", "lost", "refused", "refused_percent", "failed", "errors_percent",
           "retries", "peak_in_flight", "peak_connections", "lowest_limit", "highest_limit", "longest_gap_ms",
           "breaker_opened", "starved"}
COLUMNS = {"at_s", "limit", "in_flight", "gap_ms", "latency_s", "objects_per_request", "requests", "errors", "connections"}
SMALL = "work: [{kind: backups, objects: 100}]\n"


class throttle_simulate(WeirCase):
    def setUp(self):
        super().setUp()
        self.folder = Path(self.workspace.path)

    def simulate(self, *arguments, **options):
        return self.weir("throttle", "simulate", *arguments, **options)

    def scenario(self, text, name="own.yaml"):
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def refused(self, text, *says):
        outcome = self.simulate(self.scenario(text), expect=EXIT_CONFIG)
        self.assertEqual(outcome.stdout, "")
        for pattern in says:
            self.assertRegex(outcome.stderr, pattern, str(outcome))

    def test_the_shipped_scenarios_keep_their_promise(self):
        self.assertLessEqual({"quiet", "starved", "starved-persistent", "poisoned", "neighbour", "outage", "slow", "big"},
                             set(SCENARIOS))
        for name in SCENARIOS:
            for seed in range(1, 6):
                with self.subTest(scenario=name, seed=seed):
                    outcome = self.simulate(name, "--seed", str(seed), "--output", "json", expect=None)
                    self.assertEqual(outcome.stderr, "")
                    result = outcome.json
                    broken = [e for e in result["expected"] if not e["met"]]
                    self.assertEqual(broken, [], name)
                    self.assertEqual(outcome.exit_code, EXIT_DONE)
                    self.assertEqual({e["profile"] for e in result["expected"]}, set(PROFILES))
                    self.assertEqual([p["name"] for p in result["profiles"]], PROFILES)
                    for p in result["profiles"]:
                        self.assertLessEqual(FIGURES, set(p))
                        self.assertEqual(p["lost"], 0)
                        lengths = {len(v) for k, v in p["series"].items() if k != "step_s"}
                        self.assertEqual(len(lengths), 1, "columns of one length")
                        self.assertEqual(set(p["series"]) - {"step_s"}, COLUMNS)
                        self.assertLessEqual(max(p["series"]["in_flight"]), p["peak_in_flight"])
                        self.assertEqual(sum(p["series"]["requests"]), p["requests"])

    def test_the_table_and_the_recommendation(self):
        outcome = self.simulate("starved")
        self.assertEqual(outcome.stderr, "")
        for name in PROFILES:
            self.assertRegex(outcome.stdout, rf"(?m)^{name} +[\d.]+ +\d+ +1200 +0 +\d+ \(\d+\.\d\d %\)")
        self.assertRegex(outcome.stdout, r"(?m)^  conservative +seconds +\d+ to \d+ +met +is [\d.]+$")
        self.assertNotIn("NOT met", outcome.stdout)
        self.assertRegex(outcome.stdout, r"(?m)^Recommended here: \S+, the quickest with at most 1 % .*\.$")

    def test_the_same_seed_tells_the_same_and_another_something_else(self):
        once, again = (self.simulate("poisoned", "--seed", "3", "--output", "json").stdout for _ in range(2))
        self.assertEqual(once, again)
        self.assertNotEqual(once, self.simulate("poisoned", "--seed", "5", "--output", "json").stdout)

    def test_only_some_profiles_also_a_file_of_ones_own(self):
        own = self.folder / "six.yaml"
        own.write_text("extends: aggressive\nmax_in_flight: 6\n")
        result = self.simulate("big", "-p", "conservative", "--profile", str(own), "--output", "json").json
        self.assertEqual([p["name"] for p in result["profiles"]], ["conservative", "six"])
        self.assertEqual({e["profile"] for e in result["expected"]}, {"conservative"})
        quick = result["profiles"][1]
        self.assertEqual(quick["highest_limit"], 6)
        self.assertEqual(result["recommended"], "six")
        self.assertLess(quick["seconds"], result["profiles"][0]["seconds"] / 2)

    def test_an_expectation_that_is_not_met(self):
        path = self.scenario(SMALL + "expect: {conservative: {seconds: [0, 0.5], lost: 0}}\n")
        outcome = self.simulate(path, expect=EXIT_PARTIAL)
        self.assertRegex(outcome.stdout, r"(?m)^  conservative +seconds +0 to 0\.5 +NOT met: is [\d.]+$")
        self.assertRegex(outcome.stdout, r"(?m)^  conservative +lost +0 +met +is 0$")
        result = self.simulate(path, "-o", "json", expect=EXIT_PARTIAL).json
        self.assertIs(result["met"], False)

    def test_where_nothing_gets_through_no_profile_is_recommended(self):
        path = self.scenario(SMALL + "events: [{what: web_down, from_s: 1, to_s: 80000}]\n")
        result = self.simulate(path, "-o", "json").json
        self.assertIsNone(result["recommended"])
        self.assertIn("No profile finishes here", result["recommendation"])
        for p in result["profiles"]:
            self.assertEqual(p["done"] + p["deferred"], 100)
            self.assertGreater(p["deferred"], 0)
            self.assertIs(p["gave_up"], True)

    def test_the_picture(self):
        for name in SCENARIOS:
            with self.subTest(scenario=name):
                file = self.folder / f"{name}.svg"
                self.simulate(name, "--svg", str(file))
                root = xml.parse(file).getroot()
                space = "{http://www.w3.org/2000/svg}"
                self.assertEqual(root.tag, space + "svg")
                texts = [t.text for t in root.iter(space + "text")]
                for profile in PROFILES:
                    self.assertTrue(any(t.startswith(profile) for t in texts), texts)
                for label in ("requests in flight", "gap that weir adds", "latency of writes, s", "objects per write",
                              "requests refused or without", "database connections"):
                    self.assertTrue(any(t.startswith(label) for t in texts), f"{label}: {texts}")
                self.assertTrue(any(re.fullmatch("time, (s|min)", t) for t in texts))
                # limit, gap, latency, objects, connections
                self.assertEqual(len(list(root.iter(space + "path"))), 5 * len(PROFILES))
                width, height = float(root.get("width")), float(root.get("height"))
                numbers = r"-?[\d.]+"
                for line in root.iter(space + "path"):
                    self.assertRegex(line.get("d"), "^M")
                    for x, y in re.findall(rf"({numbers}),({numbers})", line.get("d")):
                        self.assertTrue(0 <= float(x) <= width and 0 <= float(y) <= height, f"{x},{y} is outside")
        self.assertTrue(any("neighbour takes 17" in t for t in
                            [t.text for t in xml.parse(self.folder / "neighbour.svg").getroot().iter() if t.text]))

    def test_a_picture_escapes_what_people_write(self):
        file = self.folder / "a.svg"
        self.simulate(self.scenario('description: "<b> & \\"c\\" \\u0001"\n' + SMALL), "--svg", str(file))
        self.assertIn("<b> &", " ".join(t.text or "" for t in xml.parse(file).getroot().iter()))

    def test_a_picture_that_cannot_be_written(self):
        outcome = self.simulate("quiet", "--svg", str(self.folder / "no" / "where.svg"), expect=1)
        self.assertEqual(outcome.stdout, "")
        self.assertIn("where.svg", outcome.stderr)

    def test_wrong_scenarios(self):
        self.refused("", r"the file is empty")
        self.refused("work: [\n", r"own\.yaml:\d+:\d+")
        self.refused(SMALL + "netbox: {wokers: 2}\n", r"unknown key 'wokers' in netbox", r"own\.yaml:2:10",
                     r"did you mean 'workers'", r"\^\^\^\^\^\^")
        self.refused(SMALL + "netbox: {workers: 0}\nevents: [{what: slow, from_s: 2, to_s: 1, factor: 2}]\n",
                     r"netbox\.workers must be between 1 and 64, is 0", r"events\[0\]\.to_s must be after from_s")
        self.refused(SMALL + "expect: {conservativ: {lost: 0}}\n", r"own\.yaml:2:\d+", r"did you mean 'conservative'")

    def test_what_is_not_there(self):
        for arguments, says in ((("starvd",), "did you mean 'starved'"), (("/no/such.yaml",), "/no/such.yaml"),
                                (("quiet", "-p", "agressive"), "did you mean 'aggressive'")):
            outcome = self.simulate(*arguments, expect=EXIT_CONFIG)
            self.assertEqual(outcome.stdout, "")
            self.assertIn(says, outcome.stderr)

    def test_usage(self):
        for arguments in ((), ("throttle",), ("throttle", "simulate"), ("throttle", "simulate", "quiet", "--seed", "x"),
                          ("throttle", "simulate", "quiet", "--output", "xml")):
            outcome = self.weir(*arguments, expect=EXIT_USAGE)
            self.assertEqual(outcome.stdout, "")


if __name__ == "__main__":
    unittest.main(verbosity=2)

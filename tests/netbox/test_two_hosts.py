#!/usr/bin/env python3
"""Two syncs at once into one NetBox: with one state directory the second refuses; with two, as on two machines, NetBox's own
constraints decide, and both end right."""
import concurrent.futures
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
from netbox_case import NetBoxCase
from netbox_lab import Meanwhile
from weir_test import EXIT_DONE, EXIT_LOCKED, EXIT_PARTIAL

GUESTS, BACKUPS = 30, 300


class two_hosts(NetBoxCase):
    LAB = "--workers 2 --threads 4 --pg-max-connections 40"
    COLUMNS = ("host", "exit", "created", "updated", "failed", "deferred", "requests", "answers of 400 and more", "said")

    def row(self, name, outcome, proxy=None):
        total = {n: sum(r[n] for r in outcome.json["results"]) for n in ("created", "updated", "failed", "deferred")}
        errors = sum(status >= 400 for _, _, status in proxy.answered) if proxy else ""
        said = outcome.json["failures"][0]["error"][:80] if outcome.json["failures"] else ""
        self.figures.add(name, outcome.exit_code, *total.values(), sum(outcome.json["requests"].values()), errors, said)

    def test_one_state_directory(self):
        proxy = self.proxy(self.netbox.url)
        self.start(guests=GUESTS, backups=BACKUPS, url=proxy.url)
        outcomes = []
        with Meanwhile(lambda: proxy.writes() >= 3, lambda: outcomes.append(self.weir("sync", "--config", self.config, expect=None))):
            first = self.run_weir("sync")
        self.assertEqual(len(outcomes), 1, "the first ended before the second began")
        second, = outcomes
        self.assertEqual(second.exit_code, EXIT_LOCKED, str(second))
        self.row("first", first, proxy)
        self.figures.add("second, the same state_dir", second.exit_code, *[""] * 6,
                         next(line for line in second.stderr.splitlines() if "holds the lock" in line))
        self.assertRegex(second.stderr, rf"holds the lock[^\n]*weir sync, run {first.json['run']}, pid \d+ on \S+, since \d{{4}}-")
        self.assert_counted_by(first, proxy.seen)  # the second asked NetBox nothing
        self.assert_settled()

    def test_two_state_directories(self):
        proxies = [self.proxy(self.netbox.url) for _ in range(2)]
        self.start(guests=GUESTS, backups=BACKUPS)
        configs = [self.configuration(name=f"{n}.yaml", url=p.url, state_dir=str(self.workspace.path / f"state-{n}"))
                   for n, p in enumerate(proxies)]
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            outcomes = list(pool.map(lambda c: self.run_weir("sync", config=c, expect=None), configs))
        for name, outcome, proxy in zip(("one", "other"), outcomes, proxies):
            self.row(f"{name}, a state_dir of its own", outcome, proxy)
        for outcome in outcomes:
            self.assertIn(outcome.exit_code, (EXIT_DONE, EXIT_PARTIAL), str(outcome))
        self.assertTrue(all(p.writes() for p in proxies), "they did not write at the same time")
        for self.config in configs:
            self.assert_settled()


if __name__ == "__main__":
    unittest.main(verbosity=2)

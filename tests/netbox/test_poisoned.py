#!/usr/bin/env python3
"""Another client's burst has left NetBox's threads without database connections for good: only a restart of its workers
helps. weir says so, does what still can be done, and after the restart resumes. The first fix on the same pool, for comparison.
"""
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
from netbox_case import NetBoxCase
from netbox_lab import first_fix, plain_client
from weir_test import EXIT_STOPPED

GUESTS, BACKUPS = 10, 100
BURST, BURST_THREADS = 200, 64
LOOKS = 40
READ = ("GET", "extras/tags/?limit=1", None)
SHORT_OUTAGE_S = 40  # so that a run ends soon where nothing gets through
PATIENCE = "150s"  # and where next to nothing does: how many threads a burst leaves without a connection is chance


class poisoned(NetBoxCase):
    LAB = "--workers 2 --threads 8 --pg-max-connections 10 --conn-max-age 300"
    COLUMNS = ("client", "alone before", "exits", "seconds", "requests", "refused", "refused %", "done", "left to resume")

    def setUp(self):
        self.lab("new-workers")
        super().setUp()

    def poison(self):
        """How many of some requests, one after the other, fail when the burst is over."""
        plain_client(self.netbox, [READ] * BURST, BURST_THREADS)
        failed = plain_client(self.netbox, [READ] * LOOKS, 1)["OperationalError"]
        self.assertGreater(failed, LOOKS // 10, "the pool is not poisoned")
        return f"{failed} of {LOOKS} fail"

    def sync(self, base):
        self.start(guests=GUESTS, backups=BACKUPS)
        profile = self.profile(base, retry={"max_outage_s": SHORT_OUTAGE_S})
        before = self.poison()
        self.log.mark()
        outcome = self.run_weir("sync", "--profile", profile, "--max-duration", PATIENCE, expect=None)
        seen = self.log.read()
        self.lab("new-workers")
        outcomes = self.resume_if_stopped(outcome)
        refused = sum(status == 500 for _, _, status, _ in seen)
        total = {n: sum(r[n] for r in outcome.json["results"]) for n in ("created", "updated", "deferred")}
        self.figures.add(base, before, " ".join(str(o.exit_code) for o in outcomes), outcome.seconds, len(seen), refused,
                         100 * refused / max(1, len(seen)), total["created"] + total["updated"], total["deferred"])
        self.assertGreater(refused, 0, "weir did not meet the poisoned pool")
        self.assertRegex(outcome.stderr, r"(?m)^.*poisoned.*restart NetBox's workers", str(outcome))
        self.assertIs(outcome.json["throttle"]["pool_starved"], True, str(outcome))
        self.assertEqual(sum(r["failed"] for r in outcome.json["results"]), 0, str(outcome))
        if outcome.exit_code == EXIT_STOPPED:
            left = total["deferred"] > 0 or any(r["status"] == "stopped" for r in outcome.json["results"])
            self.assertTrue(left, str(outcome))
        self.assert_settled()

    def test_conservative(self):
        self.sync("conservative")

    def test_ultra_conservative(self):
        self.sync("ultra-conservative")

    def test_aggressive(self):
        self.sync("aggressive")

    def test_first_fix(self):
        before = self.poison()
        answers, lost = first_fix(self.netbox, [("POST", "extras/tags/", {"name": f"tag {n}", "slug": f"tag-{n}"}) for n in range(20)])
        requests = sum(answers.values())
        self.figures.add("first fix (5 single requests, 200 ms)", before, "", "", requests, requests - answers["ok"],
                         100 * (requests - answers["ok"]) / requests, answers["ok"], f"{lost} lost")
        self.assertEqual(answers["ok"] + lost, 20)
        self.assertGreater(answers["OperationalError"], 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)

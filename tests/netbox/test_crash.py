#!/usr/bin/env python3
"""weir is killed (SIGKILL) at twenty random moments of a sync, and `weir resume` finishes, at once: what was under way when
it died may still arrive at NetBox meanwhile.
"""
import random
import signal
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
from netbox_case import NetBoxCase

GUESTS, BACKUPS = 15, 120
KILLS, MOST_ROUNDS = 20, 30
SEED = 4


class crash(NetBoxCase):
    LAB = "--workers 2 --threads 4 --pg-max-connections 40"
    COLUMNS = ("kill", "after requests", "and ms", "writes so far", "in flight", "requests to resume", "writes to resume")

    def killed_after(self, requests, delay):
        """weir, killed so long after so many requests were seen."""
        reached = []

        def now():
            if not reached and len(self.proxy_.seen) >= requests:
                reached.append(time.monotonic())
            return reached and time.monotonic() - reached[0] >= delay
        return self.run_weir("sync", "--profile", self.brisk, expect=None, interrupt_when=now, interrupt_with=signal.SIGKILL)

    def test_killed_anywhere(self):
        dice = random.Random(SEED)
        self.proxy_ = self.proxy(self.netbox.url)
        self.start(guests=GUESTS, backups=BACKUPS, url=self.proxy_.url)
        # Several in flight, and many small lists: as much as possible that can be half done.
        self.brisk = self.profile("aggressive", batch={"objects_per_request": 10})
        self.run_weir("sync", "--profile", self.brisk)
        last, kills = len(self.proxy_.seen), 0
        self.assertGreater(self.proxy_.writes(), 15)
        for number in range(MOST_ROUNDS):
            requests, delay = dice.randint(1, last - 1), dice.uniform(0, 0.2)
            with self.subTest(seed=SEED, round=number, requests=requests, delay=delay):
                kills += self.round(number, requests, delay)
            if kills == KILLS:
                return
        self.fail(f"only {kills} of {KILLS} kills came before the end of the run")

    def round(self, number, requests, delay):
        """Whether weir was killed in it."""
        self.lab("reset")
        self.proxy_.reset()
        self.config = self.configuration(url=self.proxy_.url, state_dir=str(self.workspace.path / f"state-{number}"))
        if self.killed_after(requests, delay).exit_code != -signal.SIGKILL:
            return False
        seen, writes, in_flight = len(self.proxy_.seen), self.proxy_.writes(), self.proxy_.in_flight
        self.run_weir("resume")
        self.figures.add(f"{number}", requests, int(delay * 1000), writes, in_flight, len(self.proxy_.seen) - seen,
                         self.proxy_.writes() - writes)
        if not writes:  # nothing was begun; a resume may leave it at that
            self.run_weir("sync", "--profile", self.brisk)
        self.assert_settled()
        return True


if __name__ == "__main__":
    unittest.main(verbosity=2)

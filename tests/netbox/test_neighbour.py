#!/usr/bin/env python3
"""In the middle of an aggressive sync somebody else takes most of NetBox's processor time and of its database's connections
for 30 s. weir gives way within seconds, and comes back.
"""
import statistics
import subprocess
import sys
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
from netbox_case import NetBoxCase
from netbox_lab import SCRIPT, Meanwhile, ask
from weir_test import EXIT_DONE

GUESTS, BACKUPS = 20, 7500
BEGIN_AT = 2500  # objects sent: weir has found its pace
SECONDS, READERS = 30, 3
SLEEPERS, APART_S = 6, 2  # with the readers 9 of the 11 connections there are
SETTLING = 10  # samples, each of a second, in which weir may still be finding out


class Neighbour:
    """Reads that keep NetBox busy, and connections to its database, one more every two seconds."""

    def __init__(self, lab, netbox):
        self.lab, self.netbox, self.active, self.answers = lab, netbox, False, []

    def read(self):
        while self.active:
            self.answers.append(ask(self.netbox, "GET", "core/object-changes/?limit=100"))

    def __call__(self):
        self.active, end = True, time.monotonic() + SECONDS
        readers = [threading.Thread(target=self.read, daemon=True) for _ in range(READERS)]
        for r in readers:
            r.start()
        sleepers = []
        for _ in range(SLEEPERS):
            left = max(1, int(end - time.monotonic()))
            sleepers.append(subprocess.Popen([str(SCRIPT), "psql", "-U", "netbox", "-c", f"SELECT pg_sleep({left})"],
                                             env=self.lab.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                             stderr=subprocess.DEVNULL))
            time.sleep(APART_S)
        time.sleep(max(0, end - time.monotonic()))
        self.active = False
        for r in readers:
            r.join()
        for s in sleepers:
            s.wait()


class neighbour(NetBoxCase):
    LAB = "--workers 2 --threads 4 --pg-max-connections 14 --conn-max-age 0"
    COLUMNS = ("phase", "seconds", "most in flight", "median in flight", "objects/s")

    def sample(self, proxy, other, over, series):
        """Once a second: (phase, most in flight since the last time, objects sent since)."""
        sent = 0
        while not over.wait(1):
            phase = "neighbour" if other.active else "after" if other.answers else "alone"
            series.append((phase, proxy.take_window(), proxy.objects - sent))
            sent = proxy.objects

    def test_gives_way_and_comes_back(self):
        proxy = self.proxy(self.netbox.url)
        self.start(guests=GUESTS, backups=BACKUPS, url=proxy.url)
        other, over, series = Neighbour(self.lab, self.netbox), threading.Event(), []
        sampling = threading.Thread(target=self.sample, args=(proxy, other, over, series), daemon=True)
        sampling.start()
        with Meanwhile(lambda: proxy.objects >= BEGIN_AT, other) as met:
            outcome = self.run_weir("sync", "--profile", "aggressive", expect=None, timeout=600)
        over.set()
        sampling.join()
        self.assertTrue(met.done)
        of = {phase: [(n, o) for p, n, o in series if p == phase] for phase in ("alone", "neighbour", "after")}
        for phase, seen in of.items():
            in_flight = [n for n, _ in seen]
            print(f"\n{phase}\n  in flight {' '.join(map(str, in_flight))}\n  objects/s {' '.join(str(o) for _, o in seen)}", file=sys.stderr)
            if seen:
                self.figures.add(phase, len(seen), max(in_flight), statistics.median(in_flight), statistics.mean(o for _, o in seen))
        refused, requests = proxy.failures(), len(proxy.seen)
        theirs = len(other.answers) - other.answers.count("ok")
        self.figures.add(f"refused {refused} of {requests}; the neighbour {theirs} of {len(other.answers)}", *[""] * 4)
        self.figures.add(f"limit cut {self.of_throttle(outcome, 'cuts')} times, longest gap {self.of_throttle(outcome, 'longest_gap_ms')} ms", *[""] * 4)
        self.assertEqual(outcome.exit_code, EXIT_DONE, str(outcome))
        self.assertGreater(min(map(len, of.values())), SETTLING, f"one of the phases is too short: {series}")
        # Means: with a limit of two, now and then fewer or more are tried.
        alone, crowded, after = (of["alone"][-SETTLING:], of["neighbour"][SETTLING:], of["after"][SETTLING:])
        in_flight = {name: statistics.mean(n for n, _ in seen) for name, seen in (("alone", alone), ("crowded", crowded))}
        pace = {name: statistics.mean(o for _, o in seen) for name, seen in (("alone", alone), ("crowded", crowded), ("after", after))}
        # Where the machine has other work, one at a time may be all that is of use from the beginning: then it stays at that.
        self.assertLess(in_flight["crowded"], max(in_flight["alone"], 1.3), series)
        # Coming back is the pace of before, with as many in flight as that takes: how many differs from one minute to the next.
        self.assertGreater(pace["after"], max(pace["crowded"], pace["alone"] / 2), series)
        self.assertGreaterEqual(max(n for n, _ in after), min(round(in_flight["alone"]), 2), series)
        self.assertLess(refused / requests, 0.01)
        self.assert_settled()


if __name__ == "__main__":
    unittest.main(verbosity=2)

#!/usr/bin/env python3
"""What a sync lives through in its middle: PostgreSQL stopped, gunicorn killed, 502 from the proxy in front, Redis stopped.
The fault strikes once a number of writes has been seen. In the end NetBox holds what the source has, nothing twice.
"""
import collections
import random
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
from netbox_case import NetBoxCase
from netbox_lab import Meanwhile
from weir_test import WRITES

GUESTS, BACKUPS = 60, 400
# Writes. With lists of 20 the 13th to 15th carry the guests, the 17th to 36th the backups.
AMONG_GUESTS, AMONG_BACKUPS = 14, 20
SEED = 4


class outages(NetBoxCase):
    LAB = "--workers 2 --threads 4 --pg-max-connections 40"
    COLUMNS = ("fault", "exits", "seconds", "requests", "server errors seen", "writes before", "writes after", "retried", "breaker opened")

    def setUp(self):
        self.lab("up")  # what a failed test left stopped
        super().setUp()

    def survive(self, name, fault, base, writes, errors, strike_after=AMONG_GUESTS, url=None):
        """A sync during which `fault()` happens. `writes()`, `errors()`: how many were seen so far."""
        self.start(guests=GUESTS, backups=BACKUPS, url=url)
        before = []

        def strike():
            before.append(writes())
            fault()

        with Meanwhile(lambda: writes() >= strike_after, strike) as struck:
            outcome = self.run_weir("sync", "--profile", self.profile(base, batch={"objects_per_request": 20}), expect=None)
        self.assertTrue(struck.done, f"the run ended before the fault\n{outcome}")
        outcomes = self.resume_if_stopped(outcome)
        after = writes() - before[0]
        self.figures.add(f"{name} ({base})", " ".join(str(o.exit_code) for o in outcomes), sum(o.seconds for o in outcomes),
                         sum(o.json["requests"].get("total", 0) for o in outcomes), errors(), before[0], after,
                         self.of_throttle(outcome, "retried"), self.of_throttle(outcome, "breaker_opened"))
        self.assertGreater(after, 0, "nothing was left to write when the fault struck")
        self.assert_settled()

    def survive_behind_proxy(self, name, fault, base="conservative", strike_after=AMONG_GUESTS):
        proxy = self.proxy(self.netbox.url)
        self.survive(name, lambda: fault(proxy), base, proxy.writes, proxy.failures, strike_after, proxy.url)
        self.assertGreater(proxy.failures(), 0, "the fault was not felt")

    def test_postgresql_stopped(self):
        def fault(_):
            self.lab("db-stop")
            time.sleep(20)
            self.lab("db-start")
        self.survive_behind_proxy("PostgreSQL stopped 20 s", fault)

    def test_redis_stopped(self):
        def fault(_):
            self.lab("redis-stop")
            time.sleep(10)
            self.lab("redis-start")
        # A request that is under way then waits for Redis, and may come through: the next ones are refused.
        self.survive_behind_proxy("Redis stopped 10 s", fault, strike_after=AMONG_BACKUPS)

    def test_proxy_answers_502(self):
        """Every second time NetBox has committed before: the first write in any case."""
        dice, kinds = random.Random(SEED), collections.Counter()

        def bad_gateway(method, _):
            late = method in WRITES and (not kinds["after"] or dice.random() < 0.5)
            kinds["after" if late else "before"] += 1
            return "after" if late else "before"

        def fault(proxy):
            healthy, proxy.fault = proxy.fault, bad_gateway
            time.sleep(10)
            proxy.fault = healthy

        self.survive_behind_proxy("502 for 10 s", fault, "aggressive")
        self.figures.add(f"  of them {kinds['before']} before, {kinds['after']} after the commit", *[""] * (len(self.COLUMNS) - 1))
        self.assertGreater(kinds["after"], 0)

    def test_gunicorn_killed(self):
        """weir talks to gunicorn itself here: connections are cut, then refused."""
        def fault():
            self.lab("kill-web")
            time.sleep(3)
            self.lab("start-web")
        self.survive("gunicorn killed", fault, "conservative", lambda: len(self.writes(self.log.read())),
                     lambda: sum(status >= 500 for _, _, status, _ in self.log.read()))


if __name__ == "__main__":
    unittest.main(verbosity=2)

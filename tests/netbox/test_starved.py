#!/usr/bin/env python3
"""A NetBox with more threads than its PostgreSQL has connections, as on the day that weir was made for: a plain client
loses most of its requests there; weir finishes the same work with each profile as shipped. Two forms: connections that are
given back after each request, and connections that each thread keeps, which a burst poisons.
"""
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
from netbox_case import NetBoxCase
from netbox_lab import Connections, ask, plain_client
from weir_test import EXIT_DONE

NODES, GUESTS, BACKUPS = 3, 200, 1000
PLAIN_GUESTS, PLAIN_BACKUPS, PLAIN_THREADS = 20, 400, 48
GENTLE_SHARE = 0.01  # of the requests may be refused with the two gentle profiles


class starved_netbox:
    COLUMNS = ("client", "objects", "exit", "seconds", "requests", "refused", "refused %", "retried", "in flight", "allowed",
               "connections", "limit cut", "poisoned after")

    def plain_backups(self):
        """Requests that create one backup each, spread over some virtual machines."""
        cluster = self.netbox.create("virtualization/clusters", name="plain", type=self.netbox.create(
            "virtualization/cluster-types", name="plain", slug="plain")["id"])["id"]
        machines = self.netbox.call("POST", "virtualization/virtual-machines/",
                                    [{"name": f"plain-{n}", "cluster": cluster, "status": "active"} for n in range(PLAIN_GUESTS)])
        storage = self.netbox.create("plugins/proxbox/storage", name="plain", cluster=cluster)["id"]
        return [("POST", "plugins/proxbox/backups/", {
            "proxmox_storage": storage, "storage": "plain", "virtual_machine": machines[n % PLAIN_GUESTS]["id"],
            "vmid": 100 + n % PLAIN_GUESTS, "volume_id": f"plain:backup/{n}", "subtype": "qemu", "format": "zst",
            "creation_time": "2026-01-01T00:00:00Z", "size": n,
        }) for n in range(PLAIN_BACKUPS)]

    def refused_now(self, requests=16):
        """Of so many requests, one after the other, when nobody else asks anything."""
        return sum(ask(self.netbox, "GET", "extras/tags/?limit=1") != "ok" for _ in range(requests))

    def test_a_plain_client_drowns_it(self):
        requests = self.plain_backups()
        with Connections(self.lab) as connections:
            answers = plain_client(self.netbox, requests, PLAIN_THREADS)
        self.figures.add("plain client", len(requests), "", "", sum(answers.values()), answers["OperationalError"],
                         100 * answers["OperationalError"] / len(requests), 0, PLAIN_THREADS, "", connections.peak, "", self.refused_now())
        self.assertEqual(set(answers) - {"ok", "OperationalError"}, set(), answers)
        self.assertGreater(answers["OperationalError"], len(requests) // 5, answers)

    def sync(self, name, profile, guests, backups, allowed):
        """Runs it through a proxy; (its share of refused requests, whether it left the pool poisoned)."""
        proxy = self.proxy(self.netbox.url)
        self.start(NODES, guests, backups, url=proxy.url)
        self.log.mark()
        with Connections(self.lab) as connections:
            outcome = self.run_weir("sync", "--profile", profile, expect=None, timeout=600)
        seen = self.log.read()
        refused, poisoned = sum(status == 500 for _, _, status, _ in seen), self.refused_now()
        self.figures.add(name, NODES + guests + backups, outcome.exit_code, outcome.seconds, len(seen), refused, 100 * refused / len(seen),
                         self.of_throttle(outcome, "retried"), proxy.peak_in_flight, allowed, connections.peak,
                         self.of_throttle(outcome, "cuts"), f"{poisoned} of 16")
        self.assertEqual(outcome.exit_code, EXIT_DONE, str(outcome))
        self.assertLessEqual(proxy.peak_in_flight, allowed)
        self.assert_counted_by(outcome, seen)
        if poisoned:  # by an aggressive profile; it must not hide what was written
            self.lab("new-workers")
        self.assert_settled()
        self.assertEqual(self.of_throttle(outcome, "refused"), refused, str(outcome))
        return refused / len(seen), poisoned

    def assert_gentle(self, name, profile, guests=GUESTS, backups=BACKUPS, allowed=1):
        share, poisoned = self.sync(name, profile, guests, backups, allowed)
        self.assertLessEqual(share, GENTLE_SHARE)
        self.assertEqual(poisoned, 0, "weir poisoned the pool")

    def test_conservative(self):
        self.assert_gentle("conservative", "conservative", allowed=self.most_in_flight("conservative"))

    def test_ultra_conservative(self):
        self.assert_gentle("ultra-conservative", "ultra-conservative", allowed=self.most_in_flight("ultra-conservative"))

    def test_aggressive_backs_down(self):
        self.sync("aggressive", "aggressive", GUESTS, BACKUPS, self.most_in_flight("aggressive"))


class connections_given_back(starved_netbox, NetBoxCase):
    LAB = "--workers 1 --threads 8 --pg-max-connections 8 --conn-max-age 0"

    def test_an_object_per_request(self):
        """The first fix to the letter. A tenth of the objects: one request each takes its time."""
        self.assert_gentle("conservative, 1 object each", self.profile("conservative", batch={"objects_per_request": 1}),
                           guests=GUESTS // 10, backups=BACKUPS // 10)


class connections_kept(starved_netbox, NetBoxCase):
    LAB = "--workers 2 --threads 8 --pg-max-connections 10 --conn-max-age 300"

    def setUp(self):
        self.lab("new-workers")  # those of the test before may have poisoned each other
        super().setUp()


if __name__ == "__main__":
    unittest.main(verbosity=2)

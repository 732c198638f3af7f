#!/usr/bin/env python3
"""NetBox does what it was asked to, and its answer never comes: looked up in the change log or by natural keys, in few
requests, and nothing is doubled."""
import json
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
import proxmox_model as change
from sync_case import SMALL, SyncCase
from weir_test import EXIT_STOPPED

BACKUPS = "plugins/proxbox/backups"
BAD_GATEWAY = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n"
# How an answer gets lost.
LOST = {"502": {"status": 502, "body": BAD_GATEWAY}, "504": {"status": 504, "body": BAD_GATEWAY.replace("502 Bad Gateway", "504 Gateway Time-out")},
        "cut": {"cut": True}, "truncated": {"truncate_body_at": 30}, "a login page": {"status": 200, "body": "<!doctype html><title>Sign in</title>"}}


class lost_answers(SyncCase):
    def start(self, **more):
        super().start(guests=6, backups=60, profile_text=SMALL, **more)

    def lose(self, how, part=BACKUPS, method="POST", **more):
        self.server.faults([{"path_regex": f"^/api/{part}/", "method": method, "after_commit": True, "times": 2, "skip": 1, **how, **more}])

    def looked_up(self):
        return self.sent("core/object-changes", "GET")

    def undisturbed(self):
        """How many requests the same work takes when nothing is lost."""
        server = self.simulator("netbox")
        outcome = self.weir("sync", "--config", self.configuration(server, name="undisturbed.yaml"), "--output", "json")
        return outcome.json["requests"]

    def test_each_kind_of_loss(self):
        self.start()
        usual = self.undisturbed()
        for name, how in LOST.items():
            with self.subTest(lost=name):
                self.server = self.simulator("netbox")
                self.netbox.url = self.server.url
                self.config = self.configuration(name=f"{name}.yaml")
                self.lose(how)
                outcome = self.run_weir("sync", timeout=120)
                counted = self.server.requests()
                self.assertEqual(outcome.json["looked_up"], 2, str(outcome))
                # Each: once in the change log, once the objects themselves.
                self.assertEqual(self.looked_up(), 2, counted["by_endpoint"])
                self.assertLessEqual(counted["by_method"]["GET"], usual["GET"] + 2 * 2)
                # Lists are halved after a lost answer, so that there may be more of them; but what is there is not sent again.
                sent = [b["volume_id"] for w in counted["last_writes"] if w["target"] == f"/api/{BACKUPS}/" for b in json.loads(w["body"])]
                self.assertEqual(sorted(sent), sorted(set(sent)))
                self.assert_counts(outcome, "backups", failed=0, deferred=0)
                self.assertEqual(outcome.json["failures"], [])
                self.assert_nothing_left()

    def test_without_the_right_to_read_the_change_log(self):
        """By natural keys: nobody can tell when NetBox has finished, so it is waited a little."""
        self.start()
        self.server.options(tokens=[{"token": change.NETBOX_TOKEN, "denied": ["core.objectchange:view"]}])
        self.lose(LOST["502"])
        outcome = self.run_weir("sync", timeout=120)
        self.assertEqual(outcome.json["looked_up"], 2)
        self.assertEqual(self.server.requests()["by_status"]["403"], self.looked_up())
        self.assertEqual(self.looked_up(), 2, "nobody asks again for what he may not read")
        self.assert_counts(outcome, "backups", failed=0, deferred=0)
        self.server.options(tokens=[{"token": change.NETBOX_TOKEN}])
        self.assert_nothing_left()

    def test_not_carried_out(self):
        """The proxy lost it on the way there: looked up, not found, sent again."""
        self.start()
        self.lose(LOST["502"], after_commit=False, times=1)
        outcome = self.run_weir("sync", timeout=120)
        self.assertEqual(outcome.json["looked_up"], 1)
        self.assert_counts(outcome, "backups", failed=0, deferred=0)
        self.assert_nothing_left()

    def test_still_at_work(self):
        """The proxy gives up first; NetBox commits a second later."""
        self.start()
        proxy = self.proxy(self.server.url)
        impatient = []

        def give_up(method, path):
            if method == "POST" and path.startswith(f"/api/{BACKUPS}/") and self.sent(BACKUPS) >= 1 and not impatient:
                impatient.append(path)
                return "late"
            return None

        proxy.fault = give_up
        self.config = self.configuration(proxy)
        outcome = self.run_weir("sync", timeout=120)
        self.assertEqual(len(impatient), 1)
        self.assertEqual(outcome.json["looked_up"], 1)
        self.assert_counts(outcome, "backups", failed=0, deferred=0)
        self.assert_nothing_left()

    def test_lists_of_other_kinds(self):
        """Guests, whose children need their numbers; and changes and deletions, which may be sent again."""
        self.start()
        self.lose(LOST["504"], part="virtualization/virtual-machines", skip=0)
        outcome = self.run_weir("sync", timeout=120)
        self.assertGreaterEqual(outcome.json["looked_up"], 1)
        self.assert_nothing_left()
        with self.pve.changed_model() as model:
            change.remove_backups(model, 7)
            changed = change.stop_guest(model)
        self.assertTrue(changed)
        self.server.faults([{"path_regex": "^/api/", "method": method, "after_commit": True, "times": 1, **LOST[how]}
                            for method, how in (("PATCH", "502"), ("DELETE", "cut"))])
        outcome = self.run_weir("sync", timeout=120)
        self.assert_counts(outcome, "backups", deleted=7, failed=0)
        self.assert_counts(outcome, "virtual-machines", updated=1, failed=0)
        self.assert_nothing_left()

    def test_the_look_up_gets_no_answer_either(self):
        """All of it is left to a later run, which finds out."""
        self.start(profile=str(self.workspace.file("short.yaml", SMALL + "  max_outage_s: 1\n")))
        self.server.faults([{"path_regex": f"^/api/{BACKUPS}/", "method": "POST", "after_commit": True, **LOST["502"]},
                            {"path_regex": "^/api/core/object-changes/", **LOST["502"], "times": -1},
                            {"path_regex": "^/api/status/", **LOST["502"], "times": -1, "skip": 1}])
        outcome = self.run_weir("sync", expect=EXIT_STOPPED, timeout=120)
        self.assertEqual(outcome.result("backups")["failed"], 0)
        self.assertEqual(self.ask_journal("SELECT count(*) FROM batches WHERE state = 'unknown'"), [(1,)])
        self.server.faults([])
        finished = self.run_weir("resume")
        self.assertEqual(finished.json["looked_up"], 1)
        self.assertEqual(self.ask_journal("SELECT count(*) FROM batches WHERE state = 'unknown'"), [(0,)])
        self.assert_nothing_left()


if __name__ == "__main__":
    unittest.main(verbosity=2)

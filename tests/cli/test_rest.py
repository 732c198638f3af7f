#!/usr/bin/env python3
"""A stage on a source of the type rest: an inventory that is no Proxmox VE, from the configuration to NetBox."""
import os
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
import proxmox_model as change
from weir_test import (EXIT_CONFIG, EXIT_CREDENTIALS, EXIT_DONE, EXIT_PARTIAL, EXIT_UNREACHABLE, NetBox, WeirCase)

STAGE = os.environ["WEIR_TEST_DEVICE_TAGS"]
TOKEN = "inventory-token-5ecre7"
STYLES = {
    "link": {"style": "link", "size_parameter": "per_page", "size": 50},
    "next": {"style": "next", "total": "count"},
    "page": {"style": "page", "items": "data", "total": "meta.total"},
    "offset": {"style": "offset", "items": "rows", "size_parameter": "limit", "size": 30},
    "cursor": {"style": "cursor", "items": "devices", "next": "response_metadata.next_cursor"},
}


class rest_source(WeirCase):
    def setUp(self):
        super().setUp()
        self.netbox = self.simulator("netbox")
        self.inventory = self.simulator("inventory", "--devices", 120, "--token", TOKEN)

    def config(self, style="link", login=None, source=None, **more):
        settings = {"type": "rest", "urls": [f"{self.inventory.url}/api"], **(login or {"token": TOKEN}), "check": "/health",
                    "paging": STYLES[style], **(source or {})}
        return self.workspace.config(self.netbox.url, change.NETBOX_TOKEN, {"inventory": settings}, plugin_path=[STAGE],
                                     stages={"device-tags": {"path": f"/{style}/devices"}}, **more)

    def tags(self):
        return {t["slug"]: t["description"] for t in NetBox(self.netbox.url, change.NETBOX_TOKEN).all("extras/tags")}

    def sync(self, config, expect=EXIT_DONE):
        outcome = self.weir("sync", "--config", config, "--output", "json", expect=expect)
        self.assertNotIn("5ecre7", outcome.stdout + outcome.stderr)
        return outcome

    def refused(self, config, expect, *says):
        """It ends with `expect`, says why, and has written nothing."""
        outcome = self.sync(config, expect)
        for pattern in says:
            self.assertRegex(outcome.stdout + outcome.stderr, pattern, str(outcome))
        self.assertEqual(self.tags(), {}, "a part of the list was taken for the whole")
        return outcome

    def test_each_way_of_paging(self):
        wanted = {d["name"]: d["serial"] for d in self.inventory.model}
        self.assertEqual(len(wanted), 120)
        for style in STYLES:
            with self.subTest(style=style):
                self.inventory.reset_counters()
                outcome = self.sync(self.config(style))
                self.assertEqual(self.tags(), wanted)
                counted = self.inventory.requests()
                self.assertGreaterEqual(counted["by_endpoint"][f"GET /{style}/devices"], 3, counted)
                self.assertEqual(outcome.json["sources"], [{"name": "inventory", "type": "rest", "version": "1.4.2"}])
                counts = outcome.result("device-tags")["kinds"]["extras.tag"]
                self.assertEqual((counts["seen"], counts["failed"]), (120, 0), str(outcome))

    def test_a_password(self):
        password = str(self.workspace.file("inventory.password", "simulated\n"))
        self.sync(self.config(login={"username": "weir", "password_file": password}))
        self.assertEqual(len(self.tags()), 120)

    def test_beside_proxmox(self):
        """Each stage reads the sources of its own type."""
        pve = self.simulator("proxmox", *change.arguments(nodes=2, guests=4, backups=4))
        both = self.workspace.config(
            self.netbox.url, change.NETBOX_TOKEN,
            {"pve-a": change.settings(pve), "inventory": {"type": "rest", "urls": [f"{self.inventory.url}/api"], "token": TOKEN,
                                                          "paging": STYLES["link"]}},
            plugin_path=[STAGE, str(Path(os.environ["WEIR_BINARY"]).parent / "stages")],
            stages={"nodes": {}, "device-tags": {"path": "/link/devices"}})
        outcome = self.sync(both)
        self.assertEqual({(r["stage"], r["source"], r["status"]) for r in outcome.json["results"]},
                         {("nodes", "pve-a", "ok"), ("device-tags", "inventory", "ok")})

    def test_faults_that_pass(self):
        self.inventory.faults([
            {"path_regex": "/next/devices", "status": 429, "headers": {"Retry-After": "1"}, "body": "{}"},
            {"path_regex": "offset=50", "status": 500, "times": 2, "body": "{}"},
            {"path_regex": "offset=100", "truncate_body_at": 200}])
        self.sync(self.config("next"))
        self.assertEqual(len(self.tags()), 120)
        self.assertEqual(self.inventory.requests()["by_status"]["429"], 1)

    def test_lists_that_cannot_be_had_whole(self):
        never = {"times": -1}
        cases = {
            "a page that repeats": (lambda: self.inventory.options(repeat_page=2), "page 3.*a page that came before"),
            "another origin": (lambda: self.inventory.options(foreign_next="http://127.0.0.2:1"),
                               r"is on http://127\.0\.0\.2:1, not on http://127\.0\.0\.1:\d+: credentials are never sent"),
            "a login page": (lambda: self.inventory.faults([{"path_regex": "page=2", "status": 200, "body": "<!doctype html>", **never}]),
                             "page 2.*HTML, not JSON"),
            "a redirect": (lambda: self.inventory.faults([{"path_regex": "page=2", "status": 302, "body": "",
                                                           "headers": {"Location": "http://127.0.0.2:1/"}, **never}]),
                           "302: a redirect to an address that is on http://127"),
            "an error": (lambda: self.inventory.faults([{"path_regex": "page=3", "status": 404, "body": "{}", **never}]),
                         "page 3.*404"),
        }
        for name, (prepare, says) in cases.items():
            with self.subTest(name):
                self.inventory.options(repeat_page=0, foreign_next="")
                self.inventory.faults([])
                prepare()
                self.refused(self.config("link"), EXIT_PARTIAL, says)

    def test_a_list_that_shrinks(self):
        self.inventory.options(shrink_at=1)
        self.refused(self.config("next"), EXIT_PARTIAL, "it shrank while it was read")

    def test_a_wrong_token(self):
        self.refused(self.config(source={"token": "another-5ecre7", "check": "/devices"}), EXIT_CREDENTIALS,
                     r"401", r"sent as 'Authorization: Bearer \*\*\*'")

    def test_a_token_in_a_header_of_its_own(self):
        inventory = self.simulator("inventory", "--devices", 3, "--token", TOKEN, "--token-header", "X-Api-Key", "--token-prefix", "")
        self.sync(self.config(source={"urls": [f"{inventory.url}/api"], "token_header": "X-Api-Key"}))
        self.assertEqual(len(self.tags()), 3)

    def test_nobody_there(self):
        self.inventory.stop()
        self.refused(self.config(), EXIT_UNREACHABLE, r"inventory: GET /health", "cannot connect")

    def test_validate(self):
        outcome = self.weir("validate", "--config", self.config())
        self.assertIn("source inventory: rest 1.4.2\n", outcome.stdout)
        wrong = self.weir("validate", "--config", self.config(source={"token": "another", "check": "/devices"}), expect=EXIT_CREDENTIALS)
        self.assertRegex(wrong.stderr, r"inventory: GET /devices at http://127\.0\.0\.1:\d+/api: 401")

    def test_keys_of_proxmox(self):
        outcome = self.weir("sync", "--config", self.config(source={"token_id": "sync@pve!weir"}), expect=EXIT_CONFIG)
        self.assertRegex(outcome.stderr, r"sources\.inventory\.token_id is for sources of the type proxmox, this one is rest")
        self.assertRegex(outcome.stderr, r"weir\.yaml:\d+:5")
        self.assertEqual(outcome.stdout, "")


if __name__ == "__main__":
    unittest.main(verbosity=2)

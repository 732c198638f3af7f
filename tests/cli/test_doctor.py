#!/usr/bin/env python3
"""weir doctor against simulators with one thing wrong at a time: is it named, with what helps, and is nothing written?"""
import email.utils
import json
import re
import resource
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
import proxmox_model as change
import weir_test
from sync_case import SMALL, SOURCE, SyncCase
from weir_test import (EXIT_CONFIG, EXIT_CREDENTIALS, EXIT_DONE, EXIT_PARTIAL, EXIT_UNREACHABLE, TREE, ScriptedServer, WRITES)

SYMPTOMS = set(re.findall(r"^\| `([a-z0-9-]+)` \|", (TREE / "README.md").read_text(), re.M))
MOST_REQUESTS = 42
OPERATIONAL = json.dumps({"error": "connection failed: FATAL:  remaining connection slots are reserved for non-replication superuser connections",
                          "exception": "OperationalError", "netbox_version": "4.7.3", "python_version": "3.12.1"})


class DoctorCase(SyncCase):
    def setUp(self):
        super().setUp()
        self.start(guests=12, backups=40)

    def examine(self, *arguments, expect=EXIT_DONE, config=None, writes=0, **options):
        """The JSON of a doctor that wrote nothing and kept to one request at a time."""
        self.server.reset_counters()
        outcome = self.weir("doctor", "--config", config or self.config, "--output", "json", *arguments, expect=expect, **options)
        self.assertEqual(outcome.json["exit_code"], outcome.exit_code)
        self.assertNotIn(change.TOKEN, outcome.stdout + outcome.stderr)
        self.assertNotIn(change.NETBOX_TOKEN.split(".")[1], outcome.stdout + outcome.stderr)
        seen = self.server.requests()
        self.assertEqual(seen["writes"], writes, seen)
        self.assertLessEqual(seen["total"], MOST_REQUESTS)
        self.assertLessEqual(seen["peak_in_flight"], 1)
        self.assertLessEqual(outcome.json["netbox"]["peak_in_flight"], 1)
        for finding in outcome.json["findings"]:
            self.assertIn(finding["symptom"], SYMPTOMS | {None}, "README.md does not explain it")
            if finding["level"] in ("warning", "problem"):
                self.assertTrue(finding["todo"], f"what helps against this? {finding}")
        self.outcome = outcome
        return outcome.json

    def assert_found(self, said, level, symptom, pattern, group=None):
        for f in said["findings"]:
            if (f["level"], f["symptom"]) == (level, symptom) and re.search(pattern, f"{f['title']}: {f['seen']}") and group in (None, f["group"]):
                return f
        self.fail(f"no {level} [{symptom}] like {pattern}:\n{self.outcome}")

    def troubles(self, said):
        return [f"{f['title']}: {f['seen']}" for f in said["findings"] if f["level"] in ("warning", "problem")]

    def source(self, **settings):
        return {SOURCE: {**change.settings(self.pve), **settings}}

    def with_sources(self, sources, name="other.yaml", **config):
        return self.workspace.config(self.server.url, change.NETBOX_TOKEN, sources, name=name, profile=self.profile, **config)


class in_health(DoctorCase):
    def test_nothing_is_wrong(self):
        said = self.examine()
        self.assertEqual(self.troubles(said), [])
        self.assertEqual((said["problems"], said["warnings"]), (0, 0))
        self.assertEqual(said["netbox"]["version"], "4.7.3")
        self.assertEqual(said["netbox"]["page_size"], 1000)
        self.assertEqual(said["profile"]["recommended"], said["profile"]["configured"])
        self.assertEqual(self.pve.requests()["by_method"].keys(), {"GET"})
        costs = {c["profile"]: c for c in said["first_sync"]}
        self.assertLess(costs["conservative"]["requests"], costs["ultra-conservative"]["requests"])
        self.assertGreater(costs["conservative"]["objects"], 12 + 40)
        permissions = {p["kind"]: p for p in said["netbox"]["permissions"]}
        self.assertEqual(len(permissions), 11)
        self.assertTrue(all(p[verb] for p in permissions.values() for verb in ("view", "add", "change")))
        self.assertTrue(permissions["netbox_proxbox.vmbackup"]["delete"])
        self.assert_found(said, "ok", None, r"12 guests, 40 backups", f"source {SOURCE}")

    def test_what_it_predicts_is_what_a_sync_then_does(self):
        said = self.examine()
        synced = self.run_weir("sync").json
        written = sum(k["created"] for r in synced["results"] for k in r["kinds"].values())
        predicted = said["first_sync"][0]["objects"]
        self.assertLess(abs(predicted - written), 0.25 * written + 12, "tags are Proxmox's own, and not counted")
        said = self.examine()
        self.assertEqual(self.troubles(said), [])
        self.assert_found(said, "ok", None, "journal.db opens")
        self.assert_found(said, "note", None, "latency: NetBox holds only 39 backups|latency: NetBox holds only 40 backups")
        self.assertEqual([entry["limit"] for entry in said["netbox"]["latencies"]], [1, 50])

    def test_as_text(self):
        outcome = self.weir("doctor", "--config", self.config)
        for part in ("NetBox\n", f"source {SOURCE}\n", "this machine\n", "Recommended profile: ", "A first sync writes ", "list requests, about ",
                     "Nothing is wrong.\n"):
            self.assertIn(part, outcome.stdout)
        self.assertNotIn("\x1b", outcome.stdout)
        self.assertIn("\x1b[32mok", self.weir("doctor", "--config", self.config, "--color", "always").stdout)
        self.assertEqual(outcome.stderr, "")

    def test_only_what_is_chosen(self):
        said = self.examine("--stage", "nodes")
        self.assertNotIn("netbox_proxbox.vmbackup", {p["kind"] for p in said["netbox"]["permissions"]})
        self.assertFalse([f for f in said["findings"] if f["title"] == "backups"])


class netbox(DoctorCase):
    def with_token(self, **settings):
        self.server.options(tokens=[{"token": change.NETBOX_TOKEN, **settings}])

    def test_missing_permissions(self):
        self.with_token(denied=["virtualization.virtualmachine:add", "dcim.site:*", "netbox_proxbox.vmbackup:delete", "core.objectchange:view"])
        said = self.examine(expect=EXIT_CREDENTIALS)
        found = self.assert_found(said, "problem", "credentials-netbox", "missing: ")
        self.assertEqual(set(found["seen"].removeprefix("missing: ").split(", ")),
                         {"virtualization.add_virtualmachine", "netbox_proxbox.delete_vmbackup", "dcim.view_site", "dcim.add_site", "dcim.change_site"})
        self.assert_found(said, "note", None, "change log: the token may not read it")
        self.assertEqual(self.server.requests()["by_method"].get("OPTIONS"), 11)

    def test_a_read_only_token(self):
        for token in (change.NETBOX_TOKEN, "0000000000000000000000000000000000000009"):
            self.server.options(tokens=[{"token": token, "read_only": True}])
            config = self.workspace.config(self.server.url, token, self.source(), name="read-only.yaml", profile=self.profile)
            said = self.examine(expect=EXIT_CREDENTIALS, config=config)
            self.assert_found(said, "problem", "credentials-netbox", "token: user admin, read-only")
            self.assertFalse([t for t in self.troubles(said) if "missing" in t], "that is the token's doing")

    def test_a_wrong_token(self):
        self.server.options(tokens=[{"token": "another"}])
        said = self.examine(expect=EXIT_CREDENTIALS)
        self.assert_found(said, "problem", "credentials-netbox", "403")
        self.assert_found(said, "ok", None, "12 guests", f"source {SOURCE}")

    def test_nobody_there(self):
        url = self.server.url
        proxy = self.proxy(url)
        proxy.close()
        config = self.workspace.config(proxy.url, change.NETBOX_TOKEN, self.source(), name="gone.yaml", profile=self.profile)
        said = self.examine(expect=EXIT_UNREACHABLE, config=config)
        self.assert_found(said, "problem", None, "cannot connect", "NetBox")
        self.assert_found(said, "ok", None, "12 guests", f"source {SOURCE}")
        self.assertEqual(said["profile"]["recommended"], "conservative")

    def test_too_old(self):
        self.server.options(version="4.2.1")
        self.assert_found(self.examine(expect=EXIT_UNREACHABLE), "problem", "netbox-too-old", "4.2.1")

    def test_without_netbox_proxbox(self):
        self.server.options(plugin=False)
        said = self.examine()
        self.assert_found(said, "warning", "missing-proxbox", "backups will be skipped")

    def test_redis_down_and_a_page_that_is_not_netbox(self):
        self.server.options(redis_down=True)
        self.examine(expect=EXIT_UNREACHABLE)
        login = ScriptedServer(lambda method, path: (200, "text/html", "<html><title>Log in</title></html>"))
        self.addCleanup(login.close)
        config = self.workspace.config(login.url, change.NETBOX_TOKEN, self.source(), name="login.yaml", profile=self.profile)
        self.assert_found(self.examine(expect=EXIT_UNREACHABLE, config=config), "problem", "html-answer", "Log in")
        self.assertEqual({method for method, _ in login.seen} & set(WRITES), set())

    def test_a_small_page(self):
        self.server.options(max_page_size=100)
        said = self.examine()
        self.assertEqual(said["netbox"]["page_size"], 100)
        self.assert_found(said, "warning", "page-size", "NetBox gives 100 objects")

    def test_a_poisoned_pool(self):
        self.server.faults([{"path_regex": "^/api/(dcim|virtualization)", "status": 500, "body": OPERATIONAL, "times": 4,
                             "headers": {"Content-Type": "application/json"}}])
        said = self.examine(expect=EXIT_UNREACHABLE)
        found = self.assert_found(said, "problem", "poisoned-pool", r"4 of \d+ requests found no database, with one in flight: .*remaining connection")
        self.assertIn("restart NetBox's workers", found["todo"])
        self.assertEqual(said["profile"]["recommended"], "ultra-conservative")

    def test_no_database_at_all(self):
        self.server.options(db_down=True)
        said = self.examine(expect=EXIT_UNREACHABLE)
        self.assert_found(said, "problem", "database-unavailable", "requests found no database")
        self.assertLessEqual(self.server.requests()["total"], 12, "it goes on asking a database that is away")

    def test_slow(self):
        self.server.faults([{"path_regex": "limit=1&offset=1", "delay_ms": 1200, "times": -1}])
        said = self.examine()
        self.assert_found(said, "warning", "slow-netbox", "latency: ")
        self.assertEqual(said["profile"]["recommended"], "ultra-conservative")

    def test_another_clock(self):
        proxy = self.proxy(self.server.url)
        passed_on = proxy.pass_on

        def later(*given):
            status, reason, headers, content = passed_on(*given)  # the simulator itself says no Date
            return status, reason, [*headers, ("Date", email.utils.formatdate(time.time() + 3600, usegmt=True))], content

        proxy.pass_on = later
        config = self.workspace.config(proxy.url, change.NETBOX_TOKEN, self.source(), name="later.yaml", profile=self.profile)
        said = self.examine(config=config)
        self.assert_found(said, "warning", "clock-skew", "NetBox: 60 min ahead of this machine")


class sources(DoctorCase):
    def test_the_trap_of_the_empty_backup_list(self):
        with self.pve.changed_model() as model:
            model["access"]["permissions"]["/storage"] = {"Datastore.Audit": 1}
        said = self.examine(expect=EXIT_CREDENTIALS)
        found = self.assert_found(said, "problem", "empty-backup-list", "is empty .* without Datastore.AllocateSpace")
        self.assertIn(f"--tokens '{change.TOKEN_ID}'", found["todo"])

    def test_a_token_without_rights_of_its_own(self):
        with self.pve.changed_model() as model:
            model["access"]["permissions"] = {"/": {}, "/vms": {}, "/storage": {}}
        said = self.examine(expect=EXIT_CREDENTIALS)
        self.assert_found(said, "problem", "credentials-proxmox", "no privilege at all; a token with privilege separation")

    def test_a_wrong_token(self):
        config = self.with_sources(self.source(token="11111111-0000-0000-0000-000000000000"))
        said = self.examine(expect=EXIT_CREDENTIALS, config=config)
        self.assert_found(said, "problem", "credentials-proxmox", "401")

    def test_offline_and_disabled(self):
        with self.pve.changed_model() as model:
            model["nodes"][1]["online"] = False
            backups = [s for s in model["storages"] if "backup" in s["content"]]
            backups[0]["active"] = False
            model["storages"].append({**backups[-1], "storage": "old", "disable": 1})
        said = self.examine()
        self.assert_found(said, "warning", "proxmox-offline", "nodes: .* is offline")
        self.assert_found(said, "warning", "proxmox-offline", "storages: no answer from ")
        self.assert_found(said, "note", None, "storages: old is disabled")

    def test_a_nodes_clock(self):
        with self.pve.changed_model() as model:
            model["nodes"][0]["clock_ahead_s"] = -900
        said = self.examine()
        self.assert_found(said, "warning", "clock-skew", f"{SOURCE} node .*: 15 min behind this machine", "clocks")

    def test_one_of_two_addresses(self):
        gone = self.proxy(self.pve.url)
        gone.close()
        settings = self.source()[SOURCE]
        del settings["url"]
        said = self.examine(config=self.with_sources({SOURCE: {**settings, "urls": [self.pve.url, gone.url]}}))
        self.assert_found(said, "warning", None, "address: .*cannot connect", f"source {SOURCE}")
        self.assert_found(said, "ok", None, f"address: {re.escape(self.pve.url)}")

    def test_certificates(self):
        ca = self.workspace.path / "ca.pem"

        def started(*more):
            self.pve = self.simulator("proxmox", *change.arguments(nodes=1, guests=2, backups=2), *change.tls("127.0.0.1", ca), *more)
            return self.pve

        pve = started()
        said = self.examine(expect=EXIT_UNREACHABLE, config=self.with_sources(self.source()))
        found = self.assert_found(said, "problem", "tls", f"not trusted: .*{pve.about['fingerprint']}")
        self.assertIn("ca_file", found["todo"])
        said = self.examine(config=self.with_sources(self.source(ca_file=str(ca))))
        self.assert_found(said, "ok", None, r"certificate: ends in 36\d\d days, verified")
        said = self.examine(config=self.with_sources(self.source(tls_verify=False)))
        self.assertIn(pve.about["fingerprint"], self.assert_found(said, "warning", "tls", "TLS: certificates are not verified")["todo"])
        started("--tls-days", "6")
        said = self.examine(config=self.with_sources(self.source(ca_file=str(ca))))
        self.assert_found(said, "warning", "tls", "certificate: ends in [56] days, verified")
        pve = started("--tls-days", "-1")
        said = self.examine(expect=EXIT_UNREACHABLE, config=self.with_sources(self.source(ca_file=str(ca))))
        self.assert_found(said, "problem", "tls", "certificate has expired")
        self.assert_found(said, "warning", "tls", "certificate: ended 1 day ago")
        said = self.examine(config=self.with_sources(self.source(fingerprint=pve.about["fingerprint"])))
        self.assert_found(said, "warning", "tls", "certificate: ended 1 day ago, pinned")

    def test_a_rest_service(self):
        service = self.simulator("inventory", "--devices", "3", "--token", "inventory-secret-1")
        config = self.with_sources({**self.source(), "cmdb": {"type": "rest", "url": service.url + "/api", "token": "inventory-secret-1",
                                                              "check": "/devices"}})
        said = self.examine(config=config)
        self.assert_found(said, "ok", None, "address: ", "source cmdb")
        self.assertEqual(self.troubles(said), [])


class this_machine(DoctorCase):
    def test_a_state_directory_that_is_none(self):
        path = self.workspace.file("no-folder", "")
        said = self.examine(expect=EXIT_PARTIAL, config=self.configuration(name="state.yaml", state_dir=str(path)))
        self.assert_found(said, "problem", "state-dir", "is no folder")

    def test_a_state_directory_for_everybody(self):
        (self.workspace.path / "state").chmod(0o777)
        said = self.examine()
        self.assertIn("chmod 700", self.assert_found(said, "warning", "state-dir", "others may write to it")["todo"])

    def test_one_that_is_not_there_yet(self):
        path = self.workspace.path / "new" / "state"
        said = self.examine(config=self.configuration(name="state.yaml", state_dir=str(path)))
        self.assert_found(said, "ok", None, "state_dir: .* will be made by the first sync")
        self.assertFalse(path.exists())

    def test_a_journal_that_is_none(self):
        (self.workspace.path / "state" / "journal.db").write_bytes(b"not a database at all" * 100)
        said = self.examine(expect=EXIT_PARTIAL)
        self.assert_found(said, "problem", "state-dir", "journal: ")

    def test_while_a_sync_runs_and_after_it_was_killed(self):
        self.profile = str(self.workspace.file("small.yaml", SMALL))
        self.config = self.configuration()
        self.server.faults([{"path_regex": "^/api/plugins/proxbox/backups/", "method": "POST", "delay_ms": 1000, "times": -1}])
        running = self.start_weir("sync", "--config", self.config)
        running.wait_until(lambda: self.sent("plugins/proxbox/backups") >= 1)
        found = self.weir("doctor", "--config", self.config, "--output", "json").json
        self.outcome = found
        lock = self.assert_found(found, "note", "locked", "is at work on this NetBox")
        self.assertIn(f"pid {running.process.pid} ", lock["seen"])
        self.assertFalse([f for f in found["findings"] if "unfinished" in f["seen"]])
        running.kill()
        self.server.faults([])
        said = self.weir("doctor", "--config", self.config, "--output", "json").json
        self.assert_found(said, "note", None, "left by a process that died")
        self.assertEqual(self.assert_found(said, "warning", "stopped-early", "1 run unfinished")["todo"], "weir resume")

    def test_a_plugin_that_is_refused(self):
        bad = self.workspace.file("bad.so", "this is no plugin")
        config = self.configuration(name="bad.yaml", plugin_path=[str(weir_test.WEIR.parent / "stages"), str(bad)])
        said = self.examine(expect=EXIT_PARTIAL, config=config)
        self.assert_found(said, "problem", "plugin-refused", r"bad\.so")

    def test_few_open_files(self):
        said = self.examine(prepare=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200)))
        self.assert_found(said, "warning", None, "open files: at most 200")

    def test_a_wrong_configuration_is_told_as_validate_does(self):
        config = self.configuration(name="wrong.yaml", profil="conservative")
        told = [self.weir(command, "--config", config, expect=EXIT_CONFIG) for command in ("validate", "doctor")]
        self.assertEqual(told[0].stderr, told[1].stderr)
        self.assertIn("profil", told[1].stderr)
        self.assertEqual(told[1].stdout, "")


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
"""What is wrong is said: the right exit code, a message on stderr, nothing on stdout, and nothing written to NetBox."""
import json
import os
import re
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
import proxmox_model as change
from weir_test import (EXIT_CONFIG, EXIT_CREDENTIALS, EXIT_DONE, EXIT_GUARD, EXIT_PARTIAL, EXIT_UNREACHABLE, EXIT_USAGE,
                       ScriptedServer, WeirCase)

SOURCE = "pve-a"


class bad_input(WeirCase):
    def setUp(self):
        super().setUp()
        self.netbox = self.simulator("netbox")
        self.pve = self.simulator("proxmox", *change.arguments(nodes=2, guests=6, backups=12))
        self.source = change.settings(self.pve)
        self.token = change.NETBOX_TOKEN

    def config(self, url=None, token=None, source=None, **more):
        return self.workspace.config(url or self.netbox.url, token or self.token, {SOURCE: {**self.source, **(source or {})}}, **more)

    def edited(self, pattern, replacement):
        """A good configuration with one thing in it made wrong."""
        path = self.config()
        text = path.read_text()
        changed = re.sub(pattern, replacement, text, flags=re.M)
        self.assertNotEqual(text, changed, f"{pattern} is not in the configuration")
        path.write_text(changed)
        return path

    def assert_nothing_written(self, outcome):
        counted = self.netbox.requests()
        self.assertEqual((counted["writes"], counted["objects_written"]), (0, 0), str(outcome))

    def refused(self, exit_code, *says, arguments=("sync",), config=None, env=None):
        """Runs it; it ends with `exit_code`, every pattern of `says` is in stderr, stdout is empty, nothing was written."""
        outcome = self.weir(*arguments, "--config", config, expect=exit_code, env=env, timeout=120)
        for pattern in says:
            self.assertRegex(outcome.stderr, pattern, str(outcome))
        self.assertEqual(outcome.stdout, "", "a message for people belongs to stderr")
        self.assert_no_secret(outcome)
        self.assert_nothing_written(outcome)
        return outcome

    def assert_no_secret(self, outcome):
        for secret in (self.token, self.source["token"]):
            self.assertNotIn(secret, outcome.stderr + outcome.stdout)

    # ---- the configuration

    def test_the_good_one_is_good(self):
        """Everything below changes one thing about this."""
        outcome = self.weir("sync", "--config", self.config(), "--output", "json")
        self.assertGreater(self.netbox.requests()["writes"], 0)
        self.assert_no_secret(outcome)

    def test_yaml_syntax_error(self):
        path = self.edited(r"^netbox:", "netbox: [")
        self.refused(EXIT_CONFIG, rf"{path.name}:\d+:\d+", config=path)

    def test_unknown_key_with_a_suggestion(self):
        path = self.edited(r"^( +)urls:", r"\1ulrs:")
        self.refused(EXIT_CONFIG, r"ulrs", r"did you mean.*urls", rf"{path.name}:\d+:\d+", config=path)

    def test_wrong_type(self):
        path = self.edited(r"^( +)url: .*", r"\1url: [1, 2]")
        self.refused(EXIT_CONFIG, r"netbox\.url", rf"{path.name}:\d+:\d+", config=path)

    def test_wrong_value(self):
        path = self.edited(r"^( +)url: .*", r"\1url: netbox.example")
        self.refused(EXIT_CONFIG, r"netbox\.url", r"netbox\.example", config=path)

    def test_double_key(self):
        path = self.edited(r"\Z", "profile: aggressive\n")
        self.refused(EXIT_CONFIG, r"profile", rf"{path.name}:\d+", config=path)

    def test_all_mistakes_are_named_at_once(self):
        path = self.edited(r"\A", "surces: {}\nplugin_pat: []\n")
        self.refused(EXIT_CONFIG, r"surces", r"plugin_pat", config=path)

    def test_missing_file(self):
        self.refused(EXIT_CONFIG, r"nowhere\.yaml", config=self.workspace.path / "nowhere.yaml")

    def test_missing_token(self):
        path = self.edited(r"^( +)token_file: .*netbox\.token.*", r"\1token_env: WEIR_TEST_NO_SUCH_VARIABLE")
        self.refused(EXIT_CONFIG, r"WEIR_TEST_NO_SUCH_VARIABLE", config=path)

    def test_no_token_at_all(self):
        path = self.edited(r"^ +token_file: .*netbox\.token.*\n", "")
        self.refused(EXIT_CONFIG, r"netbox", r"token_env|token_file", config=path)

    def test_missing_token_file(self):
        path = self.config()
        (self.workspace.path / "netbox.token").unlink()
        self.refused(EXIT_CONFIG, r"netbox\.token", config=path)

    def test_token_file_readable_by_all(self):
        path = self.config()
        (self.workspace.path / "netbox.token").chmod(0o644)
        self.refused(EXIT_CONFIG, r"netbox\.token", r"chmod 600|readable", config=path)

    def test_unknown_profile(self):
        self.refused(EXIT_CONFIG, r"conservativ\b", r"conservative", config=self.config(profile="conservativ"))

    def test_unknown_profile_on_the_command_line(self):
        outcome = self.weir("sync", "--config", self.config(), "--profile", "breakneck", expect=None)
        self.assertIn(outcome.exit_code, (EXIT_CONFIG, EXIT_USAGE), str(outcome))
        self.assertRegex(outcome.stderr, r"breakneck", str(outcome))
        self.assertRegex(outcome.stderr, r"ultra-conservative", "the ones there are would help")
        self.assertEqual(outcome.stdout, "")
        self.assert_nothing_written(outcome)

    # ---- the command line

    def test_unknown_stage(self):
        self.refused(EXIT_USAGE, r"backup\b", r"backups", arguments=("sync", "--stage", "backup"), config=self.config())

    def test_unknown_stage_in_the_configuration(self):
        self.refused(EXIT_CONFIG, r"backup\b", r"backups", config=self.config(stages={"nodes": {}, "backup": {}}))

    def test_unknown_source(self):
        self.refused(EXIT_USAGE, r"pve-z", r"pve-a", arguments=("sync", "--source", "pve-z"), config=self.config())

    def test_bad_stage_option(self):
        self.refused(EXIT_CONFIG, r"virtual-machines", r"include_template\b",
                     config=self.config(stages={"nodes": {}, "virtual-machines": {"include_template": True}}))

    def test_usage(self):
        for arguments in (("sink",), ("sync", "--no-such-option"), ("sync", "--output", "xml"), ()):
            with self.subTest(arguments=arguments):
                outcome = self.weir(*arguments, expect=EXIT_USAGE)
                self.assertEqual(outcome.stdout, "")
                self.assertRegex(outcome.stderr, r"--help|[Uu]sage")

    def test_max_duration(self):
        for value in ("-5", "abc", "0", "0s", "5 days", "nan", "1e999h"):
            for command in ("sync", "resume"):
                with self.subTest(command=command, value=value):
                    self.refused(EXIT_USAGE, r"--max-duration", re.escape(f"'{value}'"), r"90s",
                                 arguments=(command, f"--max-duration={value}"), config=self.config())
        # Longer than clocks can count is as good as for ever.
        for value in ("3000000h", "1e300h"):
            with self.subTest(value=value):
                self.weir("sync", "--max-duration", value, "--config", self.config())
        self.netbox.reset_counters()
        self.refused(EXIT_USAGE, r"'soon'", config=self.config(), env={"WEIR_MAX_DURATION": "soon"})
        self.refused(EXIT_USAGE, r"--max-duration", arguments=("plan", "--max-duration", "5s"), config=self.config())

    # ---- the throttle

    def test_max_outage(self):
        for value in ("0", "-1", "0.5", "1e9", "soon", "[]"):
            with self.subTest(value=value):
                profile = self.workspace.file("outage.yaml", f"extends: conservative\nretry:\n  max_outage_s: {value}\n")
                self.refused(EXIT_CONFIG, r"retry\.max_outage_s", rf"{profile.name}:3:\d+", config=self.config(profile=str(profile)))

    def test_throttle_mode(self):
        self.refused(EXIT_CONFIG, r"throttle\.mode", r"fast", r"adaptive", r"observe", r"weir\.yaml:\d+:\d+",
                     config=self.config(throttle={"mode": "fast"}))
        self.refused(EXIT_CONFIG, r"throttle", r"weir\.yaml:\d+:\d+", config=self.config(throttle="observe"))
        self.refused(EXIT_CONFIG, r"did you mean.*mode", config=self.config(throttle={"mod": "observe"}))

    # ---- plugins

    def test_plugin_of_another_abi(self):
        library = Path(os.environ["WEIR_TEST_OTHER_ABI"])
        self.refused(EXIT_CONFIG, re.escape(library.name), r"ABI", r"\b2\b", r"\b1\b", config=self.config(plugin_path=[str(library)]))

    def test_plugin_that_is_no_library(self):
        path = self.workspace.file("no-library.so", "#!/bin/sh\nexit 1\n", 0o755)
        self.refused(EXIT_CONFIG, r"no-library\.so", config=self.config(plugin_path=[str(path)]))

    def test_plugin_that_others_may_write(self):
        library = self.workspace.path / "open.so"
        library.write_bytes(Path(os.environ["WEIR_TEST_OTHER_ABI"]).read_bytes())
        library.chmod(0o777)
        self.refused(EXIT_CONFIG, r"open\.so", r"changed by others", r"chmod go-w", config=self.config(plugin_path=[str(library)]))

    # ---- NetBox

    def test_tls_name_mismatch(self):
        ca = self.workspace.path / "ca.pem"
        other = self.simulator("netbox", *change.tls("netbox.example", ca))
        url = other.control  # by its address, for which the certificate does not hold
        self.refused(EXIT_UNREACHABLE, r"127\.0\.0\.1", r"certificate", config=self.config(url=url, netbox={"ca_file": str(ca)}))
        self.assertEqual(other.requests()["total"], 0, "the token was sent to a server that is not the right one")

    def test_tls_unknown_issuer_and_fingerprint(self):
        ca = self.workspace.path / "ca.pem"
        other = self.simulator("netbox", *change.tls("127.0.0.1", ca))
        self.refused(EXIT_UNREACHABLE, r"certificate", config=self.config(url=other.url))
        self.refused(EXIT_UNREACHABLE, r"fingerprint", config=self.config(url=other.url, netbox={"fingerprint": ":".join(["AB"] * 32)}))
        self.assertEqual(other.requests()["total"], 0, "the token was sent to a server that is not the right one")
        for good in ({"ca_file": str(ca)}, {"fingerprint": other.about["fingerprint"]}, {"tls_verify": False}):
            with self.subTest(tls=good):
                self.weir("plan", "--config", self.config(url=other.url, netbox=good))

    def test_netbox_too_old(self):
        self.netbox.options(version="3.7.8")
        self.refused(EXIT_UNREACHABLE, r"3\.7\.8", r"4\.\d", config=self.config())

    def test_netbox_answers_html(self):
        server = ScriptedServer(lambda method, path: (200, "text/html", "<!doctype html><title>Sign in</title><h1>Portal</h1>"))
        self.addCleanup(server.close)
        self.refused(EXIT_UNREACHABLE, re.escape(server.url), r"HTML|JSON", config=self.config(url=server.url))
        self.assertEqual({method for method, _ in server.seen}, {"GET"})

    def test_netbox_unreachable(self):
        server = ScriptedServer(lambda *_: (200, "text/plain", ""))
        server.close()
        self.refused(EXIT_UNREACHABLE, re.escape(server.url.split("//")[1]), config=self.config(url=server.url))

    def test_netbox_wrong_token(self):
        self.refused(EXIT_CREDENTIALS, r"NetBox", r"token", config=self.config(token="f" * 40))

    def test_netbox_missing_permission(self):
        """A token that may read only: the first write is refused, and no second one is tried."""
        self.netbox.options(tokens=[{"token": self.token, "denied": ["*:add", "*:change", "*:delete"]}])
        outcome = self.weir("sync", "--config", self.config(), expect=EXIT_CREDENTIALS)
        said = outcome.stdout + outcome.stderr
        self.assertRegex(said, r"permission", str(outcome))
        self.assertRegex(said, r"extras\.add_(tag|customfield)", "it says which one")
        counted = self.netbox.requests()
        self.assertEqual(counted["objects_written"], 0)
        self.assertLessEqual(counted["writes"], 1, counted["by_endpoint"])

    # ---- Proxmox VE

    def test_proxmox_wrong_token(self):
        self.refused(EXIT_CREDENTIALS, SOURCE, config=self.config(source={"token": "00000000-0000-0000-0000-000000000000"}))

    def test_proxmox_unreachable(self):
        server = ScriptedServer(lambda *_: (200, "text/plain", ""))
        server.close()
        self.refused(EXIT_UNREACHABLE, SOURCE, config=self.config(source={"url": server.url}))

    def test_proxmox_truncated_json(self):
        """The connection lives, the text ends in the middle: nothing of it may be taken for the whole."""
        self.pve.faults([{"path_regex": "/cluster/resources", "status": 200, "times": -1,
                          "headers": {"Content-Type": "application/json"}, "body": '{"data":[{"id":"qemu/100","vmid":1'}])
        outcome = self.weir("sync", "--config", self.config(), "--output", "json", expect=EXIT_PARTIAL)
        self.assertEqual(outcome.result("virtual-machines")["status"], "failed")
        self.assertIn(outcome.result("backups")["status"], ("failed", "skipped"))
        self.assertRegex(json.dumps(outcome.json), r"/cluster/resources")
        self.assert_untouched("virtual-machines", "backups")

    def test_proxmox_cut_answers(self):
        self.pve.faults([{"path_regex": "/cluster/resources", "truncate_body_at": 40, "times": -1}])
        outcome = self.weir("sync", "--config", self.config(), "--output", "json", expect=EXIT_PARTIAL)
        self.assertEqual(outcome.result("virtual-machines")["status"], "failed")
        self.assert_untouched("virtual-machines", "backups")

    def assert_untouched(self, *parts):
        written = [e for e in self.netbox.requests()["by_endpoint"] if e.split()[0] != "GET" and e.split("/")[-2] in parts]
        self.assertEqual(written, [])

    def test_a_storage_that_answers_500(self):
        config = self.config()
        self.weir("sync", "--config", config)
        storages = change.backup_storages(self.pve.model)
        self.assertGreaterEqual(len(storages), 2, "the test needs a storage that fails and one that goes on")
        bad = storages[0]
        # Something to do on both: on the good one it is done, on the bad one nothing is taken for gone.
        with self.pve.changed_model() as model:
            added = [change.add_backup(model, storage=s) for s in storages]
        self.pve.faults([{"path_regex": f"/storage/{bad}/content", "status": 500, "times": -1,
                          "reason": f"storage '{bad}' is not online", "body": {"data": None}}])
        self.netbox.reset_counters()
        outcome = self.weir("sync", "--config", config, "--output", "json", expect=EXIT_PARTIAL)
        result = outcome.result("backups")
        self.assertEqual((result["created"], result["deleted"]), (len(added) - 1, 0), str(outcome))
        self.assertRegex(json.dumps(outcome.json["notices"] + outcome.json["failures"]), bad)
        self.assertEqual(outcome.result("nodes")["status"], "ok")
        self.assertEqual(outcome.result("virtual-machines")["status"], "ok")

    def test_an_empty_list_of_backups(self):
        """A token without the right to see volumes gets 200 and nothing: no backup is gone, and the privilege is named."""
        config = self.config()
        self.weir("sync", "--config", config)
        self.netbox.reset_counters()
        change.hide_backups(self.pve)
        outcome = self.weir("sync", "--config", config, "--output", "json", expect=None)
        self.assertIn(outcome.exit_code, (EXIT_DONE, EXIT_PARTIAL, EXIT_GUARD), str(outcome))
        self.assertEqual(outcome.result("backups")["deleted"], 0, str(outcome))
        self.assertNotIn("DELETE", self.netbox.requests()["by_method"])
        self.assertRegex(json.dumps(outcome.json["notices"]), r"Datastore\.AllocateSpace|Datastore\.Allocate")


if __name__ == "__main__":
    unittest.main(verbosity=2)

#!/usr/bin/env python3
"""Layers, includes, variables, --set and secrets as their users meet them; weir config show, explain, schema, reference."""
import json
import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
WEIR = Path(os.environ.get("WEIR_BINARY", TREE / "build/release/weir"))
STAGES = WEIR.resolve().parent / "stages"
UPDATE = os.environ.get("WEIR_UPDATE_GOLDEN") == "1"
NETBOX = "netbox: {url: https://netbox.example, token_env: NETBOX_TOKEN}\n"
SOURCES = ("sources:\n  pve-a: {type: proxmox, urls: [https://pve1.example:8006], token_id: sync@pve!weir, token_env: PVE_TOKEN}\n")
SECRETS = {"NETBOX_TOKEN": "netbox-secret-1", "PVE_TOKEN": "pve-secret-2"}


class config_case(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="weir-config-")
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name).resolve()
        self.env = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "LANG": "C.UTF-8", **SECRETS}

    def write(self, name, text, mode=0o600):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def weir(self, *arguments, expect=0, env=None):
        kept = {k: v for k, v in os.environ.items() if k.startswith(("ASAN_", "UBSAN_", "TSAN_", "LSAN_"))}
        done = subprocess.run([WEIR, *map(str, arguments)], env={**self.env, **kept, **(env or {})}, cwd=self.folder,
                              capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, expect, done.stderr + done.stdout)
        for secret in SECRETS.values():
            self.assertNotIn(secret, done.stderr + done.stdout)
        return done

    def show(self, *arguments, env=None):
        """{key: (value, origin)}"""
        done = self.weir("config", "show", "--origin", "-o", "json", *arguments, env=env)
        out = json.loads(done.stdout)
        self.files = [f.replace(str(self.folder), "DIR") for f in out["files"]]
        return {s["key"]: (s["value"], s["origin"].replace(str(self.folder), "DIR")) for s in out["settings"]}


class layers(config_case):
    def test_each_layer_wins_over_the_next(self):
        user = self.write(".config/weir/config.yaml", NETBOX + SOURCES + "max_deletes: 7\nlog: {level: debug, keep: 9}\n"
                          "state_dir: state\n")
        given = self.write("given/mine.yaml", "log:\n  level: warn\nmax_deletes: 8\n")
        seen = self.show("--config", given)
        self.assertEqual(self.files, ["DIR/given/mine.yaml", "DIR/.config/weir/config.yaml"])
        self.assertEqual(seen["log.level"], ("warn", "DIR/given/mine.yaml:2"))
        self.assertEqual(seen["log.keep"], (9, "DIR/.config/weir/config.yaml:5"))
        self.assertEqual(seen["max_deletes"], (8, "DIR/given/mine.yaml:3"))
        self.assertEqual(seen["netbox.url"], ("https://netbox.example", "DIR/.config/weir/config.yaml:1"))
        seen = self.show("--config", given, env={"WEIR_MAX_DELETES": "9", "WEIR_LOG_LEVEL": "error"})
        self.assertEqual(seen["max_deletes"], (9, "environment WEIR_MAX_DELETES"))
        self.assertEqual(seen["log.level"], ("error", "environment WEIR_LOG_LEVEL"))
        seen = self.show("--config", given, "--set", "max_deletes=10", "--set", "max_deletes=11",
                         env={"WEIR_MAX_DELETES": "9"})
        self.assertEqual(seen["max_deletes"], (11, "--set"))
        self.assertEqual(self.show()["max_deletes"], (7, "DIR/.config/weir/config.yaml:4"))
        self.assertEqual(self.files, [str(user).replace(str(self.folder), "DIR")])

    def test_blocks_with_credentials_are_never_mixed(self):
        self.write(".config/weir/config.yaml", NETBOX + SOURCES + "serve: {listen: '[::1]:1', token_env: NETBOX_TOKEN}\n")
        given = self.write("mine.yaml", "netbox: {url: https://other.example}\nserve: {unready_after: 1m}\n")
        self.assertIn("netbox needs a token", self.weir("config", "show", "--config", given, expect=78).stderr)
        given.write_text("netbox: {url: https://other.example, token_env: PVE_TOKEN}\nserve: {unready_after: 1m}\n")
        seen = self.show("--config", given)
        self.assertEqual(seen["netbox.token_env"], ("PVE_TOKEN", "DIR/mine.yaml:1"))
        self.assertNotIn("serve.listen", seen)
        self.assertIn("sources.pve-a.urls", seen)

    def test_relative_paths_start_where_they_stand(self):
        self.write(".config/weir/config.yaml", NETBOX + SOURCES + "state_dir: state\n")
        self.write("etc/conf.d/10.yaml", "netbox: {token_file: ../tokens/netbox}\n")
        self.write("etc/tokens/netbox", "netbox-secret-1\n")
        given = self.write("etc/mine.yaml", "include: [conf.d/*.yaml]\nnetbox: {url: https://netbox.example}\n")
        self.weir("validate", "--no-network", "--config", given)
        out = json.loads(self.weir("history", "-o", "json", "--config", given).stdout)
        self.assertEqual(out["journal"], str(self.folder / ".config/weir/state/journal.db"))
        # From a variable they start where weir does.
        out = json.loads(self.weir("history", "-o", "json", "--config", given, env={"WEIR_STATE_DIR": "here"}).stdout)
        self.assertEqual(out["journal"], str(self.folder / "here/journal.db"))

    def test_a_lower_file_that_cannot_be_read_is_left_out(self):
        if os.geteuid() == 0:
            self.write(".config/weir/config.yaml/folder", "")  # root may read everything, but no folder as a file
        else:
            self.write(".config/weir/config.yaml", "profile: aggressive\n", 0o000)
        given = self.write("mine.yaml", NETBOX + SOURCES)
        done = self.weir("config", "show", "--config", given)
        self.assertRegex(done.stderr, r"warning: cannot read .*config\.yaml")

    def test_no_configuration_at_all(self):
        if not Path("/etc/weir/config.yaml").exists():
            self.assertIn("--config FILE", self.weir("config", "show", expect=78).stderr)


class includes(config_case):
    def test_in_the_order_of_names_and_merged_deeply(self):
        self.write("conf.d/20-b.yaml", "state_dir: /b\nsources:\n  pve-b: {type: proxmox, urls: [https://pve2.example:8006], "
                   "token_id: sync@pve!weir, token_env: PVE_TOKEN}\n")
        self.write("conf.d/10-a.yaml", "state_dir: /a\nsources: {pve-a: {timeout: 60s}}\nmax_deletes: 4\n")
        self.write("conf.d/30-nothing.yaml", "# nothing yet\n")
        self.write("conf.d/40-ignored.yaml~", "state_dir: [\n")
        given = self.write("mine.yaml", "include: [conf.d/*.yaml, more/*.yaml]\nstate_dir: /mine\n" + NETBOX + SOURCES)
        seen = self.show("--config", given)
        self.assertEqual(seen["state_dir"], ("/b", "DIR/conf.d/20-b.yaml:1"))
        self.assertEqual(seen["sources.pve-a.timeout"], ("60s", "DIR/conf.d/10-a.yaml:2"))
        self.assertEqual(seen["sources.pve-a.token_env"][1], "DIR/mine.yaml:5")
        self.assertEqual(seen["sources.pve-b.type"], ("proxmox", "DIR/conf.d/20-b.yaml:3"))
        self.assertEqual(self.files, ["DIR/conf.d/30-nothing.yaml", "DIR/conf.d/20-b.yaml", "DIR/conf.d/10-a.yaml",
                                      "DIR/mine.yaml"])

    def test_depth_and_number_are_limited(self):
        for i in range(12):
            self.write(f"{i}.yaml", f"include: [{i + 1}.yaml]\n")
        self.write("12.yaml", NETBOX + SOURCES)
        self.assertIn("deeper than 8 levels", self.weir("config", "show", "--config", "0.yaml", expect=78).stderr)
        for i in range(110):
            self.write(f"many/{i:03}.yaml", "# empty\n")
        many = self.write("many.yaml", "include: [many/*.yaml]\n" + NETBOX + SOURCES)
        done = self.weir("config", "show", "--config", many, expect=78)
        self.assertEqual(done.stderr.count("more than 100 files"), 1, done.stderr)

    def test_a_folder_with_wildcards_in_its_name(self):
        given = self.write("we[ir]*/mine.yaml", "include: ['conf.d/*.yaml']\n" + NETBOX + SOURCES)
        self.write("we[ir]*/conf.d/a.yaml", "max_deletes: 3\n")
        self.assertEqual(self.show("--config", given)["max_deletes"][0], 3)


class environment(config_case):
    def setUp(self):
        super().setUp()
        self.file = self.write("mine.yaml", NETBOX + SOURCES)

    def test_values_by_their_types(self):
        seen = self.show("--config", self.file, env={
            "WEIR_NETBOX_URL": "https://other.example/", "WEIR_NETBOX_TLS_VERIFY": "false", "WEIR_PLUGIN_PATH": "/a, /b",
            "WEIR_MAX_DELETES_COUNT": "5", "WEIR_BATCH_SIZE": "2", "WEIR_RETRY_MAX_OUTAGE_S": "7.5", "WEIR_STATE_DIR": "",
            "WEIR_THROTTLE_MODE": "observe"})
        self.assertEqual(seen["netbox.url"], ("https://other.example/", "environment WEIR_NETBOX_URL"))
        self.assertEqual(seen["netbox.tls_verify"], (False, "environment WEIR_NETBOX_TLS_VERIFY"))
        self.assertEqual(seen["plugin_path"], (["/a", "/b"], "environment WEIR_PLUGIN_PATH"))
        self.assertEqual(seen["max_deletes.count"], (5, "environment WEIR_MAX_DELETES_COUNT"))
        self.assertEqual(seen["batch.size"], (2, "environment WEIR_BATCH_SIZE"))
        self.assertEqual(seen["retry.max_outage_s"], (7.5, "environment WEIR_RETRY_MAX_OUTAGE_S"))
        self.assertEqual(seen["batch.delay_ms"], (200, "profile conservative.yaml:" + seen["batch.delay_ms"][1].rsplit(":", 1)[1]))
        self.assertNotIn("state_dir", seen)

    def test_old_names(self):
        done = self.weir("config", "show", "--origin", "--config", self.file, env={"PROXBOX_BACKUP_BATCH_SIZE": "4"})
        self.assertRegex(done.stdout, r"batch\.size: 4 +# environment PROXBOX_BACKUP_BATCH_SIZE")
        self.assertEqual(done.stderr, "")
        done = self.weir("config", "show", "--origin", "--config", self.file,
                         env={"PROXBOX_BACKUP_BATCH_SIZE": "4", "WEIR_BATCH_SIZE": "3"})
        self.assertRegex(done.stdout, r"batch\.size: 3 +# environment WEIR_BATCH_SIZE")
        self.assertIn("WEIR_BATCH_SIZE and PROXBOX_BACKUP_BATCH_SIZE are both set", done.stderr)

    def test_unknown_ones(self):
        done = self.weir("config", "show", "--config", self.file, env={"WEIR_STATE_DRI": "/x"})
        self.assertIn("did you mean 'WEIR_STATE_DIR'?", done.stderr)
        done = self.weir("config", "show", "--config", self.file,
                         env={"WEIR_BINARY": "x", "WEIR_TEST_STATE_DIR": "x", "WEIR_OF_SOMEBODY_ELSE": "x", "WEIR_SEED": "1"})
        self.assertEqual(done.stderr, "")

    def test_the_profile(self):
        self.assertEqual(self.show("--config", self.file)["profile"], ("conservative", "built-in"))
        self.assertEqual(self.show("--config", self.file, "--profile", "aggressive")["profile"], ("aggressive", "--profile"))
        self.assertEqual(self.show("--config", self.file, env={"WEIR_PROFILE": "aggressive"})["profile"],
                         ("aggressive", "environment WEIR_PROFILE"))
        self.assertEqual(self.show("--config", self.file, "--set", "profile=aggressive")["profile"], ("aggressive", "--set"))

    def test_set_reaches_every_key(self):
        seen = self.show("--config", self.file, "--set", "sources.pve-a.timeout=9s", "--set", "batch.size=1",
                         "--set", "stages.backups.sources=[pve-a]", "--set", "sources.pve-a.urls=https://a,https://b")
        self.assertEqual(seen["sources.pve-a.timeout"], ("9s", "--set"))
        self.assertEqual(seen["batch.size"], (1, "--set"))
        self.assertEqual(seen["stages.backups.sources"], (["pve-a"], "--set"))
        self.assertEqual(seen["sources.pve-a.urls"], (["https://a", "https://b"], "--set"))
        self.weir("config", "show", "--set", "nonsense", expect=64)


class secrets(config_case):
    def test_inline_only_when_asked_for_and_private(self):
        text = "allow_inline_secrets: true\nnetbox:\n  url: https://netbox.example\n  token: netbox-secret-1\n" + SOURCES
        given = self.write("mine.yaml", text)
        self.weir("validate", "--no-network", "--config", given)
        self.assertEqual(self.show("--config", given)["netbox.token"], ("(set)", "DIR/mine.yaml:4"))
        for mode in (0o640, 0o604, 0o644):
            given.chmod(mode)
            self.assertIn("chmod 600", self.weir("validate", "--no-network", "--config", given, expect=78).stderr)
        given.chmod(0o600)
        given.write_text(text.replace("allow_inline_secrets: true\n", ""))
        self.assertIn("may not stand in the file", self.weir("validate", "--no-network", "--config", given, expect=78).stderr)

    def test_a_variable_replaces_the_form_of_the_files(self):
        given = self.write("mine.yaml", "netbox: {url: https://netbox.example, token_file: /nonexistent}\n" + SOURCES)
        self.weir("validate", "--no-network", "--config", given, expect=78)
        env = {"WEIR_NETBOX_TOKEN": SECRETS["NETBOX_TOKEN"]}
        self.weir("validate", "--no-network", "--config", given, env=env)
        seen = self.show("--config", given, env=env)
        self.assertEqual(seen["netbox.token"], ("(set)", "environment WEIR_NETBOX_TOKEN"))
        self.assertNotIn("netbox.token_file", seen)
        self.weir("validate", "--no-network", "--config", given, "--set", "netbox.token_env=PVE_TOKEN")

    def test_the_service_token_is_only_asked_for_by_the_service(self):
        given = self.write("mine.yaml", NETBOX + SOURCES + "serve: {listen: '127.0.0.1:0', token_env: NO_SUCH_VARIABLE}\n")
        self.weir("validate", "--no-network", "--config", given)
        self.assertIn("NO_SUCH_VARIABLE is not set", self.weir("serve", "--config", given, expect=78).stderr)
        given.write_text(NETBOX + SOURCES)
        self.assertIn("it needs a token", self.weir("serve", "--listen", "0.0.0.0:0", "--config", given, expect=78).stderr)

    def test_commands_and_plugins_passwords_are_not_shown(self):
        given = self.write("mine.yaml", NETBOX.replace("token_env: NETBOX_TOKEN", "token_command: echo netbox-secret-1") + SOURCES +
                           "stages:\n  backups: {password: netbox-secret-1, deep: {api_token: pve-secret-2}}\n")
        seen = self.show("--config", given)
        self.assertEqual(seen["netbox.token_command"][0], "(set)")
        self.assertEqual(seen["stages.backups.password"][0], "(set)")
        self.assertEqual(seen["stages.backups.deep"][0], {"api_token": "(set)"})


class shown(config_case):
    def test_text(self):
        given = self.write("mine.yaml", NETBOX + SOURCES + "max_deletes: {count: 3}\n")
        done = self.weir("config", "show", "--config", given)
        self.assertIn("netbox.url: https://netbox.example\n", done.stdout)
        self.assertIn("max_deletes.count: 3\n", done.stdout)
        self.assertNotIn("log.level", done.stdout)
        done = self.weir("config", "show", "--origin", "--all", "--config", given)
        self.assertRegex(done.stdout, r"(?m)^log\.level: info +# built-in$")
        self.assertRegex(done.stdout, r"(?m)^sources\.pve-a\.max_in_flight: 4 +# built-in$")
        self.assertRegex(done.stdout, rf"(?m)^netbox\.url: https://netbox\.example +# {re.escape(str(given))}:1$")
        self.assertNotIn("sources.pve-a.token_header", done.stdout)  # of rest sources

    def test_validate_for_programs(self):
        given = self.write("mine.yaml", NETBOX + SOURCES + "statedir: /x\nmax_deletes: lots\n")
        out = json.loads(self.weir("validate", "--no-network", "-o", "json", "--config", given, expect=78).stdout)
        self.assertEqual((out["valid"], out["exit_code"], out["error_count"], out["warning_count"]), (False, 78, 2, 0))
        first = out["diagnostics"][0]
        self.assertEqual(first["severity"], "error")
        self.assertEqual(first["summary"], "unknown key 'statedir'")
        self.assertEqual(first["detail"], "did you mean 'state_dir'?")
        self.assertEqual(first["range"], {"file": str(given), "line": 4, "column": 1})
        given.write_text(NETBOX + SOURCES)
        out = json.loads(self.weir("validate", "--no-network", "-o", "json", "--config", given).stdout)
        self.assertEqual((out["valid"], out["diagnostics"], out["profile"]), (True, [], "conservative"))


class explained(config_case):
    def test_keys(self):
        done = self.weir("config", "explain", "batch.size")
        for part in ("of a profile", "a whole number", "between 1 and 100", "WEIR_BATCH_SIZE, or PROXBOX_BACKUP_BATCH_SIZE",
                     "batch:\n              size: 5"):
            self.assertIn(part, done.stdout)
        out = json.loads(self.weir("config", "explain", "sources.my.cluster.timeout", "-o", "json").stdout)
        self.assertEqual((out["type"], out["default"], out["limits"]), ("a duration", "30s", "between 100ms and 1h"))
        self.assertIn("my.cluster:", out["example"])
        self.assertEqual(self.weir("config", "explain", "WEIR_STATE_DIR").stdout, self.weir("config", "explain", "state_dir").stdout)
        out = json.loads(self.weir("config", "explain", "stages.virtual-machines.include_templates", "-o", "json").stdout)
        self.assertEqual((out["where"], out["type"], out["default"]), ("stage", "true or false", out["default"]))
        out = json.loads(self.weir("config", "explain", "stages.virtual-machines", "-o", "json").stdout)
        self.assertIn("include_templates", out["children"])
        out = json.loads(self.weir("config", "explain", "stages.backups.limits.cpu", "-o", "json").stdout)
        self.assertEqual(out["default"], "10m")

    def test_unknown_ones(self):
        for key, near in (("netbox.ulr", "netbox.url"), ("batch_size", "batch.size"), ("timeout", "sources.*.timeout"),
                          ("stages.virtual-machines.include_template", "stages.virtual-machines.include_templates"),
                          ("stages.backup", "stages.backups"), ("serve.schedules.night.crno", "serve.schedules.night.cron")):
            self.assertIn(f"did you mean '{near}'?", self.weir("config", "explain", key, expect=64).stderr, key)
        self.assertIn("lists all keys", self.weir("config", "explain", "xyzzyxyzzy", expect=64).stderr)

    def test_all(self):
        done = self.weir("config", "explain")
        self.assertGreater(len(done.stdout.splitlines()), 100)
        out = json.loads(self.weir("config", "explain", "-o", "json").stdout)
        self.assertEqual(len({e["key"] for e in out}), len(out))
        for e in out:
            self.assertTrue(e["help"], e)
            self.assertTrue(e["type"], e)

    def committed(self, name, *arguments):
        made = self.weir("config", *arguments, env={"WEIR_STAGE_PATH": ""}).stdout
        path = TREE / "configs" / name
        if UPDATE:
            path.write_text(made)
        self.assertEqual(made, path.read_text(), f"configs/{name} is not what weir config {' '.join(arguments)} prints; "
                         "WEIR_UPDATE_GOLDEN=1 takes it over")
        return made

    @unittest.skipUnless(STAGES.is_dir(), "weir's own stages are not built")
    def test_committed_files_are_those_of_the_table(self):
        schema = json.loads(self.committed("weir.schema.json", "schema"))
        self.assertEqual(schema["$schema"], "http://json-schema.org/draft-07/schema#")
        stage = schema["properties"]["stages"]["properties"]["virtual-machines"]
        self.assertIn("include_templates", stage["properties"])
        self.assertIn("isolation", stage["properties"])
        profile = json.loads(self.committed("profile.schema.json", "schema", "profile"))
        self.assertEqual(profile["properties"]["batch"]["properties"]["size"]["maximum"], 100)
        self.assertIn("WEIR_NETBOX_URL", self.committed("REFERENCE.md", "reference"))

    def test_shipped_files_name_their_schema(self):
        for path in [TREE / "configs/weir.yaml", *(TREE / "configs/profiles").glob("*.yaml")]:
            named = re.match(r"# yaml-language-server: \$schema=(\S+)\n", path.read_text())
            self.assertTrue(named, path)
            self.assertTrue((path.parent / named[1]).resolve().exists(), path)


if __name__ == "__main__":
    unittest.main()

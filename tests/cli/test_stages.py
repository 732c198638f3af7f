#!/usr/bin/env python3
"""weir stages list, show and check; weir new-stage."""
import os
import shutil
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
from weir_test import EXIT_CONFIG, EXIT_DONE, EXIT_USAGE, TREE, WEIR, WeirCase

CASES = Path(os.environ["WEIR_CONFORMANCE_CASES"])
SHIPPED = ["nodes", "virtual-machines", "backups"]


class stages(WeirCase):
    def plugin(self, name, mode=0o755):
        target = self.workspace.path / f"{name}.so"
        shutil.copy(CASES / f"{name}.so", target)
        target.chmod(mode)
        return target

    def test_list_is_what_stages_alone_does(self):
        bare = self.weir("stages", "--output", "json").json
        self.assertEqual([s["id"] for s in bare], SHIPPED)
        self.assertEqual(self.weir("stages", "list", "--output", "json").json, bare)
        self.assertEqual(self.weir("stages", "--output", "json", "list").json, bare)

    def test_show(self):
        shown = self.weir("stages", "show", "nodes", "--output", "json").json
        self.assertEqual((shown["id"], shown["plugin"]["vendor"], shown["source_type"]), ("nodes", "weir", "proxmox"))
        self.assertEqual(shown["isolation"]["process"], False)
        role = next(o for o in shown["options"] if o["name"] == "device_role")
        self.assertEqual((role["default"], role["expected"]), ("Proxmox node", "text from 1 to 100 characters"))
        self.assertIn({"kind": "dcim.device", "path": "dcim/devices", "key": ["custom_fields.proxmox_source", "name"]}, shown["kinds"])
        text = self.weir("stages", "show", "backups").stdout
        for part in ("plugins/proxbox/backups", "virtual_machine, volume_id", "in weir's own process"):
            self.assertIn(part, text)

    def test_show_of_another_s_plugin_runs_isolated(self):
        env = {"WEIR_STAGE_PATH": str(self.plugin("good"))}
        shown = self.weir("stages", "show", "subject", "--output", "json", env=env).json
        self.assertEqual(shown["isolation"]["process"], True)
        self.assertIn("isolation: none", shown["isolation"]["why"])

    def test_show_of_an_unknown_stage(self):
        outcome = self.weir("stages", "show", "backup", expect=EXIT_USAGE)
        self.assertIn("did you mean 'backups'", outcome.stderr)

    def test_check_of_a_sound_plugin(self):
        outcome = self.weir("stages", "check", self.plugin("good"))
        self.assertRegex(outcome.stdout, r"passed: \d+ ok, 0 failed")
        report = self.weir("stages", "check", self.plugin("good"), "--output", "json").json
        self.assertTrue(report["passed"])
        self.assertEqual(report["plugin"], {"name": "subject", "version": "1.2.3", "vendor": "weir's tests"})

    def test_check_names_what_is_wrong_and_what_to_do(self):
        outcome = self.weir("stages", "check", self.plugin("leaks_reply"), expect=EXIT_CONFIG)
        self.assertRegex(outcome.stdout, r"FAILED +replies +the reply of /things was never released")
        self.assertRegex(outcome.stdout, r"hint: release\(\) each reply exactly once")

    def test_check_survives_a_plugin_that_takes_its_process_with_it(self):
        for name, where in (("dies", "collect"), ("dies_in_create", "create and destroy")):
            with self.subTest(name):
                report = self.weir("stages", "check", self.plugin(name), "--output", "json", expect=EXIT_CONFIG).json
                self.assertFalse(report["passed"])
                last = report["checks"][-1]
                self.assertEqual((last["stage"], last["check"], last["status"]), ("subject", where, "failed"))
                self.assertRegex(last["message"], "SIGILL|SIGTRAP")

    def test_check_refuses_a_file_that_others_may_write(self):
        outcome = self.weir("stages", "check", self.plugin("good", 0o777), expect=EXIT_CONFIG)
        self.assertIn("chmod go-w", outcome.stdout)

    def test_check_with_options(self):
        file = self.plugin("needs_option")
        self.weir("stages", "check", file, expect=EXIT_CONFIG)
        self.weir("stages", "check", file, "--options", '{"a": 1}')
        options = self.workspace.file("options.json", '{"a": 2}')
        self.weir("stages", "check", file, "--options", f"@{options}")

    def test_check_used_wrongly(self):
        file = self.plugin("good")
        for wrong in (["nowhere.so"], [file, "--options", "[1]"], [file, "--options", "@nowhere.json"], [file, "--answers", "nowhere"],
                      [self.workspace.path], []):
            outcome = self.weir("stages", "check", *wrong, expect=EXIT_USAGE)
            self.assertTrue(outcome.stderr, wrong)


class new_stage(WeirCase):
    def test_it_is_laid_out(self):
        outcome = self.weir("new-stage", "rack-notes")
        self.assertIn("weir stages check build/rack-notes.so", outcome.stdout)
        made = self.workspace.path / "rack-notes"
        template = TREE / "sdk/template"
        names = sorted(str(p.relative_to(template)) for p in template.rglob("*") if p.is_file())
        self.assertEqual(sorted(str(p.relative_to(made)) for p in made.rglob("*") if p.is_file()), names)
        for file in made.rglob("*"):
            if file.is_file():
                self.assertNotRegex(file.read_text(), "my[-_]stage", str(file))
        self.assertIn("struct rack_notes_stage {", (made / "stage.cpp").read_text())
        self.assertTrue(os.access(made / "ci.sh", os.X_OK))

    def test_into(self):
        (self.workspace.path / "code").mkdir()
        self.weir("new-stage", "a", "--into", "code")
        self.assertTrue((self.workspace.path / "code/a/stage.cpp").exists())
        self.weir("new-stage", "a", "--into", "nowhere", expect=EXIT_USAGE)

    def test_nothing_is_overwritten(self):
        mine = self.workspace.file("mine", "mine")
        outcome = self.weir("new-stage", "mine", expect=EXIT_USAGE)
        self.assertIn("there already", outcome.stderr)
        self.assertEqual(mine.read_text(), "mine")

    def test_names_that_are_no_ids(self):
        for name in ("Rack", "1rack", "rack_notes", "../rack", "räck", "", "a" * 65, "test"):
            outcome = self.weir("new-stage", name, expect=EXIT_USAGE)
            self.assertIn("hint:", outcome.stderr, name)
        self.assertEqual([p.name for p in self.workspace.path.iterdir()], ["state"])

    def test_without_the_sdk_s_package(self):
        """An installed weir alone says what to install."""
        if Path("/usr/share/weir-sdk/template").exists() or Path("/usr/local/share/weir-sdk/template").exists():
            self.skipTest("this system has a weir-sdk")
        alone = self.workspace.path / "prefix/bin"
        alone.mkdir(parents=True)
        shutil.copy2(WEIR, alone / "weir")
        import weir_test
        before, weir_test.WEIR = weir_test.WEIR, alone / "weir"
        try:
            outcome = self.weir("new-stage", "rack-notes", expect=EXIT_CONFIG)
        finally:
            weir_test.WEIR = before
        self.assertIn("apt install weir-sdk", outcome.stderr)


class demo(WeirCase):
    def test_a_plugin_of_ones_own(self):
        for wrong in (["--plugin", "nowhere.so"], ["--stage", "nobody"]):
            self.weir("demo", *wrong, expect=EXIT_USAGE)
        outcome = self.weir("demo", "--stage", "nodes", "--guests", 2, "--backups", 0, expect=EXIT_DONE)
        self.assertNotIn("virtual-machines", outcome.stdout)
        self.assertIn("nodes", outcome.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)

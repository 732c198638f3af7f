"""The packages installed into a Debian that has what they depend on and nothing else, without a network; used by the service's user
in the service's sandbox against the simulators; removed again."""
import os
import re
import shutil
import signal
import socket
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
from installed import SERVICE_UID, STATE, Root, Service, enter, packages_made, results, told  # noqa: E402
import proxmox_model as change  # noqa: E402
from weir_test import EXIT_CONFIG, EXIT_DONE, WeirCase, request  # noqa: E402

enter(network=False)

NOTES = Path(os.environ["WEIR_TEST_NOTES"])  # a plugin of somebody else's


class Installed(WeirCase):
    def setUp(self):
        super().setUp()
        made = packages_made()
        self.root = Root(self.workspace.path / "root", [made["weir"], made["weir-plugins"]])
        self.addCleanup(self.root.close)

    def ok(self, done, expect=EXIT_DONE):
        self.assertEqual(done.returncode, expect, told(done))
        return done

    def test_installed_used_removed(self):
        root = self.root
        print(f"a root of {len(root.packages)} packages")
        before = root.listing()
        self.assertFalse((root.path / "usr/bin/weir").exists())

        # --- the program alone
        root.install("weir")
        self.assertRegex(self.ok(root.run("weir", "--version")).stdout, r"^weir \d+\.\d+\.\d+\n$")
        self.assertNotIn("backups", root.run("weir", "stages").stdout)
        root.install("weir-plugins")
        stages = self.ok(root.run("weir", "stages")).stdout
        for name in ("nodes", "virtual-machines", "backups"):
            self.assertRegex(stages, rf"(?m)^{name} ")
        for path, mode in (("etc/weir", 0o755), ("etc/weir/credentials", 0o700)):
            about = (root.path / path).stat()
            self.assertEqual((about.st_mode & 0o7777, about.st_uid), (mode, 0), path)
        # Nothing is enabled or started by itself.
        after = root.listing()
        self.assertFalse([p for p in after if p not in before and p.startswith("etc/systemd/")])
        self.assertFalse((root.path / STATE).exists())
        self.assertEqual({p: after.get(p) for p in before}, before, "it changed what is not its own")

        # --- whoever may log in
        service = Service(root)
        shutil.copy(NOTES, self.plugins())
        demo = self.ok(root.run("weir", "demo", "--guests", "8", "--backups", "20", "--profile", "aggressive", env={"HOME": "/tmp"},
                                prepare=service.sandbox.prepare))
        self.assertRegex(demo.stdout, r"backups\s")
        self.assertIn("complete -F _weir weir", self.ok(root.run("weir", "completion", "bash")).stdout)
        self.assertEqual(self.ok(root.run("bash", "-c", ". /usr/share/bash-completion/completions/weir; COMP_WORDS=(weir sync --stage ba); "
                                          "COMP_CWORD=3; _weir; echo ${COMPREPLY[*]}")).stdout, "backups\n")

        # --- the service, as systemd would start it
        done = service.start() if (root.path / "etc/weir/config.yaml").exists() else []
        self.assertEqual(done, [])
        netbox = self.simulator("netbox")
        pve = self.simulator("proxmox", *change.arguments(nodes=2, guests=12, backups=40))
        service.configure(netbox.url, change.NETBOX_TOKEN, pve.url, change.TOKEN_ID, change.TOKEN)
        for done in service.start():
            self.ok(done)
            self.assertNotRegex(done.stderr, r"could not be (set|dropped|loaded)|Operation not permitted|error")
        self.assertIsNone(re.search(re.escape(change.NETBOX_TOKEN) + "|" + change.TOKEN, done.stdout + done.stderr))
        backups = [b for b in netbox.requests()["by_endpoint"] if b.startswith("POST") and "backups" in b]
        self.assertTrue(backups, "it created no backup")
        state = root.path / STATE / "journal.db"
        self.assertEqual((state.stat().st_uid, state.stat().st_mode & 0o777), (SERVICE_UID, 0o600))
        # The plugin of somebody else's ran in a process of its own, inside of the sandbox.
        again = self.ok(service.weir("sync", "--config", "/etc/weir/config.yaml", "--output", "json"))
        self.assertEqual(sum(r["created"] + r["updated"] + r["deleted"] + r["failed"] for r in results(again).values()), 0, told(again))
        self.assertIn("notes", results(again))
        self.ok(service.weir("validate", "--config", "/etc/weir/config.yaml"))
        self.ok(service.weir("history", "--config", "/etc/weir/config.yaml"))
        self.doctor(service)
        self.serve()
        # Without the credential it says which one, and what systemd has to do with it.
        (root.path / "run/credentials/weir.service/secret_netbox-token").unlink()
        lacking = self.ok(service.weir("sync", "--config", "/etc/weir/config.yaml"), EXIT_CONFIG)
        self.assertIn("secret_netbox-token", lacking.stderr)

        # --- over itself, as an upgrade
        mine = (root.path / "etc/weir/config.yaml").read_text()
        root.install("weir", "weir-plugins")
        self.assertEqual((root.path / "etc/weir/config.yaml").read_text(), mine)
        for done in service.start():
            self.ok(done)

        # --- and away with it
        (self.plugins() / NOTES.name).unlink()
        for folder in (self.plugins(), self.plugins().parent):
            folder.rmdir()
        kept = {p: v for p, v in root.listing().items() if p.startswith((STATE, "etc/weir"))}
        self.assertIn(f"{STATE}/journal.db", kept)
        root.dpkg("-r", "weir-plugins", "weir")
        left = {p: v for p, v in root.listing().items() if before.get(p) != v}
        self.assertEqual(left, kept, "removed")
        root.dpkg("-P", "weir-plugins", "weir")
        left = {p: v for p, v in root.listing().items() if before.get(p) != v}
        self.assertEqual(left, kept, "purged: what people made, and the state, are theirs")
        self.assertEqual(set(before) - set(root.listing()), set())
        self.assertNotIn("weir", (root.path / "var/lib/dpkg/status").read_text())

    def test_purged_without_a_trace(self):
        before = self.root.listing()
        self.root.install("weir", "weir-plugins")
        wants = self.root.path / "etc/systemd/system/timers.target.wants"
        wants.mkdir(parents=True, exist_ok=True)
        (wants / "weir.timer").symlink_to("/lib/systemd/system/weir.timer")
        self.root.dpkg("-P", "weir", "weir-plugins")
        left = {p for p, v in self.root.listing().items() if before.get(p) != v}
        self.assertEqual(left - {"etc/systemd", "etc/systemd/system", "etc/systemd/system/timers.target.wants"}, set())

    def test_plugins_do_not_go_without_their_program(self):
        with self.assertRaisesRegex(AssertionError, "depends on weir"):
            self.root.install("weir-plugins")

    def plugins(self):
        folder = self.root.path / "usr/local/lib/weir/stages"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def serve(self):
        """weir-serve.service: what it tells systemd from its start over a reload to its end."""
        service = Service(self.root, "weir-serve.service")
        self.assertEqual((service.unit["Type"], service.unit["NotifyAccess"]), (["notify"], ["main"]))
        path = self.root.path / "run/notify"
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(listener.close)
        listener.bind(str(path))
        path.chmod(0o777)
        listener.settimeout(60)
        said = []

        def wait_for(words):
            while not any(words in s.splitlines() for s in said):
                said.append(listener.recv(65536).decode())
            said.clear()

        program, *arguments = service.unit["ExecStart"][0].split()
        process = self.root.start(program, *arguments, prepare=service.sandbox.prepare,
                                  env={**service.environment, "NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "2000000"})
        try:
            wait_for("READY=1")
            self.assertEqual(request("GET", "http://127.0.0.1:9788/livez").status, 200)
            wait_for("WATCHDOG=1")
            self.assertEqual(service.unit["ExecReload"], ["/bin/kill -HUP $MAINPID"])
            process.send_signal(signal.SIGHUP)
            wait_for("READY=1")
            process.send_signal(signal.SIGTERM)
            wait_for("STOPPING=1")
            out, err = process.communicate(timeout=100)
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
        self.assertIn(process.returncode, (0, *map(int, service.unit["SuccessExitStatus"][0].split())), err)
        self.assertNotRegex(err, "Operation not permitted")
        path.unlink()

    def doctor(self, service):
        done = service.weir("doctor", "--config", "/etc/weir/config.yaml")
        self.assertIn(done.returncode, (EXIT_DONE, 1, 3), told(done))
        self.assertNotRegex(done.stderr, "not built yet|has a fault")
        self.assertRegex(done.stdout, "(?i)conservative|aggressive")


if __name__ == "__main__":
    unittest.main(verbosity=2)

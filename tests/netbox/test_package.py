#!/usr/bin/env python3
"""The packages against a real NetBox: installed into a Debian of their own, doctor and sync as the unprivileged user of the service in
its sandbox, and removed again without a trace but the state."""
import re
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
from installed import SERVICE_UID, STATE, Root, Service, enter, packages_made, results, told  # noqa: E402

enter(network=True)

import proxmox_model as change  # noqa: E402
from netbox_case import SOURCE, NetBoxCase  # noqa: E402
from weir_test import EXIT_DONE  # noqa: E402


class installed(NetBoxCase):
    COLUMNS = ("run", "seconds", "requests")

    def ok(self, done, expect=(EXIT_DONE,)):
        self.assertIn(done.returncode, expect, told(done))
        self.assertNotIn(self.token, done.stdout + done.stderr)
        return done

    def test_installed_used_removed(self):
        self.start(nodes=2, guests=20, backups=80)
        made = packages_made()
        root = Root(self.workspace.path / "root", [made["weir"], made["weir-plugins"]])
        self.addCleanup(root.close)
        before = root.listing()
        root.install("weir", "weir-plugins")
        service = Service(root)
        service.configure(self.netbox.url, self.token, self.pve.url, change.TOKEN_ID, change.TOKEN)
        service.load()

        doctor = self.ok(service.weir("doctor", "--config", "/etc/weir/config.yaml"), (0, 1, 3))
        print(doctor.stdout)
        self.assertRegex(doctor.stdout, r"4\.\d+")  # NetBox's version
        self.assertRegex(doctor.stdout, "conservative|aggressive")
        self.log.mark()
        for done in service.start():
            self.ok(done)
            self.assertNotRegex(done.stderr, r"could not be (set|dropped|loaded)|Operation not permitted")
        seen = self.log.read()
        self.assertEqual([entry for entry in seen if entry[2] >= 400], [])
        self.figures.add("sync", "", len(seen))
        self.assert_equal_to_source()
        again = self.ok(service.weir("sync", "--config", "/etc/weir/config.yaml", "--output", "json"))
        self.assertEqual(sum(r["created"] + r["updated"] + r["deleted"] + r["failed"] for r in results(again).values()), 0, told(again))
        self.assertEqual(set(results(again)), {"nodes", "virtual-machines", "backups"})
        self.assertEqual((root.path / STATE / "journal.db").stat().st_uid, SERVICE_UID)

        people = [root.path / "etc/weir/config.yaml", *(root.path / "etc/weir/credentials").iterdir()]
        self.assertEqual(len(people), 3)
        for file in people:
            file.unlink()
        root.dpkg("-P", "weir-plugins", "weir")
        left = {p for p, v in root.listing().items() if before.get(p) != v}
        self.assertTrue(left and all(re.match(re.escape(STATE) + r"(/|$)", p) for p in left), left)
        self.assertEqual(set(before) - set(root.listing()), set())
        print("left behind:", *sorted(left))
        self.assertEqual(SOURCE, "pve-a", "the example's source")


if __name__ == "__main__":
    unittest.main(verbosity=2)

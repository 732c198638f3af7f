"""The base of the tests against a real NetBox: a simulated Proxmox VE is synced into it, and both are compared."""
import json
import os
import sys

import proxmox_model as change
from mapping import Expected, Held, Proxmox, differences
from netbox_lab import Lab
from weir_test import EXIT_DONE, EXIT_STOPPED, WRITES, WeirCase, count_by_method, to_yaml

SOURCE = "pve-a"


class Figures:
    """A table on stderr."""

    def __init__(self, title, columns):
        self.title, self.rows = title, [columns]

    def add(self, *cells):
        self.rows.append([f"{c:.1f}" if isinstance(c, float) else str(c) for c in cells])

    def show(self):
        if len(self.rows) < 2:
            return
        widths = [max(len(row[i]) for row in self.rows) for i in range(len(self.rows[0]))]
        lines = ["  " + "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))) for row in self.rows]
        print(f"\n{self.title}\n" + "\n".join(lines), file=sys.stderr, flush=True)


class NetBoxCase(WeirCase):
    """LAB: options for an instance of the class's own; None: the one that the fixture brings up. Each test begins with the
    pristine database. COLUMNS: of the figures that are printed at the end."""

    LAB = None
    COLUMNS = ()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.figures = Figures(f"{cls.__name__}: {cls.LAB or 'the common lab'}", cls.COLUMNS)
        cls.addClassCleanup(cls.figures.show)
        if cls.LAB is None:
            cls.lab = Lab()
            if not cls.lab.running():
                cls.addClassCleanup(cls.lab, "down")
                cls.lab("up", *os.environ.get("WEIR_LAB_UP", "--workers 3 --fast").split())
            return
        cls.lab = Lab(cls.__name__)
        cls.addClassCleanup(cls.lab, "destroy")
        cls.lab.up_alone(*cls.LAB.split())

    def setUp(self):
        super().setUp()
        self.lab("reset")
        self.netbox = self.lab.netbox()
        self.token = self.netbox.token
        self.log = self.lab.access_log()

    def start(self, nodes=3, guests=60, backups=600, url=None, **config):
        """The source and a configuration. `url`: where weir looks for NetBox, if not straight there."""
        self.pve = self.simulator("proxmox", *change.arguments(nodes=nodes, guests=guests, backups=backups))
        self.reader = Proxmox(self.pve.url, change.TOKEN_ID, change.TOKEN)
        self.config = self.configuration(url=url, **config)

    def configuration(self, url=None, **config):
        return self.workspace.config(url or self.netbox.url, self.token, {SOURCE: change.settings(self.pve)}, **config)

    def profile(self, base, **changes):
        """A user's profile that names its base."""
        return self.workspace.file(f"my-{base}.yaml", to_yaml({"extends": base, **changes}))

    def most_in_flight(self, profile):
        """What a shipped profile allows."""
        return {p["name"]: p["max_in_flight"] for p in json.loads(self.weir("profiles", "--output", "json").stdout)}[profile]

    def run_weir(self, command, *arguments, expect=EXIT_DONE, config=None, **options):
        outcome = self.weir(command, "--config", config or self.config, "--output", "json", *arguments, expect=expect, **options)
        if outcome.exit_code >= 0:
            self.assertEqual(outcome.json.get("exit_code", outcome.exit_code), outcome.exit_code)
        return outcome

    def resume_if_stopped(self, outcome, **options):
        """All runs that it took to finish: a sync ends as done, or it stopped early and can be resumed."""
        self.assertIn(outcome.exit_code, (EXIT_DONE, EXIT_STOPPED), str(outcome))
        return [outcome] if outcome.exit_code == EXIT_DONE else [outcome, self.run_weir("resume", **options)]

    def assert_counted_by(self, outcome, seen):
        """weir's own count of its requests is what a server saw."""
        self.assertEqual({m: n for m, n in outcome.json["requests"].items() if m != "total" and n}, count_by_method(seen), str(outcome))

    def assert_equal_to_source(self):
        expected, held = Expected(self.reader, SOURCE), Held(self.netbox, SOURCE)
        self.assertEqual([c["name"] for c in held.clusters], [expected.cluster])
        for what in ("nodes", "guests", "backups"):
            found = differences(getattr(expected, what), getattr(held, what))
            self.assertEqual(found, [], f"{what}:\n" + "\n".join(found[:40]))
        self.assertEqual(held.doubled, [])
        return expected, held

    def assert_settled(self, *arguments):
        """NetBox holds what the source has, nothing twice, and a further sync writes nothing."""
        self.assert_equal_to_source()
        self.log.mark()
        self.run_weir("sync", *arguments)
        self.assertEqual(self.writes(self.log.read()), [], "a further sync wrote")

    @staticmethod
    def writes(seen):
        return [entry for entry in seen if entry[0] in WRITES]

    @staticmethod
    def of_throttle(outcome, key):
        return outcome.json.get("throttle", {}).get(key, "-")


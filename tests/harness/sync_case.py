"""A test of the whole program against both simulators: a source, a NetBox, a configuration."""
import json
import sqlite3

import proxmox_model as change
from mapping import Expected, Held, Proxmox, differences
from weir_test import EXIT_DONE, NetBox, WeirCase

SOURCE = "pve-a"
# What a test that is not about the pace uses: the same work, without waiting.
QUICK = """extends: conservative
requests_per_second: 500
batch:
  delay_ms: 0
"""
# The same in many small requests, which fail quickly, too.
SMALL = QUICK + """  objects_per_request: 5
retry:
  base_ms: 20
  cap_ms: 200
"""


class SyncCase(WeirCase):
    def start(self, nodes=2, guests=20, backups=80, profile_text=QUICK, **config):
        self.server = self.simulator("netbox")
        self.pve = self.simulator("proxmox", *change.arguments(nodes=nodes, guests=guests, backups=backups))
        self.netbox = NetBox(self.server.url, change.NETBOX_TOKEN)
        self.profile = str(self.workspace.file("quick.yaml", profile_text))
        config.setdefault("profile", self.profile)
        self.config = self.configuration(**config)
        self.reader = Proxmox(self.pve.url, change.TOKEN_ID, change.TOKEN)
        self.server.reset_counters()

    def configuration(self, server=None, **config):
        config.setdefault("profile", self.profile)
        return self.workspace.config((server or self.server).url, change.NETBOX_TOKEN, {SOURCE: change.settings(self.pve)}, **config)

    def run_weir(self, command="sync", *arguments, expect=EXIT_DONE, **options):
        self.server.reset_counters()
        return self.weir(command, "--config", self.config, "--output", "json", *arguments, expect=expect, **options)

    def assert_equal_to_source(self, **options):
        expected, held = Expected(self.reader, SOURCE, **options), Held(self.netbox, SOURCE)
        for what in ("nodes", "guests", "backups"):
            found = differences(getattr(expected, what), getattr(held, what))
            self.assertEqual(found, [], f"{what}:\n" + "\n".join(found[:40]))
        self.assertEqual(held.doubled, [])
        return expected, held

    def assert_nothing_left(self):
        """Equal to the source, nothing twice, and the next run writes nothing."""
        self.assert_equal_to_source()
        outcome = self.run_weir("sync")
        self.assertEqual(self.server.requests()["writes"], 0, str(outcome))

    def sent(self, part, method="POST"):
        """How many requests of that method an endpoint has seen since the counters were reset."""
        return self.server.requests()["by_endpoint"].get(f"{method} /api/{part}/", 0)

    def deferred(self, outcome):
        return sum(kind["deferred"] for result in outcome.json["results"] for kind in result["kinds"].values())

    # ---- the journal

    @property
    def journal(self):
        return self.workspace.path / "state" / "journal.db"

    def history(self, *arguments, config=None):
        return self.weir("history", "--config", config or self.config, "--output", "json", *arguments).json

    def states(self):
        """The runs' states, the oldest first."""
        return [r["state"] for r in self.history()["runs"]][::-1]

    def ask_journal(self, question, *values):
        connection = sqlite3.connect(f"file:{self.journal}?mode=ro", uri=True)
        try:
            self.assertEqual(connection.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
            return connection.execute(question, values).fetchall()
        finally:
            connection.close()

    def bodies(self, method="POST"):
        """Numbers of objects in NetBox's last writes by that method."""
        return [len(json.loads(w["body"])) for w in self.server.requests()["last_writes"] if w["method"] == method]

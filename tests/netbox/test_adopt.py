#!/usr/bin/env python3
"""`weir adopt` against a real NetBox with netbox-proxbox, filled as the proxbox service fills it."""
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
from adopt_case import AdoptChecks
from netbox_case import NetBoxCase


class adopt(AdoptChecks, NetBoxCase):
    def setUp(self):
        super().setUp()
        self.start(nodes=2, guests=20, backups=60, profile="aggressive")

    def test_by_records_and_custom_fields(self):
        self.check_taken_over(legacy=True, sidecars=True)

    def test_by_records(self):
        self.check_taken_over(legacy=False, sidecars=True)

    def test_records_that_lie(self):
        self.check_records()


if __name__ == "__main__":
    unittest.main()

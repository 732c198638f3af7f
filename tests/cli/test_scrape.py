#!/usr/bin/env python3
"""A real Prometheus scrapes `weir serve`: what it then holds is what the simulators have counted, an outage raises its alert
while it lasts, and the dashboard shows something everywhere. Skipped, visibly, without Debian's package prometheus."""
import shutil
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
import proxmox_model as change
from exposition import Metrics, documented, family
from serve_case import ServeCase
from sync_case import SMALL
from test_alerts import SKIPPED, Prometheus, check_dashboard
from test_metrics import REQUESTS
from weir_test import TREE


class scrape(ServeCase):
    token = "a-token-of-this-test-only"

    def begin(self):
        token_file = self.workspace.file("serve.token", self.token + "\n")
        self.start(guests=6, backups=40, profile_text=SMALL, serve={"token_file": str(token_file)})
        self.serve()
        self.prometheus = Prometheus(self.workspace.path, [
            {"job_name": "weir", "authorization": {"credentials_file": str(token_file)}, "static_configs": [{"targets": [self.url.removeprefix("http://")]}]}])
        self.addCleanup(self.prometheus.stop)

    def value(self, expression):
        found = self.prometheus.query(expression)
        return float(found[0]["value"][1]) if found else None

    def until_scraped(self, expression, expected):
        try:
            self.until(lambda: self.value(expression) == expected, f"{expression} == {expected}", 60)
        except AssertionError as e:
            self.fail(f"{e}\nit is {self.value(expression)}")

    def firing(self):
        return set(self.prometheus.firing().get("weir", {}))

    def test_live(self):
        self.begin()
        self.until_scraped('up{job="weir"}', 1)
        self.assertEqual(self.value('weir_build_info{version!=""}'), 1)
        page = self.ask("GET", "/metrics")
        self.assertEqual(page.headers["Content-Type"].replace(" ", "").lower(), "text/plain;version=0.0.4;charset=utf-8")
        self.assertNotIn(self.token, page.body.decode())

        # Counted as the simulators count.
        done = self.run_now()
        self.assertEqual(done["exit_code"], 0)
        counted = self.server.requests()
        self.until_scraped(f'sum({REQUESTS}_count{{server="netbox"}})', counted["total"])
        self.until_scraped('sum(weir_objects_total{result="ok"})', counted["objects_written"])
        self.until_scraped('weir_runs_total{command="sync",result="ok"}', 1)
        self.assertEqual(self.value("weir_runs_active"), 0)
        self.run_now(command="plan")
        self.until_scraped('weir_runs_total{command="plan",result="ok"}', 1)
        self.assertEqual(self.firing() - {"WeirNetBoxSlow"}, set())
        known = documented(TREE)
        metrics = Metrics(self.ask("GET", "/metrics").body.decode())
        self.assertLessEqual({family(name) for name, _, _ in metrics.samples}, set(known))
        self.assertEqual(metrics.one("process_threads") >= 1, True)

        # NetBox goes away in the middle of a run: the alert is there while it lasts, and goes with it.
        with self.pve.changed_model() as model:
            for i in range(30):
                change.add_backup(model, index=i)
        self.slow(200)
        run = self.post("/runs")["id"]
        self.until_scraped("weir_runs_active", 1)
        self.writing()
        self.server.options(db_down=True)
        self.until(lambda: "WeirBreakerOpen" in self.firing(), "the alert")
        self.assertEqual(self.value('weir_breaker_state{state="closed"}'), 0)
        self.slow(0)
        self.server.options(db_down=False)
        self.assertEqual(self.ended(run)["exit_code"], 0)
        self.until(lambda: "WeirBreakerOpen" not in self.firing(), "the end of the alert")
        self.until_scraped("weir_run_last_exit_code", 0)
        self.assertGreaterEqual(self.value("weir_breaker_opened_total"), 1)
        self.assertGreater(self.value('sum(weir_http_client_retries_total{server="netbox"})'), 0)
        check_dashboard(self, {"weir_stage_metric", "weir_stage_metric_total"})
        self.stop()


if __name__ == "__main__":
    if not shutil.which("prometheus"):
        print("skipped: prometheus is not installed (Debian's package of that name)")
        sys.exit(SKIPPED)
    unittest.main(verbosity=2)

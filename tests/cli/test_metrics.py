#!/usr/bin/env python3
"""What runs leave for Prometheus: the textfile's counts are those of the simulators and of the JSON result; counters go on
from run to run; a Pushgateway gets the same; what cannot be written is a warning."""
import http.server
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
import proxmox_model as change
from exposition import Metrics, documented, family
from sync_case import SMALL, SOURCE, SyncCase
from weir_test import EXIT_DONE, EXIT_LOCKED, EXIT_PARTIAL, EXIT_STOPPED, TREE

REQUESTS = "weir_http_client_request_duration_seconds"
BACKUPS = "plugins/proxbox/backups"
LIMITED = {"status": 429, "headers": {"Content-Type": "application/json", "Retry-After": "0"}, "body": {"detail": "Request was throttled."}}
TOO_MANY = {"error": "connection failed: connection to server at \"127.0.0.1\", port 5432 failed: FATAL:  sorry, too many clients already",
            "exception": "OperationalError", "netbox_version": "4.7.3", "python_version": "3.13.0"}


class MetricsCase(SyncCase):
    @property
    def textfile(self):
        return self.workspace.path / "weir.prom"

    def start(self, **more):
        super().start(**more)
        self.pve.reset_counters()

    def measured(self, command="sync", *arguments, **options):
        """A run with a textfile: its outcome and what the file holds then."""
        outcome = self.run_weir(command, "--metrics-file", self.textfile, *arguments, **options)
        return outcome, Metrics(self.textfile.read_text())


class textfile(MetricsCase):
    def assert_objects(self, metrics, *outcomes):
        """Each count of each kind of the JSON results, added up."""
        expected = {}
        names = {"created": ("create", "ok"), "updated": ("update", "ok"), "deleted": ("delete", "ok"), "failed": ("write", "failed"),
                 "deferred": ("write", "deferred"), "unchanged": ("none", "unchanged"), "kept": ("none", "kept"), "skipped": ("none", "skipped")}
        for outcome in outcomes:
            for result in outcome.json["results"]:
                for kind, counts in result["kinds"].items():
                    for count, labels in names.items():
                        key = (result["source"], result["stage"], kind, *labels)
                        expected[key] = expected.get(key, 0) + counts[count]
        got = {(l["source"], l["stage"], l["kind"], l["action"], l["result"]): v for l, v in metrics.of("weir_objects_total")}
        self.assertEqual(got, expected)
        self.assertGreater(sum(expected.values()), 0)

    def test_counts_are_the_simulators_own(self):
        self.start()
        before = time.time()
        first, metrics = self.measured()
        after, counted = time.time(), self.server.requests()
        self.assertEqual(metrics.sum(f"{REQUESTS}_count", server="netbox"), counted["total"])
        self.assertEqual(metrics.by("method", f"{REQUESTS}_count", server="netbox"), counted["by_method"])
        endpoints = {}
        for labels, value in metrics.of(f"{REQUESTS}_count", server="netbox"):
            name = f"{labels['method']} /api/{labels['endpoint']}/"
            endpoints[name] = endpoints.get(name, 0) + value
        self.assertEqual(endpoints, counted["by_endpoint"])
        # A storage of an offline node says 4xx or 5xx; everything else went well.
        answers = [(int(status), n) for sim in (self.server, self.pve) for status, n in sim.requests()["by_status"].items()]
        well = sum(n for status, n in answers if 200 <= status < 300)
        self.assertEqual(metrics.sum(f"{REQUESTS}_count", outcome="ok"), well)
        self.assertEqual(metrics.sum(f"{REQUESTS}_count"), sum(n for _, n in answers))
        self.assertGreater(well, 40)
        self.assertEqual(metrics.sum(f"{REQUESTS}_count", server=SOURCE), self.pve.requests()["total"])
        of_source = metrics.by("endpoint", f"{REQUESTS}_count", server=SOURCE)
        self.assertIn("nodes/{node}/storage/{storage}/content", of_source)
        self.assertFalse([e for e in of_source if re.search(r"\d", e)], "an id in a label")
        self.assertEqual(metrics.sum(f"{REQUESTS}_bucket", le="+Inf"), metrics.sum(f"{REQUESTS}_count"))
        self.assert_objects(metrics, first)
        self.assertEqual(metrics.sum("weir_objects_total", result="ok"), counted["objects_written"])
        self.assertEqual(metrics.sum("weir_batches_total", result="done"), first.json["batches"])
        self.assertEqual(metrics.sum("weir_batch_duration_seconds_count"), first.json["batches"])
        self.assertEqual(metrics.by("action", "weir_planned_objects", kind="netbox_proxbox.vmbackup"), {"create": first.result("backups")["created"]})
        for result in first.json["results"]:
            at = {"source": SOURCE, "stage": result["stage"]}
            self.assertAlmostEqual(metrics.one("weir_stage_duration_seconds", **at), result["seconds"])
            self.assertEqual(metrics.one("weir_stage_success", **at), 1)
            self.assertEqual(metrics.one("weir_stages_total", result="ok", **at), 1)
            self.assertEqual((metrics.one("weir_deferred_objects", **at), metrics.one("weir_failed_objects", **at)), (0, 0))
        self.assertAlmostEqual(metrics.one("weir_run_duration_seconds", command="sync"), first.json["seconds"])
        self.assertEqual(metrics.of("weir_runs_total"), [({"command": "sync", "result": "ok"}, 1)])
        # Written with a few digits after the point.
        self.assertTrue(before - 0.01 <= metrics.one("weir_run_last_success_timestamp_seconds", profile="quick") <= after + 0.01)
        self.assertEqual(metrics.one("weir_netbox_info", version="4.7.3"), 1)
        self.assertEqual(metrics.one("weir_source_up", source=SOURCE), 1)

        # The next runs go on from there.
        with self.pve.changed_model() as model:
            change.some_of_everything(model)
        second, metrics = self.measured()
        counted = {m: counted["by_method"].get(m, 0) + n for m, n in {"GET": 0, **self.server.requests()["by_method"]}.items()}
        self.assertEqual(metrics.by("method", f"{REQUESTS}_count", server="netbox"), counted)
        self.assertEqual(metrics.sum(f"{REQUESTS}_count", server=SOURCE), self.pve.requests()["total"])
        self.assert_objects(metrics, first, second)
        self.assertEqual(metrics.sum("weir_runs_total"), 2)
        self.assertEqual(metrics.sum("weir_batches_total"), first.json["batches"] + second.json["batches"])

    def test_the_file(self):
        self.start(guests=4, backups=6)
        before = sorted(p.name for p in self.workspace.path.iterdir())
        _, metrics = self.measured()
        self.assertEqual(sorted(p.name for p in self.workspace.path.iterdir()), sorted([*before, "weir.prom"]), "nothing else beside it")
        self.assertEqual(self.textfile.stat().st_mode & 0o777, 0o644)
        for secret in (change.TOKEN, change.NETBOX_TOKEN, change.NETBOX_TOKEN.split(".")[1], "Authorization"):
            self.assertNotIn(secret, metrics.text)
        known = documented(TREE)
        for name, labels, _ in metrics.samples:
            self.assertTrue(name.startswith("weir_"), f"{name} would meet node_exporter's own")
            self.assertIn(family(name), known)
            self.assertLessEqual(set(labels), set(known[family(name)]), name)
        if not shutil.which("promtool"):
            self.skipTest("promtool is not installed (Debian: prometheus)")
        checked = subprocess.run(["promtool", "check", "metrics"], input=metrics.text.encode(), capture_output=True, timeout=60)
        self.assertEqual((checked.returncode, checked.stdout + checked.stderr), (0, b""))

    def test_a_plan_leaves_it_alone_and_the_configuration_may_name_it(self):
        self.start(guests=4, backups=6, metrics={"textfile": str(self.textfile)})
        self.run_weir("plan")
        self.assertFalse(self.textfile.exists())
        self.run_weir("sync")
        self.assertEqual(Metrics(self.textfile.read_text()).sum("weir_runs_total"), 1)
        other = self.workspace.path / "other.prom"
        self.run_weir("sync", "--metrics-file", other)
        self.assertEqual(Metrics(self.textfile.read_text()).sum("weir_runs_total"), 1, "the option comes first")
        self.assertEqual(Metrics(other.read_text()).sum("weir_runs_total"), 2)

    def test_last_success_survives_failed_runs(self):
        self.start(guests=4, backups=6, profile_text=SMALL)
        _, metrics = self.measured()
        success = metrics.one("weir_run_last_success_timestamp_seconds")
        self.server.options(db_down=True)
        for n in (1, 2):
            outcome, metrics = self.measured(expect=None, timeout=60)
            self.assertNotEqual(outcome.exit_code, EXIT_DONE)
            self.assertEqual(metrics.one("weir_run_last_success_timestamp_seconds"), success)
            self.assertGreater(metrics.one("weir_run_last_timestamp_seconds"), success)
            self.assertEqual(metrics.one("weir_run_last_exit_code"), outcome.exit_code)
            self.assertEqual(metrics.one("weir_netbox_up"), 0)
            self.assertEqual(metrics.sum("weir_runs_total", result="ok"), 1)
            self.assertEqual(metrics.sum("weir_runs_total"), 1 + n)

    def test_what_cannot_be_written_changes_no_exit_code(self):
        self.start(guests=4, backups=6)
        for where, why in ((self.workspace.path / "none/weir.prom", "No such file or directory"), ("/dev/full", "not a regular file")):
            outcome = self.run_weir("sync", "--metrics-file", where)
            self.assertRegex(outcome.stderr, rf"(?m)warn.*the metrics were not written to {where}: .*{why}")
            self.assertEqual(outcome.json["exit_code"], 0)

    def test_another_run_has_the_lock(self):
        self.start(guests=4, backups=6)
        self.server.faults([{"path_regex": "^/api/dcim/", "delay_ms": 20000, "times": 1}])
        running = self.start_weir("sync", "--config", self.config)
        running.wait_until(lambda: self.server.requests()["in_flight"] > 0 and any("/dcim/" in e for e in self.server.requests()["by_endpoint"]))
        self.weir("sync", "--config", self.config, "--metrics-file", self.textfile, expect=EXIT_LOCKED)
        self.assertFalse(self.textfile.exists(), "what the last run showed would still hold")
        running.kill()
        running.wait()
        _, metrics = self.measured(expect=None)
        self.assertEqual(metrics.one("weir_runs_total", command="sync", result="locked"), 1)
        self.assertEqual(metrics.sum("weir_runs_total"), 2)


class faults(MetricsCase):
    def test_too_many_requests(self):
        self.start(guests=6, backups=40, profile_text=SMALL)
        self.server.faults([{"path_regex": f"^/api/{BACKUPS}/", "method": "POST", "times": 3, **LIMITED}])
        outcome, metrics = self.measured()
        refused = self.server.requests()["by_status"]["429"]
        self.assertEqual(refused, 3)
        self.assertEqual(metrics.one("weir_throttle_signals_total", **{"class": "overload"}), refused)
        self.assertEqual(metrics.sum(f"{REQUESTS}_count", outcome="overload", endpoint=BACKUPS, method="POST"), refused)
        self.assertEqual(metrics.one("weir_throttle_refused_total"), outcome.json["throttle"]["refused"])
        self.assertEqual(metrics.one("weir_http_client_retries_total", server="netbox"), outcome.json["retried"])
        self.assertEqual(metrics.one("weir_throttle_limit_cuts_total"), outcome.json["throttle"]["cuts"])
        self.assertAlmostEqual(metrics.one("weir_retry_budget_tokens"), outcome.json["throttle"]["retry_budget"])
        self.assertEqual(metrics.sum(f"{REQUESTS}_count", server="netbox"), self.server.requests()["total"])

    def test_an_outage_and_its_resume(self):
        self.start(guests=6, backups=60, profile_text=SMALL + "  max_outage_s: 1\n")
        self.server.faults([{"path_regex": f"^/api/{BACKUPS}/", "method": "POST", "skip": 2, "status": 500, "body": {**TOO_MANY,
                             "error": "connection failed: FATAL:  the database system is shutting down"}, "times": -1},
                            {"path_regex": "^/api/status/", "skip": 1, "status": 500, "body": TOO_MANY, "times": -1}])
        outcome, metrics = self.measured(expect=EXIT_STOPPED)
        at = {"source": SOURCE, "stage": "backups"}
        self.assertEqual(metrics.one("weir_deferred_objects", **at), self.deferred(outcome))
        self.assertGreater(self.deferred(outcome), 0)
        self.assertEqual(metrics.one("weir_stage_success", **at), 0)
        self.assertEqual(metrics.one("weir_stages_total", result="stopped", **at), 1)
        self.assertEqual(metrics.one("weir_breaker_opened_total"), outcome.json["throttle"]["breaker_opened"])
        self.assertGreater(outcome.json["throttle"]["breaker_opened"], 0)
        self.assertEqual(sum(v for _, v in metrics.of("weir_breaker_state")), 1, "one state at a time")
        self.assertEqual(metrics.one("weir_breaker_state", state="closed"), 0)
        self.assertEqual(metrics.one("weir_throttle_gave_up_total"), 1)
        self.assertEqual(metrics.one("weir_run_last_exit_code"), EXIT_STOPPED)
        self.assertEqual(metrics.of("weir_runs_total"), [({"command": "sync", "result": "stopped"}, 1)])
        self.server.faults([])
        finished, metrics = self.measured("resume")
        self.assertEqual(metrics.one("weir_deferred_objects", **at), 0)
        self.assertEqual(metrics.one("weir_stage_success", **at), 1)
        self.assertEqual(metrics.one("weir_runs_total", command="resume", result="ok"), 1)
        self.assertEqual(metrics.one("weir_breaker_state", state="closed"), 1)
        self.assertEqual(metrics.sum("weir_objects_total", action="create", result="ok", **at),
                         sum(k["created"] for o in (outcome, finished) for k in o.result("backups")["kinds"].values()))

    def test_a_refused_object_and_an_unreachable_source(self):
        self.start(guests=6, backups=10)
        with self.pve.changed_model() as model:
            change.add_refused_backup(model)
        gone = self.simulator("proxmox", *change.arguments(nodes=1, guests=2, backups=2))
        sources = {SOURCE: change.settings(self.pve), "pve-b": change.settings(gone)}
        self.config = self.workspace.config(self.server.url, change.NETBOX_TOKEN, sources, profile=self.profile)
        gone.stop()
        outcome, metrics = self.measured(expect=EXIT_PARTIAL)
        self.assertEqual(metrics.one("weir_failed_objects", source=SOURCE, stage="backups"), 1, str(outcome))
        self.assertEqual(metrics.one("weir_objects_total", kind="netbox_proxbox.vmbackup", result="failed"), 1)
        self.assertEqual({l["source"]: v for l, v in metrics.of("weir_source_up")}, {SOURCE: 1, "pve-b": 0})
        self.assertEqual(metrics.one("weir_stage_success", source="pve-b", stage="nodes"), 0)
        self.assertEqual(metrics.one("weir_stage_success", source=SOURCE, stage="nodes"), 1)
        self.assertGreater(metrics.sum(f"{REQUESTS}_count", server="pve-b", outcome="unreachable"), 0)
        self.assertEqual(metrics.one("weir_notices_total", level="error"), sum(n["level"] == "error" for n in outcome.json["notices"]))

    def test_too_many_deletions(self):
        self.start(guests=6, backups=40, max_deletes=2)
        self.measured()
        with self.pve.changed_model() as model:
            change.remove_backups(model, 5)
        _, metrics = self.measured(expect=None)
        self.assertEqual(metrics.one("weir_deletes_refused_objects", stage="backups"), 5)
        self.assertEqual(metrics.sum("weir_objects_total", action="delete"), 0)


class gateway:
    """Stands in for a Pushgateway: keeps what it is sent."""

    def __init__(self, status=200):
        outer, self.seen = self, []

        class handler(http.server.BaseHTTPRequestHandler):
            def do_PUT(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.seen.append((self.command, self.path, self.headers["Content-Type"], body.decode()))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_PUT

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class pushgateway(MetricsCase):
    def gateway(self, **more):
        made = gateway(**more)
        self.addCleanup(made.close)
        return made

    def begin(self, url, **more):
        self.start(guests=4, backups=6, metrics={"pushgateway": url, **more})

    def test_it_gets_what_the_textfile_gets(self):
        there = self.gateway()
        self.begin(there.url + "/", textfile=str(self.textfile))
        self.run_weir("plan")
        self.assertEqual(there.seen, [])
        for n in (1, 2):
            outcome = self.run_weir("sync")
            self.assertNotIn("metrics", outcome.stderr)
            method, path, kind, body = there.seen[-1]
            netbox = self.server.url.removeprefix("http://").replace(":", "%3A")
            self.assertEqual((len(there.seen), method, path), (n, "PUT", f"/metrics/job/weir/netbox/{netbox}"))
            self.assertEqual(kind, "text/plain; version=0.0.4; charset=utf-8")
            self.assertEqual(body, self.textfile.read_text())
            self.assertEqual(Metrics(body).sum("weir_runs_total"), n)

    def test_a_gateway_that_refuses(self):
        there = self.gateway(status=400)
        self.begin(there.url)
        outcome = self.run_weir("sync")
        self.assertRegex(outcome.stderr, rf"(?m)warn.*the metrics were not pushed to {there.url}/metrics/job/weir/\S+: 400 ")
        self.assertEqual(len(there.seen), 1)

    def test_a_gateway_that_never_answers(self):
        """It is given up; the result has been printed before."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            self.begin(f"http://127.0.0.1:{silent.getsockname()[1]}")
            running = self.start_weir("sync", "--config", self.config, "--output", "json")
            running.wait_until(lambda: running.stdout.rstrip().endswith("}"))
            self.assertFalse(running.poll(), "it has the result and still tries to push")
            outcome = self.checked(running.wait(120))
        self.assertRegex(outcome.stderr, r"(?m)warn.*the metrics were not pushed to .*")
        self.assertEqual(outcome.json["exit_code"], 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)

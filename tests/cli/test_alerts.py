#!/usr/bin/env python3
"""A real Prometheus over what real runs left: each alert fires on the fault it is for and on nothing else, and every query of
the dashboard is answered. Skipped, visibly, where Debian's package prometheus is not installed."""
import http.server
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import unittest
import urllib.parse
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
import proxmox_model as change
from exposition import documented, family
from sync_case import SMALL, SOURCE, SyncCase
from test_metrics import BACKUPS, LIMITED, TOO_MANY
from weir_test import EXIT_DONE, TREE, WEIR, request

SKIPPED = 77
RULES = TREE / "configs/prometheus/alerts.yaml"
DASHBOARD = TREE / "configs/grafana/weir.json"
NAME = re.compile(r"\b((?:weir|process)_[a-z_]+)\b")
ALERT = re.compile(r"- alert: (\w+)")

# Group of cases: what the last run of each must raise, and no more.
RESULTS = {
    "all_is_well": set(),
    "never_a_success": {"WeirNoSuccess", "WeirRunFailing", "WeirNetBoxUnreachable", "WeirBreakerOpen"},
    "a_source_is_away": {"WeirRunFailing", "WeirSourceUnreachable", "WeirStageFailing"},
    "an_object_is_refused": {"WeirRunFailing", "WeirObjectsFailing"},
    "too_much_is_gone": {"WeirRunFailing", "WeirDeletesRefused"},
    "a_plugin_is_none": {"WeirRunFailing", "WeirPluginRefused"},
}
TROUBLE = {
    "netbox_goes_away": {"WeirRunFailing", "WeirStageFailing", "WeirObjectsDeferred", "WeirBreakerOpen"},
    "netbox_is_overloaded": {"WeirNetBoxOverloaded"},
    "its_database_is_starved": {"WeirNetBoxDatabaseStarved", "WeirNetBoxOverloaded"},
    "netbox_is_slow": {"WeirNetBoxSlow"},
}


class pages:
    """Serves the newest of each case's files at /CASE, as node_exporter would."""

    def __init__(self):
        outer, self.files = self, {}

        class handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                try:
                    body, status = outer.files[self.path.strip("/")].read_bytes(), 200
                except (KeyError, FileNotFoundError):
                    body, status = b"", 503
                self.send_response(status)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


class Prometheus:
    """Looks every 300 ms, at loopback only, with weir's own rules; `for` is shortened to nothing."""

    def __init__(self, folder, jobs):
        """`jobs`: scrape configurations, as JSON, which is YAML."""
        rules = re.sub(r"(?m)^ +for: .*\n", "", RULES.read_text())
        (folder / "alerts.yaml").write_text(rules)
        (folder / "prometheus.yaml").write_text("global: {scrape_interval: 300ms, scrape_timeout: 300ms, evaluation_interval: 300ms}\n"
                                                f"rule_files: [{folder}/alerts.yaml]\nscrape_configs: {json.dumps(jobs)}\n")
        for _ in range(5):  # somebody may take the port in between
            self.log = (folder / "prometheus.log").open("w")
            port = free_port()
            self.url = f"http://127.0.0.1:{port}"
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}",
                 "--log.level=warn"], stdout=self.log, stderr=subprocess.STDOUT, cwd=folder)
            until = time.monotonic() + 60
            while self.process.poll() is None and time.monotonic() < until:
                try:
                    if request("GET", self.url + "/-/ready").status == 200:
                        return
                except OSError:
                    pass
                time.sleep(0.1)
            self.stop()
        raise AssertionError(f"prometheus did not start:\n{(folder / 'prometheus.log').read_text()}")

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()

    def api(self, path, **query):
        answer = request("GET", f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}")
        result = answer.json()
        if result["status"] != "success":
            raise AssertionError(f"{query}: {result}")
        return result["data"]

    def query(self, expression):
        return self.api("query", query=expression)["result"]

    def firing(self):
        """{case: {alert: annotations}}"""
        found = {}
        for a in self.api("alerts")["alerts"]:
            if a["state"] == "firing":
                found.setdefault(a["labels"].get("job", ""), {})[a["labels"]["alertname"]] = a["annotations"]
        return found



class alerts(SyncCase):
    """Each case: two runs at least, so that a rate has two points; the set of alerts that the last one must raise."""

    def begin(self, case, **more):
        self.case = case
        options = {"guests": 4, "backups": 40, "profile_text": SMALL, **more}
        super().start(**options)
        self.file = self.workspace.path / f"{case}.prom"
        self.pages.files[case] = self.file

    def measured(self, expect=None):
        outcome = self.run_weir("sync", "--metrics-file", self.file, expect=expect, timeout=120)
        if expect is None:
            self.assertNotEqual(outcome.exit_code, EXIT_DONE, str(outcome))
        self.seen()
        return outcome

    def seen(self):
        """Until Prometheus has what the last run left."""
        moment = re.search(r"(?m)^weir_run_last_timestamp_seconds\S* (\S+)$", self.file.read_text())[1]
        self.wait_for(lambda: any(float(r["value"][1]) == float(moment)
                                  for r in self.prometheus.query(f'weir_run_last_timestamp_seconds{{job="{self.case}"}}')))

    def wait_for(self, happened, timeout=60):
        until = time.monotonic() + timeout
        while not happened():
            if time.monotonic() > until:
                raise AssertionError(f"{self.case}: not within {timeout} s; firing: {self.prometheus.firing()}")
            time.sleep(0.1)

    def add_backups(self, count):
        with self.pve.changed_model() as model:
            for i in range(count):
                change.add_backup(model, index=i)

    # ---- the cases

    def case_all_is_well(self):
        self.begin("all_is_well")
        self.measured(EXIT_DONE)
        self.add_backups(3)
        self.measured(EXIT_DONE)

    def case_never_a_success(self):
        self.begin("never_a_success")
        self.server.options(db_down=True)
        self.measured()

    def case_a_source_is_away(self):
        self.begin("a_source_is_away")
        gone = self.simulator("proxmox", *change.arguments(nodes=1, guests=2, backups=2))
        sources = {SOURCE: change.settings(self.pve), "pve-b": change.settings(gone)}
        self.config = self.workspace.config(self.server.url, change.NETBOX_TOKEN, sources, profile=self.profile)
        self.measured(EXIT_DONE)
        gone.stop()
        self.measured()

    def case_an_object_is_refused(self):
        self.begin("an_object_is_refused")
        self.measured(EXIT_DONE)
        with self.pve.changed_model() as model:
            change.add_refused_backup(model)
        self.measured()

    def case_too_much_is_gone(self):
        self.begin("too_much_is_gone", max_deletes=2)
        self.measured(EXIT_DONE)
        with self.pve.changed_model() as model:
            change.remove_backups(model, 5)
        self.measured()

    def case_netbox_goes_away(self):
        self.begin("netbox_goes_away", profile_text=SMALL + "  max_outage_s: 1\n")
        self.measured(EXIT_DONE)
        self.add_backups(40)
        body = {**TOO_MANY, "error": "connection failed: FATAL:  the database system is shutting down"}
        self.server.faults([{"path_regex": f"^/api/{BACKUPS}/", "method": "POST", "skip": 1, "status": 500, "body": body, "times": -1},
                            {"path_regex": "^/api/status/", "skip": 1, "status": 500, "body": body, "times": -1}])
        self.measured()

    def case_netbox_is_overloaded(self):
        self.begin("netbox_is_overloaded")
        self.measured(EXIT_DONE)
        self.add_backups(40)
        # Two in three are refused: the breaker has no reason to open.
        once = {"path_regex": f"^/api/{BACKUPS}/", "method": "POST", "times": 1}
        self.server.faults([f for _ in range(7) for f in ({**once, "times": 2, **LIMITED}, {**once, "delay_ms": 1})])
        self.measured(EXIT_DONE)

    def case_its_database_is_starved(self):
        # Between the first and the last refusal there must be more than two seconds.
        self.begin("its_database_is_starved", profile_text=SMALL.replace("base_ms: 20", "base_ms: 500").replace("cap_ms: 200", "cap_ms: 1000"))
        self.measured(EXIT_DONE)
        self.add_backups(10)
        self.server.faults([{"path_regex": f"^/api/{BACKUPS}/", "method": "POST", "status": 500, "body": TOO_MANY, "times": 14}])
        self.measured(EXIT_DONE)

    def case_netbox_is_slow(self):
        self.begin("netbox_is_slow", backups=200)
        self.measured(EXIT_DONE)
        self.add_backups(60)
        self.server.faults([{"path_regex": f"^/api/{BACKUPS}/", "delay_ms": 250, "times": -1}])
        self.measured(EXIT_DONE)

    def case_a_plugin_is_none(self):
        plugins = self.workspace.path / "stages"
        plugins.mkdir(exist_ok=True)
        self.begin("a_plugin_is_none", plugin_path=[str(WEIR.parent / "stages"), str(plugins)])
        self.measured(EXIT_DONE)
        (plugins / "broken.so").write_text("no ELF at all\n")
        self.measured()

    # ---- and what is made of them

    def cases(self, expected):
        self.pages = pages()
        self.addCleanup(self.pages.close)
        jobs = [{"job_name": case, "metrics_path": f"/{case}", "static_configs": [{"targets": [self.pages.address]}]} for case in expected]
        self.prometheus = Prometheus(self.workspace.path, jobs)
        self.addCleanup(self.prometheus.stop)
        self.case = "before anything"
        self.wait_for(lambda: "WeirNoMetrics" in self.prometheus.firing().get("", {}))
        for name in expected:
            getattr(self, f"case_{name}")()
        self.case = "the end"
        wanted = {case: alerts for case, alerts in expected.items() if alerts}
        try:
            self.wait_for(lambda: self.raised() == wanted, 30)
        except AssertionError:
            self.assertEqual(self.raised(), wanted)
        for case, found in self.prometheus.firing().items():
            for alert, annotations in found.items():
                with self.subTest(case=case, alert=alert):
                    self.assertNotRegex(annotations["summary"] + annotations["description"], r"[{}]|<no value>|<error")
                    self.assertGreater(len(annotations["description"]), 60)

    def raised(self):
        """Without the one that a busy machine raises, too, where it is not the case's own."""
        found = {case: set(a) - ({"WeirNetBoxSlow"} if case != "netbox_is_slow" else set()) for case, a in self.prometheus.firing().items()}
        return {case: alerts for case, alerts in found.items() if alerts}

    def test_results(self):
        self.cases(RESULTS)
        self.assertIn("The source pve-b cannot", self.prometheus.firing()["a_source_is_away"]["WeirSourceUnreachable"]["summary"])
        self.assertIn("5 objects of pve-a, stage backups", self.prometheus.firing()["too_much_is_gone"]["WeirDeletesRefused"]["summary"])

    def test_trouble_and_dashboard(self):
        self.cases(TROUBLE)
        # What only `weir serve` has, and what these runs' stages do not tell.
        check_dashboard(self, {"process_resident_memory_bytes", "process_open_fds", "process_threads", "weir_stage_metric", "weir_stage_metric_total"})


def check_dashboard(test, empty):
    """Every query of it is answered, and shows something unless it is about one of these."""
    checked = 0
    for title, expression in expressions():
        filled = filled_in(expression)
        with test.subTest(panel=title, expr=filled):
            result = test.prometheus.query(filled)
            if not set(map(family, NAME.findall(expression))) & empty:
                test.assertTrue(result, "it shows nothing")
            checked += 1
    test.assertGreater(checked, 40)


def filled_in(expression):
    for variable, value in (("$instance", ".*"), ("$source", ".*"), ("$stage", ".*"), ("$__rate_interval", "5m")):
        expression = expression.replace(variable, value)
    return expression


def expressions():
    """[(panel, PromQL)] of the dashboard."""
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


class files(unittest.TestCase):
    """What needs no Prometheus."""

    def assert_known(self, expression, known):
        """Names of metrics, and of the labels that select or group them."""
        used = set(NAME.findall(expression))
        self.assertTrue(used, expression)
        self.assertLessEqual({family(n) for n in used}, set(known), expression)
        labels = {label for n in used for label in known[family(n)]} | {"instance", "job", "alertname", "alertstate"}
        for group in re.findall(r"(?:by|without|on) \(([^)]*)\)", expression) + re.findall(r"\{([^}]*)\}", expression):
            for part in filter(None, (p.strip() for p in re.sub(r'"[^"]*"', "", group).split(","))):
                self.assertIn(re.match(r"\w+", part)[0], labels, expression)

    def test_the_dashboard_uses_what_there_is(self):
        known, dashboard = documented(TREE), json.loads(DASHBOARD.read_text())
        shown = set()
        for title, expression in expressions():
            with self.subTest(panel=title):
                self.assert_known(expression, known)
                self.assertNotIn("$", filled_in(expression), "a variable that nobody fills in")
                shown |= {family(n) for n in NAME.findall(expression)}
        not_shown = set(known) - shown
        self.assertEqual(not_shown, {"weir_runs_active", "weir_stages_total", "weir_run_last_timestamp_seconds", "process_start_time_seconds", "process_cpu_seconds_total"})
        ids = [p["id"] for p in dashboard["panels"]]
        self.assertEqual(len(ids), len(set(ids)))
        variables = {v["name"] for v in dashboard["templating"]["list"]}
        self.assertEqual(variables, {"datasource", "instance", "source", "stage"})
        for v in dashboard["templating"]["list"]:
            if v["type"] == "query":
                metric, label = re.fullmatch(r"label_values\((\w+)(?:\{.*\})?, (\w+)\)", v["definition"]).groups()
                self.assertIn(label, known[metric] + ["instance"])
        places = set()
        for p in dashboard["panels"]:
            g = p["gridPos"]
            self.assertLessEqual(g["x"] + g["w"], 24, p["title"])
            cells = {(x, y) for x in range(g["x"], g["x"] + g["w"]) for y in range(g["y"], g["y"] + g["h"])}
            self.assertFalse(cells & places, f"{p['title']} lies over another panel")
            places |= cells

    def test_rules(self):
        known, text = documented(TREE), RULES.read_text()
        for expression in re.findall(r"expr: (.*)", text):
            self.assert_known(expression, known)
        raised = set().union({"WeirNoMetrics"}, *RESULTS.values(), *TROUBLE.values())
        self.assertEqual(raised, set(ALERT.findall(text)), "an alert without a case")
        docs = (TREE / "docs/metrics.md").read_text()
        self.assertEqual(re.findall(r"(?m)^\| `(Weir\w+)` \|", docs), ALERT.findall(text), "docs/metrics.md lists them in this order")

    def test_promtool(self):
        if not shutil.which("promtool"):
            self.skipTest("promtool is not installed (Debian: prometheus)")
        for arguments in (["check", "rules", RULES], ["test", "rules", RULES.with_name("alerts_test.yaml")]):
            done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=120)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn("SUCCESS", done.stdout + done.stderr)


if __name__ == "__main__":
    # "results" or "trouble": those cases, with a Prometheus; nothing: what needs none.
    if len(sys.argv) > 1:
        if not shutil.which("prometheus"):
            print("skipped: prometheus is not installed (Debian's package of that name)")
            sys.exit(SKIPPED)
        unittest.main(argv=[sys.argv[0], {"results": "alerts.test_results", "trouble": "alerts.test_trouble_and_dashboard"}[sys.argv[1]]], verbosity=2)
    unittest.main(argv=[sys.argv[0], "files"], verbosity=2)

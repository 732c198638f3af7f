"""The page as `weir serve` itself brings it, over the simulated Proxmox VE and NetBox: plan, apply, look, cancel, resume, restart."""
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
import page_case  # noqa: E402
import proxmox_model as change  # noqa: E402
import webdriver  # noqa: E402
import weir_test  # noqa: E402
from sync_case import QUICK, SMALL, SyncCase  # noqa: E402

PAGE = weir_test.TREE / "core/serve/page"
# Slow enough that a person, or a busy machine, has the time to press Cancel.
SLOW = """extends: conservative
requests_per_second: 2
batch:
  objects_per_request: 1
"""


class Real(SyncCase):
    @classmethod
    def setUpClass(cls):
        page_case.OUT.mkdir(parents=True, exist_ok=True)
        cls.browser = webdriver.Browser(page_case.OUT / "chromedriver-Real.log")
        cls.addClassCleanup(cls.browser.close)

    text, wait_for = page_case.PageCase.text, page_case.PageCase.wait_for

    def setUp(self):
        super().setUp()
        self.may_log = lambda entry: False
        self.browser.console()

    def tearDown(self):
        seen = [e for e in self.browser.console() if not self.may_log(e)]
        self.browser.open("about:blank")
        self.assertEqual(seen, [], "the browser's log")

    def serve(self, port=0):
        self.service = self.start_weir("serve", "--config", self.config, "--listen", f"127.0.0.1:{port}")
        self.service.wait_until(lambda: "listening on" in self.service.stdout)
        self.assertIn("listening on", self.service.stdout, self.service.stderr)
        return self.service.stdout.split("listening on", 1)[1].split()[0].rstrip("/") + "/"

    def open(self, url):
        self.browser.view(1280, 900)
        self.browser.open(url)
        self.browser.wait("return document.querySelector('#link').dataset.link === 'live' && document.querySelector('#facts').children.length > 0", what="the page to be live")

    def stop(self):
        self.service.signal(signal.SIGTERM)
        return self.service.wait()

    def confirm(self):
        self.browser.wait("return document.querySelector('#ask').open")
        self.browser.click("#ask-go")

    def test_a_plan_is_made_applied_and_looked_at(self):
        self.start(guests=12, backups=30, serve={"schedules": {"nightly": {"cron": "0 3 * * *"}}})
        url = self.serve()
        for file in PAGE.iterdir():
            if file.suffix in (".html", ".css", ".js", ".svg"):
                answer = weir_test.request("GET", url + ("" if file.name == "index.html" else file.name))
                self.assertEqual((answer.status, answer.body), (200, file.read_bytes()), f"{file.name} in the program is another one")
                self.assertIn("default-src 'self'", answer.headers["Content-Security-Policy"])
                self.assertEqual(answer.headers["X-Content-Type-Options"], "nosniff")
        self.open(url)
        self.assertIn("nightly", self.text("#schedules"))
        self.browser.click("#do-plan")
        self.wait_for("#plan", "A plan waits")
        self.wait_for("#now", "Nothing runs")
        self.assertEqual(self.server.requests()["writes"], 0)
        planned = self.browser.run_async("return (await fetch('plan')).json()")
        for row in planned["stages"]:
            shown = self.browser.run("return [...document.querySelectorAll('#plan .stages tbody tr')].find((r) => r.cells[0].innerText === arguments[0]).innerText", row["stage"])
            self.assertEqual([int(x.replace(",", "")) for x in shown.split()[2:]], [row[n] for n in ("create", "update", "delete", "unchanged", "requests")])
        self.browser.click("#apply")
        self.wait_for("#ask", "Apply the plan by a sync?")
        self.confirm()
        self.wait_for("#last", "created")
        self.wait_for("#runs tbody:first-of-type", "done")
        self.browser.wait("return document.querySelector('#plan').hidden", what="the applied plan to go")
        self.assert_equal_to_source()
        # What the run wrote, with links to it.
        self.browser.click("#runs tbody:first-of-type .opener")
        self.wait_for("#runs .details", "virtual-machines")
        links = self.browser.run("return [...document.querySelectorAll('#runs .details .label a')].map((a) => a.href)")
        self.assertGreater(len(links), 10)
        self.assertEqual([x for x in links if not x.startswith(self.server.url.rstrip("/") + "/")], [])
        path, number = links[0][len(self.server.url.rstrip("/")) + 1:].rstrip("/").rsplit("/", 1)
        self.assertEqual(self.netbox.call("GET", f"{path}/{number}/")["id"], int(number))
        # The gate's samples came second by second.
        self.browser.wait("return document.querySelector('path.area.flight').getAttribute('d').length > 10", what="samples of the gate")
        self.browser.screenshot(page_case.OUT / "real-desk-light.png")
        self.assertEqual(self.stop().exit_code, 0)

    def test_cancel_restart_resume(self):
        self.start(guests=15, backups=30, profile_text=SLOW)
        url = self.serve()
        self.open(url)
        self.browser.click("#do-sync")
        self.confirm()
        self.wait_for("#jobs", "batch")
        self.wait_for("#tiles", "never opened")
        self.browser.click("#do-cancel")
        self.confirm()
        self.wait_for("#now", "Nothing runs")
        self.wait_for("#runs tbody:first-of-type", "stopped")
        self.wait_for("#actions", "Resume")
        # The service goes and comes back at its place: the page by itself, too.
        self.may_log = lambda e: e["source"] == "network" and "ERR_" in e["message"]
        self.stop()
        self.wait_for("#banners", "The connection to weir is lost")
        (self.workspace.path / "quick.yaml").write_text(QUICK)
        self.serve(int(url.rstrip("/").rsplit(":", 1)[1]))
        self.wait_for("#link", "Live")
        self.wait_for("#actions", "Resume")
        self.browser.click("#do-resume")
        self.confirm()
        self.wait_for("#last", "Resume")
        self.wait_for("#runs tbody:first-of-type", "done")
        self.wait_for("#runs tbody:nth-of-type(2)", "resumed")
        self.browser.wait("return !document.querySelector('#do-resume')", what="nothing more to resume")
        self.assertEqual(self.stop().exit_code, 0)
        self.assert_equal_to_source()

    def test_an_outage_is_seen(self):
        self.start(guests=8, backups=8, profile_text=SMALL)
        self.server.faults([{"path_regex": "/api/", "method": "POST", "status": 503, "times": -1}])
        self.open(self.serve())
        self.browser.click("#do-sync")
        self.confirm()
        self.wait_for("#banners", "NetBox fails: weir has paused")
        self.wait_for("#tiles", "open")
        self.assertNotIn("observed only", self.text("#tiles"), "the throttle acts, and the page says so")
        self.browser.wait("return document.querySelector('svg.plot path.errors').getAttribute('d') && document.querySelector('svg.plot [fill=\"url(#open)\"]').getAttribute('d')",
                          what="failed attempts and the open breaker in the plot")
        self.browser.screenshot(page_case.OUT / "real-outage-desk-light.png")
        self.server.faults([])
        self.browser.click("#do-cancel")
        self.confirm()
        self.wait_for("#now", "Nothing runs")
        self.wait_for("#runs tbody:first-of-type", "stopped")
        self.browser.wait("return !document.querySelector('#banners .banner')", what="the banner to go")
        self.assertEqual(self.stop().exit_code, 0)

    def test_token(self):
        self.start(guests=3, backups=3)
        self.config = self.configuration(serve={"token_file": str(self.workspace.file("serve.token", "s3cret-of-the-page\n"))})
        self.may_log = lambda e: e["source"] == "network" and "401" in e["message"]
        url = self.serve()
        self.browser.view(1280, 900)
        self.browser.open(url)
        self.browser.wait("return document.activeElement.id === 'token-input'", what="the token's dialog")
        self.browser.type("s3cret-of-the-page")
        self.browser.keys("Enter")
        self.wait_for("#link", "Live")
        self.browser.click("#do-sync")
        self.confirm()
        self.wait_for("#last", "created")
        self.assertEqual(self.stop().exit_code, 0)


if __name__ == "__main__":
    page_case.main()

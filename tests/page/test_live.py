"""What comes over /events arrives; the connection comes back by itself; hostile words do nothing; a day costs no memory."""
import json
import time
import unittest

import fake_service as fake
import page_case
from page_case import PageCase


class Live(PageCase):
    def test_a_run_from_begin_to_end(self):
        service = self.show(fake.idle())
        began = fake.run("c0ffee01", state="running", code=None, ago=0, took=0)
        jobs = [fake.job("pve-a", "nodes", "Nodes", "collecting"), fake.job("pve-a", "backups", "Backups")]
        service.status.update(state="running", run=fake.running(jobs))
        service.publish_status()
        service.publish("run", began)
        self.wait_for("#now", "Sync running")
        self.wait_for("#announce", "Sync c0ffee01 is running")
        self.wait_for("#runs tbody:first-of-type", "c0ffee01")
        bar = "[...document.querySelectorAll('#jobs [role=progressbar]')]"
        self.assertEqual(self.browser.run(f"return {bar}.map((b) => [b.getAttribute('aria-label'), b.getAttribute('aria-valuenow')])"), [["nodes of pve-a", None], ["backups of pve-a", "0"]])
        row = self.browser.run("window.kept = document.querySelector('#jobs li'); return kept.innerText")
        self.assertIn("collecting", row)
        jobs[0].update(state="ok", done=3, total=3, seconds=1.2)
        jobs[1].update(state="writing", done=40, total=160, batch=1, batches=4, planned={"create": 150, "update": 10, "delete": 0, "requests": 4})
        service.publish_status()
        self.wait_for("#jobs", "40 of 160")
        self.wait_for("#jobs", "batch 1 of 4")
        self.wait_for("#jobs", "+150 ~10")
        self.assertTrue(self.browser.run("return kept.isConnected && kept.innerText.includes('ok')"), "the row of a stage is kept")
        self.assertEqual(self.browser.run(f"return {bar}.map((b) => [b.getAttribute('aria-valuenow'), b.getAttribute('aria-valuetext'), b.firstChild.style.width])"),
                         [["3", "3 of 3, ok", "100%"], ["40", "40 of 160, writing", "25%"]])
        self.assertIn("1/2 Sync running", self.browser.run("return document.title"))
        jobs[1].update(state="failed", reason="NetBox answered 403: the token may not add netbox_proxbox.vmbackup")
        service.publish_status()
        self.wait_for("#jobs", "may not add netbox_proxbox.vmbackup")
        self.wait_for("#announce", "backups of pve-a: failed")
        service.status.update(state="idle", run=None)
        service.publish_status()
        ended = fake.run("c0ffee01", state="partly", code=3, ago=5, took=5, created=40, failed=120, reason="a stage failed")
        service.runs.insert(0, ended)
        service.publish("run", ended)
        self.wait_for("#now", "Nothing runs")
        self.wait_for("#last", "40 created, 120 failed — a stage failed")
        self.wait_for("#runs tbody:first-of-type", "partly")
        self.wait_for("#announce", "Sync c0ffee01 ended: partly")
        self.assertEqual(self.browser.run("return document.querySelectorAll('tbody[data-run=c0ffee01]').length"), 1)

    def test_gate(self):
        service = self.show(fake.idle())
        before = self.browser.run("return document.querySelector('path.area.flight').getAttribute('d')")
        t = service.gate["samples"][-1][0]
        for i in range(1, 4):
            service.publish("gate", [t + i * 1000, 3, 2.5, 640, 7.7, 1.4, 2, 5])
        self.browser.wait("return document.querySelector('path.area.flight').getAttribute('d') !== arguments[0]", before)
        size = self.browser.run("const b = document.querySelector('.plot').getBoundingClientRect(); return [b.width, b.height]")
        self.browser.point(".plot", size[0] - 12, 40)
        self.wait_for("#reading", "gap 640 ms")
        for words in ("limit 2.5 of 4", "3 in flight", "7.7 requests/s", "latency × 1.4", "breaker open", "5 failed"):
            self.assertIn(words, self.text("#reading"))
        self.assertTrue(self.browser.run("return document.querySelector('path.errors:not(.key *)').getAttribute('d').length > 5 && document.querySelector('[fill=\"url(#open)\"]').getAttribute('d').length > 5"))
        service.status["gate"] = fake.gate_now(breaker="open", gap_ms=640)
        service.publish_status()
        self.wait_for("#tiles", "640 ms")
        self.wait_for("#banners", "weir has paused")
        self.wait_for("#announce", "The breaker is open")
        service.status["gate"].update(breaker="closed")
        service.publish_status()
        self.browser.wait("return !document.querySelector('#banners .banner')", what="the banner to go")

    def test_plan_comes_and_goes(self):
        service = self.show(fake.idle())
        self.assertEqual(self.browser.run("return document.querySelector('#plan').hidden"), True)
        self.assertNotIn("/plan", service.gets)
        waiting = fake.plan_waiting()
        service.plan = waiting["plan"]
        service.status["plan"] = waiting["status"]["plan"]
        service.publish_status()
        self.wait_for("#plan", "memory 4096 → 8192")
        for _ in range(5):
            service.publish_status()
        service.status["plan"] = service.plan = None
        service.publish_status()
        self.browser.wait("return document.querySelector('#plan').hidden")
        self.assertEqual(service.gets.count("/plan"), 1)

    def test_comes_back(self):
        self.may_log = lambda e: e["source"] == "network" and "ERR_" in e["message"]
        service = self.show(fake.idle())
        service.stop()
        self.wait_for("#banners", "The connection to weir is lost")
        self.wait_for("#link", "Connection lost")
        self.assertEqual(self.browser.run("return document.querySelector('#do-sync').getAttribute('aria-disabled')"), "true")
        self.assertIn("7f3a0c1d", self.text("#runs"), "what was known stays to be read")
        service.status["weir"] = "0.2.0"
        service.runs.insert(0, fake.run("beef0001", ago=2, took=1))
        service.start()
        self.wait_for("#link", "Live")
        self.wait_for("#banners", "weir is 0.2.0 now")
        self.assertNotIn("is lost", self.text("#banners"))
        self.wait_for("#service", "0.2.0")
        self.wait_for("#runs", "beef0001")
        self.wait_for("#announce", "Connected again")
        service.runs.insert(0, fake.run("beef0002", ago=1, took=1))
        service.publish("run", service.runs[0])
        self.wait_for("#runs", "beef0002")

    def test_a_plan_is_no_deed(self):
        """What was only planned is never shown as done."""
        state = fake.idle()
        state["runs"].insert(0, fake.run("9a9a9a9a", command="plan", ago=5, took=2, created=2, updated=1))
        self.show(state)
        self.wait_for("#last", "Plan 9a9a9a9a ended")
        self.assertIn("2 to create, 1 to update", self.text("#last"))
        self.assertEqual(self.browser.run("return [...document.querySelectorAll('[data-run=\"9a9a9a9a\"] td.n')].map((c) => c.innerText)"), ["(2)", "(1)", "0", "0", "0", "2.0 s"])

    def test_configuration_error(self):
        service = self.show(fake.idle())
        service.status["config"]["error"] = {"at": fake.at(-1), "message": fake.CONFIG_ERROR}
        service.publish_status()
        self.wait_for("#banners pre", "must have five fields, has 4")
        service.status["config"]["error"] = None
        service.publish_status()
        self.browser.wait("return !document.querySelector('#banners .banner')")

    def test_hostile_words(self):
        self.show(fake.hostile())
        self.browser.click("tbody[data-run='7f3a0c1d'] .opener")
        self.wait_for("#runs .details", "constructor")
        self.wait_for("#plan", "<img src=x")
        self.assertIn('<img src=x onerror="window.hacked=1">', self.text("#jobs"))
        self.assertEqual(self.browser.run("return window.hacked ?? null"), None)
        self.assertEqual(self.browser.run("return [...document.querySelectorAll('a')].map((a) => a.protocol).filter((p) => !/^https?:$/.test(p))"), [])
        self.assertEqual(self.browser.run("return document.querySelectorAll('main img, main script, main iframe').length"), 0)
        # A direction that a label turns stays within it.
        self.assertEqual(self.browser.run("return [...document.querySelectorAll('main *')].filter((n) => [...n.childNodes].some((c) => c.nodeType === 3 && c.data.includes('\\u202e')) && !n.closest('bdi, code, .note, .hint, title, [aria-label]')).map((n) => n.outerHTML.slice(0, 90))"), [])

    def test_a_thousand_changes(self):
        self.show(fake.many())
        self.wait_for("#plan", "5,000")
        self.browser.click("#plan summary")
        self.assertEqual(self.browser.run("return document.querySelectorAll('#plan .change-list li').length"), 50)
        self.browser.click("tbody[data-run='7f3a0c1d'] .opener")
        self.wait_for("#runs .details", "1,128 more")
        self.assertEqual(self.browser.run("return document.querySelectorAll('#runs .change-list li').length"), 100)
        self.browser.click("#runs .details button.more")
        self.assertEqual(self.browser.run("return document.querySelectorAll('#runs .change-list li').length"), 150)
        self.assertLess(self.browser.run("return document.querySelectorAll('*').length"), 3500)

    def test_a_day(self):
        """A day's events, as fast as they go: neither nodes nor memory grow with them."""
        service = self.show(fake.run_under_way())
        t = service.gate["samples"][-1][0]

        def hours(first, last):
            nonlocal t
            for hour in range(first, last):
                for i in range(900):  # a quarter of them: what counts is that far more come than are kept
                    t += 1000
                    service.publish("gate", [t, i % 4, 1 + i % 3, 50 + i % 100, i % 20, 1 + i % 2, 0, i % 7 == 0])
                    if i % 30 == 0:
                        service.status["run"]["jobs"][1]["done"] = i % 214
                        service.status["errors"] = [fake.error(-n, f"stage {hour} {i} {n}", f"message {hour} {i} {n}") for n in range(20)]
                        service.publish_status()
                    if i % 100 == 0:
                        service.publish("run", fake.run(f"{hour:04x}{i:04x}", ago=1, took=1))
            service.status["weir"] = f"hour {last}"
            service.publish_status()
            self.wait_for("#service", f"hour {last}")
            self.browser.devtools("HeapProfiler.collectGarbage")
            return self.browser.run("return document.querySelectorAll('*').length"), self.browser.run_async(
                "return (await import(new URL('gate.js', document.baseURI))).kept_samples()"), self.heap()

        self.browser.devtools("HeapProfiler.enable")
        nodes, samples, heap = hours(0, 6)
        self.assertEqual(samples, 1800)
        nodes_later, samples, heap_later = hours(6, 24)
        self.assertEqual(samples, 1800)
        self.assertLess(abs(nodes_later - nodes), 30)
        self.assertLess(heap_later, heap * 1.25 + 1_000_000)
        print(f"nodes {nodes} -> {nodes_later}, heap {heap} -> {heap_later}", flush=True)

    def heap(self):
        self.browser.devtools("HeapProfiler.collectGarbage")
        return self.browser.devtools("Runtime.getHeapUsage")["usedSize"]

    def test_parser(self):
        """Events in pieces of any size come out whole."""
        service = self.show(fake.idle())
        found = self.browser.run_async("""
            const { event_parser } = await import(new URL('api.js', document.baseURI));
            const stream = 'retry: 700\\r\\n\\r\\n: comment\\n\\nevent: a\\ndata: {"x":\\ndata: 1}\\n\\ndata: plain\\r\\rid: 3\\nevent: b\\ndata:no space\\n\\n';
            const results = [];
            for (let size = 1; size < stream.length; size++) {
              const out = [];
              const parser = new event_parser((n, d) => out.push([n, d]), (ms) => out.push(['retry', ms]));
              for (let i = 0; i < stream.length; i += size) parser.push(stream.slice(i, i + size));
              results.push(JSON.stringify(out));
            }
            return [...new Set(results)];""")
        self.assertEqual([json.loads(r) for r in found], [[["retry", 700], ["a", '{"x":\n1}'], ["message", "plain"], ["b", "no space"]]])
        self.assertTrue(service.port)


if __name__ == "__main__":
    page_case.main()

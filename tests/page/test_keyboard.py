"""The page by keyboard alone: where the focus is, at each step."""
import unittest

import fake_service as fake
import page_case
from page_case import PageCase


class Keyboard(PageCase):
    def press(self, *names):
        self.browser.keys(*names)

    def tab_to(self, wanted, most=60):
        """Tabs until the focus stands on it."""
        seen = []
        for _ in range(most):
            self.press("Tab")
            now = self.focused()
            if now == wanted or now.startswith(wanted):
                return
            seen.append(now)
        self.fail(f"no way by Tab to {wanted}: {seen}")

    def assert_seen(self):
        """The focus can be seen: an outline of two pixels or more, inside the window."""
        style = self.browser.run("""const a = document.activeElement, s = getComputedStyle(a), b = a.getBoundingClientRect();
            return [s.outlineStyle, parseFloat(s.outlineWidth), b.bottom > 0 && b.top < innerHeight]""")
        self.assertEqual((style[0], style[1] >= 2, style[2]), ("solid", True, True), self.focused())

    def test_order_and_visible_focus(self):
        self.show(fake.plan_waiting())
        self.wait_for("#plan", "4096")
        self.press("Tab")
        self.assertEqual(self.focused(), "a Skip to what runs now")
        self.assert_seen()
        self.press("Enter", "Tab")
        self.assertEqual(self.focused(), "#do-sync")
        seen = ["#do-sync"]
        while len(seen) < 60:
            self.assert_seen()
            self.press("Tab")
            now = self.focused()
            if now == "body " or now.startswith("body"):
                break
            seen.append(now)
        # In the order of the page: what to do, the plan, the gate, the runs, links at the end.
        places = [seen.index(x) for x in ("#do-sync", "#do-plan", "#apply", "button 5 min", "button 30 min")]
        self.assertEqual(places, sorted(places))
        self.assertTrue(any(x.startswith("div The gate over time") for x in seen), seen)
        self.assertGreater(next(i for i, x in enumerate(seen) if x.startswith("button 7f3a0c1d")), places[-1])
        self.assertEqual(seen[-1], "a readyz")

    def test_start_and_cancel_a_sync(self):
        service = self.show(fake.idle())

        def on_post(path, _):
            if path == "/runs":
                service.status.update(state="running", run=fake.running())
            else:
                service.status["run"]["cancelling"] = True
            service.publish_status()
        service.on_post = on_post
        self.tab_to("#do-sync")
        self.press("Enter")
        # The dialog takes the focus, to the button that changes nothing, and keeps it.
        self.assertEqual(self.focused(), "#ask-stay")
        self.assert_seen()
        self.press("Tab")
        self.assertEqual(self.focused(), "#ask-go")
        self.press("Escape")
        self.browser.wait("return !document.querySelector('dialog[open]')")
        self.assertEqual(self.focused(), "#do-sync")
        self.assertEqual(service.posts, [])
        self.press("Enter", "Tab", "Enter")
        self.wait_posted("/runs")
        self.assertEqual(service.posts, [("/runs", {"command": "sync"})])
        self.wait_for("#now", "Sync running")
        # The button that had the focus is gone: it is on the one that took its place.
        self.browser.wait("return document.activeElement.id === 'do-cancel'", what="the focus on Cancel")
        self.press("Enter")
        self.assertEqual(self.focused(), "#ask-stay")
        self.press("Enter")
        self.browser.wait("return !document.querySelector('dialog[open]')")
        self.assertEqual((self.focused(), len(service.posts)), ("#do-cancel", 1))
        self.press("Enter", "Tab", "Space")
        self.wait_posted("/runs/c0ffee01/cancel")
        self.wait_for("#actions", "Cancelling")
        self.assertEqual(self.focused(), "#do-cancel")
        self.press("Enter")  # it says that it is off, and is
        self.assertFalse(self.browser.run("return !!document.querySelector('dialog[open]')"))
        service.status.update(state="idle", run=None)
        service.publish_status()
        self.browser.wait("return document.activeElement.id === 'do-sync'", what="the focus back on Sync now")

    def test_open_a_run(self):
        self.show(fake.idle())
        self.tab_to("button 0be5ff19")
        self.press("Enter")
        self.wait_for("#runs .details", "greater than or equal to 0.01")
        self.assertTrue(self.focused().startswith("button 0be5ff19"))
        self.assertEqual(self.browser.run("return document.activeElement.getAttribute('aria-expanded')"), "true")
        self.assertEqual(self.browser.run("return location.hash"), "#run/0be5ff19")
        self.press("Tab")
        self.assertEqual(self.focused(), "div Stages of the run")
        self.press("Tab")
        self.assertEqual(self.focused(), "a web-07")
        self.assertEqual(self.browser.run("return [document.activeElement.href, document.activeElement.rel]"),
                         ["https://netbox.example/virtualization/virtual-machines/107/", "noopener noreferrer"])
        self.press("Shift+Tab", "Shift+Tab", "Space")
        self.browser.wait("return !document.querySelector('#runs .details')", what="the run to close")
        self.assertTrue(self.focused().startswith("button 0be5ff19"))

    def test_apply_the_plan(self):
        service = self.show(fake.plan_waiting())

        def on_post(*_):
            service.status.update(state="running", run=fake.running(), plan=None)
            service.plan = None
            service.publish_status()
        service.on_post = on_post
        self.wait_for("#plan", "memory 4096 → 8192")
        self.tab_to("#apply")
        self.press("Enter")
        self.assertIn("1 object will be deleted", self.text("#ask"))
        self.assertEqual(self.focused(), "#ask-stay")
        self.press("Tab", "Enter")
        self.wait_posted("/runs")
        self.assertEqual(service.posts, [("/runs", {"command": "sync"})])
        self.browser.wait("return document.querySelector('#plan').hidden && document.activeElement.id === 'do-cancel'", what="the focus on what runs now")

    def test_resume(self):
        service = self.show(fake.errors())
        self.tab_to("#do-resume")
        self.press("Enter", "Tab", "Enter")
        self.wait_posted("/runs")
        self.assertEqual(service.posts, [("/runs", {"command": "resume", "run": "dead0001"})])

    def test_refused(self):
        self.may_log = lambda e: e["source"] == "network" and "409" in e["message"]
        service = self.show(fake.idle())
        service.answers["POST", "/runs"] = (409, {"error": "a run is under way", "hint": "wait for it, or cancel it", "run": "aa"})
        self.tab_to("#do-plan")
        self.press("Enter")
        self.wait_for("#said", "a run is under way — wait for it, or cancel it")
        self.assertEqual(self.focused(), "#do-plan")

    def test_read_the_plot(self):
        self.show(fake.breaker_open())
        self.tab_to("div The gate over time")
        newest = self.text("#reading")
        self.press("Left")
        self.browser.wait("return document.querySelector('#reading').innerText !== arguments[0]", newest)
        for _ in range(40):
            if "breaker closed" in self.text("#reading"):
                break
            self.press("Left", "Left", "Left", "Left")
        said = self.browser.run("return document.activeElement.getAttribute('aria-valuetext')")
        self.browser.wait("return document.activeElement.getAttribute('aria-valuetext').includes('breaker closed')", what=f"the time before the breaker opened; said {said}")
        self.press("Home")
        self.browser.wait("return document.activeElement.getAttribute('aria-valuenow') === '0'")
        self.press("Escape")
        self.press("Tab", "Enter")  # the table
        self.browser.wait("return document.querySelectorAll('#gate-table tbody tr').length > 10 && document.querySelectorAll('#gate-table tbody tr').length <= 31")
        self.assertIn("Limit", self.text("#gate-table"))

    def test_token(self):
        self.may_log = lambda e: e["source"] == "network" and "401" in e["message"]
        self.show(fake.idle(), token="s3cret", ready=False)
        self.browser.wait("return document.activeElement.id === 'token-input'", what="the token's dialog")
        self.assertNotIn("7f3a0c1d", self.text("body"))
        self.browser.type("wrong")
        self.press("Enter")
        self.wait_for("#token-said", "did not accept")
        self.browser.wait("return document.activeElement.id === 'token-input' && document.activeElement.value === ''")
        self.press("Escape")
        self.wait_for("#banners", "asks for its token")
        self.tab_to("button Enter the token")
        self.press("Enter")
        self.browser.type("s3cret")
        self.press("Tab", "Tab", "Enter")
        self.ready()
        self.assertEqual(self.browser.run("return [sessionStorage.getItem('weir.token'), localStorage.getItem('weir.token'), document.cookie]"), ["s3cret", None, ""])
        self.browser.reload()
        self.ready()
        self.browser.click("#forget")
        self.browser.wait("return document.activeElement.id === 'token-input'", what="the token's dialog after the token was forgotten")
        self.assertNotIn("7f3a0c1d", self.text("body"))

    def test_theme(self):
        self.show(fake.idle(), theme="dark")
        shown = "return document.documentElement.dataset.theme"
        self.assertEqual(self.browser.run(shown), "dark")
        self.tab_to("#theme")
        self.press("Enter")
        self.assertEqual((self.browser.run(shown), self.focused()), ("light", "#theme"))
        self.browser.reload()
        self.ready()
        self.assertEqual(self.browser.run(shown), "light")
        self.tab_to("#theme")
        self.press("Enter", "Enter")
        self.assertEqual((self.browser.run(shown), self.text("#theme")), ("dark", "Auto"))
        self.browser.view(1280, 900, "light")
        self.browser.wait(shown + " === 'light'", what="the system's new theme")

    def test_less_motion(self):
        self.show(fake.run_under_way())
        self.browser.view(1280, 900, motion="reduce")
        self.assertEqual(self.browser.run("return document.getAnimations().filter((a) => a.playState === 'running').length"), 0)
        self.browser.view(1280, 900)
        self.assertGreater(self.browser.run("return document.getAnimations().length"), 0)


if __name__ == "__main__":
    page_case.main()

"""How the page looks in its main states, on a desk and on a phone, light and dark: pictures for people; what can be measured is asserted."""
import page_case
from page_case import OUT, PageCase
import fake_service as fake

SIZES = {"desk": (1280, 900), "phone": (360, 800)}
# What the eye needs: WCAG AA, over the colour that really lies behind each text.
CONTRAST = r"""
const parse = (c) => { const m = c.match(/[\d.]+/g).map(Number); return { r: m[0], g: m[1], b: m[2], a: m.length > 3 ? m[3] : 1 }; };
const over = (t, u) => ({ r: t.r * t.a + u.r * (1 - t.a), g: t.g * t.a + u.g * (1 - t.a), b: t.b * t.a + u.b * (1 - t.a), a: 1 });
const channel = (v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
const light = (c) => 0.2126 * channel(c.r) + 0.7152 * channel(c.g) + 0.0722 * channel(c.b);
const behind = (node) => {
  const layers = [];
  for (let n = node; n; n = n.parentElement) { const c = parse(getComputedStyle(n).backgroundColor); if (c.a > 0) layers.push(c); if (c.a === 1) break; }
  let under = { r: 255, g: 255, b: 255, a: 1 };
  for (const c of layers.reverse()) under = over(c, under);
  return under;
};
const bad = []; let seen = 0;
const walker = document.createTreeWalker(document.querySelector('dialog[open]') ?? document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const words = walker.currentNode.data.trim(), node = walker.currentNode.parentElement;
  if (!words || !node.checkVisibility({ checkVisibilityCSS: true }) || node.closest('.unseen, .skip, .sprites')) continue;
  const style = getComputedStyle(node), u = behind(node);
  const t = over(parse(node.namespaceURI.includes('svg') ? style.fill : style.color), u);
  const [a, b] = [light(t), light(u)];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), size = parseFloat(style.fontSize);
  const need = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
  seen += 1;
  if (ratio < need) bad.push(`${words.slice(0, 40)}: ${ratio.toFixed(2)} (${style.color} on ${JSON.stringify(u)})`);
}
return { seen, bad };
"""
# Nothing sticks out sideways, but in boxes that scroll by themselves.
SIDEWAYS = r"""
const out = [];
for (const node of document.querySelectorAll('body *')) {
  if (node.closest('.unseen, .skip, .sprites, .scroll, pre, svg, thead') || !node.checkVisibility()) continue;
  const b = node.getBoundingClientRect();
  if (b.width && (b.right > innerWidth + 0.5 || b.left < -0.5)) out.push(`${node.tagName}.${node.className} ${Math.round(b.left)}..${Math.round(b.right)}`);
}
return { width: document.documentElement.scrollWidth, window: innerWidth, out: out.slice(0, 5) };
"""
# No two pieces of text lie over each other (three pixels are left to tight lines).
OVERLAPS = r"""
const all = [];
const walker = document.createTreeWalker(document.querySelector('dialog[open]') ?? document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const n = walker.currentNode;
  if (!n.data.trim() || !n.parentElement.checkVisibility({ checkVisibilityCSS: true }) || n.parentElement.closest('.unseen, .skip, .sprites, .scroll, pre, .runs > thead')) continue;
  const range = document.createRange();
  range.selectNodeContents(n);
  for (const r of range.getClientRects()) if (r.width > 1) all.push({ n, l: r.left + 1, r: r.right - 1, t: r.top + 3, b: r.bottom - 3 });
}
const bad = [];
for (let i = 0; i < all.length; i++) for (let j = i + 1; j < all.length; j++) {
  const a = all[i], b = all[j];
  if (a.n !== b.n && a.l < b.r && b.l < a.r && a.t < b.b && b.t < a.b) bad.push(`${a.n.data.trim().slice(0, 30)} / ${b.n.data.trim().slice(0, 30)}`);
}
return bad.slice(0, 5);
"""
# Every control has a name, every id is one, every picture says or hides itself.
NAMES = r"""
const bad = [], ids = new Set();
for (const n of document.querySelectorAll('[id]')) { if (ids.has(n.id)) bad.push(`id ${n.id} twice`); ids.add(n.id); }
for (const n of [...document.querySelectorAll('button, a, input, [role=progressbar], [role=slider], [role=region]')].filter((n) => n.checkVisibility()))
  if (!(n.getAttribute('aria-label') || n.innerText.trim() || n.textContent.trim() || (n.id && document.querySelector(`label[for="${n.id}"]`)))) bad.push(`no name: ${n.outerHTML.slice(0, 120)}`);
for (const n of document.querySelectorAll('body svg:not([aria-hidden])')) bad.push(`an svg that neither hides nor names itself`);
for (const n of document.querySelectorAll('img:not([alt])')) bad.push('an image without alt');
for (const n of document.querySelectorAll('[style]')) if (!n.matches('.fill')) bad.push(`style attribute: ${n.outerHTML.slice(0, 80)}`);
return bad;
"""


class Look(PageCase):
    def look(self, name, state, token=None, before=None, also=None):
        """`before`: makes the state out of the page that is shown; asserted and pictured in each size and theme."""
        self.show(state, token, ready=token is None)
        if before:
            before()
        for theme in ("light", "dark"):
            for size, (width, height) in SIZES.items():
                self.browser.view(width, height, theme)
                self.browser.wait("return document.documentElement.dataset.theme === arguments[0] && innerWidth === arguments[1]"
                                  " && Math.abs((document.querySelector('.plot').getAttribute('width') ?? 0) - document.querySelector('.plot-frame').clientWidth) < 2", theme, width)
                with self.subTest(state=name, size=size, theme=theme):
                    seen = self.browser.run(CONTRAST)
                    self.assertEqual(seen["bad"], [])
                    self.assertGreater(seen["seen"], 5)
                    sideways = self.browser.run(SIDEWAYS)
                    self.assertEqual((sideways["out"], sideways["width"] <= sideways["window"]), ([], True))
                    self.assertEqual(self.browser.run(OVERLAPS), [])
                    self.assertEqual(self.browser.run(NAMES), [])
                    if also:
                        also()
                self.browser.screenshot(OUT / f"{name}-{size}-{theme}.png", whole=not self.browser.run("return !!document.querySelector('dialog[open]')"))

    def test_idle(self):
        self.look("idle", fake.idle(), also=lambda: self.assertIn("Nothing runs", self.text("#now")))

    def test_running(self):
        def also():
            self.assertIn("batch 2 of 5", self.text("#jobs"))
            self.assertIn("61 of 214", self.text("#jobs"))
            self.assertIn("reading guest configurations", self.text("#jobs"))
        self.look("running", fake.run_under_way(), also=also)

    def test_breaker(self):
        self.look("breaker", fake.breaker_open(), also=lambda: self.assertIn("breaker is open", self.text("#banners")))

    def test_poisoned(self):
        self.look("poisoned", fake.poisoned(), also=lambda: self.assertIn("systemctl restart netbox", self.text("#banners")))

    def test_plan(self):
        self.look("plan", fake.plan_waiting(), before=lambda: self.wait_for("#plan", "4096"), also=lambda: self.assertIn("memory 4096 → 8192", self.text("#plan")))

    def test_errors(self):
        def also():
            self.assertIn("The new configuration was not taken", self.text("#banners"))
            self.assertIn("Resume dead0001", self.text("#actions"))
        self.look("errors", fake.errors(), also=also)


class LookMore(PageCase):
    look = Look.look

    def test_run_opened(self):
        def before():
            self.browser.click("tbody[data-run='0be5ff19'] .opener")
            self.wait_for("#runs", "greater than or equal to 0.01")
        self.look("run", fake.idle(), before=before)

    def test_asking(self):
        def before():
            self.wait_for("#plan", "4096")
            self.browser.click("#apply")
        self.look("asking", fake.plan_waiting(), before=before, also=lambda: self.assertIn("1 object will be deleted", self.text("#ask")))

    def test_token(self):
        self.may_log = lambda e: e["source"] == "network" and "401" in e["message"]
        self.look("token", fake.idle(), token="s3cret", before=lambda: self.wait_for("#token", "This weir asks"))

    def test_lost(self):
        self.may_log = lambda e: e["source"] == "network" and "ERR_" in e["message"]

        def before():
            self.service.stop()
            self.wait_for("#banners", "connection to weir is lost")
        self.look("lost", fake.run_under_way(), before=before, also=lambda: self.assertIn("connection to weir is lost", self.text("#banners")))

    def test_hostile(self):
        def before():
            self.browser.click("tbody[data-run='7f3a0c1d'] .opener")
            self.wait_for("#runs .details", "constructor")
        self.look("hostile", fake.hostile(), before=before)


if __name__ == "__main__":
    page_case.main()

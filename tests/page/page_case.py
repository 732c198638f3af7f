"""What the page's tests share: one browser for a file's tests, a stand-in service for each."""
import json
import os
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import fake_service  # noqa: E402
import webdriver  # noqa: E402

OUT = Path(os.environ.get("WEIR_PAGE_OUT", "/tmp/weir-page"))
SKIPPED = 77  # CTest's SKIP_RETURN_CODE


class PageCase(unittest.TestCase):
    """A test begins with show(state) and ends with nothing in the browser's log but what it allows."""

    @classmethod
    def setUpClass(cls):
        OUT.mkdir(parents=True, exist_ok=True)
        cls.browser = webdriver.Browser(OUT / f"chromedriver-{cls.__name__}.log")
        cls.addClassCleanup(cls.browser.close)

    def setUp(self):
        self.service = None
        self.may_log = lambda entry: False
        self.browser.console()

    def tearDown(self):
        seen = [e for e in self.browser.console() if not self.may_log(e)]
        self.browser.open("about:blank")
        if self.service:
            self.service.stop()
        self.assertEqual(seen, [], "the browser's log")

    def show(self, state, token=None, width=1280, height=900, theme="light", ready=True):
        if self.service:
            self.service.stop()
        self.service = fake_service.Service(state, token)
        self.browser.view(width, height, theme)
        self.browser.open(self.service.url)
        if ready:
            self.ready()
        return self.service

    def ready(self):
        """Everything that is asked for at the start has come and is drawn."""
        self.browser.wait("""return document.querySelector('#link').dataset.link === 'live' && !document.querySelector('#runs-table').hidden
            && document.querySelector('#facts').children.length > 0 && document.querySelector('path.limit')?.getAttribute('d')""", what="the page to be ready")

    def text(self, selector):
        return self.browser.run("return document.querySelector(arguments[0])?.innerText ?? null", selector)

    def focused(self):
        """The focused element's id, or its tag and words."""
        return self.browser.run("const a = document.activeElement; return a.id ? '#' + a.id : a.tagName.toLowerCase() + ' ' + (a.getAttribute('aria-label') ?? a.innerText).trim()")

    def wait_for(self, selector, words):
        # What is hidden has text, too, but nobody reads it.
        self.browser.wait("const e = document.querySelector(arguments[0]); return e?.checkVisibility() && e.innerText.includes(arguments[1])", selector, words, what=f"{words!r} in {selector}")

    def wait_posted(self, path):
        end = time.monotonic() + 20
        while not any(p == path for p, _ in self.service.posts):
            if time.monotonic() > end:
                self.fail(f"nobody asked for {path}; asked for: {json.dumps(self.service.posts)}")
            time.sleep(0.02)


def main():
    absent = webdriver.missing()
    if absent:
        print(f"skipped: {' and '.join(absent)} not installed (packages/test.txt)")
        sys.exit(SKIPPED)
    unittest.main(verbosity=2)

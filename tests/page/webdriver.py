"""A browser for the tests: the few commands of W3C WebDriver that they need, spoken to chromedriver. Stdlib only."""
import base64
import http.client
import json
import re
import shutil
import subprocess
import tempfile
import time

KEYS = {"Tab": "\ue004", "Enter": "\ue007", "Shift": "\ue008", "Escape": "\ue00c", "Space": "\ue00d", "Left": "\ue012",
        "Right": "\ue014", "Home": "\ue011", "End": "\ue010"}
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


def missing():
    """What is not installed; empty: all is there."""
    return [name for name in ("chromium", "chromedriver") if not shutil.which(name)]


class BrowserError(Exception):
    pass


class Browser:
    """A headless Chromium with a profile of its own, ended by close()."""

    def __init__(self, log):
        self.profile = tempfile.mkdtemp(prefix="weir-page-")
        self.log_file = open(log, "w", encoding="utf-8")
        self.driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=self.log_file, text=True)
        self.session = None
        try:
            self.port = self._port()
            options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                       "--disable-component-update", "--disable-sync", "--disable-extensions", "--disable-dev-shm-usage", "--no-proxy-server",
                       "--hide-scrollbars", "--lang=en-GB", f"--user-data-dir={self.profile}"]
            made = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": {
                "browserName": "chrome", "goog:chromeOptions": {"binary": shutil.which("chromium"), "args": options},
                "goog:loggingPrefs": {"browser": "ALL"}, "timeouts": {"script": 30000, "pageLoad": 30000}}}}, timeout=120)
            self.session = made["sessionId"]
        except BaseException:
            self.close()
            raise

    def _port(self):
        for line in self.driver.stdout:
            found = re.search(r"started successfully on port (\d+)", line)
            if found:
                return int(found.group(1))
        raise BrowserError("chromedriver ended before it listened")

    def close(self):
        if self.session:
            try:
                self._ask("DELETE", f"/session/{self.session}")
            except (OSError, BrowserError, http.client.HTTPException):
                pass  # it is ended below
        self.driver.terminate()
        try:
            self.driver.wait(20)
        except subprocess.TimeoutExpired:
            self.driver.kill()
            self.driver.wait()
        self.driver.stdout.close()
        self.log_file.close()
        shutil.rmtree(self.profile, ignore_errors=True)

    def _ask(self, method, path, body=None, timeout=60):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            value = json.loads(answer.read())["value"]
        finally:
            connection.close()
        if answer.status >= 400:
            raise BrowserError(f"{path}: {value.get('error')}: {value.get('message', '').splitlines()[0]}")
        return value

    def command(self, method, path, body=None):
        return self._ask(method, f"/session/{self.session}{path}", body)

    def devtools(self, name, **parameters):
        return self.command("POST", "/goog/cdp/execute", {"cmd": name, "params": parameters})

    def open(self, url):
        self.command("POST", "/url", {"url": url})

    def reload(self):
        self.command("POST", "/refresh", {})

    def run(self, script, *arguments):
        """A script's result; it says `return`."""
        return self.command("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def run_async(self, script, *arguments):
        """The same for the body of an async function."""
        wrapped = ("const done = arguments[arguments.length - 1]; const args = [...arguments].slice(0, -1);"
                   f"(async (...arguments_) => {{ {script} }})(...args).then((v) => done({{ok: v ?? null}}), (e) => done({{error: String(e.stack ?? e)}}));")
        result = self.command("POST", "/execute/async", {"script": wrapped, "args": list(arguments)})
        if "error" in result:
            raise BrowserError(result["error"])
        return result["ok"]

    def wait(self, script, *arguments, what=None, seconds=60):
        """Polls until the script's result is true in JavaScript's sense, and returns it."""
        end = time.monotonic() + seconds
        while True:
            result = self.run(script, *arguments)
            if result:
                return result
            if time.monotonic() > end:
                raise AssertionError(f"never came: {what or script}\nthe page says:\n{self.run('return document.body.innerText')[:3000]}")
            time.sleep(0.05)

    def keys(self, *names):
        """Presses keys one after the other; "Shift+Tab" holds the first."""
        steps = []
        for name in names:
            held = [KEYS.get(part, part) for part in name.split("+")] if name != "+" else ["+"]
            steps += [{"type": "keyDown", "value": key} for key in held] + [{"type": "keyUp", "value": key} for key in reversed(held)]
        self.command("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": steps}]})

    def type(self, words):
        self.keys(*words)

    def point(self, selector, x, y):
        """Moves the mouse to a place in an element, from its upper left corner."""
        box = self.run("const b = document.querySelector(arguments[0]).getBoundingClientRect(); return [b.left, b.top]", selector)
        self.command("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": [
            {"type": "pointerMove", "duration": 0, "origin": "viewport", "x": round(box[0] + x), "y": round(box[1] + y)}]}]})

    def click(self, selector):
        found = self.command("POST", "/element", {"using": "css selector", "value": selector})
        self.command("POST", f"/element/{found[ELEMENT]}/click", {})

    def console(self):
        """What the browser logged since the last time: errors, warnings, CSP violations."""
        return self.command("POST", "/se/log", {"type": "browser"})

    def view(self, width, height, theme=None, motion=None):
        """The window's size; what the system prefers: "light" or "dark", motion "reduce" or "no-preference"."""
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        features = [{"name": "prefers-color-scheme", "value": theme or "light"}, {"name": "prefers-reduced-motion", "value": motion or "no-preference"}]
        self.devtools("Emulation.setEmulatedMedia", features=features)

    def screenshot(self, file, whole=True):
        """A PNG of the whole page, or of what the window shows."""
        picture = self.devtools("Page.captureScreenshot", format="png", captureBeyondViewport=whole, **({"clip": self._page()} if whole else {}))
        file.write_bytes(base64.b64decode(picture["data"]))

    def _page(self):
        size = self.devtools("Page.getLayoutMetrics")["cssContentSize"]
        return {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}

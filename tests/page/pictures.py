"""Makes the documentation's pictures of the page anew: python3 tests/page/pictures.py (Chromium and its driver are needed)."""
import base64
import sys
import tempfile
from pathlib import Path

import fake_service as fake
import webdriver

IMAGES = Path(__file__).resolve().parents[2] / "docs/images"
PICTURES = {"page-running": (fake.run_under_way, 1280, 880, "light"), "page-outage": (fake.poisoned, 1280, 880, "dark"), "page-plan-phone": (fake.plan_waiting, 360, 800, "light")}


def main():
    if webdriver.missing():
        sys.exit(f"not installed: {webdriver.missing()}")
    IMAGES.mkdir(parents=True, exist_ok=True)
    browser = webdriver.Browser(Path(tempfile.gettempdir()) / "weir-page-pictures.log")
    try:
        for name, (state, width, height, theme) in PICTURES.items():
            service = fake.Service(state())
            browser.view(width, height, theme)
            browser.open(service.url)
            browser.wait("return document.querySelector('#link').dataset.link === 'live' && document.querySelector('#facts').children.length"
                         " && !document.querySelector('#runs-table').hidden && document.querySelector('path.flight')?.getAttribute('d')")
            if service.plan:
                browser.wait("return !document.querySelector('#plan').hidden")
            picture = browser.devtools("Page.captureScreenshot", format="webp", quality=50)
            (IMAGES / f"{name}.webp").write_bytes(base64.b64decode(picture["data"]))
            service.stop()
    finally:
        browser.close()


if __name__ == "__main__":
    main()
